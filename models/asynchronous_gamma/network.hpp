// What the generated source defines for every kind of layer.
#pragma once
#include "native/support.hpp"
extern "C" {
#include "asynchronous_gamma/arguments.h"
}

struct Spike {
    R jump;    // what it carries to its targets
    R margin;  // by how much the neuron still is above threshold
};
struct Kind {
    int rows, weights;          // states of a neuron: its buckets, then its code
    const int* targets;         // bucket that each weight's jump enters
    void (*begin)(const Layer&, R*);
    void (*margins)(const Layer&, const R*, R*);
    Spike (*spike)(const Layer&, R*, int64_t);
};
