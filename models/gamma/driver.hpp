// Batch driver of the SpikingGamma engine: samples over threads, loss at the readout, gradients summed in fixed order.
#pragma once

struct Batch {
    int32_t n_layers, n_samples, n_steps, n_shards, n_threads, analog, gradient, loss;
    int32_t unit_bytes;      // 2: units are uint16; 4: int32
    int32_t value_bytes;     // 1: values are uint8; else R
    const int64_t* ptr;      // (n_samples * n_steps + 1)
    const void* units;
    const void* values;
    const int32_t* labels;   // (n_samples, n_steps), -1: no loss at this step; cross entropy
    const R* targets;        // (n_samples, n_steps, n_out); squared error, or dL/dreadout itself (external)
    const R* weight;         // (n_samples, n_steps): weight of a step in the loss
    R* readout;              // (n_samples, n_steps, n_out) or null
    double* losses;          // (n_samples)
    int64_t* spikes;         // (n_samples, n_layers - 1): spikes of each hidden layer
    int32_t* neuron_spikes;  // (n_samples, total hidden) or null
    R** signals;             // per hidden layer (n_samples, n_steps, n), or null
    R** estimates;           // the same for the estimates
    const int64_t** given_ptr;     // per hidden layer as ptr: its spikes are these, whatever its code says; or null
    const int32_t** given_units;
    const R** given_values;
};

enum Loss { NONE = 0, CROSS_ENTROPY = 1, SQUARED_ERROR = 2, EXTERNAL = 3 };
constexpr int SPAN = 64;  // steps that a layer runs before the next layer follows: what passes between them stays in cache

struct Recording {  // spikes of every hidden layer, sample after sample
    std::vector<Events> layers;  // index sample * n_hidden + layer
};

// Loss of one step of one sample; g becomes its derivative with respect to the readout y (rows of `ld` vectors).
static double loss_of(const Batch& b, size_t row, int n_out, int ld, const V* y_row, V* g_row) {
    const R weight = b.weight ? b.weight[row] : R(1);
    const R* y = (const R*)y_row;
    R* g = (R*)g_row;
    std::memset(g, 0, sizeof(V) * ld);
    if (b.loss == EXTERNAL) {
        std::memcpy(g, b.targets + row * n_out, sizeof(R) * n_out);
        return 0;
    }
    if (weight == R(0) || (b.loss == CROSS_ENTROPY && b.labels[row] < 0)) return 0;
    if (b.loss == CROSS_ENTROPY) {
        const int label = b.labels[row];
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
        const R difference = y[o] - b.targets[row * n_out + o];
        g[o] = weight * 2 * difference / n_out;
        total += weight * difference * difference / n_out;
    }
    return total;
}

struct Workspace {
    std::vector<Events> events;  // of each layer's input
    std::vector<std::vector<V>> buckets, code;
    std::vector<std::vector<V>> trace, marks;  // buckets: of all steps of one span, and before every span
    std::vector<uint64_t> spiking;
    std::vector<V> jump, count, signal, estimate, d, d_pre, error, d_out;
};

template <class T> static T* at_least(std::vector<T>& memory, size_t size) {
    if (memory.size() < size) { memory.clear(); memory.resize(size); }  // nothing is kept: nothing to copy
    return memory.data();
}

static EventView view(const Events& e) { return {e.ptr.data(), e.units.data(), e.values.data()}; }

// Events of sample s out of those of a batch.
template <class U, class X>
static void load_events(const int64_t* ptr, const void* units, const void* values, int s, int n_steps, Events& out) {
    ptr += (size_t)s * n_steps;
    const int64_t begin = ptr[0], count = ptr[n_steps] - begin;
    const U* from = static_cast<const U*>(units) + begin;
    const X* carried = static_cast<const X*>(values) + begin;
    out.clear();
    out.ptr.resize(n_steps + 1);
    out.units.resize(count);
    out.values.resize(count);
    for (int t = 0; t <= n_steps; t++) out.ptr[t] = ptr[t] - begin;
    for (int64_t e = 0; e < count; e++) { out.units[e] = (int32_t)from[e]; out.values[e] = R(carried[e]); }
}
template <class U, class X> static void load_events(const Batch& b, int s, Events& out) {
    load_events<U, X>(b.ptr, b.units, b.values, s, b.n_steps, out);
}

