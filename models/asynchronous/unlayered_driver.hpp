// Reverse pass over the tape, forward step after forward step. Included by the generated source, which defines Neuron.
#pragma once
#include "native/lanes.hpp"
#include "native/random.hpp"
extern "C" {
#include "asynchronous/arguments.h"
}

// dot(row, a), and gradient += factor * a if ADDED, in the same pass.
template <bool ADDED>
static inline R along(const R* RESTRICT row, const R* RESTRICT a, R* RESTRICT gradient, R factor, int64_t n) {
    V sum = {};
    R rest = 0;
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        const V at = *(const Unaligned*)(a + j);
        sum += *(const Unaligned*)(row + j) * at;
        if (ADDED) *(Unaligned*)(gradient + j) += factor * at;
    }
    for (; j < n; j++) {
        rest += row[j] * a[j];
        if (ADDED) gradient[j] += factor * a[j];
    }
    return sum_of(sum) + rest;
}
static inline void add_row(R* RESTRICT gradient, const R* RESTRICT a, R factor, int64_t n) {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) gradient[j] += factor * a[j];
}
// dL/d(targets of the input) whenever some of it was delivered, of one sample.
struct InputTargets {
    std::vector<int64_t> steps;
    std::vector<R> held;  // of every step and dense projection
};

