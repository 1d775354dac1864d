// Arguments and results of an event loop, in plain C: the compiler and Python (cffi) read this text.
#pragma once
#include "native/support.hpp"

enum StopRule { DRAINED, AFTER_OUTPUT, SPIKE_BUDGET, STEP_BUDGET };
enum Detail { NOTHING, SPIKES, TAPE };
enum SpikeFlags { EMITTED = 1, RESTING = 2 };
enum Counter { N_SPIKES, N_SYNAPTIC, N_TESTS, N_FORWARD, N_DELIVERED, QUEUE_MAX, QUEUE_SUM, QUEUE_LEFT, STOPPED, N_COUNTERS };

// What waits in one queue, for a scheduler written in Python: it writes up to n_queued sources to `chosen` and returns
// how many; a negative answer aborts the run.
typedef struct {
    int64_t sample, timestep, step, core, count, n_queued;
    const int32_t* sources;     // (n_queued,) ascending
    const double* uniforms;     // (n_queued,)
    const double* P;            // of every source, like arrival and copies
    const int64_t* arrival;
    const R* copies;
    int32_t* chosen;
} Waiting;
typedef int64_t (*Select)(const Waiting* waiting);

typedef struct {
    int64_t n_samples, n_timesteps;
    const int64_t* ptr;         // input of sample s, timestep t: ptr[s * n_timesteps + t] ..
    const int32_t* units;
    const R* amounts;
    const int64_t* sample_ids;  // what the random numbers of a sample depend on
    const R* initial;           // (n_samples, n_neurons) membranes an earlier run left, or null: at rest
    int64_t first_timestep;     // number of the first timestep
    uint64_t seed;
    int64_t forward_group, stop_rule, stop_value, stop_per_sample, carry, max_spikes;
    int64_t prioritised, once_per_timestep, lockstep, detail, threads;
    double refractory_dropout, spike_dropout, input_dropout;
    const double* key_parameters;
    Select select;
    // results
    int64_t* counters;          // (n_samples, n_timesteps, N_COUNTERS)
    int32_t* outputs;           // (n_samples, n_timesteps, n_outputs)
    int64_t* first;             // (n_samples, n_timesteps, n_outputs, 2): network spikes, forward steps until its first
    R* final;                   // (n_samples, n_neurons) membranes at the end, or null
    int64_t* failure;           // (2,) sample and timestep
} LoopArguments;

// Record of a batch: steps (n_samples * n_timesteps,), then three pointer arrays of (forward steps + 1,) and contents.
typedef struct {
    int32_t* steps;
    int64_t* spike_ptr;
    int32_t* spikes;
    uint8_t* flags;
    int64_t* group_ptr;
    int32_t* group;
    R* multiplicity;
    int64_t* received_ptr;
    int32_t* received;
    R* membrane;
} RecordArrays;

// Each int is 0, or how the call failed: RUNAWAY excitation, or see `guarded`.
enum { RUNAWAY = 3 };
typedef struct Network Network;
int engine_create(void** engine);
void engine_free(void* engine);
int engine_run(void* engine, const Network* network, const LoopArguments* arguments);
void record_sizes(void* engine, int64_t* sizes);  // forward steps, spikes, delivered sources, tested neurons
void record_copy(void* engine, const RecordArrays* arrays);
