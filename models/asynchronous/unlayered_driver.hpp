// Reverse pass over the tape, forward step after forward step. Included by the generated source, which defines Neuron.
#pragma once
#include "native/random.hpp"
#include "native/support.hpp"
extern "C" {
#include "asynchronous/arguments.h"
}

// dot(row, a), and gradient += factor * a in the same pass.
static inline R dot_add(const R* RESTRICT row, const R* RESTRICT a, R* RESTRICT gradient, R factor, int64_t n) {
    R sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++) {
        sum += row[j] * a[j];
        gradient[j] += factor * a[j];
    }
    return sum;
}
static inline R dot_only(const R* RESTRICT row, const R* RESTRICT a, int64_t n) {
    R sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++) sum += row[j] * a[j];
    return sum;
}
static inline void add_only(R* RESTRICT gradient, const R* RESTRICT a, R factor, int64_t n) {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) gradient[j] += factor * a[j];
}

// One sample at a time. `a` is dL/d(membrane), going backwards; `aq` is dL/d(queue entry): it is fixed when a neuron is
// delivered and holds for everything that entered the queue since its delivery before, zeros of silent tests included.
class Backward {
    const BackwardArguments& job;
    const Network& net;
    const Neuron neuron;
    const int64_t N, T, first_output;
    std::vector<R> a, aq, push, membrane_now, alive, boundary, before, count, counted;
    std::vector<uint8_t> fired, taken;
    std::vector<int32_t> waiting, last_group;
    std::vector<int64_t> first_spike, second_spike;
    R *weights, *parameters, *leak, *sigma;  // gradients
    int64_t sample = 0, record_begin = 0;
    bool recalled = false;

    // Forwards over the tape: membranes that it does not hold, received spikes, latencies.
    void recall() {
        const int64_t begin = job.step_ptr[sample * T];
        record_begin = job.received_ptr[begin];
        recalled = job.every || job.train_leak || net.sigma || job.by_latency;
        if (!recalled) return;
        before.resize((size_t)(job.received_ptr[job.step_ptr[(sample + 1) * T]] - record_begin));
        if (net.sigma) counted.resize(before.size());
        boundary.resize((size_t)(N * T));
        std::vector<R>& v = membrane_now;
        if (job.initial) std::copy_n(job.initial + sample * N, N, v.begin());
        else std::fill(v.begin(), v.end(), R(0));
        if (job.by_latency) {
            first_spike.assign((size_t)net.n_outputs, -1);
            second_spike.assign((size_t)net.n_outputs, -1);
        }
        for (int64_t t = 0; t < T; t++) {
            for (int64_t j = 0; (t || job.initial) && j < N; j++) v[(size_t)j] *= net.leak[j];
            if (net.sigma) std::fill(count.begin(), count.end(), R(0));
            for (int64_t g = job.step_ptr[sample * T + t]; g < job.step_ptr[sample * T + t + 1]; g++) {
                mark(g, 1);
                if (net.sigma) receive(g);
                for (int64_t r = job.received_ptr[g]; r < job.received_ptr[g + 1]; r++) {
                    const int64_t j = job.received[r];
                    before[(size_t)(r - record_begin)] = v[(size_t)j];
                    if (net.sigma) counted[(size_t)(r - record_begin)] = count[(size_t)j];
                    v[(size_t)j] = fired[(size_t)j] ? neuron.reset(j, job.membrane[r]) : job.membrane[r];
                }
                if (job.by_latency) note_outputs(g, g - begin);
                mark(g, 0);
            }
            std::copy(v.begin(), v.begin() + N, boundary.begin() + t * N);
        }
    }
    void mark(int64_t g, uint8_t value) {
        for (int64_t i = job.spike_ptr[g]; i < job.spike_ptr[g + 1]; i++) fired[(size_t)job.spikes[i]] = value;
    }
    void note_outputs(int64_t g, int64_t step) {
        for (int64_t i = job.spike_ptr[g]; i < job.spike_ptr[g + 1]; i++) {
            if (job.spikes[i] < first_output || !(job.flags[i] & EMITTED)) continue;
            const size_t k = (size_t)(job.spikes[i] - first_output);
            if (first_spike[k] < 0) first_spike[k] = step;
            else if (second_spike[k] < 0) second_spike[k] = step;
        }
    }
    static const R* row_of(const Projection& to, int64_t row) { return to.dense + row * to.stride + to.first % TILE; }
    void receive(int64_t g) {
        for (int64_t i = job.group_ptr[g]; i < job.group_ptr[g + 1]; i++) {
            const SourceRange& from = net.ranges[net.layer[job.group[i]]];
            const int64_t row = job.group[i] - from.first;
            for (int64_t p = from.projection_begin; p < from.projection_end; p++) {
                const Projection& to = net.projections[p];
                if (to.dense)
                    for (int64_t j = 0; j < to.width; j++)
                        count[(size_t)(to.first + j)] += row_of(to, row)[j] != R(0) ? job.multiplicity[i] : R(0);
                else
                    for (int64_t s = to.ptr[row]; s < to.ptr[row + 1]; s++)
                        count[(size_t)to.targets[s]] += to.weights[s] != R(0) ? job.multiplicity[i] : R(0);
            }
        }
    }

