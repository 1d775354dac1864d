// The event loop of one sample. Included by the generated source, which defines Neuron and Queue.
#pragma once

struct Tile {
    int64_t epoch;     // timestep whose leak has been applied, counted over everything this worker ever ran
    uint32_t resting;  // bits of neurons that have spiked in that timestep
    uint32_t touched;
};

// A list whose greatest length is known.
struct List {
    std::vector<int32_t> items;
    size_t count = 0;
    void reserve(size_t n) { items.resize(n); }
    void push(int32_t item) { items[count++] = item; }
    void clear() { count = 0; }
    size_t size() const { return count; }
    int32_t* begin() { return items.data(); }
    int32_t* end() { return items.data() + count; }
    const int32_t* begin() const { return items.data(); }
    const int32_t* end() const { return items.data() + count; }
};

// State of one sample. A tile is brought up to date when current first reaches it, so that a timestep costs what it
// touches; a new sample only moves `born`.
class Worker {
    const Network& net;
    const Neuron neuron;
    const bool far;
    std::vector<R> membrane, current, received;
    std::vector<Tile> tiles;
    List touched, spiked, answers;
    std::vector<int32_t> group;
    std::vector<uint32_t> got, over;
    std::vector<R> values, multiplicity;
    std::vector<double> P;
    std::vector<int64_t> arrival;
    std::vector<Queue> queues;
    int64_t epoch = 0, born = 0, n_arrivals = 0, queued = 0;
    uint64_t stream = 0;
    const Run* run = nullptr;
    int64_t sample = 0, timestep = 0, n_forward = 0, since_output = -1, budget_used = 0, steps_before = 0;
    bool stopped = false;
    int64_t* counters = nullptr;
    Record* record = nullptr;
    KeyView view;

    int64_t source_of(int64_t j) const { return net.n_inputs + j; }

    void bring_up_to_date(int64_t index) {
        Tile& tile = tiles[(size_t)index];
        R* v = membrane.data() + index * TILE;
        if (tile.epoch < born) {
            std::fill(v, v + TILE, R(0));
        } else {
            for (uint32_t bits = tile.resting; bits; bits &= bits - 1) {  // held at the reset value, whatever arrived
                const int64_t j = index * TILE + __builtin_ctz(bits);
                membrane[(size_t)j] = neuron.reset(j, membrane[(size_t)j]);
            }
            const R* leak = net.leak + index * TILE * net.leak_step;
            const int64_t elapsed = epoch - tile.epoch;
            if (elapsed <= 16) {  // term for term what a dense simulation does
                for (int64_t k = 0; k < elapsed; k++)
                    for (int lane = 0; lane < TILE; lane++) v[lane] *= leak[lane];
            } else {
                for (int lane = 0; lane < TILE; lane++) v[lane] *= (R)std::pow((double)leak[lane], (double)elapsed);
            }
        }
        if (Neuron::SYNCHRONISED) std::fill_n(received.begin() + index * TILE, (int)TILE, R(0));
        tile.resting = 0;
        tile.epoch = epoch;
    }
    void touch(int64_t index) {
        Tile& tile = tiles[(size_t)index];
        touched.items[touched.count] = (int32_t)index;  // without a branch: whether it is new is a coin toss
        touched.count += 1 - tile.touched;
        tile.touched = 1;
        if (tile.epoch != epoch) bring_up_to_date(index);
    }

    // The state of a large network lies outside the caches: what a row will need is asked for while it is read.
    enum { AHEAD = 12, NEAR = 8192 };
    void fetch(int64_t j) const {
        __builtin_prefetch(&tiles[(size_t)(j / TILE)], 1);
        __builtin_prefetch(&current[(size_t)j], 1);
        __builtin_prefetch(&membrane[(size_t)j], 1);
    }

