// Neurons with equal parameters side by side: from one arrival to the next the same matrix takes all of them, in vector
// registers. A bound says which of them may cross their threshold on the way; those, and refractory ones, turn alone.
#pragma once
#include "hybrid/segments.hpp"

template <class G> struct Ahead : Segments<G> {
    using Base = Segments<G>;
    using Base::NX, Base::all, Base::group, Base::number, Base::cells, Base::th, Base::rows, Base::segments,
        Base::paths, Base::flows, Base::level, Base::slope, Base::bend, Base::bound, Base::added;
    using Base::Base;
    using typename Base::Segment, typename Base::Path, typename Base::Flow, typename Base::Cell;

    enum Kind { INSIDE, BEFORE, AFTER };  // where the largest value is met: in segment `code / 3`, or beside its row
    struct Best {
        V value, code, t, x[NX];
        void take(V better, V now, double c, double time, const V* state) {
            value = better > V{} ? now : value;
            code = better > V{} ? V{} + c : code, t = better > V{} ? V{} + time : t;
            for (int j = 0; j < NX; j++) x[j] = better > V{} ? state[j] : x[j];
        }
    };

    static constexpr bool jumps_watched() {
        for (int j = 0; j < NX; j++)
            if (G::JUMPED[j] && G::WATCHED[j]) return true;
        return false;
    }

    template <int NV> __attribute__((noinline)) void fly(Sample& s, int n) {
        const int lanes = std::min<int>(NV * LANES, group.n - n);
        const uint64_t whole = lanes < 64 ? ((uint64_t)1 << lanes) - 1 : ~(uint64_t)0;
        uint64_t away = 0;
        V x[NV][NX], active[NV];
        Best best[NV];
        for (int v = 0; v < NV; v++) {
            active[v] = V{} + 1;
            for (int j = 0; j < NX; j++)
                x[v][j] = load_some(group.initial[j] + n + v * LANES, std::min(LANES, lanes - v * LANES));
            if constexpr (G::EXTREME) {
                best[v] = Best{V{} - std::numeric_limits<double>::infinity(), {}, {}, {}};
                best[v].take(V{} + 1, level(x[v], G::WATCHED), -1, 0, x[v]);
            }
        }
        s.tape.marks.push_back(-1);
        constexpr bool lifts = jumps_watched();
        for (size_t e = 0; e < segments.size(); e++) {
            const Segment& g = segments[e];
            V next[NV][NX], watch[NV], most = V{} - 1;
            UNROLL for (int v = 0; v < NV; v++) {
                UNROLL for (int j = 0; j < NX; j++) {
                    next[v][j] = G::AFFINE[j] ? V{} + g.c[j] : V{};
                    UNROLL for (int k = 0; k < NX; k++)
                        if (G::REACH[j][k]) next[v][j] += g.P[j][k] * x[v][k];
                }
                if constexpr (G::SPIKES || G::EXTREME) {
                    V curve = V{} + bound.c;
                    UNROLL for (int k = 0; k < NX; k++)
                        if (G::SEEN[k]) curve += bound.a[k] * size_of(x[v][k]);
                    watch[v] = level(next[v], G::WATCHED);
                    if (lifts || e == 0) watch[v] = larger(watch[v], level(x[v], G::WATCHED));  // else seen before
                    watch[v] += g.slack * curve;
                    if constexpr (G::EXTREME)
                        watch[v] = smaller(watch[v] - best[v].value,  // it may become the largest on a top within
                                           smaller(slope(x[v], G::SEEN), -slope(next[v], G::SEEN)));
                    most = larger(most, watch[v]);
                }
            }
            if (positive(most) || (G::GATES && away)) {
                V from[NV][NX], to[NV][NX];  // copies: those above stay in registers
                std::memcpy(from, x, sizeof x), std::memcpy(to, next, sizeof x);
                if constexpr (G::EXTREME) {
                    each_bit(above<NV>(watch) & whole,
                             [&](int i) { summit(from[i / LANES], g, e, i % LANES, best[i / LANES]); });
                } else {
                    each_bit((above<NV>(watch) & whole) | away, [&](int i) {
                        turn(s, n, i, e, from[i / LANES], to[i / LANES]);
                        if constexpr (G::GATES) {
                            away = cells[n + i].active ? away & ~((uint64_t)1 << i) : away | (uint64_t)1 << i;
                            active[i / LANES][i % LANES] = cells[n + i].active;
                        }
                    });
                    std::memcpy(next, to, sizeof x);
                }
            }
            if constexpr (G::EXTREME) {
                UNROLL for (int v = 0; v < NV; v++) {
                    const V now = level(next[v], G::WATCHED), better = now - best[v].value;
                    if (positive(better)) best[v].take(better, now, 3. * e + BEFORE, g.t1, next[v]);
                }
            }
            std::memcpy(x, next, sizeof x);
            if (g.row < 0) continue;
            const Row& row = rows[g.row];
            const Path& path = paths[row.path];
            UNROLL for (int v = 0; v < NV; v++) {
                V more[NX];
                added(path, row.first + n + v * LANES, v < NV - 1 ? LANES : lanes - v * LANES, active[v], more);
                UNROLL for (int j = 0; j < NX; j++)
                    if (G::JUMPED[j]) x[v][j] += more[j];
                if constexpr (G::EXTREME) {
                    const V now = level(x[v], G::WATCHED), better = now - best[v].value;
                    if (lifts && positive(better)) best[v].take(better, now, 3. * e + AFTER, g.t1, x[v]);
                }
            }
        }
        for (int i = 0; i < lanes; i++) {
            Cell& c = cells[n + i];
            const int v = i / LANES, l = i % LANES;
            c.t = all.duration;
            for (int j = 0; j < NX; j++) {
                c.x[j] = x[v][j][l];
                if (!std::isfinite(c.x[j])) this->fail(NOT_FINITE, n + i, c.t);
            }
            if constexpr (G::EXTREME) {
                c.best = best[v].value[l], c.best_t = best[v].t[l], c.best_mark = (int64_t)best[v].code[l];
                for (int j = 0; j < NX; j++) c.best_x[j] = best[v].x[j][l];
            }
        }
        s.tape.marks.push_back(-1 - n);
        s.tape.marks.push_back(number);
        s.tape.close(END, 0, 0);
    }

    // A state that moves along its flow.
    struct Walker {
        const Flow& flow;
        double x[NX], at = 0;
        Walker(const Flow& f, const double* from) : flow(f) { std::copy(from, from + NX, x); }
        void to(double d) { flow.advance(d - at, x), at = d; }
        void set(const V* from, int l) {
            for (int j = 0; j < NX; j++) x[j] = from[j][l];
        }
    };
    // Moves to where a function of the state rises (sign 1) or falls (-1) through zero, by Newton's method in a bracket.
    void find(Walker& w, const Functional<G>& f, const Functional<G>& rate, double sign, double h, double guess) const {
        const double least = 1e-16 * all.duration;  // no time of a run is known better
        double low = 0, high = h, next = guess, before = h;
        for (int k = 0; k < 200; k++) {
            if (!(next > low && next < high)) next = 0.5 * (low + high);
            w.to(next);
            const double g = sign * f(w.x, G::SEEN);
            (g > 0 ? high : low) = next;
            const double step = -g / (sign * rate(w.x, G::SEEN));
            if (std::fabs(step) <= least || high - low <= least) return;
            next = std::fabs(step) > 0.5 * before ? 0.5 * (low + high) : w.at + step;
            before = std::fabs(step);
        }
    }

    // First crossing of the threshold within h, where the walker is then left; or false, and it stays.
    bool crosses(Sample& s, Walker& w, const Walker& end, double h) const {
        const double g0 = level(w.x, G::WATCHED), s0 = slope(w.x, G::SEEN);
        if (g0 >= 0 && s0 > 0) return true;
        const double g1 = level(end.x, G::WATCHED), s1 = slope(end.x, G::SEEN);
        if (g1 > 0) {
            const double q = (g1 - g0 - s0 * h) / (h * h), under = s0 * s0 - 4 * q * g0;  // a parabola as first guess
            find(w, level, slope, 1, h, under > 0 && s0 > 0 ? -2 * g0 / (s0 + std::sqrt(under)) : h * g0 / (g0 - g1));
            return true;
        }
        if (!(s0 > 0 && s1 < 0)) return false;
        Walker top = w;
        find(top, slope, bend, -1, h, h * s0 / (s0 - s1));
        const double most = level(top.x, G::WATCHED);
        if (most > 0) return find(w, level, slope, 1, top.at, 0.5 * top.at), true;
        s.nearest = std::max(s.nearest, most);
        return false;
    }

    // One neuron through one segment, with all of its own events; nothing is left on the tape if there are none.
    __attribute__((noinline)) void turn(Sample& s, int n, int i, size_t e, const V* from, V* to) {
        const Segment& g = segments[e];
        const int l = i % LANES;
        const bool last = e + 1 == segments.size(), gate = cells[n + i].active;
        Cell& c = cells[n + i];
        th[Base::NT - 2] = n + i;
        c.t = g.t0;
        for (int j = 0; j < NX; j++) c.x[j] = from[j][l];
        bool induced = this->lifted(c, false);
        int64_t events = 0;
        for (;; events++) {
            if (induced && (c.t < g.t1 || last)) {
                this->spike(s, c, n + i, INDUCED);
                induced = false;
                continue;
            }
            const bool opens = G::GATES && !c.active && c.open <= g.t1;
            const double until = opens ? std::max(c.t, c.open) : g.t1, h = until - c.t;
            Walker w(flows[c.active], c.x), end = w;
            if (!events && gate) end.set(to, l);  // as it goes if nothing happens
            else end.to(h);
            const bool spikes = c.active && h > 0 && crosses(s, w, end, h);
            for (int j = 0; j < NX; j++) c.x[j] = spikes ? w.x[j] : end.x[j];
            c.t = spikes && w.at < h ? c.t + w.at : until;
            if (spikes) {
                this->spike(s, c, n + i, SPIKE);
            } else if (opens) {
                s.tape.push(c.x, NX);
                s.tape.numbers.push_back(c.t);
                s.tape.marks.push_back(c.last_spike);
                c.active = true;
                s.tape.close(OPEN, true, 0);
                induced = this->lifted(c, false);
            } else {
                break;
            }
        }
        if (!events && gate) return;
        for (int j = 0; j < NX; j++) to[j][l] = c.x[j];
        s.tape.marks.push_back(events << 1 | gate);
        s.tape.marks.push_back((int64_t)e << 6 | i);
    }

    // The largest value of a neuron may lie within a segment.
    __attribute__((noinline)) void summit(const V* from, const Segment& g, size_t e, int l, Best& best) {
        double x[NX];
        for (int j = 0; j < NX; j++) x[j] = from[j][l];
        Walker w(flows[1], x);
        find(w, slope, bend, -1, g.t1 - g.t0, 0.5 * (g.t1 - g.t0));
        const double value = level(w.x, G::WATCHED);
        if (!(value > best.value[l])) return;
        best.value[l] = value, best.code[l] = 3. * e + INSIDE, best.t[l] = g.t0 + w.at;
        for (int j = 0; j < NX; j++) best.x[j][l] = w.x[j];
    }
};
