// Batch driver of the SpikingGamma engine: samples over threads, loss at the readout, gradients summed in fixed order.
#pragma once
#include <memory>
#include <stdexcept>
#include "gamma/spans.hpp"

constexpr int SPAN = 64;  // steps that a layer runs before the next layer follows: what passes between them stays in cache
constexpr double MOST_SPIKES = 2147483647;  // that one event stands for

// Events of one sample and one layer.
struct Events {
    std::vector<int64_t> ptr;
    std::vector<int32_t> units;
    std::vector<R> amounts;
    void clear() { ptr.assign(1, 0); units.clear(); amounts.clear(); }
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

typedef std::vector<std::vector<V>> PerLayer;

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
    size_t buckets(int l) const { return packed[l].vectors() * code(l).buckets; }
};

// What a sample has seen of a window of steps, and what its reverse needs. A batch is one window.
struct Window {
    int length = 0, steps = 0, n_kept = 0;  // room for steps; steps run; steps that the trace holds
    std::vector<Events> events;             // input of each layer
    PerLayer trace, marks;                  // buckets of the latest steps; before every span, if the trace is shorter
    std::vector<V> d_out;                   // rows: dL/dreadout

    void open(const Network& net, int room, int kept) {
        length = room;
        n_kept = kept;
        for (PerLayer* store : {&trace, &marks}) store->resize(net.n());
        events.resize(net.n());
        for (int l = 0; l < net.n(); l++) {
            at_least(trace[l], net.buckets(l) * n_kept);
            if (spans()) at_least(marks[l], net.buckets(l) * ((length + SPAN - 1) / SPAN));
        }
        at_least(d_out, (size_t)length * net.packed.back().ld);
        clear();
    }
    void clear() {
        steps = 0;
        for (Events& e : events) e.clear();
    }
    bool spans() const { return n_kept && n_kept < length; }
    V* mark(const Network& net, int l, int t0) { return marks[l].data() + (size_t)(t0 / SPAN) * net.buckets(l); }
};

struct State {  // of the neurons of one sample
    PerLayer buckets, code;
    void clear(const Network& net) {
        buckets.resize(net.n());
        code.resize(net.n());
        for (int l = 0; l < net.n(); l++) {
            buckets[l].assign(net.buckets(l), V{});
            code[l].assign(net.packed[l].vectors() * net.code(l).states, V{});
        }
    }
};

// Gradients of one shard: own memory, so that the sum over samples is taken in the same order on any number of threads.
struct Shard {
    std::vector<PerLayer> weights;
    PerLayer parameters, update;
    void allocate(const Network& net) {
        weights.resize(net.n());
        parameters.resize(net.n());
        update.resize(net.n());
        for (int l = 0; l < net.n(); l++) {
            const LayerCode& code = net.code(l);
            const size_t vectors = net.packed[l].vectors();
            weights[l].resize(code.weights);
            for (std::vector<V>& w : weights[l]) w.resize(net.layer(l).n_pre * vectors);
            parameters[l].resize(code.parameters * vectors);
            if (net.layer(l).grad_update) update[l].resize((size_t)code.buckets * code.buckets);
        }
    }
};

struct Workspace {  // of a thread, kept between calls
    std::vector<uint64_t> spiking;
    std::vector<V> jump, count, signal, estimate, d, d_pre, error;
    State state, cotangents;  // of a batch's sample; dL/dstate
    Window window;
};
static thread_local Workspace workspace;

// Loss of one step of one sample; g becomes its derivative with respect to the readout y (rows of `ld` vectors).
static double loss_of(const GammaArguments& a, size_t row, int n_out, int ld, const V* y_row, V* g_row) {
    const R weight = a.weight ? a.weight[row] : R(1);
    const R* y = (const R*)y_row;
    R* g = (R*)g_row;
    std::memset(g, 0, sizeof(V) * ld);
    if (a.loss == EXTERNAL) {
        std::memcpy(g, a.targets + row * n_out, sizeof(R) * n_out);
        return 0;
    }
    if (a.loss == NONE || weight == R(0) || (a.loss == CROSS_ENTROPY && a.labels[row] < 0)) return 0;
    if (a.loss == CROSS_ENTROPY) {
        const int label = a.labels[row];
        R top = y[0];
        for (int o = 1; o < n_out; o++) top = y[o] > top ? y[o] : top;
        for (int i = 0; i * LANES < n_out; i++) g_row[i] = exp_negative(y_row[i] - top);
        for (int o = n_out; o % LANES; o++) g[o] = 0;
        V sums{};
        for (int i = 0; i * LANES < n_out; i++) sums += g_row[i];
        const R sum = sum_of(sums);
        for (int i = 0; i * LANES < n_out; i++) g_row[i] *= weight / sum;
        g[label] -= weight;
        return weight * (std::log((double)sum) + top - y[label]);
    }
    double total = 0;  // squared error, mean over the outputs
    for (int o = 0; o < n_out; o++) {
        const R difference = y[o] - a.targets[row * n_out + o];
        g[o] = weight * 2 * difference / n_out;
        total += weight * difference * difference / n_out;
    }
    return total;
}

