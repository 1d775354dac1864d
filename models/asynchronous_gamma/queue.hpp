// The queue of an asynchronous SpikingGamma network within Brian 2's generated C++: what waits, who is tested, and when
// a timestep is over. What neurons and synapses do is Brian 2's own code, which calls these functions in the order of
// `compiled.py`; `brian.py` keeps the same queue in Python.
#pragma once
#include <algorithm>
#include <cstddef>
#include <vector>

#include "asynchronous/brian/functions.hpp"

struct GammaQueue {
    struct Entry {
        double copies = 0, jump = 0, P = 0, arrival = 0;
    };
    std::vector<Entry> waiting;                // by source
    std::vector<double> chosen;                // by source: what a spike carries, 0 for none
    std::vector<char> reached, tested;         // by hidden layer
    std::vector<char> fired, rests, again;     // by source
    double arrivals = 0, timestep = -1, step = 0, spikes = 0;
    bool fresh = true, done = false;

    void join(size_t source, double copies, double jump, double P) {
        Entry& e = waiting[source];
        if (e.copies == 0) e.arrival = arrivals++;
        e.copies += copies, e.jump += jump, e.P = P;
    }
    bool any_waiting() const {
        return std::any_of(waiting.begin(), waiting.end(), [](const Entry& e) { return e.copies > 0; });
    }
};
inline GammaQueue& gamma_queue() {
    static GammaQueue queue;
    return queue;
}
inline bool any_of(const std::vector<char>& flags) { return std::find(flags.begin(), flags.end(), 1) != flags.end(); }
inline void gamma_restart() {
    gamma_queue() = GammaQueue();
    async_choice().arrivals = 0;
}
// The tick begins, with the first source; a fresh one begins a timestep. In the first tick all sources make themselves
// known.
static inline double gamma_begin(double source, double layer, double idle_at_start) {
    GammaQueue& q = gamma_queue();
    const bool reached = idle_at_start > 0;
    const size_t i = static_cast<size_t>(source), hidden = static_cast<size_t>(layer);  // layer 0 is the input
    if (i == 0) {
        q.done = false;
        std::fill(q.chosen.begin(), q.chosen.end(), 0.0);
        if (q.fresh) {
            q.timestep++, q.step = 0, q.spikes = 0;
            for (auto* flags : {&q.tested, &q.rests, &q.again}) std::fill(flags->begin(), flags->end(), 0);
            std::fill(q.reached.begin(), q.reached.end(), reached);
        }
    }
    if (i >= q.waiting.size()) {
        q.waiting.resize(i + 1), q.chosen.resize(i + 1);
        q.fired.resize(i + 1), q.rests.resize(i + 1), q.again.resize(i + 1);
    }
    if (hidden > q.reached.size()) q.reached.resize(hidden, reached), q.tested.resize(hidden);
    return q.timestep;
}
static inline double gamma_timestep(double) { return gamma_queue().timestep; }
static inline double gamma_fresh(double) { return gamma_queue().fresh; }
static inline double gamma_done(double) { return gamma_queue().done; }
static inline double gamma_input(double source, double value, double prioritised) {
    GammaQueue& q = gamma_queue();
    if (!q.fresh || value == 0) return 0;
    if (prioritised > 0) q.chosen[static_cast<size_t>(source)] = value;
    else q.join(static_cast<size_t>(source), value, value, 0);
    return 0;
}
// What a key sees of a waiting source. Prioritised input takes the place of the first group.
static inline double gamma_waits(double source, double prioritised) {
    const GammaQueue& q = gamma_queue();
    return q.waiting[static_cast<size_t>(source)].copies > 0 && !(q.fresh && prioritised > 0);
}
static inline double gamma_copies(double source) { return gamma_queue().waiting[static_cast<size_t>(source)].copies; }
static inline double gamma_P(double source) { return gamma_queue().waiting[static_cast<size_t>(source)].P; }
static inline double gamma_arrival(double source) { return gamma_queue().waiting[static_cast<size_t>(source)].arrival; }
static inline double gamma_choice(double) {  // the choice belongs to the forward step before
    return gamma_queue().fresh ? -1 : gamma_queue().step - 1;
}
// What a source passes on in this tick.
static inline double gamma_jump(double source, double layer, double taken) {
    GammaQueue& q = gamma_queue();
    const size_t i = static_cast<size_t>(source);
    if (taken > 0) {
        q.chosen[i] = q.waiting[i].jump;
        q.waiting[i] = GammaQueue::Entry();
    }
    const size_t next = static_cast<size_t>(layer);
    if ((q.chosen[i] != 0 || taken > 0) && next < q.reached.size()) q.reached[next] = 1;
    return q.chosen[i];
}
// Where nothing is left to do the first layer that has not been tested is.
static inline double gamma_settle(double) {
    GammaQueue& q = gamma_queue();
    if (!q.any_waiting() && !any_of(q.reached) && !any_of(q.again)) {
        const auto layer = std::find(q.tested.begin(), q.tested.end(), 0);
        if (layer != q.tested.end()) q.reached[static_cast<size_t>(layer - q.tested.begin())] = 1;
    }
    for (size_t k = 0; k < q.tested.size(); k++) q.tested[k] |= q.reached[k];
    std::fill(q.fired.begin(), q.fired.end(), 0);
    return 0;
}
static inline double gamma_testing(double source, double layer) {
    const GammaQueue& q = gamma_queue();
    const size_t i = static_cast<size_t>(source);
    return (q.reached[static_cast<size_t>(layer) - 1] || q.again[i]) && !q.rests[i];
}
static inline double gamma_fired(double source, double jump, double margin) {
    GammaQueue& q = gamma_queue();
    q.fired[static_cast<size_t>(source)] = 1;
    q.spikes++;
    q.join(static_cast<size_t>(source), 1, jump, margin);
    return 0;
}
static inline double gamma_again(double source, double margin, double once) {
    GammaQueue& q = gamma_queue();
    const size_t i = static_cast<size_t>(source);
    q.again[i] = q.fired[i] && !(once > 0) && margin > 0;
    if (q.fired[i] && once > 0) q.rests[i] = 1;
    return 0;
}
// The tick ends; says whether too many spikes fell into the timestep.
static inline double gamma_end(double n_steps, double max_spikes) {
    GammaQueue& q = gamma_queue();
    std::fill(q.reached.begin(), q.reached.end(), 0);
    q.step++;
    const bool runaway = q.spikes > max_spikes;
    const bool all_tested = std::find(q.tested.begin(), q.tested.end(), 0) == q.tested.end();
    q.done = !runaway && !q.any_waiting() && !any_of(q.again) && all_tested;
    q.fresh = q.done;
    async_finish(runaway || (q.done && q.timestep + 1 >= n_steps));
    return runaway;
}