    // Rows of `count` sources of one population onto the current.
    void deliver_rows(const Population& from, const int32_t* sources, const R* factor, int64_t count) {
        for (int64_t b = from.block_begin; b < from.block_end; b++) {
            const Block& block = net.blocks[b];
            if (block.dense) {
                for (int64_t tile = block.first / TILE; tile * TILE < block.first + block.width; tile++) touch(tile);
                const R* rows = block.dense - from.first * block.width;
                add_rows(current.data() + block.first, rows, (int)block.width, sources, factor, 0, count, R(1));
                if (Neuron::SYNCHRONISED)
                    for (int64_t e = 0; e < count; e++)
                        for (int64_t j = 0; j < block.width; j++)
                            if (rows[sources[e] * block.width + j] != R(0)) received[(size_t)(block.first + j)] += factor[e];
                continue;
            }
            for (int64_t e = 0; e < count; e++) {
                const int64_t row = sources[e] - from.first, end = block.ptr[row + 1];
                for (int64_t s = block.ptr[row]; s < end; s++) {
                    if (far && s + AHEAD < end) fetch(block.targets[s + AHEAD]);
                    const int64_t j = block.targets[s];
                    touch(j / TILE);
                    current[(size_t)j] += factor[e] * block.weights[s];
                    if (Neuron::SYNCHRONISED) received[(size_t)j] += factor[e];
                }
            }
        }
    }
    // The group, ascending, population after population.
    void deliver(const int32_t* sources, const R* factor, int64_t count) {
        for (int64_t i = 0; i < count;) {
            const Population& from = net.populations[net.population[sources[i]]];
            const int64_t begin = i, last = from.first + from.size;
            int64_t synapses = 0;
            for (; i < count && sources[i] < last; i++) synapses += net.fanout[sources[i]];
            counters[N_SYNAPTIC] += synapses;
            deliver_rows(from, sources + begin, factor + begin, i - begin);
        }
        counters[N_DELIVERED] += count;
        if (record && run->detail == TAPE) {
            record->group.insert(record->group.end(), sources, sources + count);
            record->multiplicity.insert(record->multiplicity.end(), factor, factor + count);
        }
    }
    Queue& queue_of(int64_t source) { return queues[(size_t)(net.n_cores > 1 ? net.core[source] : 0)]; }
    void enqueue(int64_t source, R copies) {
        R& waiting = multiplicity[(size_t)source];
        const bool fresh = waiting == R(0);
        waiting += copies;
        Queue& queue = queue_of(source);
        if (fresh) {
            arrival[(size_t)source] = n_arrivals++;
            queue.push((int32_t)source, view);
            queued++;
        } else {
            queue.update((int32_t)source, view);
        }
    }
    void clear_queue() {
        for (auto& queue : queues) {
            for (size_t i = 0; i < queue.size(); i++) multiplicity[(size_t)queue.source_at(i)] = R(0);
            queue.clear();
        }
        queued = 0;
    }
    void forget_current() {
        for (int32_t index : touched) {
            std::fill_n(current.begin() + (int64_t)index * TILE, (int)TILE, R(0));
            tiles[(size_t)index].touched = 0;
        }
        touched.clear();
    }
    bool current_left() const {
        for (int32_t index : touched)
            for (int lane = 0; lane < TILE; lane++) {
                const R I = current[(size_t)index * TILE + lane];
                if (run->drop_inhibition ? I > R(0) : I != R(0)) return true;
            }
        return false;
    }

    void input() {
        const int64_t at = sample * run->n_steps + timestep, begin = run->ptr[at], end = run->ptr[at + 1];
        const int32_t* units = run->units + begin;
        const R* factor = run->values + begin;
        int64_t count = end - begin;
        if (run->input_dropout > 0) {
            const uint64_t field = field_of(stream, 0, INPUT_DROPOUT);
            group.clear(); values.clear();
            for (int64_t e = 0; e < count; e++)
                if (uniform(field, (uint64_t)units[e]) >= run->input_dropout) {
                    group.push_back(units[e]);
                    values.push_back(factor[e]);
                }
            units = group.data(); factor = values.data(); count = (int64_t)group.size();
        }
        if (run->prioritised) deliver(units, factor, count);
        else for (int64_t e = 0; e < count; e++) enqueue(units[e], factor[e]);
    }

