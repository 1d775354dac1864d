// Queues of spikes that wait to be delivered. All hold sources (unsigned numbers), each at most once.
#pragma once
#include <limits>
#include "native/array.hpp"
#include "native/random.hpp"
extern "C" {
#include "order/arguments.h"
}
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

// What a key may be made of. Arrays are indexed by source.
struct KeyView {
    const double* P;         // membrane value at the latest spike of this timestep
    const int64_t* arrival;  // running number of the enqueueing
    const R* copies;         // spikes that wait
    const int32_t* layer;
    const double* parameters;
};

// The random numbers of one forward step.
struct Draws {
    uint64_t stream, step, picked;
    uint64_t keys() const { return field_of(stream, step, KEY); }
    uint64_t picks() const { return field_of(stream, step, PICK); }
};

// Random order: a uniformly drawn subset, by partial Fisher-Yates; O(1) per spike and independent of the depth.
struct Bag {
    std::vector<int32_t> items;
    void prepare(int64_t) {}
    size_t size() const { return items.size(); }
    void push(int32_t source, const KeyView&) { items.push_back(source); }
    void update(int32_t, const KeyView&) {}
    void refresh(const KeyView&) {}
    int32_t source_at(size_t i) const { return items[i]; }
    void clear() { items.clear(); }
    void take(size_t count, const KeyView&, Draws& draws, std::vector<int32_t>& group) {
        if (count >= items.size()) {
            group.insert(group.end(), items.begin(), items.end());
            items.clear();
            return;
        }
        const uint64_t picks = draws.picks();
        for (; count; count--) {
            const size_t chosen = (size_t)below(bits_of(picks, draws.picked++), items.size());
            group.push_back(items[chosen]);
            items[chosen] = items.back();
            items.pop_back();
        }
    }
};

enum { SIDE_BY_SIDE = 8 };
typedef double Eight __attribute__((vector_size(SIDE_BY_SIDE * sizeof(double)), aligned(sizeof(double)), may_alias));
// Bit per number that is at most `bar`.
static inline uint32_t at_most(const double* numbers, double bar) {
#if defined(__AVX512F__)
    return _mm512_cmp_pd_mask(_mm512_loadu_pd(numbers), _mm512_set1_pd(bar), _CMP_LE_OQ);
#else
    uint32_t bits = 0;
    for (int i = 0; i < SIDE_BY_SIDE; i++) bits |= (uint32_t)(numbers[i] <= bar) << i;
    return bits;
#endif
}

#include "order/sorted_queue.hpp"

