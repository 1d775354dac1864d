// Streams without end: the network runs on as steps arrive, and gradients come from a fixed lag behind them. Memory
// holds two windows of steps, however long the stream.
//
// The reverse starts at the newest step and runs back over both windows; only the older one, whose errors have had a
// whole window of time to arrive, gives gradients. What is cut off is the tail of the gamma kernels beyond a window.
#pragma once

struct Stream {  // one sample; local steps 0 .. window are the older window, window .. 2*window the newer one
    std::vector<Events> events;  // input of each layer
    std::vector<std::vector<V>> buckets, code, trace;
    std::vector<V> d_out;
};

struct Streams {
    int n_layers, window, filled = 0;  // filled: steps in the newer window
    bool first = true;                 // nothing in the older window yet
    std::vector<Packed> packed;        // weights as of the last change
    std::vector<Stream> samples;
};

static void append_events(const Batch& b, int s, int t_begin, Events& out) {
    const int64_t* ptr = b.ptr + (size_t)s * b.n_steps + t_begin;
    for (int t = 0; t + t_begin < b.n_steps; t++) {
        for (int64_t e = ptr[t]; e < ptr[t + 1]; e++) {
            const int unit = b.unit_bytes == 2 ? static_cast<const uint16_t*>(b.units)[e] : static_cast<const int32_t*>(b.units)[e];
            out.push(unit, b.value_bytes == 1 ? R(static_cast<const uint8_t*>(b.values)[e]) : static_cast<const R*>(b.values)[e]);
        }
        out.close_step();
    }
}

static void open_stream(Stream& m, const Layer* layers, const std::vector<Packed>& packed, int n, int window, bool keep) {
    m.events.resize(n);
    m.buckets.resize(n);
    m.code.resize(n);
    m.trace.resize(n);
    for (int l = 0; l < n; l++) {
        const Kind& kind = kind_table[layers[l].kind];
        m.events[l].ptr.assign(window + 1, 0);  // an older window without events
        m.buckets[l].assign(packed[l].vectors() * kind.buckets, V{});
        m.code[l].assign(packed[l].vectors() * kind.codes, V{});
        m.trace[l].assign(keep ? packed[l].vectors() * 2 * window * kind.buckets : 0, V{});
    }
    m.d_out.assign(keep ? (size_t)2 * window * packed[n - 1].ld : 0, V{});
}

// The steps of the batch, which must fit into what is left of the newer window.
static void stream_forward(const Layer* layers, const std::vector<Packed>& packed, const Batch& b, int s, Workspace& ws,
                           Stream& m, const Streams& all) {
    const int n = b.n_layers, n_out = layers[n - 1].n, begin = all.window + all.filled, end = begin + b.n_steps;
    const bool keep = !m.d_out.empty();
    append_events(b, s, 0, m.events[0]);
    double loss = 0;
    for (int t0 = begin; t0 < end; t0 += SPAN) {
        const int t1 = std::min(end, t0 + SPAN), steps = t1 - t0;
        for (int l = 0; l < n; l++) {
            const Packed& p = packed[l];
            const bool last = l == n - 1;
            const size_t rows = (size_t)SPAN * p.ld, row = (size_t)s * b.n_steps + (t0 - begin);
            const Span span = {view(m.events[l]), t0, t1, 2 * all.window, b.analog != 0, m.buckets[l].data(), m.code[l].data(),
                               keep ? m.trace[l].data() : nullptr, at_least(ws.spiking, (size_t)SPAN * p.blocks),
                               at_least(ws.jump, rows), count_rows(kind_table[layers[l].kind], b, rows, ws),
                               last ? at_least(ws.signal, rows) : nullptr, nullptr};
            kind_table[layers[l].kind].forward(layers[l], p, span);
            if (!last) {
                const size_t before = m.events[l + 1].units.size();
                emit(p, layers[l].n, steps, span.spiking, span.jump, span.count, m.events[l + 1]);
                for (size_t e = before; b.spikes && e < m.events[l + 1].units.size(); e++)
                    b.spikes[(size_t)s * (n - 1) + l] += count_of(m.events[l + 1], e);
                continue;
            }
            if (b.readout) copy_rows(b.readout + row * n_out, span.signal, steps, p.ld, n_out);
            for (int t = 0; t < steps && b.loss != NONE; t++)
                loss += loss_of(b, row + t, n_out, p.ld, span.signal + (size_t)t * p.ld,
                                m.d_out.data() + (size_t)(t0 + t) * p.ld);
        }
    }
    if (b.loss != NONE) b.losses[s] += loss;
}