// Spikes of a span of layer l, in the order of steps and neurons: counted, and the input of the next layer.
static void emit(const Network& net, int s, int l, int first_neuron, int t_call, const Span& span, Events& out) {
    const GammaArguments& a = net.a;
    const Packed& p = net.packed[l];
    const int n = net.layer(l).n, steps = span.t1 - span.t0, used = (n + p.width() - 1) / p.width();
    const uint64_t last = ~uint64_t(0) >> (63 - (n - 1) % p.width());  // a block has at most 64 neurons
    int64_t& spikes = a.spikes[(size_t)s * (a.n_layers - 1) + l];
    int64_t* neuron_spikes = a.neuron_spikes ? a.neuron_spikes + (size_t)s * a.n_hidden + first_neuron : nullptr;
    size_t size = out.units.size(), total = size;
    for (int i = 0; i < steps * p.blocks; i++) total += __builtin_popcountll(span.spiking[i]);
    out.units.resize(total);
    out.amounts.resize(total);
    for (int t = 0; t < steps; t++) {
        const auto row = [&](const V* rows) { return (const R*)(rows + (size_t)t * p.ld); };
        for (int b = 0; b < used; b++) {
            uint64_t bits = span.spiking[(size_t)t * p.blocks + b];
            if (b == used - 1) bits &= last;
            for (; bits; bits &= bits - 1) {
                const int unit = b * p.width() + __builtin_ctzll(bits);
                const R count = span.count ? row(span.count)[unit] : R(1);
                if (!(count <= MOST_SPIKES)) {
                    const double found[] = {double(s), double(t_call + t), double(l), double(unit), row(span.signal)[unit], count};
                    #pragma omp critical
                    std::copy(found, found + 6, a.failure);
                    throw std::overflow_error("spikes");
                }
                spikes += (int64_t)count;
                if (neuron_spikes) neuron_spikes[unit] += (int64_t)count;
                out.units[size] = unit;
                out.amounts[size++] = row(span.jump)[unit];
            }
        }
        out.ptr.push_back((int64_t)size);
    }
    out.units.resize(size);
    out.amounts.resize(size);
}

static void copy_rows(R* out, const V* rows, int steps, int ld, int n) {
    for (int t = 0; t < steps; t++) std::memcpy(out + (size_t)t * n, rows + (size_t)t * ld, sizeof(R) * n);
}

// Runs a sample on through the steps of the call, the next ones of its window.
static void run_forward(const Network& net, int s, Workspace& ws, State& state, Window& w) {
    const GammaArguments& a = net.a;
    const int last = net.n() - 1, begin = w.steps, end = begin + a.n_steps;
    w.events[0].append(a.input, s, a.n_steps);
    for (int l = 0; a.given && l < last; l++) w.events[l + 1].append(a.given[l], s, a.n_steps);
    double loss = 0;
    for (int t0 = begin; t0 < end; t0 += SPAN) {
        const int t1 = std::min(end, t0 + SPAN), steps = t1 - t0, t_call = t0 - begin;
        const size_t row = (size_t)s * a.n_steps + t_call;
        for (int l = 0, first_neuron = 0; l <= last; first_neuron += net.layer(l++).n) {
            const Layer& L = net.layer(l);
            const Packed& p = net.packed[l];
            const bool multiple = net.code(l).multiple && !a.analog;
            const size_t rows = (size_t)SPAN * p.ld;
            if (w.spans()) std::copy(state.buckets[l].begin(), state.buckets[l].end(), w.mark(net, l, t0));
            const Span span = {w.events[l].view(), t0, t1, w.n_kept, a.analog != 0, state.buckets[l].data(), state.code[l].data(),
                               w.n_kept && (!w.spans() || t1 == end) ? w.trace[l].data() : nullptr,
                               at_least(ws.spiking, (size_t)SPAN * p.blocks), at_least(ws.jump, rows),
                               multiple ? at_least(ws.count, rows) : nullptr,
                               l == last || a.signals || multiple ? at_least(ws.signal, rows) : nullptr,
                               l < last && a.estimates ? at_least(ws.estimate, rows) : nullptr};
            net.code(l).forward(L, p, span);
            if (l < last) {
                if (!a.given) emit(net, s, l, first_neuron, t_call, span, w.events[l + 1]);
                if (a.signals) copy_rows(a.signals[l] + row * L.n, span.signal, steps, p.ld, L.n);
                if (a.estimates) copy_rows(a.estimates[l] + row * L.n, span.estimate, steps, p.ld, L.n);
                continue;
            }
            if (a.readout) copy_rows(a.readout + row * L.n, span.signal, steps, p.ld, L.n);
            for (int t = 0; t < steps && (w.n_kept || a.loss != NONE); t++)
                loss += loss_of(a, row + t, L.n, p.ld, span.signal + (size_t)t * p.ld, w.d_out.data() + (size_t)(t0 + t) * p.ld);
        }
    }
    a.losses[s] = loss;
    w.steps = end;
}

