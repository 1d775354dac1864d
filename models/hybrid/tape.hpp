// What a run leaves for the adjoint: records that are read from the last to the first.
#pragma once
#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

#include "native/support.hpp"
extern "C" {
#include "hybrid/arguments.h"
}
#include "hybrid/stepper.hpp"

enum Record { START, END, STEP, SPIKE, INDUCED, OPEN, INPUT, ARRIVAL };

struct Spike {
    int32_t group, neuron;  // of an input spike: -1 - generator, and its number in the sample
    double t;
};
struct Row {  // a spike that reaches a whole group
    double t;
    int32_t path, spike;
    int64_t first;  // synapse to neuron 0
};
struct Point {  // a spike that reaches one neuron
    double t;
    int32_t target, path, spike;
    int64_t synapse;
};
inline bool sooner(const Row& a, const Row& b) {
    return a.t != b.t ? a.t < b.t : (a.path != b.path ? a.path < b.path : a.first < b.first);
}
inline bool sooner(const Point& a, const Point& b) {
    return a.t != b.t ? a.t < b.t : (a.path != b.path ? a.path < b.path : a.synapse < b.synapse);
}

// Sort by time, most of it by counting how many come in every part of the run.
template <class E, class Time, class Before>
void sort_by_time(std::vector<E>& events, std::vector<E>& space, double duration, Time time, Before before) {
    const size_t n = events.size();
    if (std::is_sorted(events.begin(), events.end(), before)) return;
    std::vector<uint32_t> first(n + 2, 0);
    const auto part = [&](const E& e) { return (size_t)std::min(n - 1.0, std::max(0.0, time(e) / duration * n)); };
    for (const E& e : events) first[part(e) + 2]++;
    for (size_t k = 2; k <= n + 1; k++) first[k] += first[k - 1];
    space.resize(n);
    for (const E& e : events) space[first[part(e) + 1]++] = e;
    events.swap(space);
    for (size_t k = 0; k < n; k++)
        if (first[k + 1] - first[k] > 1) std::sort(events.begin() + first[k], events.begin() + first[k + 1], before);
}

struct Tape {
    std::vector<double> numbers;
    std::vector<int64_t> marks;

    // The last mark of a record holds its kind, the gate, and which input values held.
    void close(Record kind, int gate, int64_t interval) { marks.push_back(kind | (gate << 3) | (interval << 4)); }
    void push(const double* x, int n) { numbers.insert(numbers.end(), x, x + n); }
    double pop() { const double x = numbers.back(); numbers.pop_back(); return x; }
    int64_t pop_mark() { const int64_t m = marks.back(); marks.pop_back(); return m; }
    void pop(double* x, int64_t n) {
        std::copy(numbers.end() - n, numbers.end(), x);
        numbers.resize(numbers.size() - n);
    }
};

// Numbers that events change, with what they were before.
struct Kept {
    std::vector<double> now;
    std::vector<std::pair<int64_t, double>> undone;
    void set(int64_t k, double value, bool may_return) {
        if (may_return) undone.push_back({k, now[k]});
        now[k] = value;
    }
    void restore() {
        for (auto was = undone.rbegin(); was != undone.rend(); ++was) now[was->first] = was->second;
        undone.clear();
    }
};

// Everything of one sample; its memory is kept from run to run.
struct Sample {
    int64_t number = 0;
    Tape tape;
    std::vector<Spike> spikes;
    std::vector<double> kappa;
    std::vector<int32_t> sorted, sorting;
    double loss = 0, least_slope = 0, nearest = 0, weight = 1;
    int64_t n_inputs = 0;
};

// Sums of gradients over the samples of a chunk; null where nothing is wanted.
struct Sums {
    std::vector<std::vector<double>> q, initial, w, delay, synaptic;
    std::vector<uint8_t> timed;  // pathways of which the time of a spike matters
    int64_t max_w = 0;
};

struct Fault : std::runtime_error {
    HybridFailure failure;
    Fault(int64_t fault, int64_t group, int64_t neuron, double t, double value)
        : std::runtime_error("fault"), failure{-1, fault, group, neuron, t, value} {}
};

// One group in one sample.
struct Population {
    std::vector<Row> rows, waiting_rows;
    std::vector<Point> points, waiting_points;
    bool looped = false;  // it may act on itself
    virtual ~Population() {}
    virtual void begin() = 0;
    virtual void walk(Sample& s, double b, bool closed, const std::vector<Spike>& forced) = 0;
    virtual void finish(Sample& s, double* final_state, double* maxima) = 0;
    virtual void save() = 0;
    virtual void restore() = 0;
    virtual void begin_backward(Sample& s, const double* final_state, const double* maxima, double* q) = 0;
    virtual void backward(Sample& s, int n, Sums& sums) = 0;
    virtual void finish_backward(Sums& sums) = 0;
};
// Group k of a network: the generated source knows its class, whoever runs it does not.
std::unique_ptr<Population> make_population(int k, const HybridArguments& arguments);
