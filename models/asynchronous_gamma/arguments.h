// SpikingGamma layers as an event-driven run sees them, in plain C: the compiler and Python (cffi) read this text.
#pragma once
#include "order/arguments.h"

typedef struct {
    int64_t kind, n_pre, n;
    int64_t first;              // first neuron of the layer; sources are the inputs, then the neurons
    int64_t fanout;             // weights that a spike of this layer meets in the next one
    const R* const* weights;    // (n_pre, n) each
    const R* parameters;        // (n_parameters, n)
    const R* A;                 // (K, K): buckets over one step
    const R* c;                 // constants of the expressions
    const R* scales;            // factor of each weight's jump
} Layer;

// The readout is no part of it.
struct Network {
    int64_t n_inputs, n_neurons, n_layers, idle_at_start;
    const int32_t* layer;       // of every source, 0: input
    const Layer* layers;
};
