// What the generated code of a layer computes: some steps of one sample, forward and backward.
#pragma once
#include "native/lanes.hpp"
extern "C" {
#include "gamma/arguments.h"
}

struct EventView {  // step t holds events ptr[t] .. ptr[t + 1]
    const int64_t* ptr;
    const int32_t* units;
    const R* amounts;
};

// What a layer does between steps t0 and t1 of one sample; rows of V have `ld` vectors and start at step t0.
struct Span {
    EventView in;
    int t0, t1, n_kept;
    bool analog;
    V *buckets, *code;      // state, [block][state][nv]
    V* trace;               // buckets of the steps, [block][step modulo n_kept][bucket][nv]; null: not kept
    uint64_t* spiking;      // [step][block]: bit of each neuron that spikes; null: only the trace is wanted
    V* jump;                // rows: what an event of each neuron carries
    V* count;               // rows: how many spikes it stands for, or null
    V* signal;              // rows, or null
    V* estimate;            // rows, or null
};
struct ReverseSpan {
    EventView in;
    int t0, t1, n_kept;
    const V* trace;
    V* cotangent;           // of the buckets one step later, [block][bucket][nv]
    const V* dsignal;       // rows: dL/dsignal
    V* error;               // [weight] rows: what the layer below receives through each weight; null: not sent
    std::vector<V>* grad_weights;  // null: errors pass without a gradient
    V *grad_parameters, *grad_update;
};

struct LayerCode {
    int buckets, parameters, weights, states, nv;
    bool multiple;  // an event may stand for several spikes
    void (*forward)(const Layer&, const Packed&, const Span&);
    void (*backward)(const Layer&, const Packed&, const ReverseSpan&);
};
extern const LayerCode layer_codes[];  // generated