// Error of layer l to dL/dsignal of the layer below, `steps` rows.
static const V* send_down(const Network& net, int l, int steps, const V* error, Workspace& ws) {
    const Packed& p = net.packed[l];
    const int ld = net.packed[l - 1].ld;
    const R activity = R(net.layer(l - 1).activity);
    V* d_pre = at_least(ws.d_pre, (size_t)SPAN * ld);
    for (int w = 0; w < net.code(l).weights; w++)
        multiply(d_pre, error + (size_t)w * steps * p.ld, p.panels[w].data(), steps, net.layer(l).n, ld / 2, p.ld, ld, w > 0);
    if (activity != 0)  // mean signal of the layer: each step of each neuron counts the same
        for (int i = 0; i < steps * ld; i++) d_pre[i] += activity;
    std::swap(ws.d, ws.d_pre);
    return ws.d.data();
}

// Takes the errors of a window back from its last step to its first; without a shard they give no gradient.
static void run_backward(const Network& net, Workspace& ws, State& state, Window& w, Shard* shard) {
    const int last = net.n() - 1;
    for (int t0 = (w.steps + SPAN - 1) / SPAN * SPAN - SPAN; t0 >= 0; t0 -= SPAN) {
        const int t1 = std::min(w.steps, t0 + SPAN), steps = t1 - t0;
        const V* d = w.d_out.data() + (size_t)t0 * net.packed[last].ld;
        for (int l = last; l >= 0; l--) {
            const Layer& L = net.layer(l);
            const Packed& p = net.packed[l];
            const EventView in = w.events[l].view();
            V* error = l ? at_least(ws.error, (size_t)net.code(l).weights * SPAN * p.ld) : nullptr;
            if (w.spans() && t1 < w.steps)  // the buckets of the last span are still there
                net.code(l).forward(L, p, {in, t0, t1, w.n_kept, false, w.mark(net, l, t0), state.code[l].data(), w.trace[l].data()});
            net.code(l).backward(L, p, {in, t0, t1, w.n_kept, w.trace[l].data(), ws.cotangents.buckets[l].data(), d, error,
                                        shard ? shard->weights[l].data() : nullptr, shard ? shard->parameters[l].data() : nullptr,
                                        shard && L.grad_update ? shard->update[l].data() : nullptr});
            if (l) d = send_down(net, l, steps, error, ws);
        }
    }
}

// Sum of one array over the shards, from blocks to (n_rows, n).
template <class Get>
static void reduce(R* out, const Packed& p, int n_rows, int n, int row, const std::vector<Shard>& shards, Get get) {
    for (int b = 0; b < p.blocks; b++) {
        const int first = b * p.width(), count = std::min(p.width(), n - first);
        if (count <= 0) break;
        V sum[4] = {};
        for (const Shard& shard : shards) {
            const V* part = get(shard) + ((size_t)b * n_rows + row) * p.nv;
            for (int i = 0; i < p.nv; i++) sum[i] += part[i];
        }
        std::memcpy(out + (size_t)row * n + first, sum, sizeof(R) * count);
    }
}

