// A run: samples over threads; in a sample the groups from sources to targets, loops of groups in slabs of time.
#pragma once
#include <atomic>

#include "hybrid/tape.hpp"

template <class E> bool later(const E& a, const E& b) { return sooner(b, a); }

// Events that a slab takes out of those that wait: all before b, with `closed` those at b too.
template <class E> void take(std::vector<E>& waiting, std::vector<E>& taken, double b, bool closed, bool heap) {
    taken.clear();
    if (!heap) {
        taken.swap(waiting);
        return;
    }
    while (!waiting.empty() && (waiting.front().t < b || (closed && waiting.front().t == b))) {
        std::pop_heap(waiting.begin(), waiting.end(), later<E>);
        taken.push_back(waiting.back());
        waiting.pop_back();
    }
}
template <class E> void give_back(std::vector<E>& waiting, std::vector<E>& taken) {
    for (const E& e : taken) {
        waiting.push_back(e);
        std::push_heap(waiting.begin(), waiting.end(), later<E>);
    }
    taken.clear();
}

struct Network {
    const HybridArguments& all;
    Sample sample;
    std::vector<std::unique_ptr<Population>> groups;
    std::vector<int32_t> component;  // of every group

    explicit Network(const HybridArguments& arguments) : all(arguments), component(arguments.n_groups) {
        for (int k = 0; k < all.n_groups; k++) groups.push_back(make_population(k, all));
        for (int c = 0; c < all.n_components; c++)
            for (int g = all.components[c]; g < all.components[c + 1]; g++) component[all.order[g]] = c;
        for (int k = 0; k < all.n_groups; k++) groups[k]->looped = all.cyclic[component[k]];
    }

    static double delay(const HybridPathway& p, int64_t synapse) { return p.delay[p.delay_each ? synapse : 0]; }

    template <class E> void add(std::vector<E>& waiting, const E& event, bool heap) const {
        if (event.t > all.duration) return;
        waiting.push_back(event);
        if (heap) std::push_heap(waiting.begin(), waiting.end(), later<E>);
    }

    // A spike sets out on all its ways.
    void send(int32_t number) {
        const Spike from = sample.spikes[number];
        const int neuron = from.group < 0 ? all.inputs[-1 - from.group].neurons[from.neuron] : from.neuron;
        for (int k = 0; k < all.n_pathways; k++) {
            const HybridPathway& p = all.pathways[k];
            if (p.source != from.group) continue;
            const int64_t first = p.ptr[neuron], last = p.ptr[neuron + 1];
            Population& target = *groups[p.target];
            const bool heap = all.cyclic[component[p.target]];
            if (p.rows && first < last) {
                add(target.waiting_rows, Row{from.t + p.delay[0], k, number, p.order[first]}, heap);
                continue;
            }
            for (int64_t s = first; s < last; s++)
                add(target.waiting_points, Point{from.t + delay(p, p.order[s]), p.j[s], k, number, p.order[s]}, heap);
        }
    }

    // When a spike first acts on its own component again.
    double returns(const Spike& from) const {
        double first = std::numeric_limits<double>::infinity();
        for (int k = 0; k < all.n_pathways; k++) {
            const HybridPathway& p = all.pathways[k];
            if (p.source != from.group || component[p.target] != component[from.group]) continue;
            for (int64_t s = p.ptr[from.neuron]; s < p.ptr[from.neuron + 1]; s++)
                first = std::min(first, from.t + delay(p, p.order[s]));
        }
        return first;
    }