    // A spike later in the sample makes nothing earlier: d(steps until the first spike) / d(spike at `step`).
    R latency_slope(int64_t k, int64_t step, int64_t end) const {
        const int64_t first = first_spike[(size_t)k] < 0 ? end : first_spike[(size_t)k];
        if (step < first) return (R)(step - first);
        if (step > first) return R(0);
        return (R)(first - (second_spike[(size_t)k] < 0 ? end : second_spike[(size_t)k]));
    }
    void prepare_push(int64_t t, int64_t step, int64_t end) {
        for (int64_t k = 0; k < net.n_outputs; k++) {
            R value = (R)job.by_spike + job.by_count[(sample * T + t) * net.n_outputs + k];
            if (job.by_latency) {
                const R by = job.by_latency[sample * net.n_outputs + k];
                if (by != R(0)) value += by * latency_slope(k, step, end);
            }
            push[(size_t)(first_output + k)] = value;
        }
    }

    // The threshold test of neuron j with membrane v: from `a` after the step to `a` before it.
    inline void test(int64_t j, R v, bool spike, R kept, int64_t record) {
        const R state = a[(size_t)j], x = neuron.margin(j, v), back = (aq[(size_t)j] + push[(size_t)j]) * kept;
        const R drive = job.detach_reset ? back : back + state * (neuron.reset(j, v) - v);
        R slope = neuron.slope(x);
        if (net.sigma) {
            const R excess = counted[(size_t)(record - record_begin)] - net.sigma[j];
            if (x > R(0) && j >= job.first_layer) sigma[j] -= drive * neuron.sigma_slope(excess);
            if (!(excess > R(0))) slope = R(0);
        }
        const R at_margin = drive * slope;
        neuron.add(j, v, at_margin, spike ? state : R(0), parameters, N);
        a[(size_t)j] = (spike ? state * neuron.reset_by_v(j, v) : state) + at_margin * neuron.margin_by_v(j, v);
    }
    void tested_neurons(int64_t g, uint64_t drop) {
        mark(g, 1);
        for (int64_t r = job.received_ptr[g]; r < job.received_ptr[g + 1]; r++) {
            const int64_t j = job.received[r];
            test(j, job.membrane[r], fired[(size_t)j], kept(drop, j), r);
        }
        mark(g, 0);
    }
    void all_neurons(int64_t g, uint64_t drop) {
        mark(g, 1);
        for (int64_t r = job.received_ptr[g]; r < job.received_ptr[g + 1]; r++)
            membrane_now[(size_t)job.received[r]] = job.membrane[r];
        if (job.spike_dropout > 0) {
            for (int64_t j = 0; j < N; j++)
                if (alive[(size_t)j] != R(0)) test(j, membrane_now[(size_t)j], fired[(size_t)j], kept(drop, j), 0);
        } else {
            R *RESTRICT A = a.data(), *RESTRICT G = parameters;
            const R *RESTRICT Q = aq.data(), *RESTRICT B = push.data(), *RESTRICT V = membrane_now.data();
            const R* RESTRICT L = alive.data();
            const uint8_t* RESTRICT fire = fired.data();
            const R through_reset = job.detach_reset ? R(0) : R(1);
            const int64_t n = N;
#pragma omp simd
            for (int64_t j = 0; j < n; j++) {
                const R state = A[j], v = V[j], spike = (R)fire[j];
                const R drive = Q[j] + B[j] + through_reset * state * (neuron.reset(j, v) - v);
                const R at_margin = L[j] * drive * neuron.slope(neuron.margin(j, v));
                neuron.add(j, v, at_margin, spike * state, G, n);
                A[j] = L[j] * state * (R(1) + spike * (neuron.reset_by_v(j, v) - R(1))) + at_margin * neuron.margin_by_v(j, v);
            }
        }
        for (int64_t r = job.received_ptr[g]; r < job.received_ptr[g + 1]; r++)
            membrane_now[(size_t)job.received[r]] = before[(size_t)(r - record_begin)];
        mark(g, 0);
    }
    inline R kept(uint64_t drop, int64_t j) const {
        if (!(job.spike_dropout > 0)) return R(1);
        return uniform(drop, (uint64_t)(net.n_inputs + j)) >= job.spike_dropout ? R(1) : R(0);
    }