// Smallest key first, the key being fixed + noise * uniform with the uniform number drawn again at every forward step.
// What lies more than the noise above the best keys found cannot win and is not visited, so the result is that of a
// full sort at the cost of a few entries. Key has the static members RANDOM, TIES, fixed(source, view), noise(view)
// (-inf: unbounded), value(source, fixed, uniform, view) and values(...), the same for many entries.
template <class Key> struct Heap : Sorted<Key> {
    typedef Sorted<Key> Base;
    typedef typename Base::Entry Entry;
    using Base::heap; using Base::fixed; using Base::sources; using Base::head;
    struct Candidate : Entry {
        size_t place;  // in the run, or OUTSIDE it
    };
    static constexpr size_t OUTSIDE = ~(size_t)0;
    std::vector<Candidate> best;
    std::vector<int32_t> stack;
    std::vector<double> values;

    void take(size_t count, const KeyView& view, Draws& draws, std::vector<int32_t>& group) {
        if (!Key::TIES && count >= this->size()) return this->take_all(group);
        this->sort_in(view);
        if (Key::TIES) {
            if (!this->size()) return;
            for (const double lowest = this->lowest(); this->size() && this->lowest() == lowest;) group.push_back(this->pop());
            return;
        }
        const double noise = Key::RANDOM ? Key::noise(view) : 0.0;
        if (noise == 0.0) {
            for (; count; count--) group.push_back(this->pop());
            return;
        }
        const double least = std::min(noise, 0.0), most = std::max(noise, 0.0);
        size_t end = this->end();
        bool heap_counts = !heap.empty();
        if (count <= this->run_size()) {
            const double bar = fixed[head + count - 1] + most;  // what lies above it is not among the smallest
            heap_counts = heap_counts && !(heap[0].fixed + least > bar);
            if (fixed.back() + least > bar)
                for (end = head + count; !(fixed[end] + least > bar);) end++;
            if (!heap_counts) {
                if (end == head + count) return this->take_first(count, group);
                for (const double sure = fixed[head + count - 1] + least; fixed[head] + most < sure; count--)
                    this->take_first(1, group);
            }
        }
        best.clear();
        if (heap_counts) search_heap(count, least, view, draws.keys());
        if (end > head && !(best.size() == count && fixed[head] + least > best[0].fixed))
            search_run(count, end - head, view, draws.keys());
        const auto by_place = [](const Candidate& a, const Candidate& b) { return a.place < b.place; };
        std::sort(best.begin(), best.end(), by_place);  // erasing an entry moves what lies before it
        for (const Candidate& entry : best) {
            group.push_back(entry.source);
            if (entry.place == OUTSIDE) this->remove((size_t)this->position[(size_t)entry.source]);
            else this->erase(entry.place, true);
        }
    }
    // The `count` smallest keys; once they are so many, a heap with the worst on top.
    void offer(size_t count, const Candidate& candidate) {
        if (best.size() == count) {
            if (!(candidate < best[0])) return;
            std::pop_heap(best.begin(), best.end());
            best.back() = candidate;
            std::push_heap(best.begin(), best.end());
            return;
        }
        best.push_back(candidate);
        if (best.size() == count) std::make_heap(best.begin(), best.end());
    }
    void search_heap(size_t count, double least, const KeyView& view, uint64_t keys) {
        stack.assign(1, 0);
        while (!stack.empty()) {
            const size_t at = (size_t)stack.back();
            stack.pop_back();
            const Entry& node = heap[at];
            if (best.size() == count && node.fixed + least > best[0].fixed) continue;
            const double fresh = uniform(keys, (uint64_t)node.source);
            offer(count, {{Key::value(node.source, node.fixed, fresh, view), node.source}, OUTSIDE});
            const size_t child = 2 * at + 1;
            if (child + 1 < heap.size()) {  // the smaller child is visited first: it lowers the bar for the other
                const bool right = heap[child + 1] < heap[child];
                stack.push_back((int32_t)(right ? child : child + 1));
                stack.push_back((int32_t)(right ? child + 1 : child));
            } else if (child < heap.size()) {
                stack.push_back((int32_t)child);
            }
        }
    }
    // The first n of the run, in vectors: a branch is taken for what may win only.
    void search_run(size_t count, size_t n, const KeyView& view, uint64_t keys) {
        if (values.size() < n + SIDE_BY_SIDE) values.resize(2 * n + SIDE_BY_SIDE);
        Key::values(fixed.data() + head, sources.data() + head, n, keys, view, values.data());
        std::fill_n(values.data() + n, (size_t)SIDE_BY_SIDE, std::numeric_limits<double>::quiet_NaN());  // never at most
        double bar = n > count ? bar_of(count, n) : std::numeric_limits<double>::infinity();
        if (best.size() == count) bar = std::min(bar, best[0].fixed);
        for (size_t i = 0; i < n; i += SIDE_BY_SIDE)
            for (uint32_t bits = at_most(values.data() + i, bar); bits; bits &= bits - 1) {
                const size_t k = i + (size_t)__builtin_ctz(bits);
                offer(count, {{values[k], sources[head + k]}, head + k});
            }
        if (best.empty()) offer(count, {{bar, sources[head]}, head});  // no key is a number
    }
    // A value that at least `count` of n values do not exceed, and few more: by interpolation, as the values are noise.
    double bar_of(size_t count, size_t n) const {
        const double infinite = std::numeric_limits<double>::infinity();
        Eight low = Eight{} + infinite, high = Eight{} - infinite;
        for (size_t i = 0; i < n; i += SIDE_BY_SIDE) {
            const Eight value = *(const Eight*)(values.data() + i);
            low = value < low ? value : low;
            if (count > 1) high = value > high ? value : high;
        }
        double below = low[0], bar = high[0];
        for (int lane = 1; lane < SIDE_BY_SIDE; lane++) {
            below = std::min(below, low[lane]);
            bar = std::max(bar, high[lane]);
        }
        if (count == 1) return below;
        if (!(bar - below < infinite)) return bar;
        size_t under = 0, within = n;
        for (int tries = 0; tries < 12 && within > count; tries++) {
            const double guess = below + (bar - below) * ((double)(count - under) + 0.5) / ((double)(within - under) + 1.0);
            size_t found = 0;
            for (size_t i = 0; i < n; i += SIDE_BY_SIDE) found += (size_t)__builtin_popcount(at_most(values.data() + i, guess));
            if (found < count) { below = guess; under = found; }
            else { bar = guess; within = found; }
        }
        return bar;
    }
};

// The choice is made by the caller: slow, for schedulers written in Python. A negative answer aborts the run.
struct External {
    std::vector<int32_t> items, chosen;
    std::vector<double> uniforms;
    Select select = nullptr;
    Waiting where;  // sample, timestep, step, core
    bool failed = false;
    void prepare(int64_t) {}
    size_t size() const { return items.size(); }
    void push(int32_t source, const KeyView&) {
        items.insert(std::upper_bound(items.begin(), items.end(), source), source);
    }
    void update(int32_t, const KeyView&) {}
    void refresh(const KeyView&) {}
    int32_t source_at(size_t i) const { return items[i]; }
    void clear() { items.clear(); }
    void take(size_t count, const KeyView& view, Draws& draws, std::vector<int32_t>& group) {
        const uint64_t keys = draws.keys();
        uniforms.clear();
        for (int32_t source : items) uniforms.push_back(uniform(keys, (uint64_t)source));
        chosen.resize(items.size());
        const Waiting waiting = {where.sample, where.timestep, where.step, where.core, (int64_t)count, (int64_t)items.size(),
                                 items.data(), uniforms.data(), view.P, view.arrival, view.copies, chosen.data()};
        const int64_t n = select(&waiting);
        failed = n < 0;
        for (int64_t i = 0; i < n; i++) {
            group.push_back(chosen[(size_t)i]);
            items.erase(std::lower_bound(items.begin(), items.end(), chosen[(size_t)i]));
        }
    }
};