    // Tests every touched tile once; the neurons that spike, ascending, into `spiked`.
    void test() {
        spiked.clear();
        neuron.test(touched.begin(), touched.size(), membrane.data(), current.data(), got.data(), over.data());
        for (size_t k = 0; k < touched.size(); k++) {
            const int32_t index = touched.items[k];
            Tile& tile = tiles[(size_t)index];
            const int64_t first = (int64_t)index * TILE;
            const uint32_t nonzero = got[k] & ~tile.resting;
            uint32_t above = over[k] & nonzero;
            tile.touched = 0;
            counters[N_TESTS] += __builtin_popcount(nonzero);
            if (record && run->detail == TAPE)
                for (uint32_t bits = nonzero; bits; bits &= bits - 1) {
                    const int lane = __builtin_ctz(bits);
                    record->received.push_back((int32_t)(first + lane));
                    record->membrane.push_back(membrane[(size_t)(first + lane)]);
                }
            for (; above; above &= above - 1) {
                const int32_t j = (int32_t)(first + __builtin_ctz(above));
                if (Neuron::SYNCHRONISED && !(received[(size_t)j] > net.sigma[j])) continue;
                spiked.push(j);
            }
        }
        touched.clear();
        if (spiked.size() > 1 && !std::is_sorted(spiked.begin(), spiked.end())) std::sort(spiked.begin(), spiked.end());
    }

    void spike() {
        const bool some_rest = run->refractory_dropout > 0, some_drop = run->spike_dropout > 0;
        const uint64_t rest = some_rest ? field_of(stream, (uint64_t)n_forward, REFRACTORY_DROPOUT) : 0;
        const uint64_t drop = some_drop ? field_of(stream, (uint64_t)n_forward, SPIKE_DROPOUT) : 0;
        const bool mute = run->lockstep && run->stop_rule == AFTER_OUTPUT && since_output >= run->stop_value;
        const int64_t before = counters[N_SPIKES], first_output = net.n_neurons - net.n_outputs;
        answers.clear();
        for (int32_t j : spiked) {
            const uint64_t source = (uint64_t)source_of(j);
            P[source] = (double)membrane[(size_t)j];
            membrane[(size_t)j] = neuron.reset(j, membrane[(size_t)j]);
            const bool rests =
                run->once_per_timestep && !(some_rest && uniform(rest, source) < run->refractory_dropout);
            if (rests) tiles[(size_t)(j / TILE)].resting |= 1u << (j % TILE);
            const bool emitted = !mute && !(some_drop && uniform(drop, source) < run->spike_dropout);
            if (record && (emitted || run->detail == TAPE)) {
                record->spikes.push_back(j);
                record->flags.push_back((uint8_t)((emitted ? EMITTED : 0) | (rests ? RESTING : 0)));
            }
            if (!emitted) {  // an earlier spike that still waits has a new P all the same
                if (multiplicity[source] != R(0)) queue_of((int64_t)source).update((int32_t)source, view);
                continue;
            }
            counters[N_SPIKES]++;
            if (j >= first_output) answers.push((int32_t)(j - first_output));
            enqueue((int64_t)source, R(1));
        }
        budget_used += counters[N_SPIKES] - before;
        for (int32_t k : answers) {
            const int64_t at = (sample * run->n_steps + timestep) * net.n_outputs + k;
            if (run->outputs[at]++) continue;
            run->first[2 * at] = counters[N_SPIKES];
            run->first[2 * at + 1] = n_forward + 1;
        }
        if (since_output >= 0) since_output++;
        else if (answers.size()) since_output = 0;
    }

    void select() {
        Draws draws = {stream, (uint64_t)n_forward, 0};
        group.clear();
        for (size_t core = 0; core < queues.size(); core++) {
            Queue& queue = queues[core];
            if (!queue.size()) continue;
            where(queue, (int64_t)core);
            queue.take((size_t)run->forward_group, view, draws, group);
        }
        queued -= (int64_t)group.size();
        if (group.size() > 1) std::sort(group.begin(), group.end());  // a group is a set: one order of summation
        values.resize(group.size());
        for (size_t i = 0; i < group.size(); i++) {
            values[i] = multiplicity[(size_t)group[i]];
            multiplicity[(size_t)group[i]] = R(0);
        }
    }
    template <class Any> void where(Any&, int64_t) {}
    void where(External& queue, int64_t core) {
        queue.select = (Select)run->select;
        queue.sample = sample; queue.timestep = timestep; queue.step = n_forward; queue.core = core;
    }
    template <class Any> static bool failed(const Any&) { return false; }
    static bool failed(const External& queue) { return queue.failed; }

