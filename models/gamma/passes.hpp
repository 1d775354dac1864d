// One sample through a window of steps: forward, with the loss at the readout, and back.
#pragma once
#include <stdexcept>
#include "gamma/window.hpp"

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
    const int steps = span.t1 - span.t0, blocks = p.shape.count(), ld = p.shape.ld();
    int64_t& spikes = a.spikes[(size_t)s * (a.n_layers - 1) + l];
    int64_t* neuron_spikes = a.neuron_spikes ? a.neuron_spikes + (size_t)s * a.n_hidden + first_neuron : nullptr;
    size_t size = out.units.size(), total = size;
    for (int i = 0; i < steps * blocks; i++) total += __builtin_popcountll(span.spiking[i]);
    out.units.resize(total);
    out.amounts.resize(total);
    for (int t = 0; t < steps; t++) {
        const auto row = [&](const V* rows) { return (const R*)(rows + (size_t)t * ld); };
        for (int b = 0; b < blocks; b++) {
            uint64_t bits = span.spiking[(size_t)t * blocks + b];
            if (bits) bits &= ~uint64_t(0) >> (64 - p.shape.size(b));  // a block has at most 64 neurons
            for (; bits; bits &= bits - 1) {
                const int bit = __builtin_ctzll(bits), unit = p.shape.first(b) + bit, lane = b * p.shape.width() + bit;
                const R count = span.count ? row(span.count)[lane] : R(1);
                if (!(count <= MOST_SPIKES)) {
                    const double found[] = {double(s), double(t_call + t), double(l), double(unit), row(span.signal)[lane], count};
                    #pragma omp critical
                    if (a.failure[0] < 0 || s < a.failure[0]) std::copy(found, found + 6, a.failure);  // the lowest, whatever the threads
                    throw std::overflow_error("spikes");
                }
                spikes += (int64_t)count;
                if (neuron_spikes) neuron_spikes[unit] += (int64_t)count;
                out.units[size] = unit;
                out.amounts[size++] = row(span.jump)[lane];
            }
        }
        out.ptr.push_back((int64_t)size);
    }
    out.units.resize(size);
    out.amounts.resize(size);
}

static void copy_rows(R* out, const V* rows, int steps, const Blocks& p) {
    for (int t = 0; t < steps; t++)
        for (int place = 0; place < p.places; place++, out += p.channels)
            std::memcpy(out, rows + (size_t)t * p.ld() + (size_t)place * p.per_place * p.nv, sizeof(R) * p.channels);
}

// The dense inputs of a layer; with a shard, and where it puts their gradients.
static const std::vector<DenseInput>& dense_inputs(const Network& net, int l, const Window& w, Workspace& ws, Shard* shard) {
    ws.dense.clear();
    for (int c = 0; c < net.layer(l).n_connections; c++) {
        const Connection& from = net.connection(l, c);
        if (!from.ptr) ws.dense.push_back({w.seen(from, l, c), from.n_rows, net.packed[l].connections[c].weights.data(),
                                           shard ? shard->weights[l][c].data() : nullptr});
    }
    return ws.dense;
}

// What the patches of a layer add to its buckets in a span, rows of every weight; null: there are none. With `grads`
// these rows are derivatives, and give the kernels' gradient.
static V* run_drive(const Network& net, int l, const Window& w, Workspace& ws, int t0, int t1, std::vector<PerWeight>* grads) {
    const Layer& L = net.layer(l);
    const Packed& p = net.packed[l];
    const size_t rows = (size_t)(t1 - t0) * p.shape.ld();
    V* drive = nullptr;
    for (int c = 0; c < L.n_connections; c++) {
        const Connection& from = L.connections[c];
        if (!from.ptr) continue;
        if (!drive) {
            drive = at_least(ws.drive, rows * net.code(l).weights);
            if (!grads) std::fill_n(drive, rows * net.code(l).weights, V{});
        }
        for (int i = 0; i < net.code(l).weights; i++)
            run_patches(from, p.shape, w.seen(from, l, c), t0, t1, L.scales[i], drive + i * rows,
                        p.connections[c].weights[i].data(), grads ? (*grads)[c][i].data() : nullptr);
    }
    return drive;
}

static bool is_recurrent(const Layer& L, int l) {
    return std::any_of(L.connections, L.connections + L.n_connections, [&](const Connection& c) { return c.source == l + 1; });
}

