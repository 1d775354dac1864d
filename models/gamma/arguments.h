// Arguments of the SpikingGamma engine, in plain C: the compiler and Python (cffi) read this text.
#pragma once
#include "native/support.hpp"

// Weights through which a source acts on a layer. A unit of the source acts from a cell; cells lie place by place, the
// channels of a place side by side.
typedef struct {
    int32_t source;                // 0: the input, l: the l-th layer; the layer itself: one step late
    int32_t n_rows, depth, n_places;  // rows of each weight matrix; channels and places of the cells
    const int32_t* cells;          // of every unit of the source, -1: none; null: each is its own
    const int32_t* ptr;            // (n_places + 1): entries of a place of the source; null: dense, a cell is a row
    const int32_t *taps, *targets; // of every entry: rows tap*depth + channel of the kernel, place of the layer
    const R* const* weights;       // one or one per bucket, (n_rows, channels) each
    R* const* grad_weights;        // null: no gradient
} Connection;

typedef struct {
    int32_t code, n, n_places;     // which of the compiled codes; neurons; places that they are spread over
    int32_t n_connections;
    const Connection* connections;
    const R* parameters;           // (n_parameters, channels): neurons of a channel share them
    const R* A;                    // (K, K): buckets over one step
    const R* constants;            // of the expressions
    const R* scales;               // factor of each weight's jump
    const R* send;                 // (n_weights, K): the error sent down at once; null: through the memory
    R* grad_parameters;
    R* grad_update;                // (K, K), of A; null unless time constants are trained
    double sender_decay;           // of the senders' estimates over one step
} Layer;

enum Loss { NONE, CROSS_ENTROPY, SQUARED_ERROR, EXTERNAL };

// Events of a batch: step t of sample s holds ptr[s*n_steps + t] .. ptr[s*n_steps + t + 1]. A data set is kept in small
// integers, and passed in them.
typedef struct {
    const int64_t* ptr;
    const void* units;             // uint16 or int32
    const void* amounts;           // what an event carries: uint8 or R
    int32_t unit_bytes, amount_bytes;
} BatchEvents;

typedef struct {
    const Layer* layers;
    const void* packed;            // a stream that has packed the layers; null: that is done for the call
    int32_t n_layers, n_hidden;    // n_hidden: neurons of all hidden layers
    int32_t n_samples, n_steps, n_shards, n_threads;
    int32_t analog, gradient, loss;
    double activity;               // weight in the loss of every hidden neuron's signal at every step
    BatchEvents input;
    const BatchEvents* given;      // spikes of every hidden layer, whatever its code says; or null
    const int32_t* labels;         // (n_samples, n_steps), -1: no loss at this step; cross entropy
    const R* targets;              // (n_samples, n_steps, n_out); squared error, or dL/dreadout itself (external)
    const R* weight;               // (n_samples, n_steps): weight of a step in the loss
    R* readout;                    // (n_samples, n_steps, n_out) or null
    double* losses;                // (n_samples)
    int64_t* spikes;               // (n_samples, n_layers - 1): of each hidden layer; given spikes are not counted
    int64_t* neuron_spikes;        // (n_samples, n_hidden) or null
    R* const* signals;             // per hidden layer (n_samples, n_steps, n), or null
    R* const* estimates;           // the same for the estimates
    double* failure;               // of a neuron with too many spikes: sample, step, layer, neuron, signal, spikes
} GammaArguments;

// Each returns 0, or how it failed (see `guarded`). A record (null: not wanted) holds the spikes of a run, with index
// sample*n_hidden_layers + layer; a stream holds the state of the samples, and gives the gradient of its older window (with `flush`, of both).
int gamma_run(const GammaArguments* arguments, void** record);
int gamma_open(const GammaArguments* arguments, int window, int learn, void** stream);
int gamma_advance(void* stream, const GammaArguments* arguments, int changed);
int gamma_reverse(void* stream, const GammaArguments* arguments, int flush);
void gamma_close(void* stream);
int64_t gamma_recorded(void* record, int index);
void gamma_copy(void* record, int index, int64_t* ptr, int32_t* units, R* amounts);
void gamma_free(void* record);