  public:
    bool finished = false, aborted = false;

    explicit Worker(const Network& network) : net(network), neuron(network), far(network.n_neurons > NEAR) {
        const size_t n_tiles = (size_t)((net.n_neurons + TILE - 1) / TILE), n = n_tiles * TILE;
        const size_t n_sources = (size_t)(net.n_inputs + net.n_neurons);
        membrane.assign(n, R(0));
        current.assign(n, R(0));
        if (Neuron::SYNCHRONISED) received.assign(n, R(0));
        tiles.assign(n_tiles, Tile{-1, 0, 0});
        touched.reserve(n_tiles + 1);
        got.resize(n_tiles);
        over.resize(n_tiles);
        spiked.reserve(n);
        answers.reserve((size_t)net.n_outputs);
        P.assign(n_sources, 0.0);
        arrival.assign(n_sources, 0);
        multiplicity.assign(n_sources, R(0));
        queues.resize((size_t)net.n_cores);
        for (auto& queue : queues) queue.prepare((int64_t)n_sources);
        view = {P.data(), arrival.data(), multiplicity.data(), net.layer, nullptr};
    }

    void begin_sample(const Run& r, int64_t index, Record* history) {
        run = &r;
        sample = index;
        record = history;
        born = ++epoch;
        n_arrivals = steps_before = budget_used = 0;
        since_output = -1;
        finished = aborted = false;
        view.parameters = r.key_parameters;
        forget_current();
        clear_queue();
    }
    void begin_timestep(int64_t index) {
        timestep = index;
        if (index) epoch++;
        stream = stream_of(run->seed, (uint64_t)run->sample_ids[sample], (uint64_t)index);
        counters = run->counters + (sample * run->n_steps + index) * N_COUNTERS;
        n_forward = 0;
        stopped = false;
        if (!run->stop_per_sample) { since_output = -1; budget_used = 0; }
        for (auto& queue : queues) {  // spikes carried over: their P is of an earlier timestep
            if (!queue.size()) continue;
            for (size_t i = 0; i < queue.size(); i++) P[(size_t)queue.source_at(i)] = 0.0;
            queue.refresh(view);
        }
        input();
    }
    // One forward step: test, spike, choose and deliver the next group. Returns whether another one is due.
    bool forward_step() {
        test();
        spike();
        counters[N_FORWARD]++;
        counters[QUEUE_SUM] += queued;
        counters[QUEUE_MAX] = std::max(counters[QUEUE_MAX], queued);
        if (record) {  // what the step received, and what it spiked
            record->spikes_end.push_back((int32_t)record->spikes.size());
            record->groups_end.push_back((int32_t)record->group.size());
            record->received_end.push_back((int32_t)record->received.size());
        }
        if (counters[N_SPIKES] > run->max_spikes) { aborted = true; return false; }
        if (!run->lockstep && must_stop()) { stopped = true; return false; }
        select();
        for (const auto& queue : queues) aborted |= failed(queue);
        if (aborted) return false;
        deliver(group.data(), values.data(), (int64_t)group.size());
        n_forward++;
        return queued > 0 || current_left();
    }
    // In lockstep the batch stops when every sample wants to; what was just delivered is lost.
    bool must_stop() const {
        switch (run->stop_rule) {
            case AFTER_OUTPUT: return since_output >= run->stop_value + (run->lockstep ? 2 : 0);
            case SPIKE_BUDGET: return budget_used >= run->stop_value;
            case STEP_BUDGET: return steps_before + counters[N_FORWARD] >= run->stop_value;
            default: return false;
        }
    }
    void force_stop() { stopped = true; }
    void end_timestep() {
        forget_current();
        if (record && !record->groups_end.empty()) {  // a last group that no step received: spikes without targets
            record->group.resize((size_t)record->groups_end.back());
            record->multiplicity.resize(record->group.size());
        }
        counters[QUEUE_LEFT] = queued;
        counters[STOPPED] = stopped;
        if (stopped && !run->carry) clear_queue();
        if (run->stop_per_sample) steps_before += counters[N_FORWARD];
        if (record) record->steps.push_back((int32_t)counters[N_FORWARD]);
        finished = stopped && run->stop_per_sample;
    }
};
