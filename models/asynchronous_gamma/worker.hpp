// The event loop of one sample of SpikingGamma layers. Included by the generated source, which defines kinds and Queue.
#pragma once

// State of one sample. Layers are fully connected: a delivered spike reaches, and has tested, all of the next layer.
class Worker {
    struct Population {
        std::vector<R> state, margin;
        std::vector<uint8_t> resting;  // has spiked in this timestep, and may not again
        bool reached = false;          // took current that was not tested yet
        bool tested = false;           // in this timestep
        int64_t again = 0;             // neurons that are above threshold right after their spike
    };
    const Network& net;
    std::vector<Population> populations;
    std::vector<int32_t> spiked, group;
    std::vector<R> values, waiting, multiplicity;  // of the group; of every source: sum of jumps, number of spikes
    std::vector<double> P;                         // by how much a source was above threshold at its latest spike
    std::vector<int64_t> arrival;
    Queue queue;
    KeyView view;
    int64_t n_arrivals = 0, sample = 0, timestep = 0, n_forward = 0;
    uint64_t stream = 0;
    const Run* run = nullptr;
    int64_t* counters = nullptr;
    Record* record = nullptr;
    bool stopped = false;

    const Layer& layer(size_t l) const { return net.layers[l]; }
    const Kind& kind(size_t l) const { return kind_table[net.layers[l].kind]; }

    // Sources of one population, ascending, onto the buckets of the next layer (layer 0 is reached by the input).
    void deliver_rows(size_t l, const int32_t* sources, const R* factor, int64_t count) {
        counters[N_SYNAPTIC] += count * (l ? layer(l - 1).fanout : layer(0).n * kind(0).weights);
        if (l == populations.size()) return;  // the readout takes what the record holds
        const Layer& L = layer(l);
        const int64_t first = l ? net.n_inputs + layer(l - 1).first : 0;
        for (int w = 0; w < kind(l).weights; w++)
            add_rows(populations[l].state.data() + kind(l).targets[w] * L.n, L.weights[w] - first * L.n, (int)L.n, sources,
                     factor, 0, count, L.scales[w]);
        populations[l].reached = true;
    }
    void deliver(const int32_t* sources, const R* factor, int64_t count) {
        for (int64_t i = 0; i < count;) {
            const int64_t begin = i;
            const int32_t from = net.layer[sources[i]];
            while (i < count && net.layer[sources[i]] == from) i++;
            deliver_rows((size_t)from, sources + begin, factor + begin, i - begin);
        }
        counters[N_DELIVERED] += count;
        if (record && run->detail == TAPE) {
            record->group.insert(record->group.end(), sources, sources + count);
            record->multiplicity.insert(record->multiplicity.end(), factor, factor + count);
        }
    }
    void enqueue(int64_t source, R copies, R value) {
        const bool fresh = multiplicity[(size_t)source] == R(0);
        multiplicity[(size_t)source] += copies;
        waiting[(size_t)source] += value;
        if (!fresh) return queue.update((int32_t)source, view);
        arrival[(size_t)source] = n_arrivals++;
        queue.push((int32_t)source, view);
    }
    void forget(int32_t source) { multiplicity[(size_t)source] = waiting[(size_t)source] = R(0); }
    void clear_queue() {
        for (size_t i = 0; i < queue.size(); i++) forget(queue.source_at(i));
        queue.clear();
    }

    bool any_reached() const {
        for (const auto& p : populations)
            if (p.reached || p.again) return true;
        return false;
    }
    // A neuron whose buckets rise without input is tested too: when nothing is under way, the foremost untested layer.
    Population* idle() {
        for (auto& p : populations)
            if (!p.tested) return &p;
        return nullptr;
    }
    bool work_left() { return queue.size() || any_reached() || idle(); }

    void test() {
        spiked.clear();
        if (!queue.size() && !any_reached()) {
            Population* next = idle();
            if (next) next->reached = true;
        }
        for (size_t l = 0; l < populations.size(); l++) {
            Population& p = populations[l];
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
            const size_t source = (size_t)(net.n_inputs + neuron), l = (size_t)net.layer[source] - 1;
            Population& p = populations[l];
            const size_t j = (size_t)(neuron - layer(l).first);
            P[source] = (double)p.margin[j];
            const Spike s = kind(l).spike(layer(l), p.state.data(), (int64_t)j);
            if (run->once_per_timestep) p.resting[j] = 1;
            else p.again += s.margin > R(0);
            if (record) {
                record->spikes.push_back(neuron);
                record->flags.push_back((uint8_t)(EMITTED | (run->once_per_timestep ? RESTING : 0)));
            }
            counters[N_SPIKES]++;
            enqueue((int64_t)source, R(1), s.jump);
        }
    }
    void select() {
        Draws draws = {stream, (uint64_t)n_forward, 0};
        group.clear();
        if (queue.size()) {
            where(queue);
            queue.take((size_t)run->forward_group, view, draws, group);
        }
        if (group.size() > 1) std::sort(group.begin(), group.end());  // a group is a set: one order of summation
        values.resize(group.size());
        for (size_t i = 0; i < group.size(); i++) {
            values[i] = waiting[(size_t)group[i]];
            forget(group[i]);
        }
    }
    template <class Any> void where(Any&) {}
    void where(External& external) {
        external.select = (Select)run->select;
        external.sample = sample; external.timestep = timestep; external.step = n_forward; external.core = 0;
    }
    template <class Any> static bool failed(const Any&) { return false; }
    static bool failed(const External& external) { return external.failed; }