    void forward(int64_t number) {
        Sample& s = sample;
        s.number = number;
        s.tape.numbers.clear(), s.tape.marks.clear(), s.spikes.clear();
        s.loss = 0, s.least_slope = std::numeric_limits<double>::infinity(), s.nearest = -s.least_slope;
        for (auto& g : groups) {
            g->begin();
            g->waiting_rows.clear(), g->waiting_points.clear();
        }
        for (int k = 0; k < all.n_generators; k++)
            for (int64_t e = all.inputs[k].ptr[number]; e < all.inputs[k].ptr[number + 1]; e++)
                s.spikes.push_back({-1 - k, (int32_t)e, all.inputs[k].times[e]});
        s.n_inputs = (int64_t)s.spikes.size();
        for (int64_t e = 0; e < s.n_inputs; e++)
            if (s.spikes[e].t <= all.duration) send((int32_t)e);
        for (int c = 0; c < all.n_components; c++) {
            const int32_t *first = all.order + all.components[c], *last = all.order + all.components[c + 1];
            if (all.cyclic[c]) {
                slabs(first, last);
                continue;
            }
            const size_t before = s.spikes.size();
            Population& g = *groups[*first];
            take(g.waiting_rows, g.rows, 0, false, false);
            take(g.waiting_points, g.points, 0, false, false);
            g.walk(s, all.duration, true, {});
            for (size_t e = before; e < s.spikes.size(); e++) send((int32_t)e);
        }
        for (int k = 0; k < all.n_groups; k++) {
            const int64_t n = all.groups[k].n, nx = all.groups[k].n_states;
            double* maxima = all.maxima[k] ? all.maxima[k] + number * n : nullptr;
            groups[k]->finish(s, all.final_state[k] + number * n * nx, maxima);
        }
        all.losses[number] = s.loss;
        all.least_slope[number] = s.least_slope;
        all.nearest[number] = s.nearest;
        all.n_spikes[number] = (int64_t)s.spikes.size() - s.n_inputs;
    }

    // A loop of groups: no spike of a slab may act within it. A slab that turns out too long is run again, shorter.
    void slabs(const int32_t* first, const int32_t* last) {
        Sample& s = sample;
        double a = 0, width = all.duration / 8;
        int calm = 0, needed = 0;  // slabs that were not too long, one after the other; how many before one is longer
        for (;;) {
            double b = std::min(a + width, all.duration);
            const size_t numbers = s.tape.numbers.size(), marks = s.tape.marks.size(), spikes = s.spikes.size();
            const double loss = s.loss, least = s.least_slope, nearest = s.nearest;
            for (const int32_t* g = first; g < last; g++) groups[*g]->save();
            std::vector<Spike> forced;
            for (;;) {
                const bool closed = b == all.duration || b == a;
                for (const int32_t* g = first; g < last; g++) {
                    take(groups[*g]->waiting_rows, groups[*g]->rows, b, closed, true);
                    take(groups[*g]->waiting_points, groups[*g]->points, b, closed, true);
                    groups[*g]->walk(s, b, closed, forced);
                }
                double back = std::numeric_limits<double>::infinity();
                for (size_t e = spikes; e < s.spikes.size(); e++) back = std::min(back, returns(s.spikes[e]));
                if (!(back < b)) break;
                forced.clear();  // those whose spike acts at once: rounding must not lose them
                for (size_t e = spikes; e < s.spikes.size(); e++)
                    if (s.spikes[e].t == back) forced.push_back(s.spikes[e]);
                width = b = back, width -= a;
                calm = -1, needed = std::min(8, 2 * needed + 1);
                s.tape.numbers.resize(numbers), s.tape.marks.resize(marks), s.spikes.resize(spikes);
                s.loss = loss, s.least_slope = least, s.nearest = nearest;
                for (const int32_t* g = first; g < last; g++) {
                    groups[*g]->restore();
                    give_back(groups[*g]->waiting_rows, groups[*g]->rows);
                    give_back(groups[*g]->waiting_points, groups[*g]->points);
                }
            }
            for (size_t e = spikes; e < s.spikes.size(); e++) send((int32_t)e);
            if (b == all.duration) return;
            a = b;
            if (++calm >= needed) width *= 1.5, needed /= 2, calm = 0;
            width = std::max(width, 1e-6 * all.duration);
        }
    }

