// The event loop of one sample. Included by the generated source, which defines Neuron and Queue.
#pragma once
#include "asynchronous/delivery.hpp"

class Worker {
    const Network& net;
    Membranes membranes;
    List answers;
    std::vector<int32_t> group;
    std::vector<R> values;
    Array<R> multiplicity;
    Array<double> P;
    Array<int64_t> arrival;
    std::vector<Queue> queues;
    struct { const int32_t* sources; const R* factor; int64_t count; } chosen;  // not yet delivered
    int64_t n_arrivals = 0, queued = 0;
    uint64_t stream = 0;
    const Run* run = nullptr;
    int64_t sample = 0, timestep = 0, n_forward = 0, since_output = -1, budget_used = 0, steps_before = 0;
    bool stopped = false;
    int64_t* counters = nullptr;
    Record* record = nullptr;
    KeyView view;

    int64_t source_of(int64_t j) const { return net.n_inputs + j; }
    Record* tape() const { return record && run->detail == TAPE ? record : nullptr; }

    void fetch(int64_t source) const {
        membranes.fetch_place(source);
        __builtin_prefetch(&multiplicity[source], 1);
        __builtin_prefetch(&arrival[source], 1);
        __builtin_prefetch(&P[source], 1);
    }
    void note_delivery() {
        counters[N_DELIVERED] += chosen.count;
        if (Record* to = tape()) {
            to->group.insert(to->group.end(), chosen.sources, chosen.sources + chosen.count);
            to->multiplicity.insert(to->multiplicity.end(), chosen.factor, chosen.factor + chosen.count);
        }
    }
    Queue& queue_of(int64_t source) { return queues[(size_t)(net.n_cores > 1 ? net.core[source] : 0)]; }
    void enqueue(int64_t source, R copies) {
        R& waiting = multiplicity[(int64_t)source];
        const bool fresh = waiting == R(0);
        waiting += copies;
        Queue& queue = queue_of(source);
        if (fresh) {
            arrival[(int64_t)source] = n_arrivals++;
            queue.push((int32_t)source, view);
            queued++;
        } else {
            queue.update((int32_t)source, view);
        }
    }
    void clear_queue() {
        for (auto& queue : queues) {
            for (size_t i = 0; i < queue.size(); i++) multiplicity[(int64_t)queue.source_at(i)] = R(0);
            queue.clear();
        }
        queued = 0;
    }
    enum { FORESEEN = 1024 };  // spikes that wait while their rows stay in the second-level cache

    void input() {
        const int64_t at = sample * run->n_steps + timestep, begin = run->ptr[at], end = run->ptr[at + 1];
        chosen = {run->units + begin, run->values + begin, end - begin};
        if (run->input_dropout > 0) {
            const uint64_t field = field_of(stream, 0, INPUT_DROPOUT);
            group.clear(); values.clear();
            for (int64_t e = 0; e < chosen.count; e++)
                if (uniform(field, (uint64_t)chosen.sources[e]) >= run->input_dropout) {
                    group.push_back(chosen.sources[e]);
                    values.push_back(chosen.factor[e]);
                }
            chosen = {group.data(), values.data(), (int64_t)group.size()};
        }
        if (!run->prioritised) {
            for (int64_t e = 0; e < chosen.count; e++) enqueue(chosen.sources[e], chosen.factor[e]);
            chosen.count = 0;
        } else if (membranes.is_far()) {
            for (int64_t e = 0; e < chosen.count; e++) membranes.fetch_place(chosen.sources[e]);
            for (int64_t e = 0; e < chosen.count; e++) membranes.fetch_rows(chosen.sources[e]);
        }
    }

