// What an event-driven run and its record are made of, whatever the neuron.
#pragma once

enum StopRule { DRAINED = 0, AFTER_OUTPUT = 1, SPIKE_BUDGET = 2, STEP_BUDGET = 3 };
enum Detail { NOTHING = 0, SPIKES = 1, TAPE = 2 };
enum SpikeFlags { EMITTED = 1, RESTING = 2 };

struct Run {
    int64_t n_samples, n_steps;
    const int64_t* ptr;         // input of sample s, timestep t: ptr[s * n_steps + t] ..
    const int32_t* units;
    const R* values;
    const int64_t* sample_ids;  // what the random numbers of a sample depend on
    const R* initial;           // (n_samples, n_neurons) membranes an earlier run left, or null: at rest
    int64_t first_step;         // number of the first timestep
    uint64_t seed;
    int64_t forward_group;
    int64_t stop_rule, stop_value, stop_per_sample, carry, max_spikes;
    int64_t prioritised, once_per_timestep, lockstep, drop_inhibition, detail, threads;
    double refractory_dropout, spike_dropout, input_dropout;
    const double* key_parameters;
    void* select;
    // results
    int64_t* counters;          // (n_samples, n_steps, N_COUNTERS)
    int32_t* outputs;           // (n_samples, n_steps, n_outputs)
    int64_t* first;             // (n_samples, n_steps, n_outputs, 2): network spikes and forward steps until its first
    R* final;                   // (n_samples, n_neurons) membranes at the end, or null
    int64_t* failure;           // (2,) sample and timestep
};

enum Counter { N_SPIKES, N_SYNAPTIC, N_TESTS, N_FORWARD, N_DELIVERED, QUEUE_MAX, QUEUE_SUM, QUEUE_LEFT, STOPPED, N_COUNTERS };

// One sample's history, proportional to its events.
struct Record {
    std::vector<int32_t> steps;            // forward steps of each timestep
    std::vector<int32_t> spikes;           // neurons, in processing order
    std::vector<uint8_t> flags;
    std::vector<int32_t> spikes_end, groups_end, received_end;  // per forward step
    std::vector<int32_t> group, received;  // delivered sources; neurons that took current
    std::vector<R> multiplicity, membrane; // of the group; membranes just before the test
    void clear() {
        steps.clear(); spikes.clear(); flags.clear(); spikes_end.clear(); groups_end.clear(); received_end.clear();
        group.clear(); received.clear(); multiplicity.clear(); membrane.clear();
    }
};
