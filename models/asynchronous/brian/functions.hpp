// What Brian 2's generated C++ calls for an asynchronous network. Every code object is a file of its own, so the state
// lives in inline functions, of which a program has one instance.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>
#include "native/random.hpp"
#include "network.h"  // of the generated project

// ---- both modes

static inline double async_finish(double condition) {
    if (condition > 0) Network::_globally_stopped = true;
    return condition;
}

// ---- forward steps

// The seed comes in two halves because a double holds 53 bits.
static inline double async_uniform(double seed_high, double seed_low, double sample, double timestep, double step,
                                   double purpose, double source) {
    const uint64_t seed = ((uint64_t)seed_high << 32) | (uint64_t)seed_low;
    const uint64_t stream = stream_of(seed, (uint64_t)sample, (uint64_t)timestep);
    return uniform(field_of(stream, (uint64_t)(int64_t)step, (Purpose)(int)purpose), (uint64_t)source);
}

struct AsyncChoice {
    std::vector<double> key;
    std::vector<int64_t> core, order;
    std::vector<char> waiting, taken;
    double arrivals = 0;

    void take(size_t group, bool ties) {
        order.clear();
        taken.assign(key.size(), 0);
        for (size_t i = 0; i < key.size(); i++)
            if (waiting[i]) order.push_back((int64_t)i);
        std::stable_sort(order.begin(), order.end(), [this](int64_t a, int64_t b) {
            if (core[(size_t)a] != core[(size_t)b]) return core[(size_t)a] < core[(size_t)b];
            return key[(size_t)a] < key[(size_t)b];
        });
        size_t first = 0;  // of the core
        for (size_t k = 0; k < order.size(); k++) {
            const size_t i = (size_t)order[k];
            if (core[i] != core[(size_t)order[first]]) first = k;
            taken[i] = ties ? key[i] == key[(size_t)order[first]] : k - first < group;
        }
    }
};
inline AsyncChoice& async_choice() {
    static AsyncChoice choice;
    return choice;
}
// All sources are offered, in ascending order, before the first is asked for.
static inline double async_offer(double source, double key, double core, double waiting) {
    AsyncChoice& c = async_choice();
    const size_t i = (size_t)source;
    if (i == 0) { c.key.clear(); c.core.clear(); c.waiting.clear(); }
    c.key.push_back(key);
    c.core.push_back((int64_t)core);
    c.waiting.push_back(waiting > 0);
    return 0.0;
}
static inline double async_taken(double source, double group, double ties) {
    AsyncChoice& c = async_choice();
    if (source == 0) c.take((size_t)group, ties > 0);
    return c.taken[(size_t)source];
}
static inline double async_arrival(double fresh) {
    AsyncChoice& c = async_choice();
    return fresh > 0 ? c.arrivals++ : c.arrivals;
}

// ---- continuous time; whole picoseconds, which a double holds exactly for two hours

struct AsyncTravelling {
    double time;
    int64_t place;  // synapses are numbered by source: the order in which simultaneous arrivals are summed
    int64_t target;
    double weight;
    bool operator<(const AsyncTravelling& other) const {  // std heaps keep the largest on top
        return time != other.time ? time > other.time : place > other.place;
    }
};
struct AsyncTravel {
    std::vector<AsyncTravelling> heap;
    std::vector<double> current, free_at;
    std::vector<char> reached;
};
inline AsyncTravel& async_travel() {
    static AsyncTravel travel;
    return travel;
}
static inline double async_send(double departure, double axonal, double synaptic, double weight, double target,
                                double place) {
    AsyncTravel& t = async_travel();
    const double time = departure + std::rint(axonal * 1e12) + std::rint(synaptic * 1e12);
    t.heap.push_back({time, (int64_t)place, (int64_t)target, weight});
    std::push_heap(t.heap.begin(), t.heap.end());
    return time;
}
static inline double async_next(double never) {
    const AsyncTravel& t = async_travel();
    return t.heap.empty() ? never : t.heap[0].time;
}
// Adds up, per target, everything that arrives at this time and has been sent by now.
static inline double async_arrive(double now) {
    AsyncTravel& t = async_travel();
    double n = 0;
    for (; !t.heap.empty() && t.heap[0].time == now; n++) {
        std::pop_heap(t.heap.begin(), t.heap.end());
        const AsyncTravelling spike = t.heap.back();
        t.heap.pop_back();
        const size_t j = (size_t)spike.target;
        if (j >= t.current.size()) {
            t.current.resize(j + 1, 0.0);
            t.reached.resize(j + 1, 0);
        }
        t.current[j] += spike.weight;
        t.reached[j] = 1;
    }
    return n;
}
static inline double async_current(double target) {
    AsyncTravel& t = async_travel();
    if ((size_t)target >= t.current.size()) return 0.0;
    const double I = t.current[(size_t)target];
    t.current[(size_t)target] = 0.0;
    return I;
}
static inline double async_reached(double target) {
    AsyncTravel& t = async_travel();
    if ((size_t)target >= t.reached.size()) return 0.0;
    const double reached = t.reached[(size_t)target];
    t.reached[(size_t)target] = 0;
    return reached;
}
static inline double async_depart(double now, double core, double service) {
    if (!(service > 0)) return now;
    AsyncTravel& t = async_travel();
    if ((size_t)core >= t.free_at.size())
        t.free_at.resize((size_t)core + 1, -std::numeric_limits<double>::infinity());
    double& free_time = t.free_at[(size_t)core];
    free_time = std::max(now, free_time) + service;
    return free_time;
}