    void spike() {
        const bool some_rest = run->refractory_dropout > 0, some_drop = run->spike_dropout > 0;
        const uint64_t rest = some_rest ? field_of(stream, (uint64_t)n_forward, REFRACTORY_DROPOUT) : 0;
        const uint64_t drop = some_drop ? field_of(stream, (uint64_t)n_forward, SPIKE_DROPOUT) : 0;
        const bool mute = run->lockstep && run->stop_rule == AFTER_OUTPUT && since_output >= run->stop_value;
        const int64_t before = counters[N_SPIKES], first_output = net.n_neurons - net.n_outputs;
        answers.clear();
        const bool ask = membranes.is_far() && queued < FORESEEN;
        if (ask)
            for (int32_t j : membranes.spiked) fetch(source_of(j));
        for (int32_t j : membranes.spiked) {
            const uint64_t source = (uint64_t)source_of(j);
            if (ask) membranes.fetch_rows((int64_t)source);
            P[(int64_t)source] = (double)membranes.reset(j);
            const bool rests =
                run->once_per_timestep && !(some_rest && uniform(rest, source) < run->refractory_dropout);
            if (rests) membranes.rest(j);
            const bool emitted = !mute && !(some_drop && uniform(drop, source) < run->spike_dropout);
            if (record && (emitted || run->detail == TAPE)) {
                record->spikes.push_back(j);
                record->flags.push_back((uint8_t)((emitted ? EMITTED : 0) | (rests ? RESTING : 0)));
            }
            if (!emitted) {  // an earlier spike that still waits has a new P all the same
                if (multiplicity[(int64_t)source] != R(0)) queue_of((int64_t)source).update((int32_t)source, view);
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
            values[i] = multiplicity[(int64_t)group[i]];
            multiplicity[(int64_t)group[i]] = R(0);
        }
        chosen = {group.data(), values.data(), (int64_t)group.size()};
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

    explicit Worker(const Network& network) : net(network), membranes(network) {
        const size_t n_sources = (size_t)(net.n_inputs + net.n_neurons);
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
        membranes.begin_sample();
        if (r.initial) membranes.resume(r.initial + index * net.n_neurons);
        n_arrivals = steps_before = budget_used = 0;
        since_output = -1;
        finished = aborted = false;
        view.parameters = r.key_parameters;
        clear_queue();
    }
    void begin_timestep(int64_t index) {
        timestep = index;
        membranes.begin_timestep(index > 0 || run->initial);
        stream = stream_of(run->seed, (uint64_t)run->sample_ids[sample], (uint64_t)(run->first_step + index));
        counters = run->counters + (sample * run->n_steps + index) * N_COUNTERS;
        n_forward = 0;
        stopped = false;
        if (!run->stop_per_sample) { since_output = -1; budget_used = 0; }
        for (auto& queue : queues) {  // spikes carried over: their P is of an earlier timestep
            if (!queue.size()) continue;
            for (size_t i = 0; i < queue.size(); i++) P[(int64_t)queue.source_at(i)] = 0.0;
            queue.refresh(view);
        }
        input();
    }
    // One forward step: deliver what was chosen, test, spike, choose the next group. Returns whether another one is
    // due; if nothing waits that shows once the last group is delivered, and the step does not count.
    bool forward_step() {
        note_delivery();
        membranes.deliver_and_test(chosen.sources, chosen.factor, chosen.count, tape());
        chosen.count = 0;
        if (!membranes.arrived && !queued && counters[N_FORWARD] && !run->lockstep) return false;
        if (membranes.spiked.size()) spike();
        else if (since_output >= 0) since_output++;
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
        n_forward++;
        if (!run->lockstep) return queued > 0 || chosen.count > 0;
        note_delivery();  // the batch may stop here, and what is delivered is lost
        membranes.deliver(chosen.sources, chosen.factor, chosen.count);
        chosen.count = 0;
        return queued > 0 || membranes.current_left(run->drop_inhibition);
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
        membranes.forget_current();
        counters[N_SYNAPTIC] = membranes.synapses;
        counters[N_TESTS] = membranes.tests;
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
        if (run->final && (finished || timestep + 1 == run->n_steps)) membranes.leave(run->final + sample * net.n_neurons);
    }
};