// Reverse of local steps t1 > t >= t0; without a shard only the cotangents move.
static void stream_backward(const Layer* layers, const std::vector<Packed>& packed, int n, int window, int t0, int t1,
                            const Stream& m, Workspace& ws, Shard* shard, int max_weights, std::vector<V>& unused) {
    const std::vector<int64_t> none(2 * window + 1, 0);
    const std::vector<V*> nowhere(max_weights, nullptr);
    for (int b0 = t0 + (t1 - t0 - 1) / SPAN * SPAN; b0 >= t0; b0 -= SPAN) {
        const int b1 = std::min(t1, b0 + SPAN), steps = b1 - b0;
        const V* d = m.d_out.data() + (size_t)b0 * packed[n - 1].ld;
        for (int l = n - 1; l >= 0; l--) {
            const Packed& p = packed[l];
            const Kind& kind = kind_table[layers[l].kind];
            V* error = l ? at_least(ws.error, (size_t)kind.weights * SPAN * p.ld) : nullptr;
            unused.resize(std::max(unused.size(), p.vectors() * kind.parameters));
            const EventView in = shard ? view(m.events[l]) : EventView{none.data(), nullptr, nullptr};
            const ReverseSpan span = {in, b0, b1, 2 * window, m.trace[l].data(), ws.buckets[l].data(), d, error,
                                      shard ? &shard->weights[(size_t)l * max_weights] : nowhere.data(),
                                      shard ? shard->parameters[l] : unused.data(),
                                      shard && layers[l].grad_A ? shard->A[l].data() : nullptr};
            kind.backward(layers[l], p, span);
            if (!l) break;
            d = send_down(layers, packed, l, steps, error, ws);
        }
    }
}

// Make the newer window the older one.
static void shift_stream(Stream& m, const Layer* layers, const std::vector<Packed>& packed, int window) {
    for (size_t l = 0; l < m.events.size(); l++) {
        Events& e = m.events[l];
        const int64_t gone = e.ptr[window];
        e.units.erase(e.units.begin(), e.units.begin() + gone);
        e.values.erase(e.values.begin(), e.values.begin() + gone);
        if (!e.counts.empty()) e.counts.erase(e.counts.begin(), e.counts.begin() + gone);
        e.ptr.erase(e.ptr.begin(), e.ptr.begin() + window);
        for (int64_t& p : e.ptr) p -= gone;
        if (m.d_out.empty()) continue;
        const size_t row = (size_t)packed[l].nv * kind_table[layers[l].kind].buckets;
        for (int b = 0; b < packed[l].blocks; b++) {
            V* block = m.trace[l].data() + (size_t)b * 2 * window * row;
            std::memmove(block, block + (size_t)window * row, sizeof(V) * window * row);
        }
    }
    std::memmove(m.d_out.data(), m.d_out.data() + m.d_out.size() / 2, sizeof(V) * (m.d_out.size() / 2));
}

extern "C" {

// Streams of the batch's samples; `learn` keeps what gradients need.
void* gamma_open(const Layer* layers, const Batch* batch, int window, int learn) {
    try {
        auto* all = new Streams{batch->n_layers, window};
        std::vector<Packed> packed(batch->n_layers);
        pack_layers(layers, *batch, packed);
        all->samples.resize(batch->n_samples);
        for (Stream& m : all->samples) open_stream(m, layers, packed, batch->n_layers, window, learn);
        return all;
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}
void gamma_close(void* handle) { delete static_cast<Streams*>(handle); }

// Runs the batch's steps; 2 if they do not fit into the window. `changed`: the weights are not those of the last call.
int gamma_advance(void* handle, const Layer* layers, const Batch* batch, int changed) {
    Streams& all = *static_cast<Streams*>(handle);
    if (all.filled + batch->n_steps > all.window) return 2;
    if (changed || all.packed.empty()) {
        all.packed.resize(batch->n_layers);
        pack_layers(layers, *batch, all.packed);
    }
    const std::vector<Packed>& packed = all.packed;
    #pragma omp parallel for schedule(dynamic, 1) num_threads(std::max(1, std::min(batch->n_threads, batch->n_samples)))
    for (int s = 0; s < batch->n_samples; s++) {
        static thread_local Workspace ws;
        stream_forward(layers, packed, *batch, s, ws, all.samples[s], all);
    }
    all.filled += batch->n_steps;
    return 0;
}

// Gradient of the older window (with `flush`, of both); then the newer window takes its place.
int gamma_reverse(void* handle, const Layer* layers, const Batch* batch, int max_weights, int flush) {
    Streams& all = *static_cast<Streams*>(handle);
    const Batch& b = *batch;
    const int groups = std::max(1, std::min(b.n_shards, b.n_samples)), window = all.window, end = window + all.filled;
    std::vector<Packed> packed(b.n_layers);
    pack_layers(layers, b, packed);
    std::vector<Shard> shards(groups);
    #pragma omp parallel num_threads(std::max(1, std::min(b.n_threads, groups)))
    {
        static thread_local Workspace ws;
        std::vector<V> unused;
        ws.buckets.resize(b.n_layers);
        #pragma omp for schedule(dynamic, 1)
        for (int k = 0; k < groups; k++) {
            shards[k].allocate(layers, packed, b.n_layers, max_weights);
            for (int s = (int)((int64_t)b.n_samples * k / groups); s < (int)((int64_t)b.n_samples * (k + 1) / groups); s++) {
                Stream& m = all.samples[s];
                for (int l = 0; l < b.n_layers; l++)
                    ws.buckets[l].assign(packed[l].vectors() * kind_table[layers[l].kind].buckets, V{});
                stream_backward(layers, packed, b.n_layers, window, window, end, m, ws, flush ? &shards[k] : nullptr, max_weights, unused);
                if (!all.first) stream_backward(layers, packed, b.n_layers, window, 0, window, m, ws, &shards[k], max_weights, unused);
                if (!flush) shift_stream(m, layers, packed, window);
            }
        }
        reduce_shards(layers, packed, shards, b.n_layers, max_weights);
    }
    all.first = false;
    all.filled = 0;
    return 0;
}
}
