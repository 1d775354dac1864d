// The event loop of one sample. Included by the generated source, which defines Neuron and Queue.
#pragma once
#include "asynchronous/delivery.hpp"
#include "order/worker.hpp"

class Worker : public EventLoopWorker<Worker> {
    const Network& net;
    Membranes membranes;
    List answers;
    struct { const int32_t* sources; const R* amounts; int64_t count; } chosen;  // not yet delivered
    enum { FORESEEN = 1024 };  // spikes that wait while their rows stay in the second-level cache

    void fetch(int64_t source) const {
        membranes.fetch_place(source);
        __builtin_prefetch(&copies[source], 1);
        __builtin_prefetch(&arrival[source], 1);
        __builtin_prefetch(&P[source], 1);
    }
    void input() {
        const int64_t at = sample * run->n_timesteps + timestep, begin = run->ptr[at], end = run->ptr[at + 1];
        chosen = {run->units + begin, run->amounts + begin, end - begin};
        if (run->input_dropout > 0) {
            const uint64_t field = field_of(stream, 0, INPUT_DROPOUT);
            group.clear(); amounts.clear();
            for (int64_t e = 0; e < chosen.count; e++)
                if (uniform(field, (uint64_t)chosen.sources[e]) >= run->input_dropout) {
                    group.push_back(chosen.sources[e]);
                    amounts.push_back(chosen.amounts[e]);
                }
            chosen = {group.data(), amounts.data(), (int64_t)group.size()};
        }
        if (!run->prioritised) {
            for (int64_t e = 0; e < chosen.count; e++) enqueue(chosen.sources[e], chosen.amounts[e]);
            select_first();
            chosen = {group.data(), amounts.data(), (int64_t)group.size()};
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
        const int64_t first_output = net.n_neurons - net.n_outputs;
        answers.clear();
        const bool ask = membranes.is_far() && queued < FORESEEN;
        if (ask)
            for (int32_t j : membranes.spiked) fetch(net.n_inputs + j);
        for (int32_t j : membranes.spiked) {
            const int64_t source = net.n_inputs + j;
            if (ask) membranes.fetch_rows(source);
            P[source] = (double)membranes.reset(j);
            const bool rests =
                run->once_per_timestep && !(some_rest && uniform(rest, (uint64_t)source) < run->refractory_dropout);
            if (rests) membranes.rest(j);
            const bool emitted = !mute && !(some_drop && uniform(drop, (uint64_t)source) < run->spike_dropout);
            note_spike(j, emitted, rests);
            if (!emitted) {  // an earlier spike that still waits has a new P all the same
                if (copies[source] != R(0)) queue_of(source).update((int32_t)source, view);
                continue;
            }
            if (j >= first_output) answers.push((int32_t)(j - first_output));
            enqueue(source, R(1));
        }
        for (int32_t k : answers) {
            const int64_t at = (sample * run->n_timesteps + timestep) * net.n_outputs + k;
            if (run->outputs[at]++) continue;
            run->first[2 * at] = counters[N_SPIKES];
            run->first[2 * at + 1] = n_forward + 1;
        }
        if (since_output >= 0) since_output++;
        else if (answers.size()) since_output = 0;
    }
    void note_chosen() { note_delivery(chosen.sources, chosen.amounts, chosen.count); }

  public:
    explicit Worker(const Network& network)
        : EventLoopWorker(network.n_inputs + network.n_neurons, network.n_cores, network.layer, network.core),
          net(network), membranes(network), chosen{nullptr, nullptr, 0} {
        answers.reserve((size_t)net.n_outputs);
    }
    R take(int64_t source) {
        const R carried = copies[source];
        copies[source] = R(0);
        return carried;
    }
    void begin_sample(const LoopArguments& arguments, int64_t index, Record* history) {
        open_sample(arguments, index, history);
        chosen.count = 0;
        membranes.begin_sample();
        if (run->initial) membranes.resume(run->initial + sample * net.n_neurons);
    }
    void begin_timestep(int64_t index) {
        membranes.begin_timestep(index > 0 || run->initial);
        open_timestep(index);
        input();
    }
    // One forward step: deliver what was chosen, test, spike, choose the next group. Returns whether another one is
    // due; if nothing waits that shows once the last group is delivered, and the step does not count.
    bool forward_step() {
        note_chosen();
        membranes.deliver_and_test(chosen.sources, chosen.amounts, chosen.count, tape());
        chosen.count = 0;
        if (!membranes.arrived && !queued && counters[N_FORWARD] && !run->lockstep) return false;
        if (membranes.spiked.size()) spike();
        else if (since_output >= 0) since_output++;
        if (!count_step()) return false;
        select();
        if (aborted) return false;
        chosen = {group.data(), amounts.data(), (int64_t)group.size()};
        n_forward++;
        if (!run->lockstep) return queued > 0 || chosen.count > 0;
        note_chosen();  // the batch may stop here, and what is delivered is lost
        membranes.deliver(chosen.sources, chosen.amounts, chosen.count);
        chosen.count = 0;
        return queued > 0 || membranes.excited();
    }
    void end_timestep() {
        membranes.forget_current();
        counters[N_SYNAPTIC] = membranes.synapses;
        counters[N_TESTS] = membranes.tests;
        if (record && !record->groups_end.empty()) {  // a last group that no step received: spikes without targets
            record->group.resize((size_t)record->groups_end.back());
            record->amounts.resize(record->group.size());
        }
        close_timestep();
        if (run->final && (finished || timestep + 1 == run->n_timesteps)) membranes.leave(run->final + sample * net.n_neurons);
    }
};
