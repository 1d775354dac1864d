// Endless streams: the network runs on as steps arrive, and gradients come from a fixed lag after them. Memory holds two
// windows of steps, however long the stream.
//
// The reverse starts at the newest step and runs back over both windows; only the older one, whose errors have had a
// whole window of time to arrive, gives gradients. What is cut off is the tail of the gamma kernels beyond a window.
#pragma once
#include "gamma/driver.hpp"

extern "C" {

int gamma_open(const GammaArguments* arguments, int window, int learn, void** stream) {
    return guarded([&] {
        std::unique_ptr<Streams> all(new Streams);
        pack_layers(*arguments, all->packed);
        all->samples.resize(arguments->n_samples);
        const Network net = {*arguments, all->packed};
        for (Stream& m : all->samples) {
            m.state.clear(net);
            for (Window* w : {&m.older, &m.newer}) w->open(net, window, learn ? window : 0);
        }
        *stream = all.release();
    });
}

// Runs the steps of the call, which must fit into what is left of the newer window.
int gamma_advance(void* stream, const GammaArguments* arguments, int changed) {
    return guarded([&] {
        Streams& all = *static_cast<Streams*>(stream);
        if (changed) pack_layers(*arguments, all.packed);
        const Network net = {*arguments, all.packed};
        for_samples(net, [&](int s, Workspace& ws, Shard*) {
            run_forward(net, s, ws, all.samples[s].state, all.samples[s].newer);
        });
    });
}

// Then the newer window takes the place of the older one, or, with `flush`, both are empty.
int gamma_reverse(void* stream, const GammaArguments* arguments, int flush) {
    return guarded([&] {
        Streams& all = *static_cast<Streams*>(stream);
        pack_layers(*arguments, all.packed);
        const Network net = {*arguments, all.packed};
        for_samples(net, [&](int s, Workspace& ws, Shard* shard) {
            Stream& m = all.samples[s];
            ws.cotangents.clear(net);
            run_backward(net, ws, m.state, m.newer, flush ? shard : nullptr);
            run_backward(net, ws, m.state, m.older, shard);
            std::swap(m.older, m.newer);
            m.newer.clear();
            if (flush) m.older.clear();
        });
    });
}

void gamma_close(void* stream) { delete static_cast<Streams*>(stream); }
}
