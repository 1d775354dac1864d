// What the generated code of a layer computes: some steps of one sample, forward and backward.
#pragma once
#include "native/lanes.hpp"
extern "C" {
#include "gamma/arguments.h"
}

struct EventView {  // step t holds events ptr[t] .. ptr[t + 1]; their units are cells
    const int64_t* ptr;
    const int32_t* units;
    const R* amounts;
};

// A layer's numbers as lanes read them.
struct PackedConnection {
    std::vector<std::vector<V>> weights;  // [block of a place][row][nv] each
    std::vector<std::vector<V>> panels;   // transposed weights for `multiply`, where errors are sent down; patches: of every tap
};
struct Packed {
    Blocks shape, shared;                 // of the neurons; of their parameters
    std::vector<V> parameters;            // [block][parameter][nv]
    std::vector<PackedConnection> connections;
};

struct DenseInput {  // of one connection
    EventView in;
    int n_rows;
    const std::vector<V>* weights;  // one or one per bucket
    std::vector<V>* grad;           // null: errors pass without a gradient
};

// What a layer does between steps t0 and t1 of one sample; rows of V have `ld` vectors and start at step t0.
struct Span {
    const DenseInput* dense;
    int n_dense, t0, t1, n_kept;
    const V* drive;         // [weight] rows: what patches add to the bucket; null: nothing
    bool analog;
    V *buckets, *code;      // state, [block][state][nv]
    V* trace;               // buckets of the steps, [block][step modulo n_kept][bucket][nv]; null: not kept
    uint64_t* spiking;      // [step][block]: bit of each neuron that spikes; null: only the trace is wanted
    V* jump;                // rows: what an event of each neuron carries
    V* count;               // rows: how many spikes it stands for, or null
    V* signal;              // rows, or null
    V* estimate;            // rows, or null
    double* total;          // sum of all signals, or null
};
struct ReverseSpan {
    const DenseInput* dense;
    int n_dense, t0, t1, n_kept;
    const V* trace;
    V* cotangent;           // of the buckets one step later, [block][bucket][nv]
    const V* dsignal;       // rows: dL/dsignal
    V* error;               // [weight] rows: what the layers below receive through each weight; null: not sent
    V* by_drive;            // [weight] rows: dL/ddrive; null: not wanted
    V *grad_parameters, *grad_update;  // null: no gradient
};

struct LayerCode {
    int buckets, parameters, weights, states, nv;
    bool multiple;  // an event may stand for several spikes
    void (*forward)(const Layer&, const Packed&, const Span&);
    void (*backward)(const Layer&, const Packed&, const ReverseSpan&);
};
extern const LayerCode layer_codes[];  // generated