    void backward(const HybridGradients& wanted, int64_t first_spike, Sums& sums) {
        Sample& s = sample;
        s.weight = wanted.weights[s.number];
        s.kappa.assign(s.spikes.size(), 0.0);
        if (wanted.spikes)
            for (size_t k = 0; k < s.sorted.size(); k++) s.kappa[s.sorted[k]] = wanted.spikes[first_spike + k];
        for (int k = 0; k < all.n_groups; k++) {
            const int64_t n = all.groups[k].n, nx = all.groups[k].n_states;
            const double* state = wanted.final_state && wanted.final_state[k] ? wanted.final_state[k] + s.number * n * nx : nullptr;
            const double* maxima = wanted.maxima && wanted.maxima[k] ? wanted.maxima[k] + s.number * n : nullptr;
            groups[k]->begin_backward(s, state, maxima, sums.q[k].empty() ? nullptr : sums.q[k].data());
        }
        while (!s.tape.marks.empty()) {
            s.tape.pop_mark();
            const int64_t group = s.tape.pop_mark(), neuron = s.tape.pop_mark();
            groups[group]->backward(s, (int)neuron, sums);
        }
        for (auto& g : groups) g->finish_backward(sums);
        for (int64_t e = 0; e < s.n_inputs; e++)
            if (double* times = wanted.times[-1 - s.spikes[e].group]) times[s.spikes[e].neuron] = s.kappa[e];
    }
};

struct HybridRun {
    HybridArguments all;
    std::vector<std::unique_ptr<Network>> networks;
    std::vector<Sums> sums;  // kept, so that their memory is

    // Runs f over 0 .. n - 1 on all threads; what is thrown first, in the order of the samples, is reported.
    template <class F> int over(int64_t n, HybridFailure* failure, F f) {
        std::vector<HybridFailure> failures(n, HybridFailure{});
        std::atomic<int64_t> lowest{n};
        #pragma omp parallel for schedule(dynamic) num_threads(all.threads)
        for (int64_t k = 0; k < n; k++) {
            if (k > lowest) continue;
            try {
                f(k);
                continue;
            } catch (const Fault& fault) {
                failures[k] = fault.failure;
            } catch (...) {  // nothing else is thrown than what memory that runs out throws
                failures[k] = HybridFailure{};
                failures[k].sample = -1, failures[k].fault = NO_MEMORY;
            }
            if (failures[k].sample < 0) failures[k].sample = k;
            int64_t seen = lowest;
            while (k < seen && !lowest.compare_exchange_weak(seen, k)) {}
        }
        if (lowest == n) return 0;
        *failure = failures[lowest];
        return 1;
    }
};

// No exception leaves the library.
template <class F> static int safely(HybridFailure* failure, F f) {
    try {
        return f();
    } catch (...) {
        *failure = HybridFailure{};
        failure->fault = NO_MEMORY;
        return 1;
    }
}

