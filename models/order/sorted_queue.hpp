// What a key may be made of, and the part of a queue that keeps fixed keys in order.
#pragma once
#include "native/random.hpp"
#include "native/support.hpp"

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

// Waiting sources by the fixed part of their key, smallest first: a sorted run, and an indexed heap for what would have
// to move too many entries of the run. Short queues live in the run, as do inputs, whose fixed parts are equal. Sources
// are sorted in when somebody asks who is first; often the whole queue is taken before.
template <class Key> struct Sorted {
    struct Entry {
        double fixed;
        int32_t source;
        bool operator<(const Entry& other) const {
            return fixed < other.fixed || (fixed == other.fixed && source < other.source);
        }
    };
    enum { IN_RUN = -1, FRESH = -2, ROOM = 256, MOVED = 256 };
    std::vector<Entry> heap;
    std::vector<double> fixed;  // the run, from `head` on, in two arrays: random numbers are drawn many at a time
    std::vector<int32_t> sources;
    size_t head = 0;
    std::vector<int32_t> fresh;     // not yet sorted in
    std::vector<int32_t> position;  // of a source in the heap, or IN_RUN, or FRESH

    void prepare(int64_t n_sources) {
        position.assign((size_t)n_sources, IN_RUN);
        clear();
    }
    size_t end() const { return sources.size(); }
    size_t run_size() const { return end() - head; }
    size_t size() const { return heap.size() + run_size() + fresh.size(); }
    int32_t source_at(size_t i) const {
        if (i < fresh.size()) return fresh[i];
        i -= fresh.size();
        return i < heap.size() ? heap[i].source : sources[head + i - heap.size()];
    }
    void clear() {
        fresh.clear();
        heap.clear();
        clear_run();
    }
    void clear_run() {
        fixed.resize(ROOM);
        sources.resize(ROOM);
        head = ROOM;
    }

    void place(size_t at, const Entry& entry) {
        heap[at] = entry;
        position[(size_t)entry.source] = (int32_t)at;
    }
    void up(size_t at, Entry entry) {
        while (at) {
            const size_t parent = (at - 1) / 2;
            if (!(entry < heap[parent])) break;
            place(at, heap[parent]);
            at = parent;
        }
        place(at, entry);
    }
    void down(size_t at, Entry entry) {
        for (;;) {
            size_t child = 2 * at + 1;
            if (child >= heap.size()) break;
            if (child + 1 < heap.size() && heap[child + 1] < heap[child]) child++;
            if (!(heap[child] < entry)) break;
            place(at, heap[child]);
            at = child;
        }
        place(at, entry);
    }
    void settle(size_t at, Entry entry) {
        if (at && entry < heap[(at - 1) / 2]) up(at, entry);
        else down(at, entry);
    }
    void remove(size_t at) {  // from the heap
        const Entry last = heap.back();
        heap.pop_back();
        if (at < heap.size()) settle(at, last);
    }

    // Whether equal fixed parts need no order: the noise decides between them.
    static bool any_order(const KeyView& view) { return Key::RANDOM && Key::noise(view) != 0; }
    // Where an entry belongs in the run.
    size_t rank(const Entry& entry, bool any) const {
        const auto before = [&](size_t i) {
            return (fixed[i] < entry.fixed) | ((fixed[i] == entry.fixed) & (any | (sources[i] < entry.source)));
        };
        if (before(end() - 1)) return end();
        size_t at = head;
        for (size_t left = run_size(); left;) {  // no branch: each half is as likely
            const bool later = before(at + left / 2);
            at = later ? at + left / 2 + 1 : at;
            left = later ? left - left / 2 - 1 : left / 2;
        }
        return at;
    }
    void insert(const Entry& entry, const KeyView& view) {
        position[(size_t)entry.source] = IN_RUN;
        if (!run_size()) clear_run();
        size_t at = run_size() ? rank(entry, any_order(view)) : head;
        if (std::min(at - head, end() - at) > MOVED) {
            heap.emplace_back();
            return up(heap.size() - 1, entry);
        }
        if (end() - at <= at - head) {
            fixed.insert(fixed.begin() + (int64_t)at, entry.fixed);
            sources.insert(sources.begin() + (int64_t)at, entry.source);
            return;
        }
        if (!head) {
            const size_t room = ROOM + end();
            fixed.insert(fixed.begin(), room, 0.0);
            sources.insert(sources.begin(), room, 0);
            head = room;
            at += room;
        }
        std::copy(fixed.data() + head, fixed.data() + at, fixed.data() + head - 1);
        std::copy(sources.data() + head, sources.data() + at, sources.data() + head - 1);
        head--;
        fixed[at - 1] = entry.fixed;
        sources[at - 1] = entry.source;
    }
    // What lies before `at` moves up; among equal fixed parts only the first, if they need no order.
    void erase(size_t at, bool any) {
        if (any && fixed[at] == fixed[head]) {
            sources[at] = sources[head];
        } else {
            std::copy_backward(fixed.data() + head, fixed.data() + at, fixed.data() + at + 1);
            std::copy_backward(sources.data() + head, sources.data() + at, sources.data() + at + 1);
        }
        head++;
    }
    void sort_in(const KeyView& view) {
        for (int32_t source : fresh) insert({Key::fixed(source, view), source}, view);
        fresh.clear();
    }
    void push(int32_t source, const KeyView&) {
        fresh.push_back(source);
        position[(size_t)source] = FRESH;
    }
    void update(int32_t source, const KeyView& view) {
        const Entry entry = {Key::fixed(source, view), source};
        const int32_t at = position[(size_t)source];
        if (at == FRESH) return;
        if (at != IN_RUN) return settle((size_t)at, entry);
        const int32_t* waiting = sources.data();
        const size_t place = (size_t)(std::find(waiting + head, waiting + end(), source) - waiting);
        if (fixed[place] == entry.fixed) return;
        erase(place, false);
        insert(entry, view);
    }
    void refresh(const KeyView& view) {
        std::vector<Entry> all(size());
        for (size_t i = 0; i < all.size(); i++) all[i] = {Key::fixed(source_at(i), view), source_at(i)};
        std::sort(all.begin(), all.end());
        clear();
        for (const Entry& entry : all) {
            position[(size_t)entry.source] = IN_RUN;
            fixed.push_back(entry.fixed);
            sources.push_back(entry.source);
        }
    }
    bool run_is_first() const {
        return heap.empty() || (run_size() && Entry{fixed[head], sources[head]} < heap[0]);
    }
    double lowest() const { return run_is_first() ? fixed[head] : heap[0].fixed; }
    int32_t pop() {
        if (run_is_first()) return sources[head++];
        const int32_t source = heap[0].source;
        remove(0);
        return source;
    }
    void take_first(size_t count, std::vector<int32_t>& group) {  // of the run
        group.insert(group.end(), sources.data() + head, sources.data() + head + count);
        head += count;
    }
    void take_all(std::vector<int32_t>& group) {
        group.insert(group.end(), fresh.begin(), fresh.end());
        for (const Entry& entry : heap) group.push_back(entry.source);
        take_first(run_size(), group);
        clear();
    }
};
