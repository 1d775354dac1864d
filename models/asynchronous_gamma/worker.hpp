// The event loop of one sample of SpikingGamma layers. Included by the generated source, which defines kinds and Queue.
#pragma once
#include "asynchronous_gamma/network.hpp"
#include "order/worker.hpp"

// State of one sample. Layers are fully connected: a delivered spike reaches, and has tested, all of the next layer.
class Worker : public EventLoopWorker<Worker> {
    struct LayerState {
        std::vector<R> state, margin;
        std::vector<uint8_t> resting;  // has spiked in this timestep, and may not again
        bool reached = false;          // took current that was not tested yet
        bool tested = false;           // in this timestep
        int64_t again = 0;             // neurons that are above threshold right after their spike
    };
    const Network& net;
    std::vector<LayerState> layers;
    std::vector<int32_t> spiked;
    Array<R> waiting;                  // of every source: sum of the jumps that wait

    const Layer& layer(size_t l) const { return net.layers[l]; }
    const Kind& kind(size_t l) const { return kind_table[net.layers[l].kind]; }

    // Sources of one population, ascending, onto the buckets of the next layer (layer 0 is reached by the input).
    void deliver_rows(size_t l, const int32_t* sources, const R* factor, int64_t count) {
        counters[N_SYNAPTIC] += count * (l ? layer(l - 1).fanout : layer(0).n * kind(0).weights);
        if (l == layers.size()) return;  // the readout takes what the record holds
        const Layer& L = layer(l);
        const int64_t first = l ? net.n_inputs + layer(l - 1).first : 0;
        for (int w = 0; w < kind(l).weights; w++)
            add_rows(layers[l].state.data() + kind(l).targets[w] * L.n, L.weights[w] - first * L.n, (int)L.n, sources,
                     factor, 0, count, L.scales[w]);
        layers[l].reached = true;
    }
    void deliver(const int32_t* sources, const R* factor, int64_t count) {
        for (int64_t i = 0; i < count;) {
            const int64_t begin = i;
            const int32_t from = net.layer[sources[i]];
            while (i < count && net.layer[sources[i]] == from) i++;
            deliver_rows((size_t)from, sources + begin, factor + begin, i - begin);
        }
        note_delivery(sources, factor, count);
    }
    void enqueue(int64_t source, R more, R amount) {
        waiting[source] += amount;
        EventLoopWorker::enqueue(source, more);
    }

    bool any_reached() const {
        for (const auto& p : layers)
            if (p.reached || p.again) return true;
        return false;
    }
    // A neuron whose buckets rise without input is tested too: when nothing is under way, the foremost untested layer.
    LayerState* idle() {
        for (auto& p : layers)
            if (!p.tested) return &p;
        return nullptr;
    }
    bool work_left() { return queued || any_reached() || idle(); }

    void test() {
        spiked.clear();
        if (!queued && !any_reached()) {
            LayerState* next = idle();
            if (next) next->reached = true;
        }
        for (size_t l = 0; l < layers.size(); l++) {
            LayerState& p = layers[l];
            if (!p.reached && !p.again) continue;
            const Layer& L = layer(l);
            counters[N_TESTS] += p.reached ? L.n : p.again;
            p.reached = false;
            p.tested = true;
            p.again = 0;
            kind(l).margins(L, p.state.data(), p.margin.data());
            for (int64_t j = 0; j < L.n; j++)
                if (p.margin[(size_t)j] > R(0) && !p.resting[(size_t)j]) spiked.push_back((int32_t)(L.first + j));
        }
    }
    void spike() {
        for (int32_t neuron : spiked) {
            const int64_t source = net.n_inputs + neuron;
            const size_t l = (size_t)net.layer[source] - 1;
            LayerState& p = layers[l];
            const size_t j = (size_t)(neuron - layer(l).first);
            P[source] = (double)p.margin[j];
            const Spike s = kind(l).spike(layer(l), p.state.data(), (int64_t)j);
            if (run->once_per_timestep) p.resting[j] = 1;
            else p.again += s.margin > R(0);
            note_spike(neuron, true, run->once_per_timestep);
            enqueue(source, R(1), s.jump);
        }
    }
  public:
    explicit Worker(const Network& network)
        : EventLoopWorker(network.n_inputs + network.n_neurons, 1, network.layer, nullptr), net(network),
          layers((size_t)network.n_layers) {
        for (size_t l = 0; l < layers.size(); l++) {
            layers[l].state.resize((size_t)(kind(l).rows * layer(l).n));
            layers[l].margin.resize((size_t)layer(l).n);
            layers[l].resting.resize((size_t)layer(l).n);
        }
        waiting.assign(copies.size(), R(0));
    }
    R take(int64_t source) {
        const R carried = waiting[source];
        copies[source] = waiting[source] = R(0);
        return carried;
    }
    void begin_sample(const LoopArguments& arguments, int64_t index, Record* history) {
        open_sample(arguments, index, history);
        for (auto& p : layers) std::fill(p.state.begin(), p.state.end(), R(0));
    }
    void begin_timestep(int64_t index) {
        open_timestep(index);
        for (size_t l = 0; l < layers.size(); l++) {
            LayerState& p = layers[l];
            kind(l).begin(layer(l), p.state.data());
            std::fill(p.resting.begin(), p.resting.end(), 0);
            p.reached = net.idle_at_start;
            p.tested = false;
            p.again = 0;
        }
        const int64_t at = sample * run->n_timesteps + index, begin = run->ptr[at], end = run->ptr[at + 1];
        if (run->prioritised) return deliver(run->units + begin, run->amounts + begin, end - begin);
        for (int64_t e = begin; e < end; e++) enqueue(run->units[e], run->amounts[e], run->amounts[e]);
        select_first();
        deliver(group.data(), amounts.data(), (int64_t)group.size());
    }
    // One forward step: test, spike, choose and deliver the next group. Returns whether another one is due.
    bool forward_step() {
        test();
        spike();
        if (!count_step()) return false;
        select();
        if (aborted) return false;
        deliver(group.data(), amounts.data(), (int64_t)group.size());
        n_forward++;
        return work_left() || group.size();  // what only the readout received is a step's group too
    }
    void end_timestep() { close_timestep(); }
};
