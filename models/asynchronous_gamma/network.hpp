// Layers of SpikingGamma neurons as an event-driven run sees them; the readout is no part of it.
#pragma once

struct Spike {
    R jump;    // what it carries to its targets
    R margin;  // by how much the neuron still is above threshold
};

struct Layer {
    int64_t kind, n_pre, n;
    int64_t first;              // first neuron of the layer; sources are the inputs, then the neurons
    int64_t fanout;             // weights that a spike of this layer meets in the next one
    const R* const* weights;    // (n_pre, n) each
    const R* parameters;        // (n_parameters, n)
    const R* A;                 // (K, K): buckets over one step
    const R* c;                 // constants of the expressions
    const R* scales;            // factor of each weight's jump
};
struct Network {
    int64_t n_inputs, n_neurons, n_layers, idle_at_start;
    const int32_t* layer;       // of every source, 0: input
    const Layer* layers;
};
struct Kind {
    int rows, weights;          // states of a neuron: its buckets, then its code
    const int* targets;         // bucket that each weight's jump enters
    void (*begin)(const Layer&, R*);
    void (*margins)(const Layer&, const R*, R*);
    Spike (*spike)(const Layer&, R*, int64_t);
};
