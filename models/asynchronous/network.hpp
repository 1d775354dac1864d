// Leaky integrate-and-fire neurons and what joins them.
#pragma once

enum { TILE = 16 };  // neurons that are tested together: one cache line of single-precision membranes

// Weights from one population of sources: dense rows onto whole tiles of neurons, or sparse rows.
struct Block {
    int64_t first, width;      // dense: targets are neurons first .. first + width - 1, multiples of TILE
    const R* dense;            // (n_pre, width), zero where there is no synapse; null if sparse
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
    const int64_t* fanout;      // weights of dense blocks that are not zero
    const Population* populations;
    const Block* blocks;
    const R* leak;              // per neuron, over one timestep
    const R* sigma;             // synchronisation threshold per neuron
    const R* const* parameters;
    const int64_t* steps;       // of the parameters: 1 per neuron, 0 if all neurons share one tile of equal values
    int64_t leak_step;
};
