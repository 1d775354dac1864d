// Arguments of asynchronous networks in continuous time, in plain C: the compiler and Python (cffi) read this text.
#pragma once
#include "native/support.hpp"

typedef struct {
    int64_t n_inputs, n_neurons, n_outputs, n_samples, n_cores, threads;
    int64_t service, refractory, window, max_spikes, stop_output, stop_spikes;  // max_spikes: within a window
    const int64_t* ptr;       // synapses of every source, by delay
    const int32_t* targets;
    const R* weights;
    const int64_t* delays;
    const int64_t* axonal;    // per source
    const int32_t* core;      // per neuron
    const double* rate;       // of the membrane's decay, in 1 / picosecond
    const R* const* parameters;
    const int64_t* offsets;
    const int32_t* units;
    const int64_t* times;
    int64_t* counts;          // (n_samples, 3): spikes, synaptic operations, tests
    int64_t* failure;         // (2,) sample, time
} TimedArguments;

// 0, or how the run failed: RUNAWAY excitation, or see `guarded`. The samples that `samples` points to afterwards hold
// the spikes until they are taken.
enum { RUNAWAY = 3 };
int timed_run(const TimedArguments* arguments, void** samples);
void timed_take(void* samples, int64_t* times, int32_t* neurons);
