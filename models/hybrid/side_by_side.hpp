// The reverse of neurons side by side, and the choice whether they are taken so.
#pragma once
#include "hybrid/blocks.hpp"

template <class G> struct SideBySide : Ahead<G> {
    using Base = Ahead<G>;
    using Base::NX, Base::all, Base::group, Base::number, Base::cells, Base::held, Base::th, Base::gather, Base::rows,
        Base::adjoints, Base::maximum, Base::segments, Base::paths, Base::flows, Base::added;
    using Base::INSIDE, Base::BEFORE, Base::AFTER;
    using Base::Base;
    using typename Base::Segment, typename Base::Path, typename Base::Cell, typename Base::Kind;

    void walk(Sample& s, double b, bool closed, const std::vector<Spike>& forced) override {
        if constexpr (G::UNIFORM) {
            bool together = !this->looped && this->points.empty() && group.n > 1;
            for (int j = 0; j + 2 < Base::NT && together; j++)
                for (int n = 1; n < group.n && group.theta_each[j] && together; n++)
                    together = group.theta[j][n] == group.theta[j][0];
            if (together) {
                this->prepare(b);
                over_tiles([&](auto nv, int n) { this->template fly<nv.value>(s, n); });
                return;
            }
        }
        Base::walk(s, b, closed, forced);
    }

    // Blocks of one, two or four vectors of neurons.
    template <int NV> struct Count { static constexpr int value = NV; };
    template <class F> void over_tiles(F f) {
        for (int n = 0; n < group.n;) n += tile(n, f);
    }
    template <class F> int tile(int n, F f) {
        const int left = (int)group.n - n;
        if (left > 3 * LANES) return f(Count<4>{}, n), 4 * LANES;
        if (left > LANES) return f(Count<2>{}, n), 2 * LANES;
        return f(Count<1>{}, n), LANES;
    }

    void backward(Sample& s, int n, Sums& sums) override {
        if (n >= 0) {
            Base::backward(s, n, sums);
            return;
        }
        if constexpr (G::UNIFORM) {
            gather(0);
            tile(-1 - n, [&](auto nv, int first) { reverse<nv.value>(s, first, sums); });
        }
    }

    template <int NV>
    __attribute__((noinline)) void reverse(Sample& s, int n, Sums& sums) {
        const int lanes = std::min<int>(NV * LANES, group.n - n);
        V p[NV][NX] = {}, active[NV] = {}, code[NV];
        std::fill(code, code + NV, V{} - 9);
        for (int i = 0; i < lanes; i++) {
            const int v = i / LANES, l = i % LANES;
            for (int j = 0; j < NX; j++) p[v][j][l] = adjoints[n + i].p[j];
            active[v][l] = cells[n + i].active;
            if constexpr (G::EXTREME) code[v][l] = maximum[n + i] != 0 ? (double)cells[n + i].best_mark : -9;
        }
        bool caused = false;  // an induced spike waits for the event that caused it
        for (size_t e = segments.size(); e-- > 0;) {
            const Segment& g = segments[e];
            uint64_t tops = 0;  // lanes that are largest here
            V late[NV] = {};
            if constexpr (G::EXTREME) {
                for (int v = 0; v < NV; v++)
                    tops |= positive(V{} + 1.5 - size_of(code[v] - (3. * e + 1))) << (v * LANES);
                each_bit(tops, [&](int i) {
                    const Cell& c = cells[n + i];
                    if (c.best_mark == (int64_t)(3 * e + INSIDE)) return;
                    late[i / LANES][i % LANES] = maximum[n + i] * G::extreme_rate(c.best_t, 1, c.best_x, held, th);
                });
                add_tops<NV>(n, tops, 3 * e + AFTER, p);
            }
            if (g.row >= 0) arrival<NV>(s, rows[g.row], n, lanes, p, active, late, caused, sums);
            if (tops) add_tops<NV>(n, tops, 3 * e + BEFORE, p);
            V next[NV][NX];
            UNROLL for (int v = 0; v < NV; v++)
                UNROLL for (int j = 0; j < NX; j++) {
                    next[v][j] = V{};
                    UNROLL for (int k = 0; k < NX; k++)
                        if (G::REACH[k][j]) next[v][j] += g.P[k][j] * p[v][k];
                }
            if (tops || s.tape.marks.back() >> 6 == (int64_t)e) {
                V from[NV][NX], to[NV][NX];
                std::memcpy(from, p, sizeof p), std::memcpy(to, next, sizeof p);
                each_bit(tops, [&](int i) {
                    if (cells[n + i].best_mark == (int64_t)(3 * e + INSIDE))
                        summit_back(n + i, g, from[i / LANES], to[i / LANES], i % LANES);
                });
                while (s.tape.marks.back() >> 6 == (int64_t)e) {
                    const int i = (int)(s.tape.pop_mark() & 63);
                    active[i / LANES][i % LANES] = turn_back(s, n + i, g, from[i / LANES], to[i / LANES], i % LANES, sums);
                    caused |= adjoints[n + i].caused != 0;
                }
                std::memcpy(next, to, sizeof p);
            }
            std::memcpy(p, next, sizeof p);
        }
        s.tape.pop_mark();
        for (int i = 0; i < lanes; i++) {
            Cell& c = cells[n + i];
            double* to = adjoints[n + i].p;
            for (int j = 0; j < NX; j++) to[j] = p[i / LANES][j][i % LANES];
            if constexpr (G::EXTREME)
                if (c.best_mark == -1) maximum_back(n + i, to);
            for (int j = 0; j < NX; j++)
                if (!std::isfinite(to[j])) this->fail(ADJOINT, n + i, 0);
        }
    }

    // The reverse of `turn`; returns whether the neuron was active before.
    __attribute__((noinline)) bool turn_back(Sample& s, int n, const Segment& g, const V* from, V* to, int l,
                                             Sums& sums) {
        auto& a = adjoints[n];
        th[Base::NT - 2] = n;
        int64_t events = s.tape.pop_mark();
        const bool gate = events & 1;
        double t = g.t1;
        for (int j = 0; j < NX; j++) a.p[j] = from[j][l];
        for (events >>= 1; events > 0; events--) {
            const int64_t mark = s.tape.pop_mark();
            const bool active = mark >> 3 & 1;
            const double at = s.tape.numbers.back();
            flows[active].reverse(t - at, a.p);
            this->event(s, cells[n], a, n, Record(mark & 7), active, 0, 0, sums);
            t = at;
        }
        flows[gate].reverse(t - g.t0, a.p);
        for (int j = 0; j < NX; j++) to[j][l] = a.p[j];
        return gate;
    }

    void maximum_back(int n, double* p) {
        double none[Base::NQ + 1];
        const Cell& c = cells[n];
        th[Base::NT - 2] = n;
        G::extreme_back(c.best_t, 1, c.best_x, held, th, maximum[n], p, none);
    }
    // Largest values at one end of a segment.
    template <int NV> void add_tops(int n, uint64_t tops, int64_t code, V (*p)[NX]) {
        each_bit(tops, [&](int i) {
            if (cells[n + i].best_mark != code) return;
            double more[NX] = {};
            maximum_back(n + i, more);
            for (int j = 0; j < NX; j++) p[i / LANES][j] += lane(i % LANES, more[j]);
        });
    }
    static V lane(int l, double value) {
        V v{};
        v[l] = value;
        return v;
    }
    // A largest value within a segment.
    void summit_back(int n, const Segment& g, const V* from, V* to, int l) {
        double p[NX];
        for (int j = 0; j < NX; j++) p[j] = from[j][l];
        flows[1].reverse(g.t1 - cells[n].best_t, p);
        maximum_back(n, p);
        flows[1].reverse(cells[n].best_t - g.t0, p);
        for (int j = 0; j < NX; j++) to[j][l] = p[j];
    }

    // The reverse of a row: what its weights, its delay and the time of its spike have to do with the loss.
    template <int NV>
    __attribute__((always_inline)) void arrival(Sample& s, const Row& row, int n, int lanes, const V (*p)[NX],
                                                const V* active, const V* late, bool& caused, Sums& sums) {
        const Path& path = paths[row.path];
        const int rest = lanes - (NV - 1) * LANES;  // lanes of the last vector
        for (int m = 0; m < path.p->n_w; m++) {
            auto& sum = sums.w[row.path * sums.max_w + m];
            if (sum.empty()) continue;
            double* to = sum.data() + (sum.size() > 1 ? row.first + n : 0);
            UNROLL for (int v = 0; v < NV; v++) {
                V dw{};
                UNROLL for (int j = 0; j < NX; j++)
                    if (G::JUMPED[j]) {
                        const V on = path.unit[1][j][m] * p[v][j];
                        dw += !G::GATES ? on : (active[v] > V{} ? on : path.unit[0][j][m] * p[v][j]);
                    }
                if (sum.size() == 1) {
                    to[0] += sum_of(dw);
                } else if (v < NV - 1 || rest == LANES) {
                    const V total = load(to + v * LANES) + dw;
                    std::memcpy(to + v * LANES, &total, sizeof total);
                } else {
                    for (int i = 0; i < rest; i++) to[v * LANES + i] += dw[i];
                }
            }
        }
        if (!sums.timed[row.path] && !caused) return;
        auto& delay = sums.delay[row.path];
        V total{};
        for (int v = 0; v < NV; v++) {
            V more[NX], kappa = late[v];
            const int here = v < NV - 1 ? LANES : rest;
            added(path, row.first + n + v * LANES, here, active[v], more);
            UNROLL for (int j = 0; j < NX; j++)
                UNROLL for (int k = 0; k < NX; k++)
                    if (G::FLOWS[j][k] && G::JUMPED[k]) {
                        const V rate = p[v][j] * more[k];
                        const V on = flows[1].A[j][k] * rate;
                        kappa -= !G::GATES ? on : (active[v] > V{} ? on : flows[0].A[j][k] * rate);
                    }
            for (int i = 0; caused && i < here; i++) {
                double& own = adjoints[n + v * LANES + i].caused;
                kappa[i] += own, own = 0;
            }
            if (delay.size() > 1)
                for (int i = 0; i < here; i++) delay[row.first + n + v * LANES + i] += kappa[i];
            total += kappa;
        }
        caused = false;
        if (!sums.timed[row.path]) return;
        if (delay.size() == 1) delay[0] += sum_of(total);
        s.kappa[row.spike] += sum_of(total);
    }
};
