// Queues of spikes that wait to be delivered. All hold sources (unsigned numbers), each at most once.
#pragma once
#include <limits>
#include "random.hpp"

// What a key may be made of. Arrays are indexed by source.
struct KeyView {
    const double* P;         // membrane value at the latest spike of this timestep
    const int64_t* arrival;  // running number of the enqueueing
    const R* multiplicity;
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

// Smallest key first, the key being fixed + noise * uniform with the uniform number drawn again at every forward step.
// An indexed heap over the fixed part: a subtree whose fixed part lies more than the noise above the best keys found
// cannot win and is not visited, so the result is that of a full sort at the cost of a few nodes. Key has the static
// members RANDOM, TIES, fixed(source, view), noise(view) (-inf: unbounded) and value(source, fixed, uniform, view).
template <class Key> struct Heap {
    struct Entry {
        double fixed;
        int32_t source;
        bool operator<(const Entry& other) const {
            return fixed < other.fixed || (fixed == other.fixed && source < other.source);
        }
    };
    std::vector<Entry> items;
    std::vector<int32_t> position;
    std::vector<Entry> best;
    std::vector<int32_t> stack;

    void prepare(int64_t n_sources) { position.assign((size_t)n_sources, -1); }
    size_t size() const { return items.size(); }
    int32_t source_at(size_t i) const { return items[i].source; }
    void place(size_t at, const Entry& entry) {
        items[at] = entry;
        position[(size_t)entry.source] = (int32_t)at;
    }
    void up(size_t at, Entry entry) {
        while (at) {
            const size_t parent = (at - 1) / 2;
            if (!(entry < items[parent])) break;
            place(at, items[parent]);
            at = parent;
        }
        place(at, entry);
    }
    void down(size_t at, Entry entry) {
        for (;;) {
            size_t child = 2 * at + 1;
            if (child >= items.size()) break;
            if (child + 1 < items.size() && items[child + 1] < items[child]) child++;
            if (!(items[child] < entry)) break;
            place(at, items[child]);
            at = child;
        }
        place(at, entry);
    }
    void settle(size_t at, Entry entry) {
        if (at && entry < items[(at - 1) / 2]) up(at, entry);
        else down(at, entry);
    }
    void push(int32_t source, const KeyView& view) {
        items.emplace_back();
        up(items.size() - 1, {Key::fixed(source, view), source});
    }
    void update(int32_t source, const KeyView& view) {
        settle((size_t)position[(size_t)source], {Key::fixed(source, view), source});
    }
    void refresh(const KeyView& view) {
        for (auto& entry : items) entry.fixed = Key::fixed(entry.source, view);
        std::make_heap(items.begin(), items.end(), [](const Entry& a, const Entry& b) { return b < a; });
        for (size_t i = 0; i < items.size(); i++) position[(size_t)items[i].source] = (int32_t)i;
    }
    void clear() { items.clear(); }
    void remove(int32_t source) {
        const size_t at = (size_t)position[(size_t)source];
        const Entry last = items.back();
        items.pop_back();
        if (at < items.size()) settle(at, last);
    }
    void take(size_t count, const KeyView& view, Draws& draws, std::vector<int32_t>& group) {
        if (Key::TIES) {
            if (items.empty()) return;
            for (const double lowest = items[0].fixed; items.size() && items[0].fixed == lowest;) {
                group.push_back(items[0].source);
                remove(items[0].source);
            }
            return;
        }
        if (count >= items.size()) {
            for (const auto& entry : items) group.push_back(entry.source);
            items.clear();
            return;
        }
        const double noise = Key::RANDOM ? Key::noise(view) : 0.0;
        if (noise == 0.0) {
            for (; count; count--) {
                group.push_back(items[0].source);
                remove(items[0].source);
            }
            return;
        }
        search(count, std::min(noise, 0.0), view, draws.keys());
        for (const auto& entry : best) {
            group.push_back(entry.source);
            remove(entry.source);
        }
    }
    // The `count` smallest keys into `best`, a heap with the worst of them on top.
    void search(size_t count, double least, const KeyView& view, uint64_t keys) {
        best.clear();
        stack.assign(1, 0);
        while (!stack.empty()) {
            const size_t at = (size_t)stack.back();
            stack.pop_back();
            const Entry& node = items[at];
            if (best.size() == count && node.fixed + least > best[0].fixed) continue;
            const double fresh = uniform(keys, (uint64_t)node.source);
            const Entry candidate = {Key::value(node.source, node.fixed, fresh, view), node.source};
            if (best.size() < count) {
                best.push_back(candidate);
                std::push_heap(best.begin(), best.end());
            } else if (candidate < best[0]) {
                std::pop_heap(best.begin(), best.end());
                best.back() = candidate;
                std::push_heap(best.begin(), best.end());
            }
            const size_t child = 2 * at + 1;
            if (child + 1 < items.size()) {  // the smaller child is visited first: it lowers the bar for the other
                const bool right = items[child + 1] < items[child];
                stack.push_back((int32_t)(right ? child : child + 1));
                stack.push_back((int32_t)(right ? child + 1 : child));
            } else if (child < items.size()) {
                stack.push_back((int32_t)child);
            }
        }
    }
};

// The choice is made by the caller: slow, for schedulers written in Python. A negative answer aborts the run.
typedef int64_t (*Select)(int64_t sample, int64_t timestep, int64_t step, int64_t core, int64_t count, int64_t n_queued,
                          const int32_t* sources, const double* uniforms, const double* P, const int64_t* arrival,
                          const R* multiplicity, int32_t* chosen);
struct External {
    std::vector<int32_t> items, chosen;
    std::vector<double> uniforms;
    Select select = nullptr;
    int64_t sample = 0, timestep = 0, step = 0, core = 0;
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
        const int64_t n = select(sample, timestep, step, core, (int64_t)count, (int64_t)items.size(), items.data(),
                                 uniforms.data(), view.P, view.arrival, view.multiplicity, chosen.data());
        failed = n < 0;
        for (int64_t i = 0; i < n; i++) {
            group.push_back(chosen[(size_t)i]);
            items.erase(std::lower_bound(items.begin(), items.end(), chosen[(size_t)i]));
        }
    }
};