// Lets a layer see steps of its sources: as the cells that they act from, its own spikes a step late.
static void see(const Network& net, int l, Window& w, const State& state, int t0, int t1) {
    for (int c = 0; c < net.layer(l).n_connections; c++) {
        const Connection& from = net.connection(l, c);
        const bool own = from.source == l + 1;
        if (own && t0 == 0) w.cells[l][c].append_cells(state.late[l], 0, 1, from.cells);
        if (own) w.cells[l][c].append_cells(w.events[from.source], std::max(t0, 1) - 1, t1 - 1, from.cells);
        else if (from.cells) w.cells[l][c].append_cells(w.events[from.source], t0, t1, from.cells);
    }
}

static bool has_patches(const Layer& L) {
    return std::any_of(L.connections, L.connections + L.n_connections, [](const Connection& c) { return c.ptr; });
}

// Runs a sample on through the steps of the call, the next ones of its window.
static void run_forward(const Network& net, int s, Workspace& ws, State& state, Window& w) {
    const GammaArguments& a = net.a;
    const int last = net.n() - 1, begin = w.steps, end = begin + a.n_steps;
    w.events[0].append(a.input, s, a.n_steps);
    for (int l = 0; a.given && l < last; l++) w.events[l + 1].append(a.given[l], s, a.n_steps);
    double loss = 0, signals = 0;
    for (int t0 = begin; t0 < end; t0 += SPAN) {
        const int t1 = std::min(end, t0 + SPAN), steps = t1 - t0, t_call = t0 - begin;
        const size_t row = (size_t)s * a.n_steps + t_call;
        for (int l = 0, first_neuron = 0; l <= last; first_neuron += net.layer(l++).n) {
            const Layer& L = net.layer(l);
            const Packed& p = net.packed[l];
            const bool multiple = net.code(l).multiple && !a.analog;
            const size_t rows = (size_t)SPAN * p.shape.ld();
            if (w.spans()) std::copy(state.buckets[l].begin(), state.buckets[l].end(), w.mark(net, l, t0));
            uint64_t* spiking = at_least(ws.spiking, (size_t)SPAN * p.shape.count());
            V* jump = at_least(ws.jump, rows);
            V* count = multiple ? at_least(ws.count, rows) : nullptr;
            V* signal = l == last || a.signals || multiple ? at_least(ws.signal, rows) : nullptr;
            V* estimate = l < last && a.estimates ? at_least(ws.estimate, rows) : nullptr;
            const int stride = is_recurrent(L, l) ? 1 : SPAN;  // a layer that hears itself runs step by step
            for (int b = t0; b < t1; b += stride) {
                const int e = std::min(t1, b + stride);
                const size_t at = (size_t)(b - t0) * p.shape.ld();
                see(net, l, w, state, b, e);
                const std::vector<DenseInput>& dense = dense_inputs(net, l, w, ws, nullptr);
                const Span span = {dense.data(), (int)dense.size(), b, e, w.n_kept, run_drive(net, l, w, ws, b, e, nullptr),
                                   a.analog != 0, state.buckets[l].data(), state.code[l].data(),
                                   w.n_kept && (!w.spans() || t1 == end) ? w.trace[l].data() : nullptr,
                                   spiking + (b - t0) * p.shape.count(), jump + at, count ? count + at : nullptr,
                                   signal ? signal + at : nullptr, estimate ? estimate + at : nullptr,
                                   l < last && a.activity != 0 ? &signals : nullptr};
                net.code(l).forward(L, p, span);
                if (l < last && !a.given) emit(net, s, l, first_neuron, t_call + b - t0, span, w.events[l + 1]);
            }
            if (l < last) {
                if (a.signals) copy_rows(a.signals[l] + row * L.n, signal, steps, p.shape);
                if (a.estimates) copy_rows(a.estimates[l] + row * L.n, estimate, steps, p.shape);
                continue;
            }
            if (a.readout) copy_rows(a.readout + row * L.n, signal, steps, p.shape);
            for (int t = 0; t < steps && (w.n_kept || a.loss != NONE); t++)
                loss += loss_of(a, row + t, L.n, p.shape.ld(), signal + (size_t)t * p.shape.ld(),
                                w.d_out.data() + (size_t)(t0 + t) * p.shape.ld());
        }
    }
    for (int l = 0; l < last && end > begin; l++)
        if (is_recurrent(net.layer(l), l)) {
            state.late[l].clear();
            state.late[l].append_cells(w.events[l + 1], end - 1, end, nullptr);
        }
    a.losses[s] = loss + a.activity * signals;
    w.steps = end;
}