// Spikes of a span in the order of steps and neurons.
static void emit(const Packed& p, int n, int steps, const uint64_t* spiking, const V* jump, const V* count, Events& out) {
    size_t size = out.units.size(), total = size;
    const uint64_t last = ~uint64_t(0) >> (63 - (n - 1) % p.width());  // a block has at most 64 neurons
    const int used = (n + p.width() - 1) / p.width();
    for (int i = 0; i < steps * p.blocks; i++) total += __builtin_popcountll(spiking[i]);
    out.units.resize(total);
    out.values.resize(total);
    for (int t = 0; t < steps; t++) {
        const R* carried = (const R*)(jump + (size_t)t * p.ld);
        for (int b = 0; b < used; b++) {
            uint64_t bits = spiking[(size_t)t * p.blocks + b];
            if (b == used - 1) bits &= last;
            for (; bits; bits &= bits - 1) {
                const int unit = b * p.width() + __builtin_ctzll(bits);
                out.units[size] = unit;
                out.values[size++] = carried[unit];
                if (count) out.counts.push_back((int32_t)((const R*)(count + (size_t)t * p.ld))[unit]);
            }
        }
        out.ptr.push_back((int64_t)size);
    }
    out.units.resize(size);
    out.values.resize(size);
}

static void copy_rows(R* out, const V* rows, int steps, int ld, int n) {
    for (int t = 0; t < steps; t++) std::memcpy(out + (size_t)t * n, rows + (size_t)t * ld, sizeof(R) * n);
}

// Gradients of one shard: own memory, so that the sum over samples is taken in the same order on any number of threads.
struct Shard {
    std::vector<std::vector<V>> store, A;
    std::vector<V*> weights;     // n_layers * max_weights
    std::vector<V*> parameters;
    void allocate(const Layer* layers, const std::vector<Packed>& packed, int n_layers, int max_weights) {
        weights.assign((size_t)n_layers * max_weights, nullptr);
        parameters.assign(n_layers, nullptr);
        A.resize(n_layers);
        auto zeros = [&](size_t n) { store.emplace_back(n); return store.back().data(); };
        for (int l = 0; l < n_layers; l++) {
            const Kind& kind = kind_table[layers[l].kind];
            for (int w = 0; w < kind.weights; w++)
                weights[(size_t)l * max_weights + w] = zeros(layers[l].n_pre * packed[l].vectors());
            parameters[l] = zeros(kind.parameters * packed[l].vectors());
            if (layers[l].grad_A) A[l].assign((size_t)kind.buckets * kind.buckets, V{});
        }
    }
};

static V* count_rows(const Kind& kind, const Batch& b, size_t rows, Workspace& ws) {
    return kind.multiple && !b.analog ? at_least(ws.count, rows) : nullptr;
}

// Spikes that the event stands for.
static int32_t count_of(const Events& events, size_t e) { return events.counts.empty() ? 1 : events.counts[e]; }

// Error of layer l to dL/dsignal of the layer below, `steps` rows.
static const V* send_down(const Layer* layers, const std::vector<Packed>& packed, int l, int steps, const V* error,
                          Workspace& ws) {
    const Packed& p = packed[l];
    const int ld = packed[l - 1].ld;
    V* d_pre = at_least(ws.d_pre, (size_t)SPAN * ld);
    for (int w = 0; w < kind_table[layers[l].kind].weights; w++)
        multiply(d_pre, error + (size_t)w * steps * p.ld, p.panels[w].data(), steps, layers[l].n, ld / 2, p.ld, ld, w > 0);
    if (layers[l - 1].activity != 0)  // mean signal of the layer: each step of each neuron counts the same
        for (int i = 0; i < steps * ld; i++) d_pre[i] += R(layers[l - 1].activity);
    std::swap(ws.d, ws.d_pre);
    return ws.d.data();
}

// Buckets of a layer before the span that starts at t0.
static V* mark(Workspace& ws, int l, int t0) { return ws.marks[l].data() + (size_t)(t0 / SPAN) * ws.buckets[l].size(); }

