// What workers of an event loop share, whatever the neuron. Included by the generated source, which defines Queue.
#pragma once
#include "order/queues.hpp"
#include "order/record.hpp"

// Ascending; few numbers by counting how many are smaller, as no processor foresees how random ones compare.
static inline void sort_distinct(std::vector<int32_t>& items) {
    const size_t n = items.size(), room = (n + 15) / 16 * 16;
    if (std::is_sorted(items.begin(), items.end())) return;
    if (n > 64) return std::sort(items.begin(), items.end());
    int32_t from[64];
    std::fill(std::copy(items.begin(), items.end(), from), from + room, INT32_MAX);
    for (size_t i = 0; i < n; i++) {
        int32_t before = 0;
        for (size_t k = 0; k < room; k++) before += from[k] < from[i];
        items[(size_t)before] = from[i];
    }
}

// One sample at a time: what waits, how the next group is chosen, when to stop, what is counted and recorded. Derived
// has `R take(source)`: what a waiting source carries, which then waits no more.
template <class Derived> class EventLoopWorker {
    Derived& self() { return *static_cast<Derived*>(this); }
    static void ask(External& queue, const Waiting& where, Select select) { queue.where = where; queue.select = select; }
    static bool failed(const External& queue) { return queue.failed; }
    template <class Any> static void ask(Any&, const Waiting&, Select) {}
    template <class Any> static bool failed(const Any&) { return false; }

  protected:
    const LoopArguments* run = nullptr;
    Record* record = nullptr;
    int64_t* counters = nullptr;
    const int32_t* core;                   // of every source, with several queues
    std::vector<Queue> queues;
    Array<R> copies;                       // of every source: spikes that wait
    Array<double> P;                       // and what a key may refer to
    Array<int64_t> arrival;
    KeyView view;
    std::vector<int32_t> group;            // chosen, ascending
    std::vector<R> amounts;                // what each of them carries
    int64_t sample = 0, timestep = 0, n_forward = 0, n_arrivals = 0, queued = 0;
    int64_t since_output = -1, spikes_before = 0, steps_before = 0;
    uint64_t stream = 0;
    bool stopped = false;

    EventLoopWorker(int64_t n_sources, int64_t n_cores, const int32_t* layer, const int32_t* cores)
        : core(n_cores > 1 ? cores : nullptr), queues((size_t)n_cores) {
        copies.assign(n_sources, R(0));
        P.assign(n_sources, 0.0);
        arrival.assign(n_sources, 0);
        for (auto& queue : queues) queue.prepare(n_sources);
        view = {P.data(), arrival.data(), copies.data(), layer, nullptr};
    }
    Queue& queue_of(int64_t source) { return queues[core ? (size_t)core[source] : 0]; }
    Record* tape() const { return record && run->detail == TAPE ? record : nullptr; }

    void enqueue(int64_t source, R more) {
        const bool fresh = copies[source] == R(0);
        copies[source] += more;
        Queue& queue = queue_of(source);
        if (!fresh) return queue.update((int32_t)source, view);
        arrival[source] = n_arrivals++;
        queue.push((int32_t)source, view);
        queued++;
    }
    void clear_queue() {
        for (auto& queue : queues) {
            for (size_t i = 0; i < queue.size(); i++) self().take(queue.source_at(i));
            queue.clear();
        }
        queued = 0;
    }
    void select() {
        Draws draws = {stream, (uint64_t)n_forward, 0};
        group.clear();
        for (size_t k = 0; k < queues.size(); k++) {
            if (!queues[k].size()) continue;
            ask(queues[k], {sample, timestep, n_forward, (int64_t)k}, run->select);
            queues[k].take((size_t)run->forward_group, view, draws, group);
            aborted |= failed(queues[k]);
        }
        queued -= (int64_t)group.size();
        sort_distinct(group);  // a group is a set: one order of summation
        amounts.resize(group.size());
        for (size_t i = 0; i < group.size(); i++) amounts[i] = self().take(group[i]);
    }
    // Of input that queues: what the first forward step receives, so that none is empty while something waits.
    void select_first() {
        counters[QUEUE_MAX] = queued;
        n_forward = -1;  // the step before the first: its random numbers are those of no other choice
        select();
        n_forward = 0;
    }
    void note_delivery(const int32_t* sources, const R* carried, int64_t count) {
        counters[N_DELIVERED] += count;
        if (Record* to = tape()) {
            to->group.insert(to->group.end(), sources, sources + count);
            to->amounts.insert(to->amounts.end(), carried, carried + count);
        }
    }
    void note_spike(int32_t neuron, bool emitted, bool rests) {
        counters[N_SPIKES] += emitted;
        if (!record || !(emitted || run->detail == TAPE)) return;
        record->spikes.push_back(neuron);
        record->flags.push_back((uint8_t)((emitted ? EMITTED : 0) | (rests ? RESTING : 0)));
    }
    // Counts a forward step; whether the timestep may go on.
    bool count_step() {
        counters[N_FORWARD]++;
        counters[QUEUE_SUM] += queued;
        counters[QUEUE_MAX] = std::max(counters[QUEUE_MAX], queued);
        if (record) {  // what the step received, and what it spiked
            record->spikes_end.push_back((int32_t)record->spikes.size());
            record->groups_end.push_back((int32_t)record->group.size());
            record->received_end.push_back((int32_t)record->received.size());
        }
        aborted |= counters[N_SPIKES] > run->max_spikes;
        stopped = !aborted && !run->lockstep && must_stop();
        return !aborted && !stopped;
    }
    void open_sample(const LoopArguments& arguments, int64_t index, Record* history) {
        run = &arguments;
        sample = index;
        record = history;
        n_arrivals = spikes_before = steps_before = 0;
        since_output = -1;
        finished = aborted = false;
        view.parameters = run->key_parameters;
        clear_queue();
    }
    void open_timestep(int64_t index) {
        timestep = index;
        stream = stream_of(run->seed, (uint64_t)run->sample_ids[sample], (uint64_t)(run->first_timestep + index));
        counters = run->counters + (sample * run->n_timesteps + index) * N_COUNTERS;
        n_forward = 0;
        stopped = false;
        if (!run->stop_per_sample) since_output = -1;
        for (auto& queue : queues) {  // spikes carried over: their P is of an earlier timestep
            if (!queue.size()) continue;
            for (size_t i = 0; i < queue.size(); i++) P[queue.source_at(i)] = 0.0;
            queue.refresh(view);
        }
    }
    void close_timestep() {
        counters[QUEUE_LEFT] = queued;
        counters[STOPPED] = stopped;
        if (stopped && !run->carry) clear_queue();
        if (run->stop_per_sample) {
            spikes_before += counters[N_SPIKES];
            steps_before += counters[N_FORWARD];
        }
        if (record) record->steps.push_back((int32_t)counters[N_FORWARD]);
        finished = stopped && run->stop_per_sample;
    }

  public:
    bool finished = false, aborted = false;

    // In lockstep the batch stops when every sample wants to; what was just delivered is lost.
    bool must_stop() const {
        switch (run->stop_rule) {
            case AFTER_OUTPUT: return since_output >= run->stop_value + (run->lockstep ? 1 : 0);
            case SPIKE_BUDGET: return spikes_before + counters[N_SPIKES] >= run->stop_value;
            case STEP_BUDGET: return steps_before + counters[N_FORWARD] >= run->stop_value;
            default: return false;
        }
    }
    void force_stop() { stopped = true; }
};