  public:
    bool finished = false, aborted = false;

    explicit Worker(const Network& network) : net(network), populations((size_t)network.n_layers) {
        const size_t n_sources = (size_t)(net.n_inputs + net.n_neurons);
        for (size_t l = 0; l < populations.size(); l++) {
            populations[l].state.resize((size_t)kind(l).rows * layer(l).n);
            populations[l].margin.resize((size_t)layer(l).n);
            populations[l].resting.resize((size_t)layer(l).n);
        }
        P.assign(n_sources, 0.0);
        arrival.assign(n_sources, 0);
        multiplicity.assign(n_sources, R(0));
        waiting.assign(n_sources, R(0));
        queue.prepare((int64_t)n_sources);
        view = {P.data(), arrival.data(), multiplicity.data(), net.layer, nullptr};
    }
    void begin_sample(const Run& r, int64_t index, Record* history) {
        run = &r;
        sample = index;
        record = history;
        n_arrivals = 0;
        aborted = false;
        view.parameters = r.key_parameters;
        for (auto& p : populations) std::fill(p.state.begin(), p.state.end(), R(0));
        clear_queue();
    }
    void begin_timestep(int64_t index) {
        timestep = index;
        stream = stream_of(run->seed, (uint64_t)run->sample_ids[sample], (uint64_t)index);
        counters = run->counters + (sample * run->n_steps + index) * N_COUNTERS;
        n_forward = 0;
        stopped = false;
        for (size_t l = 0; l < populations.size(); l++) {
            Population& p = populations[l];
            kind(l).begin(layer(l), p.state.data());
            std::fill(p.resting.begin(), p.resting.end(), 0);
            p.reached = net.idle_at_start;
            p.tested = false;
            p.again = 0;
        }
        if (queue.size()) {  // spikes carried over: their P is of an earlier timestep
            for (size_t i = 0; i < queue.size(); i++) P[(size_t)queue.source_at(i)] = 0.0;
            queue.refresh(view);
        }
        const int64_t at = sample * run->n_steps + index, begin = run->ptr[at], end = run->ptr[at + 1];
        if (run->prioritised) return deliver(run->units + begin, run->values + begin, end - begin);
        for (int64_t e = begin; e < end; e++) enqueue(run->units[e], run->values[e], run->values[e]);
    }
    // One forward step: test, spike, choose and deliver the next group. Returns whether another one is due.
    bool forward_step() {
        test();
        spike();
        const int64_t queued = (int64_t)queue.size();
        counters[N_FORWARD]++;
        counters[QUEUE_SUM] += queued;
        counters[QUEUE_MAX] = std::max(counters[QUEUE_MAX], queued);
        if (record) {  // what the step received, and what it spiked
            record->spikes_end.push_back((int32_t)record->spikes.size());
            record->groups_end.push_back((int32_t)record->group.size());
            record->received_end.push_back(0);
        }
        if (counters[N_SPIKES] > run->max_spikes) { aborted = true; return false; }
        if (must_stop()) { stopped = true; return false; }
        select();
        aborted = failed(queue);
        if (aborted) return false;
        deliver(group.data(), values.data(), (int64_t)group.size());
        n_forward++;
        return work_left() || group.size();  // what only the readout received is a step's group too
    }
    bool must_stop() const {
        switch (run->stop_rule) {
            case SPIKE_BUDGET: return counters[N_SPIKES] >= run->stop_value;
            case STEP_BUDGET: return counters[N_FORWARD] >= run->stop_value;
            default: return false;
        }
    }
    void force_stop() { stopped = true; }
    void end_timestep() {
        counters[QUEUE_LEFT] = (int64_t)queue.size();
        counters[STOPPED] = stopped;
        if (stopped && !run->carry) clear_queue();
        if (record) record->steps.push_back((int32_t)counters[N_FORWARD]);
    }
};