static void run_sample(const Layer* layers, const std::vector<Packed>& packed, const Batch& b, int s, Workspace& ws,
                       Shard* shard, int max_weights, Recording* recording) {
    const int n = b.n_layers, T = b.n_steps, n_out = layers[n - 1].n, ld_out = packed[n - 1].ld;
    ws.events.resize(n);
    ws.buckets.resize(n);
    ws.code.resize(n);
    ws.trace.resize(n);
    ws.marks.resize(n);
    if (b.unit_bytes == 2 && b.value_bytes == 1) load_events<uint16_t, uint8_t>(b, s, ws.events[0]);
    else if (b.unit_bytes == 2) load_events<uint16_t, R>(b, s, ws.events[0]);
    else if (b.value_bytes == 1) load_events<int32_t, uint8_t>(b, s, ws.events[0]);
    else load_events<int32_t, R>(b, s, ws.events[0]);
    for (int l = 0; l < n; l++) {
        const Kind& kind = kind_table[layers[l].kind];
        ws.buckets[l].assign(packed[l].vectors() * kind.buckets, V{});
        ws.code[l].assign(packed[l].vectors() * kind.codes, V{});
        if (l && b.given_ptr)
            load_events<int32_t, R>(b.given_ptr[l - 1], b.given_units[l - 1], b.given_values[l - 1], s, T, ws.events[l]);
        else if (l) ws.events[l].clear();
        if (!shard) continue;
        at_least(ws.trace[l], packed[l].vectors() * SPAN * kind.buckets);
        at_least(ws.marks[l], ws.buckets[l].size() * ((T + SPAN - 1) / SPAN));
    }
    if (b.loss != NONE) at_least(ws.d_out, (size_t)T * ld_out);
    double loss = 0;
    for (int t0 = 0; t0 < T; t0 += SPAN) {
        const int t1 = std::min(T, t0 + SPAN), steps = t1 - t0;
        for (int l = 0; l < n; l++) {
            const Packed& p = packed[l];
            const bool last = l == n - 1;
            const size_t rows = (size_t)SPAN * p.ld, first = ((size_t)s * T + t0) * layers[l].n;
            if (shard) std::copy(ws.buckets[l].begin(), ws.buckets[l].end(), mark(ws, l, t0));
            Span span = {view(ws.events[l]), t0, t1, SPAN, b.analog != 0, ws.buckets[l].data(), ws.code[l].data(),
                         shard && t1 == T ? ws.trace[l].data() : nullptr, at_least(ws.spiking, (size_t)SPAN * p.blocks),
                         at_least(ws.jump, rows), count_rows(kind_table[layers[l].kind], b, rows, ws), last || b.signals ? at_least(ws.signal, rows) : nullptr,
                         !last && b.estimates ? at_least(ws.estimate, rows) : nullptr};
            kind_table[layers[l].kind].forward(layers[l], p, span);
            if (!last) {
                if (!b.given_ptr) emit(p, layers[l].n, steps, span.spiking, span.jump, span.count, ws.events[l + 1]);
                if (b.signals) copy_rows(b.signals[l] + first, span.signal, steps, p.ld, layers[l].n);
                if (b.estimates) copy_rows(b.estimates[l] + first, span.estimate, steps, p.ld, layers[l].n);
            } else {
                if (b.readout) copy_rows(b.readout + first, span.signal, steps, p.ld, n_out);
                for (int t = t0; t < t1 && b.loss != NONE; t++)
                    loss += loss_of(b, (size_t)s * T + t, n_out, p.ld, span.signal + (size_t)(t - t0) * p.ld,
                                    ws.d_out.data() + (size_t)t * p.ld);
            }
        }
    }
    if (b.loss != NONE) b.losses[s] = loss;
    size_t hidden = 0, before = 0;
    for (int l = 0; l + 1 < n; l++) hidden += layers[l].n;
    for (int l = 0; l + 1 < n; l++) {
        const Events& fired = ws.events[l + 1];
        for (size_t e = 0; e < fired.units.size(); e++) {
            if (b.spikes) b.spikes[(size_t)s * (n - 1) + l] += count_of(fired, e);
            if (b.neuron_spikes) b.neuron_spikes[s * hidden + before + fired.units[e]] += count_of(fired, e);
        }
        if (recording) recording->layers[(size_t)s * (n - 1) + l] = fired;
        before += layers[l].n;
    }
    if (!shard || b.loss == NONE) return;
    for (int l = 0; l < n; l++) std::fill(ws.buckets[l].begin(), ws.buckets[l].end(), V{});
    for (int t0 = (T - 1) / SPAN * SPAN; t0 >= 0; t0 -= SPAN) {
        const int t1 = std::min(T, t0 + SPAN), steps = t1 - t0;
        const V* d = ws.d_out.data() + (size_t)t0 * ld_out;
        for (int l = n - 1; l >= 0; l--) {
            const Packed& p = packed[l];
            const Kind& kind = kind_table[layers[l].kind];
            V* error = l ? at_least(ws.error, (size_t)kind.weights * SPAN * p.ld) : nullptr;
            if (t1 < T) {  // the buckets of the last span are still there; those of the others are computed again
                const Span again = {view(ws.events[l]), t0, t1, SPAN, false, mark(ws, l, t0), ws.code[l].data(), ws.trace[l].data()};
                kind.forward(layers[l], p, again);
            }
            const ReverseSpan span = {view(ws.events[l]), t0, t1, SPAN, ws.trace[l].data(), ws.buckets[l].data(), d, error,
                                      &shard->weights[(size_t)l * max_weights], shard->parameters[l],
                                      layers[l].grad_A ? shard->A[l].data() : nullptr};
            kind.backward(layers[l], p, span);
            if (!l) break;
            d = send_down(layers, packed, l, steps, error, ws);
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

static void reduce_shards(const Layer* layers, const std::vector<Packed>& packed, const std::vector<Shard>& shards,
                          int n_layers, int max_weights) {  // called by every thread of a parallel region
    for (int l = 0; l < n_layers; l++) {
        const Layer& L = layers[l];
        const Kind& kind = kind_table[L.kind];
        for (int w = 0; w < kind.weights; w++) {
            #pragma omp for schedule(static) nowait
            for (int i = 0; i < L.n_pre; i++)
                reduce(L.grad_weights[w], packed[l], L.n_pre, L.n, i, shards,
                       [&](const Shard& shard) { return shard.weights[(size_t)l * max_weights + w]; });
        }
        #pragma omp single nowait
        {
            for (int i = 0; i < kind.parameters; i++)
                reduce(L.grad_parameters, packed[l], kind.parameters, L.n, i, shards,
                       [&](const Shard& shard) { return shard.parameters[l]; });
            for (int i = 0; L.grad_A && i < kind.buckets * kind.buckets; i++) {
                L.grad_A[i] = 0;
                for (const Shard& shard : shards) L.grad_A[i] += sum_of(shard.A[l][i]);
            }
        }
    }
}

static void pack_layers(const Layer* layers, const Batch& b, std::vector<Packed>& packed) {
    for (int l = 0; l < b.n_layers; l++) {
        const Layer& L = layers[l];
        const Kind& kind = kind_table[L.kind];
        Packed& p = packed[l];
        p.shape(L.n, kind.nv);
        p.weights.resize(kind.weights);
        p.panels.resize(kind.weights);
        for (int w = 0; w < kind.weights; w++) {
            pack(p.weights[w], p, L.weights[w], L.n_pre, L.n);
            if (b.gradient && l) pack_panels(p.panels[w], L.weights[w], L.n_pre, L.n, packed[l - 1].ld);
        }
        pack(p.parameters, p, L.parameters, kind.parameters, L.n);
    }
}

extern "C" {

void* gamma_record(int n_samples, int n_hidden) {
    auto* recording = new Recording;
    recording->layers.resize((size_t)n_samples * n_hidden);
    return recording;
}
int64_t gamma_recorded(void* handle, int index) { return (int64_t)static_cast<Recording*>(handle)->layers[index].units.size(); }
void gamma_copy(void* handle, int index, int64_t* ptr, int32_t* units, R* values) {
    const Events& e = static_cast<Recording*>(handle)->layers[index];
    std::copy(e.ptr.begin(), e.ptr.end(), ptr);
    std::copy(e.units.begin(), e.units.end(), units);
    std::copy(e.values.begin(), e.values.end(), values);
}
void gamma_free(void* handle) { delete static_cast<Recording*>(handle); }

// 0, or 1 if memory ran out.
int gamma_run(const Layer* layers, const Batch* batch, int max_weights, void* recording) {
    const Batch& b = *batch;
    const int groups = b.gradient ? std::max(1, std::min(b.n_shards, b.n_samples)) : b.n_samples;
    std::vector<Packed> packed(b.n_layers);
    std::vector<Shard> shards;
    int failed = 0;
    try {
        pack_layers(layers, b, packed);
        shards.resize(b.gradient ? groups : 0);
    } catch (const std::bad_alloc&) {
        return 1;
    }
    #pragma omp parallel num_threads(std::max(1, std::min(b.n_threads, groups)))
    {
        static thread_local Workspace ws;  // kept between calls
        #pragma omp for schedule(dynamic, 1)
        for (int k = 0; k < groups; k++) {
            try {
                Shard* shard = b.gradient ? &shards[k] : nullptr;
                if (shard) shard->allocate(layers, packed, b.n_layers, max_weights);
                const int begin = (int)((int64_t)b.n_samples * k / groups);
                const int end = (int)((int64_t)b.n_samples * (k + 1) / groups);
                for (int s = begin; s < end; s++)
                    run_sample(layers, packed, b, s, ws, shard, max_weights, static_cast<Recording*>(recording));
            } catch (const std::bad_alloc&) {
                #pragma omp atomic write
                failed = 1;
            }
        }
        if (b.gradient && !failed) reduce_shards(layers, packed, shards, b.n_layers, max_weights);
    }
    return failed;
}
}
