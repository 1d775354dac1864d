// What a sample, a thread and a shard hold while the SpikingGamma engine runs.
#pragma once
#include "gamma/patches.hpp"

constexpr int SPAN = 64;  // steps that a layer runs before the next layer follows: what passes between them stays in cache
constexpr double MOST_SPIKES = 2147483647;  // that one event stands for

// Events of one sample and one layer.
struct Events {
    std::vector<int64_t> ptr;
    std::vector<int32_t> units;
    std::vector<R> amounts;
    void clear() { ptr.assign(1, 0); units.clear(); amounts.clear(); }
    void append_cells(const Events& from, int t0, int t1, const int32_t* cells) {  // steps of a source's, as cells (null: its units)
        for (int t = t0; t < t1; t++) {
            for (int64_t e = from.ptr[t]; e < from.ptr[t + 1]; e++) {
                const int32_t cell = cells ? cells[from.units[e]] : from.units[e];
                if (cell < 0) continue;
                units.push_back(cell);
                amounts.push_back(from.amounts[e]);
            }
            ptr.push_back((int64_t)units.size());
        }
    }
    EventView view() const { return {ptr.data(), units.data(), amounts.data()}; }
    void append(const BatchEvents& batch, int s, int n_steps) {  // sample s of a batch
        const int64_t *from = batch.ptr + (size_t)s * n_steps, moved = (int64_t)units.size() - from[0];
        for (int t = 1; t <= n_steps; t++) ptr.push_back(from[t] + moved);
        if (batch.unit_bytes == 2) add<uint16_t>(units, batch.units, from[0], from[n_steps]);
        else add<int32_t>(units, batch.units, from[0], from[n_steps]);
        if (batch.amount_bytes == 1) add<uint8_t>(amounts, batch.amounts, from[0], from[n_steps]);
        else add<R>(amounts, batch.amounts, from[0], from[n_steps]);
    }
    template <class T, class To> static void add(std::vector<To>& to, const void* from, int64_t begin, int64_t end) {
        to.insert(to.end(), static_cast<const T*>(from) + begin, static_cast<const T*>(from) + end);
    }
};
typedef std::vector<Events> Record;  // spikes of every hidden layer: index sample * n_hidden_layers + layer

typedef std::vector<std::vector<V>> PerLayer, PerWeight;

template <class T> static T* at_least(std::vector<T>& memory, size_t size) {
    if (memory.size() < size) { memory.clear(); memory.resize(size); }  // nothing is kept: nothing to copy
    return memory.data();
}

struct Network {  // of one call
    const GammaArguments& a;
    const std::vector<Packed>& packed;
    int n() const { return a.n_layers; }
    const Layer& layer(int l) const { return a.layers[l]; }
    const LayerCode& code(int l) const { return layer_codes[a.layers[l].code]; }
    const Connection& connection(int l, int c) const { return a.layers[l].connections[c]; }
    size_t buckets(int l) const { return packed[l].shape.vectors() * code(l).buckets; }
};

// What a sample has seen of a window of steps, and what its reverse needs. A batch is one window.
struct Window {
    int length = 0, steps = 0, n_kept = 0;  // room for steps; steps run; steps that the trace holds
    std::vector<Events> events;             // of each source: the input, the hidden layers
    std::vector<std::vector<Events>> cells; // what each connection of each layer sees, where that is not the source's units
    PerLayer trace, marks;                  // buckets of the latest steps; before every span, if the trace is shorter
    std::vector<V> d_out;                   // rows: dL/dreadout

    void open(const Network& net, int room, int kept) {
        length = room;
        n_kept = kept;
        for (PerLayer* store : {&trace, &marks}) store->resize(net.n());
        events.resize(net.n());
        cells.resize(net.n());
        for (int l = 0; l < net.n(); l++) {
            cells[l].resize(net.layer(l).n_connections);
            at_least(trace[l], net.buckets(l) * n_kept);
            if (spans()) at_least(marks[l], net.buckets(l) * ((length + SPAN - 1) / SPAN));
        }
        at_least(d_out, (size_t)length * net.packed.back().shape.ld());
        clear();
    }
    void clear() {
        steps = 0;
        for (Events& e : events) e.clear();
        for (auto& layer : cells) for (Events& e : layer) e.clear();
    }
    EventView seen(const Connection& c, int l, int index) const {
        return (c.cells || c.source == l + 1 ? cells[l][index] : events[c.source]).view();
    }
    bool spans() const { return n_kept && n_kept < length; }
    V* mark(const Network& net, int l, int t0) { return marks[l].data() + (size_t)(t0 / SPAN) * net.buckets(l); }
};

struct State {  // of the neurons of one sample
    PerLayer buckets, code;
    std::vector<Events> late;  // spikes of the last step, which reach their own layer at the next one
    PerLayer late_errors;      // of a reverse: what the next step's errors are to the step before it
    void clear(const Network& net) {
        late.assign(net.n(), Events{{0, 0}, {}, {}});
        late_errors.assign(net.n(), {});
        buckets.resize(net.n());
        code.resize(net.n());
        for (int l = 0; l < net.n(); l++) {
            buckets[l].assign(net.buckets(l), V{});
            code[l].assign(net.packed[l].shape.vectors() * net.code(l).states, V{});
        }
    }
};

struct Stream {  // one sample
    State state;
    Window older, newer;
};
struct Streams {
    std::vector<Packed> packed;  // parameters of the last call
    std::vector<Stream> samples;
};

// Gradients of one shard: own memory, so that the sum over samples is taken in the same order on any number of threads.
struct Shard {
    std::vector<std::vector<PerWeight>> weights;  // of every layer and connection
    PerLayer parameters, update;
    void allocate(const Network& net) {
        weights.resize(net.n());
        parameters.resize(net.n());
        update.resize(net.n());
        for (int l = 0; l < net.n(); l++) {
            const LayerCode& code = net.code(l);
            const Packed& p = net.packed[l];
            weights[l].resize(net.layer(l).n_connections);
            for (int c = 0; c < net.layer(l).n_connections; c++) {
                weights[l][c].resize(code.weights);
                for (std::vector<V>& w : weights[l][c]) w.resize(net.connection(l, c).n_rows * p.shape.one_place().vectors());
            }
            parameters[l].resize(code.parameters * p.shared.vectors());
            if (net.layer(l).grad_update) update[l].resize((size_t)code.buckets * code.buckets);
        }
    }
};

struct Workspace {  // of a thread, kept between calls
    std::vector<uint64_t> spiking;
    std::vector<V> jump, count, signal, estimate, error, drive, cell_rows;
    std::vector<DenseInput> dense;
    PerLayer d;  // rows of each layer: dL/dsignal
    std::vector<char> reached;  // layers whose rows hold something
    State state, cotangents;  // of a batch's sample; dL/dstate
    Window window;
};
static thread_local Workspace workspace;
