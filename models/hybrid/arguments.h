// Arguments and results of a hybrid network, in plain C: the compiler and Python (cffi) read this text.
#pragma once
#include "native/support.hpp"

typedef struct {
    int64_t n, n_states, n_q;
    double** theta;            // parameters; theta_each: one value a neuron, not one for all
    const uint8_t* theta_each;
    double** initial;          // (n,) of every state
    int64_t n_breaks;          // times at which inputs take their next value
    const double* breaks;
    const double* held;        // (n_breaks + 1, NH), with held_each (n_breaks + 1, NH, n)
    int64_t held_each;
    int64_t n_synaptic;        // numbers that the synapses which end here hold as their own
    const double* synaptic;    // (n_synaptic,) at t = 0
} HybridGroup;

typedef struct {
    int64_t source;            // group, or -1 - generator
    int64_t target, number;    // `number` among the pathways that end in the target
    int64_t n_synapses, rows;  // rows: all delays are equal, and a source reaches every neuron of the target in order
    const int64_t* ptr;        // synapses that leave source i: order[ptr[i] : ptr[i + 1]], to neurons j[...]
    const int64_t* order;
    const int32_t* j;
    int64_t n_w;
    double** w;
    const uint8_t* w_each;
    const double* delay;
    int64_t delay_each;
    int64_t n_s, state;        // synapse s holds n_s of the target's synaptic numbers, from state + s * n_s on
} HybridPathway;

typedef struct {
    const int32_t* neurons;    // input spikes, sample after sample
    const double* times;
    const int64_t* ptr;        // (n_samples + 1,)
} HybridInput;

typedef struct {
    int64_t n_samples, n_groups, n_pathways, n_generators, n_components, threads;
    int64_t max_spikes;        // of a neuron
    double duration, tolerance;
    HybridGroup* groups;
    HybridPathway* pathways;
    HybridInput* inputs;
    const int32_t* order;      // groups, sources before targets; component c is order[components[c] : components[c + 1]]
    const int32_t* components;
    const uint8_t* cyclic;
    // results
    double* losses;            // (n_samples,)
    double** final_state;      // per group (n_samples, n, NX)
    double** maxima;           // per group (n_samples, n), or null
    int64_t* n_spikes;         // (n_samples,) input spikes left out
    double* least_slope;       // (n_samples,)
    double* nearest;           // (n_samples,)
} HybridArguments;

enum HybridFault { NO_FAULT, NOT_FINITE, TWICE, GRAZING, STILL_ABOVE, BAD_PERIOD, RUNAWAY, NO_MEMORY, ADJOINT };
typedef struct {
    int64_t sample, fault, group, neuron;
    double t, value;
} HybridFailure;

typedef struct {
    const double* weights;     // (n_samples,) of the losses written as text
    const double* spikes;      // dL/dt of every spike as `hybrid_spikes` lists them, or null
    double** final_state;      // per group, or null
    double** maxima;           // per group, or null
    // results, all of them added up over the samples; null where not wanted
    double** q;                // per group (NQ, n)
    double** initial;          // per group (NX, n)
    double** w;                // per pathway and synaptic parameter, max_w apart: (n_synapses,) or (1,)
    double** delay;            // per pathway (n_synapses,) or (1,)
    double** synaptic;         // per group (n_synaptic,)
    double** times;            // per generator, one a spike
    int64_t max_w;
} HybridGradients;

typedef struct HybridRun HybridRun;
HybridRun* hybrid_new(void);
void hybrid_free(HybridRun* run);
int hybrid_forward(HybridRun* run, const HybridArguments* arguments, HybridFailure* failure);
int hybrid_spikes(HybridRun* run, int32_t* group, int32_t* neuron, double* time, HybridFailure* failure);
int hybrid_backward(HybridRun* run, const HybridGradients* gradients, HybridFailure* failure);
