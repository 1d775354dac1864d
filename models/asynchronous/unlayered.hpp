// What the reverse pass reads (a tape, weights, derivatives of the loss) and where its results go.
#pragma once

struct Projection {
    int64_t first, width;          // targets of a dense projection: neurons first .. first + width - 1
    const R* dense;                // (n_pre, width), null if sparse
    const int64_t* ptr;            // sparse: rows, targets, weights
    const int32_t* targets;
    const R* weights;
    int64_t offset;                // where its gradient lies
};
struct Source {  // a layer, as sender
    int64_t first, size, projection_begin, projection_end;
};

enum Filler { NO_FILLER = 0, FIRST_SILENT = 1, RANDOM_RUN = 2 };
enum SpikeFlags { EMITTED = 1, RESTING = 2 };

struct Job {
    int64_t n_samples, n_steps, n_inputs, n_neurons, n_outputs, n_weights, first_layer;
    // network
    const int32_t* layer_of;       // per source
    const Source* sources;
    const Projection* projections;
    const R* leak;
    const R* sigma;                // null without synchronisation threshold
    const R* const* parameters;
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
    int64_t first_step;            // number of the first timestep: what its random numbers depend on
    uint64_t seed;
    double spike_dropout;
    // what is differentiated
    int64_t every, cut, detach_reset, slots, ties, filler, truncate, cut_timesteps, train_leak;
    double steepness, gain, sigma_steepness, sigma_gain;
    // derivatives of the loss
    const R* by_count;             // (n_samples, n_steps, n_outputs)
    const R* by_membrane;          // (n_samples, n_steps, n_outputs) at the end of each timestep, or null
    const R* by_latency;           // (n_samples, n_outputs) per forward step until the first spike, or null
    double by_spike;               // per spike of any neuron
    // results; `work` is (n_shards, n_total), n_total = n_weights + (PARAMETERS + 2) * n_neurons
    int64_t n_shards, threads, n_total;
    R* work;
    R* gradient;                   // (n_total,): weights, parameters, leak, sigma
};
