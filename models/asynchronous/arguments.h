// Arguments of asynchronous networks, forwards and backwards, in plain C: the compiler and Python (cffi) read this text.
#pragma once
#include "order/arguments.h"

enum { TILE = 16 };  // neurons that are tested together: one cache line of single-precision membranes

// Weights from one range of sources to neurons first .. first + width - 1, dense or sparse.
typedef struct {
    int64_t first, width;
    int64_t first_tile, stride;  // a dense row holds whole tiles of neurons, zeros where there is no synapse
    const R* dense;              // (n_pre, stride), null if sparse
    const int64_t* ptr;          // sparse: (n_pre + 1,)
    const int32_t* targets;      // neurons
    const R* weights;
    int64_t offset;              // where its gradient lies: of dense weights of the input apart from the others
} Projection;
typedef struct {  // contiguous sources with the same projections
    int64_t first, size, projection_begin, projection_end;
    int64_t fanout;              // of each of them, as in `Network`; negative: they differ
} SourceRange;

struct Network {
    int64_t n_inputs, n_neurons, n_outputs, n_ranges, n_cores;
    const int32_t* layer;        // of every source, which is its range; sources are the inputs, then the neurons
    const int32_t* core;
    const int64_t* fanout;       // weights of dense projections that are not zero
    const SourceRange* ranges;
    const Projection* projections;
    // numbers, per neuron or one tile of equal values; the steps are 1 or 0
    const R* leak;               // over one timestep
    const R* sigma;              // synchronisation threshold, per neuron; null without one
    const R* const* parameters;
    const int64_t* steps;
    int64_t leak_step;
};

enum Filler { NO_FILLER, FIRST_SILENT, RANDOM_RUN };

typedef struct {
    int64_t n_samples, n_timesteps, n_weights, first_layer;
    const Network* network;        // its parameters are per neuron, and so is its leak
    // tape
    const int64_t* step_ptr;
    const int64_t* group_ptr;
    const int32_t* group;
    const R* multiplicity;
    const int64_t* received_ptr;
    const int32_t* received;
    const R* membrane;
    const int64_t* spike_ptr;
    const int32_t* spikes;
    const uint8_t* flags;
    const int64_t* sample_ids;
    const R* initial;              // (n_samples, n_neurons) membranes before the first timestep's leak; null: at rest
    int64_t first_timestep;        // its number: what random numbers depend on
    uint64_t seed;
    double spike_dropout;
    // what is differentiated
    int64_t every, cut, detach_reset, slots, ties, filler, truncate, cut_timesteps, train_leak;
    double steepness, gain, sigma_steepness, sigma_gain;
    // derivatives of the loss
    const R* by_count;             // (n_samples, n_timesteps, n_outputs)
    const R* by_membrane;          // (n_samples, n_timesteps, n_outputs) at the end of each timestep, or null
    const R* by_latency;           // (n_samples, n_outputs) per forward step until the first spike, or null
    double by_spike;               // per spike of any neuron
    // results; `work` is (n_shards, n_total), n_total = n_weights + (PARAMETERS + 2) * n_neurons
    int64_t n_shards, threads, n_total;
    R* work;
    R* gradient;                   // (n_total,): weights, parameters, leak, sigma
    R* input_gradient;             // dense weights of the input
} BackwardArguments;

int unlayered_backward(const BackwardArguments* arguments);
