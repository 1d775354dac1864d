// Batch driver of the SpikingGamma engine: samples over threads, gradients summed in fixed order.
#pragma once
#include <memory>
#include <stdexcept>
#include "gamma/passes.hpp"

// Sum of one row of an array over the shards, from blocks to (n_rows, n).
template <class Get>
static void reduce(R* out, const Blocks& p, int n_rows, int row, const std::vector<Shard>& shards, Get get) {
    for (int b = 0; b < p.count(); b++) {
        V sum[4] = {};
        for (const Shard& shard : shards) {
            const V* part = get(shard) + ((size_t)b * n_rows + row) * p.nv;
            for (int i = 0; i < p.nv; i++) sum[i] += part[i];
        }
        std::memcpy(out + (size_t)row * p.places * p.channels + p.first(b), sum, sizeof(R) * p.size(b));
    }
}

static void reduce_shards(const Network& net, const std::vector<Shard>& shards) {  // called by every thread of a region
    for (int l = 0; l < net.n(); l++) {
        const Layer& L = net.layer(l);
        const LayerCode& code = net.code(l);
        for (int c = 0; c < L.n_connections; c++)
            for (int w = 0; w < code.weights; w++) {
                #pragma omp for schedule(static) nowait
                for (int i = 0; i < L.connections[c].n_rows; i++)
                    reduce(L.connections[c].grad_weights[w], net.packed[l].shape.one_place(), L.connections[c].n_rows, i, shards,
                           [&](const Shard& shard) { return shard.weights[l][c][w].data(); });
            }
        #pragma omp single nowait
        {
            for (int i = 0; i < code.parameters; i++)
                reduce(L.grad_parameters, net.packed[l].shared, code.parameters, i, shards,
                       [&](const Shard& shard) { return shard.parameters[l].data(); });
            for (int i = 0; L.grad_update && i < code.buckets * code.buckets; i++) {
                L.grad_update[i] = 0;
                for (const Shard& shard : shards) L.grad_update[i] += sum_of(shard.update[l][i]);
            }
        }
    }
}

static void pack_layers(const GammaArguments& a, std::vector<Packed>& packed) {  // into memory that is there
    packed.resize(a.n_layers);
    for (int l = 0; l < a.n_layers; l++) {
        const Layer& L = a.layers[l];
        const LayerCode& code = layer_codes[L.code];
        Packed& p = packed[l];
        p.shape = Blocks(L.n, code.nv, L.n_places);
        p.shared = p.shape.one_place();
        p.connections.resize(L.n_connections);
        for (int c = 0; c < L.n_connections; c++) {
            const Connection& from = L.connections[c];
            PackedConnection& to = p.connections[c];
            to.weights.resize(code.weights);
            to.panels.resize(code.weights);
            for (int w = 0; w < code.weights; w++) {
                pack(to.weights[w], p.shape.one_place(), from.weights[w], from.n_rows);
                if (a.gradient && from.source)
                    pack_errors(to.panels[w], from, packed[from.source - 1].shape, from.weights[w], p.shape.channels);
            }
        }
        pack(p.parameters, p.shared, L.parameters, code.parameters);
    }
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
        Streams own;
        if (!arguments->packed) pack_layers(*arguments, own.packed);
        const Network net = {*arguments, (arguments->packed ? *static_cast<const Streams*>(arguments->packed) : own).packed};
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