    // dL/d(what source `index` delivers); its weights' gradients if it did deliver something.
    R deliver(int64_t index, R factor) {
        const SourceRange& from = net.ranges[net.layer[index]];
        const int64_t row = index - from.first;
        const bool asked = index >= net.n_inputs;
        R sum = 0;
        for (int64_t p = from.projection_begin; p < from.projection_end; p++) {
            const Projection& to = net.projections[p];
            if (to.dense) {
                const R* RESTRICT w = row_of(to, row);
                R* RESTRICT gradient = weights + to.offset + row * to.width;
                const R* RESTRICT target = a.data() + to.first;
                if (!asked) add_only(gradient, target, factor, to.width);
                else if (factor != R(0)) sum += dot_add(w, target, gradient, factor, to.width);
                else sum += dot_only(w, target, to.width);
                continue;
            }
            for (int64_t s = to.ptr[row]; s < to.ptr[row + 1]; s++) {
                const R target = a[(size_t)to.targets[s]];
                sum += to.weights[s] * target;
                weights[to.offset + s] += factor * target;
            }
        }
        return sum;
    }
    // Silent neurons that fill the free slots of the group which step `step` received (or none did: `lost`).
    void fill(int64_t n_real, int64_t t, int64_t step, bool lost) {
        int64_t free_slots = std::min(job.slots, N) - (job.ties ? 0 : n_real);
        if (job.filler == NO_FILLER || free_slots <= 0) return;
        int64_t j = 0;
        if (job.filler == RANDOM_RUN) {
            const uint64_t stream = stream_of(job.seed, (uint64_t)job.sample_ids[sample], (uint64_t)(job.first_timestep + t));
            j = (int64_t)below(bits_of(field_of(stream, (uint64_t)step, PICK), 1), (uint64_t)N);
        }
        for (int64_t looked = 0; looked < N && free_slots; looked++, j = j + 1 == N ? 0 : j + 1) {
            if (taken[(size_t)j] || waiting[(size_t)j]) continue;
            aq[(size_t)j] = lost ? R(0) : deliver(net.n_inputs + j, R(0));
            free_slots--;
        }
    }
    void group_of(int64_t g, int64_t t, int64_t step) {
        const int64_t begin = job.group_ptr[g], end = job.group_ptr[g + 1];
        for (int64_t i = begin; i < end; i++) {
            const R back = deliver(job.group[i], job.multiplicity[i]);
            const int64_t j = job.group[i] - net.n_inputs;
            if (j < 0) continue;
            aq[(size_t)j] = back;
            taken[(size_t)j] = 1;
        }
        if (step) fill(end - begin, t, step, false);
        for (int64_t i = begin; i < end; i++) {
            const int64_t j = job.group[i] - net.n_inputs;
            if (j < 0) continue;
            taken[(size_t)j] = 0;
            waiting[(size_t)j] += (int32_t)job.multiplicity[i];
        }
    }
    // The group chosen at the end of a timestep reached nobody: what was in it is lost.
    void lose_last_group(int64_t t, int64_t begin, int64_t end) {
        last_group.clear();
        for (int64_t g = begin; g < end; g++) {
            for (int64_t i = job.spike_ptr[g]; i < job.spike_ptr[g + 1]; i++)
                if (job.flags[i] & EMITTED) waiting[(size_t)job.spikes[i]]++;
            for (int64_t i = job.group_ptr[g]; i < job.group_ptr[g + 1]; i++)
                if (job.group[i] >= net.n_inputs) waiting[(size_t)(job.group[i] - net.n_inputs)] -= (int32_t)job.multiplicity[i];
        }
        for (int64_t g = begin; g < end; g++)
            for (int64_t i = job.spike_ptr[g]; i < job.spike_ptr[g + 1]; i++)
                if (waiting[(size_t)job.spikes[i]] > 0 && !taken[(size_t)job.spikes[i]]) {
                    taken[(size_t)job.spikes[i]] = 1;
                    last_group.push_back(job.spikes[i]);
                }
        for (int32_t j : last_group) aq[(size_t)j] = R(0);
        fill((int64_t)last_group.size(), t, end - begin, true);
        for (int32_t j : last_group) taken[(size_t)j] = 0;
    }