// One sample at a time. `a` is dL/d(membrane), going backwards; `aq` is dL/d(queue entry): it is fixed when a neuron is
// delivered and holds for everything that entered the queue since its delivery before, zeros of silent tests included.
class Backward {
    const BackwardArguments& job;
    const Network& net;
    const Neuron neuron;
    const int64_t N, T, first_output;
    InputTargets* inputs = nullptr;
    std::vector<R> a, aq, push, membrane_now, alive, boundary, before, count, counted, fired;
    std::vector<uint8_t> taken;
    std::vector<int32_t> waiting, last_group;
    std::vector<int64_t> first_spike, second_spike;
    R *weights, *parameters, *leak, *sigma;  // gradients
    R ones[TILE];
    int64_t sample = 0, record_begin = 0;
    bool recalled = false, sparse_input = false;

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
                    v[(size_t)j] = fired[(size_t)j] != R(0) ? neuron.reset(j, job.membrane[r]) : job.membrane[r];
                }
                if (job.by_latency) note_outputs(g, g - begin);
                mark(g, 0);
            }
            std::copy(v.begin(), v.begin() + N, boundary.begin() + t * N);
        }
    }
    void mark(int64_t g, R value) {
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

    // dL/d(spike) as far as it is differentiable, of a threshold test of neuron j.
    inline R drive(int64_t j, R v, R kept) const {
        const R through_reset = job.detach_reset ? R(0) : a[(size_t)j] * (neuron.reset(j, v) - v);
        return (aq[(size_t)j] + push[(size_t)j]) * kept + through_reset;
    }
    // Threshold tests of a tile's neurons with membranes v, those that are `hit`: from `a` after the step to `a` before it.
    void test(int64_t first, const R* RESTRICT v_tile, const R* RESTRICT hit, const R* counted_tile, uint64_t drop) {
        const int64_t n = std::min<int64_t>(TILE, N - first);
        alignas(64) R kept[TILE], slope[TILE];
        for (int64_t i = 0; i < n; i++) kept[i] = R(1);
        for (int64_t i = 0; job.spike_dropout > 0 && i < n; i++)
            kept[i] = R(uniform(drop, (uint64_t)(net.n_inputs + first + i)) >= job.spike_dropout);
        for (int64_t i = 0; i < n; i++) slope[i] = hit[i] * neuron.slope(neuron.margin(first + i, v_tile[i]));
        for (int64_t i = 0; net.sigma && i < n; i++) {
            const R v = v_tile[i], excess = counted_tile[i] - net.sigma[first + i];
            if (hit[i] != R(0) && neuron.margin(first + i, v) > R(0) && first + i >= job.first_layer)
                sigma[first + i] -= drive(first + i, v, kept[i]) * neuron.sigma_slope(excess);
            if (!(excess > R(0))) slope[i] = R(0);
        }
        R* const G = parameters;
        R* const A = a.data();
        const R* const fire = fired.data();
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            const int64_t j = first + i;
            const R v = v_tile[i], state = A[j], spike = fire[j];
            const R at_margin = drive(j, v, kept[i]) * slope[i];
            neuron.add(j, v, at_margin, hit[i] * spike * state, G, N);
            const R through = spike != R(0) ? state * neuron.reset_by_v(j, v) : state;
            A[j] = (hit[i] != R(0) ? through : state) + at_margin * neuron.margin_by_v(j, v);
        }
    }
    void tested_neurons(int64_t g, uint64_t drop) {
        const int64_t end = job.received_ptr[g + 1];
        for (int64_t r = job.received_ptr[g]; r < end;) {  // neurons of a tile lie together
            const int64_t begin = r, first = job.received[r] / TILE * TILE;
            uint64_t bits;
            r += numbers_within(job.received + r, end - r, (int32_t)first, bits);
            alignas(64) R v[TILE], hit[TILE], counted_here[TILE];
            expand<TILE>(v, job.membrane + begin, bits);
            expand<TILE>(hit, ones, bits);
            if (net.sigma) expand<TILE>(counted_here, counted.data() + (begin - record_begin), bits);
            test(first, v, hit, counted_here, drop);
        }
    }
    void all_neurons(int64_t g, uint64_t drop) {
        for (int64_t r = job.received_ptr[g]; r < job.received_ptr[g + 1]; r++)
            membrane_now[(size_t)job.received[r]] = job.membrane[r];
        for (int64_t j = 0; j < N; j += TILE) test(j, membrane_now.data() + j, alive.data() + j, nullptr, drop);
        for (int64_t r = job.received_ptr[g]; r < job.received_ptr[g + 1]; r++)
            membrane_now[(size_t)job.received[r]] = before[(size_t)(r - record_begin)];
    }

    // dL/d(what source `index` delivers); its weights' gradients if it did deliver something.
    template <bool ADDED> R deliver(int64_t index, R factor) {
        const SourceRange& from = net.ranges[net.layer[index]];
        const int64_t row = index - from.first;
        R sum = 0;
        for (int64_t p = from.projection_begin; p < from.projection_end; p++) {
            const Projection& to = net.projections[p];
            if (to.dense && index < net.n_inputs) continue;  // all samples' together, later
            if (to.dense) sum += along<ADDED>(row_of(to, row), a.data() + to.first, weights + to.offset + row * to.width, factor, to.width);
            else for (int64_t s = to.ptr[row]; s < to.ptr[row + 1]; s++) {
                const R target = a[(size_t)to.targets[s]];
                sum += to.weights[s] * target;
                if (ADDED) weights[to.offset + s] += factor * target;
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
            aq[(size_t)j] = lost ? R(0) : deliver<false>(net.n_inputs + j, R(0));
            free_slots--;
        }
    }
    void hold_targets(int64_t g) {
        inputs->steps.push_back(g);
        for (int64_t p = net.ranges[0].projection_begin; p < net.ranges[0].projection_end; p++) {
            const Projection& to = net.projections[p];
            if (to.dense) inputs->held.insert(inputs->held.end(), a.begin() + to.first, a.begin() + to.first + to.width);
        }
    }
    void group_of(int64_t g, int64_t t, int64_t step) {
        const int64_t begin = job.group_ptr[g], end = job.group_ptr[g + 1];
        int64_t neurons = begin;
        for (; neurons < end && job.group[neurons] < net.n_inputs; neurons++)
            if (sparse_input) deliver<true>(job.group[neurons], job.multiplicity[neurons]);
        if (begin < neurons) hold_targets(g);
        for (int64_t i = neurons; i < end; i++) {
            const int64_t j = job.group[i] - net.n_inputs;
            aq[(size_t)j] = deliver<true>(job.group[i], job.multiplicity[i]);
            taken[(size_t)j] = 1;
        }
        if (step) fill(end - begin, t, step, false);
        for (int64_t i = neurons; i < end; i++) {
            const int64_t j = job.group[i] - net.n_inputs;
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
          leak(parameters + Neuron::PARAMETERS * N), sigma(leak + N) {
        std::fill_n(ones, (int)TILE, R(1));
        for (int64_t p = net.ranges[0].projection_begin; p < net.ranges[0].projection_end; p++)
            sparse_input |= !net.projections[p].dense;
    }

    void run(int64_t index, InputTargets& targets) {
        sample = index;
        inputs = &targets;
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
            mark(g, R(1));
            if (job.every) all_neurons(g, drop);
            else tested_neurons(g, drop);
            mark(g, R(0));
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

// Sample after sample and row after row, whatever the threads: they share the columns.
static void input_gradients(const BackwardArguments& job, const std::vector<InputTargets>& samples) {
    const SourceRange& input = job.network->ranges[0];
    int64_t stride = 0, column = 0;
    for (int64_t p = input.projection_begin; p < input.projection_end; p++)
        if (job.network->projections[p].dense) stride += job.network->projections[p].width;
    for (int64_t p = input.projection_begin; p < input.projection_end; p++) {
        const Projection& to = job.network->projections[p];
        if (!to.dense) continue;
        R* const gradient = job.input_gradient + to.offset;
        std::fill(gradient, gradient + input.size * to.width, R(0));
#pragma omp parallel for schedule(static) num_threads((int)job.threads)
        for (int64_t j = 0; j < to.width; j += 4 * LANES)
            for (const InputTargets& sample : samples)
                for (size_t k = 0; k < sample.steps.size(); k++) {
                    const R* target = sample.held.data() + (int64_t)k * stride + column + j;
                    for (int64_t i = job.group_ptr[sample.steps[k]]; i < job.group_ptr[sample.steps[k] + 1]; i++) {
                        if (job.group[i] >= job.network->n_inputs) break;
                        add_row(gradient + job.group[i] * to.width + j, target, job.multiplicity[i], std::min<int64_t>(4 * LANES, to.width - j));
                    }
                }
        column += to.width;
    }
}

extern "C" int unlayered_backward(const BackwardArguments* arguments) {
    const BackwardArguments& job = *arguments;
    int status = 0;
    const int failed = guarded([&] {
        std::vector<InputTargets> targets((size_t)job.n_samples);
#pragma omp parallel for schedule(dynamic) num_threads((int)job.threads)
        for (int64_t shard = 0; shard < job.n_shards; shard++) {
            R* gradient = job.work + shard * job.n_total;
            const int caught = guarded([&] {
                std::fill(gradient, gradient + job.n_total, R(0));
                Backward backward(job, gradient);
                for (int64_t s = shard; s < job.n_samples; s += job.n_shards) backward.run(s, targets[(size_t)s]);
            });
            if (caught) {
#pragma omp atomic write
                status = caught;
            }
        }
        if (!status) input_gradients(job, targets);
    });
#pragma omp parallel for schedule(static) num_threads((int)job.threads)
    for (int64_t i = 0; i < job.n_total; i++) {
        R sum = 0;
        for (int64_t shard = 0; shard < job.n_shards; shard++) sum += job.work[shard * job.n_total + i];
        job.gradient[i] = sum;
    }
    return failed ? failed : status;
}