static void reduce_shards(const Network& net, const std::vector<Shard>& shards) {  // called by every thread of a region
    for (int l = 0; l < net.n(); l++) {
        const Layer& L = net.layer(l);
        const LayerCode& code = net.code(l);
        for (int w = 0; w < code.weights; w++) {
            #pragma omp for schedule(static) nowait
            for (int i = 0; i < L.n_pre; i++)
                reduce(L.grad_weights[w], net.packed[l], L.n_pre, L.n, i, shards,
                       [&](const Shard& shard) { return shard.weights[l][w].data(); });
        }
        #pragma omp single nowait
        {
            for (int i = 0; i < code.parameters; i++)
                reduce(L.grad_parameters, net.packed[l], code.parameters, L.n, i, shards,
                       [&](const Shard& shard) { return shard.parameters[l].data(); });
            for (int i = 0; L.grad_update && i < code.buckets * code.buckets; i++) {
                L.grad_update[i] = 0;
                for (const Shard& shard : shards) L.grad_update[i] += sum_of(shard.update[l][i]);
            }
        }
    }
}

static std::vector<Packed> pack_layers(const GammaArguments& a) {
    std::vector<Packed> packed(a.n_layers);
    for (int l = 0; l < a.n_layers; l++) {
        const Layer& L = a.layers[l];
        const LayerCode& code = layer_codes[L.code];
        Packed& p = packed[l];
        p.shape(L.n, code.nv);
        p.weights.resize(code.weights);
        p.panels.resize(code.weights);
        for (int w = 0; w < code.weights; w++) {
            pack(p.weights[w], p, L.weights[w], L.n_pre, L.n);
            if (a.gradient && l) pack_panels(p.panels[w], L.weights[w], L.n_pre, L.n, packed[l - 1].ld);
        }
        pack(p.parameters, p, L.parameters, code.parameters, L.n);
    }
    return packed;
}

// Calls f(sample, workspace, shard) for every sample, and adds up the gradients of the shards.
template <class F> static void for_samples(const Network& net, F f) {
    const GammaArguments& a = net.a;
    const int groups = a.gradient ? std::max(1, std::min(a.n_shards, a.n_samples)) : a.n_samples;
    std::vector<Shard> shards(a.gradient ? groups : 0);
    int failed = 0;
    #pragma omp parallel num_threads(std::max(1, std::min(a.n_threads, groups)))
    {
        #pragma omp for schedule(dynamic, 1)
        for (int k = 0; k < groups; k++) {
            const int status = guarded([&] {
                if (a.gradient) shards[k].allocate(net);
                const int begin = (int)((int64_t)a.n_samples * k / groups), end = (int)((int64_t)a.n_samples * (k + 1) / groups);
                for (int s = begin; s < end; s++) f(s, workspace, a.gradient ? &shards[k] : nullptr);
            });
            if (status) {
                #pragma omp atomic write
                failed = status;
            }
        }
        if (a.gradient && !failed) reduce_shards(net, shards);
    }
    if (failed == OUT_OF_MEMORY) throw std::bad_alloc();
    if (failed) throw std::runtime_error("a sample failed");
}

extern "C" {

int gamma_run(const GammaArguments* arguments, void** record) {
    return guarded([&] {
        const std::vector<Packed> packed = pack_layers(*arguments);
        const Network net = {*arguments, packed};
        const int T = arguments->n_steps, n_hidden = net.n() - 1;
        std::unique_ptr<Record> spikes(record ? new Record((size_t)arguments->n_samples * n_hidden) : nullptr);
        for_samples(net, [&](int s, Workspace& ws, Shard* shard) {
            ws.state.clear(net);
            ws.window.open(net, T, shard ? std::min(T, SPAN) : 0);
            run_forward(net, s, ws, ws.state, ws.window);
            for (int l = 0; record && l < n_hidden; l++) (*spikes)[(size_t)s * n_hidden + l] = ws.window.events[l + 1];
            if (!shard || arguments->loss == NONE) return;
            ws.cotangents.clear(net);
            run_backward(net, ws, ws.state, ws.window, shard);
        });
        if (record) *record = spikes.release();
    });
}

int64_t gamma_recorded(void* record, int index) { return (int64_t)(*static_cast<Record*>(record))[index].units.size(); }
void gamma_copy(void* record, int index, int64_t* ptr, int32_t* units, R* amounts) {
    const Events& e = (*static_cast<Record*>(record))[index];
    std::copy(e.ptr.begin(), e.ptr.end(), ptr);
    std::copy(e.units.begin(), e.units.end(), units);
    std::copy(e.amounts.begin(), e.amounts.end(), amounts);
}
void gamma_free(void* record) { delete static_cast<Record*>(record); }
}
