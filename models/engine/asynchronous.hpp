// What an asynchronous network, a run and its record are made of.
#pragma once

enum { TILE = 16 };  // neurons that are tested together: one cache line of single-precision membranes

// Weights from one population of sources: dense rows onto contiguous neurons, or sparse rows.
struct Block {
    int64_t first, width;      // dense: targets are neurons first .. first + width - 1
    const R* dense;            // (n_pre, width), null if sparse
    const int64_t* ptr;        // sparse: (n_pre + 1,)
    const int32_t* targets;    // neurons
    const R* weights;
};
struct Population {  // contiguous sources with the same blocks
    int64_t first, size, block_begin, block_end;
};
struct Network {
    int64_t n_inputs, n_neurons, n_outputs, n_populations, n_cores;
    const int32_t* population;  // of every source; sources are the inputs, then the neurons
    const int32_t* layer;
    const int32_t* core;
    const int64_t* fanout;      // synapses with a weight that is not zero
    const Population* populations;
    const Block* blocks;
    const R* leak;              // per neuron, over one timestep
    const R* sigma;             // synchronisation threshold per neuron
    const R* const* parameters;
    const int64_t* steps;       // of the parameters: 1 per neuron, 0 if all neurons share one tile of equal values
    int64_t leak_step;
};

enum StopRule { DRAINED = 0, AFTER_OUTPUT = 1, SPIKE_BUDGET = 2, STEP_BUDGET = 3 };
enum Detail { NOTHING = 0, SPIKES = 1, TAPE = 2 };
enum SpikeFlags { EMITTED = 1, RESTING = 2 };

struct Run {
    int64_t n_samples, n_steps;
    const int64_t* ptr;         // input of sample s, timestep t: ptr[s * n_steps + t] ..
    const int32_t* units;
    const R* values;
    const int64_t* sample_ids;  // what the random numbers of a sample depend on
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