extern "C" {
HybridRun* hybrid_new(void) { return new (std::nothrow) HybridRun(); }
void hybrid_free(HybridRun* run) { delete run; }

int hybrid_forward(HybridRun* run, const HybridArguments* arguments, HybridFailure* failure) {
    // the structures that `arguments` points to are the same in every call of one run
    run->all = *arguments;
    return safely(failure, [&] {
        if ((int64_t)run->networks.size() < run->all.n_samples) run->networks.resize(run->all.n_samples);
        return run->over(run->all.n_samples, failure, [&](int64_t k) {
            if (!run->networks[k]) run->networks[k] = std::make_unique<Network>(run->all);
            run->networks[k]->forward(k);
        });
    });
}

static int list_spikes(HybridRun* run, int32_t* group, int32_t* neuron, double* time) {
    for (int64_t k = 0; k < run->all.n_samples; k++) {
        Sample& s = run->networks[k]->sample;
        s.sorted.clear();
        for (size_t e = s.n_inputs; e < s.spikes.size(); e++) s.sorted.push_back((int32_t)e);
        const auto when = [&](int32_t e) { return s.spikes[e].t; };
        sort_by_time(s.sorted, s.sorting, run->all.duration, when, [&](int32_t a, int32_t b) {
            const Spike &x = s.spikes[a], &y = s.spikes[b];
            if (x.t != y.t) return x.t < y.t;
            return x.group != y.group ? x.group < y.group : (x.neuron != y.neuron ? x.neuron < y.neuron : a < b);
        });
        for (int32_t e : s.sorted) *group++ = s.spikes[e].group, *neuron++ = s.spikes[e].neuron, *time++ = s.spikes[e].t;
    }
    return 0;
}
int hybrid_spikes(HybridRun* run, int32_t* group, int32_t* neuron, double* time, HybridFailure* failure) {
    return safely(failure, [&] { return list_spikes(run, group, neuron, time); });
}

static int run_backward(HybridRun* run, const HybridGradients* wanted, HybridFailure* failure) {
    const HybridArguments& all = run->all;
    const int64_t n = all.n_samples;
    std::vector<int64_t> first(n + 1, 0);
    for (int64_t k = 0; k < n; k++) first[k + 1] = first[k] + all.n_spikes[k];
    // Chunks of samples are summed up in their order, however many threads there are.
    struct Part {
        double* result;
        size_t size;
    };
    constexpr int KINDS = 5;
    std::vector<Part> parts[KINDS];
    size_t bytes = 1;
    const auto part = [&](int kind, double* result, int64_t size) {
        parts[kind].push_back({result, result ? (size_t)size : 0});
        if (result) bytes += size * sizeof(double);
    };
    for (int k = 0; k < all.n_groups; k++) {
        part(0, wanted->q[k], all.groups[k].n_q * all.groups[k].n);
        part(1, wanted->initial[k], all.groups[k].n_states * all.groups[k].n);
        part(4, wanted->synaptic[k], all.groups[k].n_synaptic);
    }
    for (int k = 0; k < all.n_pathways; k++) {
        const HybridPathway& p = all.pathways[k];
        for (int m = 0; m < wanted->max_w; m++)
            part(2, m < p.n_w ? wanted->w[k * wanted->max_w + m] : nullptr, m < p.n_w && p.w_each[m] ? p.n_synapses : 1);
        part(3, wanted->delay[k], p.delay_each ? p.n_synapses : 1);
    }
    const int64_t chunks = std::min<int64_t>(n, std::max<int64_t>(2, std::min<int64_t>(16, (16 << 20) / bytes)));
    run->sums.resize(chunks);
    std::vector<Sums>& sums = run->sums;
    const auto tables = [](Sums& s) { return std::vector<std::vector<std::vector<double>>*>{&s.q, &s.initial, &s.w, &s.delay, &s.synaptic}; };
    const int failed = run->over(chunks, failure, [&](int64_t c) {
        sums[c].max_w = wanted->max_w;
        sums[c].timed.clear();
        for (int k = 0; k < all.n_pathways; k++) {
            const int64_t from = all.pathways[k].source;
            sums[c].timed.push_back(from >= 0 || wanted->times[-1 - from] || wanted->delay[k]);
        }
        const auto all_tables = tables(sums[c]);
        for (int kind = 0; kind < KINDS; kind++) {
            all_tables[kind]->resize(parts[kind].size());
            for (size_t i = 0; i < parts[kind].size(); i++) (*all_tables[kind])[i].assign(parts[kind][i].size, 0.0);
        }
        for (int64_t k = n * c / chunks; k < n * (c + 1) / chunks; k++) try {
                run->networks[k]->backward(*wanted, first[k], sums[c]);
            } catch (Fault& fault) {
                fault.failure.sample = k;  // not that of the chunk
                throw;
            }
    });
    if (failed) return failed;
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < parts[kind].size(); i++) {
            const Part& to = parts[kind][i];
            std::vector<const double*> from;
            for (Sums& each : sums) from.push_back((*tables(each)[kind])[i].data());
            #pragma omp parallel for num_threads(all.threads) if (to.size > 10000)
            for (size_t first = 0; first < to.size; first += 1024)
                for (const double* part : from)
                    for (size_t e = first; e < std::min(first + 1024, to.size); e++) to.result[e] += part[e];
        }
    return 0;
}
int hybrid_backward(HybridRun* run, const HybridGradients* wanted, HybridFailure* failure) {
    return safely(failure, [&] { return run_backward(run, wanted, failure); });
}
}