  public:
    Backward(const BackwardArguments& arguments, R* gradient)
        : job(arguments), net(*job.network), neuron(job), N(net.n_neurons), T(job.n_timesteps),
          first_output(net.n_neurons - net.n_outputs), a((size_t)N), aq((size_t)N), push((size_t)N, (R)job.by_spike),
          membrane_now((size_t)N), alive((size_t)N, R(1)), count((size_t)N), fired((size_t)N), taken((size_t)N),
          waiting((size_t)N), weights(gradient), parameters(gradient + job.n_weights),
          leak(parameters + Neuron::PARAMETERS * N), sigma(leak + N) {}

    void run(int64_t index) {
        sample = index;
        std::fill(a.begin(), a.end(), R(0));
        std::fill(aq.begin(), aq.end(), R(0));
        std::fill(waiting.begin(), waiting.end(), 0);
        recall();
        const int64_t origin = job.step_ptr[sample * T], total = job.step_ptr[(sample + 1) * T] - origin;
        for (int64_t t = T - 1; t >= 0; t--) timestep(t, origin, total);
    }
    void timestep(int64_t t, int64_t origin, int64_t total) {
        const int64_t begin = job.step_ptr[sample * T + t], end = job.step_ptr[sample * T + t + 1];
        const uint64_t stream = stream_of(job.seed, (uint64_t)job.sample_ids[sample], (uint64_t)(job.first_timestep + t));
        lose_last_group(t, begin, end);
        if (job.by_membrane)
            for (int64_t k = 0; k < net.n_outputs; k++)
                a[(size_t)(first_output + k)] += job.by_membrane[(sample * T + t) * net.n_outputs + k];
        // A resting neuron is held at its reset value by every later step: nothing reaches back through it.
        for (int64_t i = job.spike_ptr[begin]; i < job.spike_ptr[end]; i++)
            if ((job.flags[i] & RESTING) && i < job.spike_ptr[end - 1]) {
                a[(size_t)job.spikes[i]] = R(0);
                alive[(size_t)job.spikes[i]] = R(0);
            }
        if (job.every) std::copy(boundary.begin() + t * N, boundary.begin() + (t + 1) * N, membrane_now.begin());
        prepare_push(t, 0, total);
        for (int64_t g = end - 1; g >= begin; g--) {
            for (int64_t i = job.spike_ptr[g]; i < job.spike_ptr[g + 1]; i++) alive[(size_t)job.spikes[i]] = R(1);
            if (job.by_latency) prepare_push(t, g - origin, total);
            const uint64_t drop = job.spike_dropout > 0 ? field_of(stream, (uint64_t)(g - begin), SPIKE_DROPOUT) : 0;
            if (job.every) all_neurons(g, drop);
            else tested_neurons(g, drop);
            for (int64_t i = job.spike_ptr[g]; i < job.spike_ptr[g + 1]; i++)
                if (job.flags[i] & EMITTED) waiting[(size_t)job.spikes[i]]--;
            group_of(g, t, g - begin);
            if (job.cut) std::fill(a.begin(), a.end(), R(0));
            if (job.truncate && (g - origin) % job.truncate == 0) forget();
        }
        if (job.cut_timesteps) forget();
        if (!t && !job.initial) return;
        if (job.train_leak) {
            const R* earlier = t ? boundary.data() + (t - 1) * N : job.initial + sample * N;
            for (int64_t j = 0; j < N; j++) leak[j] += a[(size_t)j] * earlier[j];
        }
        for (int64_t j = 0; j < N; j++) a[(size_t)j] *= net.leak[j];
    }
    void forget() {
        std::fill(a.begin(), a.end(), R(0));
        std::fill(aq.begin(), aq.end(), R(0));
    }
};

extern "C" int unlayered_backward(const BackwardArguments* arguments) {
    const BackwardArguments& job = *arguments;
    int status = 0;
#pragma omp parallel for schedule(dynamic) num_threads((int)job.threads)
    for (int64_t shard = 0; shard < job.n_shards; shard++) {
        R* gradient = job.work + shard * job.n_total;
        std::fill(gradient, gradient + job.n_total, R(0));
        const int caught = guarded([&] {
            Backward backward(job, gradient);
            for (int64_t s = shard; s < job.n_samples; s += job.n_shards) backward.run(s);
        });
        if (caught) {
#pragma omp atomic write
            status = caught;
        }
    }
#pragma omp parallel for schedule(static) num_threads((int)job.threads)
    for (int64_t i = 0; i < job.n_total; i++) {
        R sum = 0;
        for (int64_t shard = 0; shard < job.n_shards; shard++) sum += job.work[shard * job.n_total + i];
        job.gradient[i] = sum;
    }
    return status;
}