// Adds the error of layer l, `steps` of a span after the first `at`, to dL/dsignal of the layers that it takes its events
// from; of its own events, to that of the step before.
static void send_down(const Network& net, int l, int at, int steps, const V* error, Workspace& ws) {
    const Packed& p = net.packed[l];
    for (int c = 0; c < net.layer(l).n_connections; c++) {
        const Connection& from = net.connection(l, c);
        const bool own = from.source == l + 1;
        if (!from.source || (own && net.layer(l).send)) continue;  // rules of one step know no step before it
        const int below = from.source - 1;
        const Blocks& source = net.packed[below].shape;
        const bool carried = own && at == 0, add = own ? !carried : ws.reached[below];
        V* d = carried ? at_least(ws.cotangents.late_errors[l], source.ld()) : ws.d[below].data() + (size_t)(at - own) * source.ld();
        V* rows = from.cells ? at_least(ws.cell_rows, (size_t)SPAN * CellRow(from, source).ld) : d;
        for (int w = 0; w < net.code(l).weights; w++)
            errors_of_cells(from, source, p.shape, p.connections[c].panels[w].data(), steps,
                            error + (size_t)w * steps * p.shape.ld(), rows, w > 0 || (add && !from.cells));
        if (from.cells) errors_of_units(from, source, steps, rows, d, add);
        ws.reached[below] = 1;
    }
}

// Makes sure that the rows of a layer hold something.
static void reach(const Network& net, int l, int steps, Workspace& ws) {
    if (!ws.reached[l]) std::fill_n(ws.d[l].data(), (size_t)steps * net.packed[l].shape.ld(), V{});
    ws.reached[l] = 1;
}

// Takes the errors of a window back from its last step to its first; without a shard they give no gradient.
static void run_backward(const Network& net, Workspace& ws, State& state, Window& w, Shard* shard) {
    const int last = net.n() - 1;
    ws.d.resize(net.n());
    for (int l = 0; l < last; l++) at_least(ws.d[l], (size_t)SPAN * net.packed[l].shape.ld());
    for (int t0 = (w.steps + SPAN - 1) / SPAN * SPAN - SPAN; t0 >= 0; t0 -= SPAN) {
        const int t1 = std::min(w.steps, t0 + SPAN), steps = t1 - t0;
        ws.reached.assign(net.n(), 0);
        for (int l = last; l >= 0; l--) {
            const Layer& L = net.layer(l);
            const Packed& p = net.packed[l];
            const int ld = p.shape.ld(), stride = is_recurrent(L, l) ? 1 : SPAN;
            const V* d = l == last ? w.d_out.data() + (size_t)t0 * ld : ws.d[l].data();
            if (l < last) reach(net, l, steps, ws);
            if (l < last && net.a.activity != 0)
                for (int i = 0; i < steps * ld; i++) ws.d[l][i] += R(net.a.activity);
            std::vector<V>& late = ws.cotangents.late_errors[l];
            for (size_t i = 0; i < late.size(); i++) ws.d[l][(size_t)(steps - 1) * ld + i] += late[i];
            late.clear();
            if (w.spans() && t1 < w.steps) {  // the buckets of the last span are still there
                const std::vector<DenseInput>& dense = dense_inputs(net, l, w, ws, nullptr);
                net.code(l).forward(L, p, {dense.data(), (int)dense.size(), t0, t1, w.n_kept, run_drive(net, l, w, ws, t0, t1, nullptr),
                                           false, w.mark(net, l, t0), state.code[l].data(), w.trace[l].data()});
            }
            bool sends = false;
            for (int c = 0; c < L.n_connections; c++) {
                const int source = L.connections[c].source;
                sends |= source > 0;
                if (stride == 1 && source > 0) reach(net, source - 1, steps, ws);
            }
            const bool patches = shard && has_patches(L);
            for (int e = t1; e > t0; e -= stride) {
                const int b = std::max(t0, e - stride);
                const size_t rows = (size_t)(e - b) * ld * net.code(l).weights;
                V* error = sends ? at_least(ws.error, rows) : nullptr;
                const std::vector<DenseInput>& dense = dense_inputs(net, l, w, ws, shard);
                net.code(l).backward(L, p, {dense.data(), (int)dense.size(), b, e, w.n_kept, w.trace[l].data(),
                                            ws.cotangents.buckets[l].data(), d + (size_t)(b - t0) * ld, error,
                                            patches ? at_least(ws.drive, rows) : nullptr,
                                            shard ? shard->parameters[l].data() : nullptr,
                                            shard && L.grad_update ? shard->update[l].data() : nullptr});
                if (patches) run_drive(net, l, w, ws, b, e, &shard->weights[l]);
                if (sends) send_down(net, l, b - t0, e - b, error, ws);
            }
        }
    }
}
