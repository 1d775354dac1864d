// What neurons with equal parameters share: the segments of a run between arrivals, and the flow over each as a matrix.
#pragma once
#include "hybrid/adjoint.hpp"
#include "hybrid/linear.hpp"

// Lanes of the last vector of a row; the others are zero.
static inline V load_some(const double* from, int lanes) {
#if defined(__AVX512F__)
    return (V)_mm512_maskz_loadu_pd((__mmask8)((1u << lanes) - 1), from);
#else
    V v{};
    for (int i = 0; i < lanes; i++) v[i] = from[i];
    return v;
#endif
}
static inline V load(const double* from) {
    V v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
#if defined(__AVX512F__)
static inline V larger(V a, V b) { return (V)_mm512_max_pd((__m512d)a, (__m512d)b); }
static inline V smaller(V a, V b) { return (V)_mm512_min_pd((__m512d)a, (__m512d)b); }
static inline V size_of(V x) { return (V)_mm512_abs_pd((__m512d)x); }
#else
static inline V larger(V a, V b) { return a > b ? a : b; }
static inline V smaller(V a, V b) { return a < b ? a : b; }
static inline V size_of(V x) { return abs(x); }
#endif
// Bits of NV vectors, lane after lane.
template <int NV> static inline uint64_t above(const V* x) {
    uint64_t bits = 0;
    for (int v = 0; v < NV; v++) bits |= positive(x[v]) << (v * LANES);
    return bits;
}
template <class F> static inline void each_bit(uint64_t bits, F f) {
    for (; bits; bits &= bits - 1) f(__builtin_ctzll(bits));
}

template <class G> struct Segments : Reversible<G> {
    using Base = Reversible<G>;
    using Base::NX, Base::NW, Base::all, Base::group, Base::number, Base::held, Base::th, Base::gather, Base::rows;
    using Base::Base;
    using Flow = LinearFlow<G>;

    struct Segment {
        double t0, t1, slack;  // what curvature 1 may add to the larger one of two ends
        int row;               // that arrives at t1, or -1
        double P[NX][NX], c[NX];
    };
    struct Path {  // into this group
        const HybridPathway* p;
        double unit[2][NX][NW + 1];  // by gate: what one unit of a parameter adds
    };
    Flow flows[2];  // by gate
    std::vector<Segment> segments;
    std::vector<Path> paths;
    Functional<G> level, slope, bend, bound;  // what is watched, its derivatives along the flow, bound of the second
    std::vector<Row> sorting;

    void prepare(double end) {
        gather(0);
        double zero[NX] = {}, none[Base::NQ + 1], column[NX];
        for (int gate = 0; gate < 2; gate++)
            if (!flows[gate].set(gate, held, th, all.duration)) this->fail(NOT_FINITE, 0, 0);
        const Flow& flow = flows[1];
        level = Functional<G>{}, bound = Functional<G>{};
        if constexpr (G::EXTREME) {
            level.c = G::extreme(0, 1, zero, held, th);
            G::extreme_back(0, 1, zero, held, th, 1, level.a, none);
        } else if constexpr (G::SPIKES) {
            level.c = G::margin(0, 1, zero, held, th);
            G::margin_back(0, 1, zero, held, th, 1, level.a, none);
        }
        slope = level.rate(flow), bend = slope.rate(flow);
        bound.c = std::fabs(bend.c);
        for (int j = 0; j < NX; j++) {
            bound.c += std::fabs(bend.a[j]) * flow.size[j][NX];
            for (int k = 0; k < NX; k++) bound.a[k] += std::fabs(bend.a[j]) * flow.size[j][k];
        }
        paths.assign(all.n_pathways, Path{});
        for (int k = 0; k < all.n_pathways; k++) {
            const HybridPathway& p = all.pathways[k];
            paths[k].p = &p;
            if (p.target != number) continue;
            for (int gate = 0; gate < 2; gate++)
                for (int m = 0; m < p.n_w; m++) {
                    double w[NW + 1] = {};
                    w[m] = 1;
                    G::jump((int)p.number, 0, gate, zero, held, th, w, column);
                    for (int j = 0; j < NX; j++) paths[k].unit[gate][j][m] = column[j];
                }
        }
        sort_by_time(rows, sorting, all.duration, [](const Row& r) { return r.t; },
                     [](const Row& x, const Row& y) { return sooner(x, y); });
        segments.clear();
        double t = 0;
        for (size_t r = 0; r <= rows.size(); r++) {
            const double until = r < rows.size() ? rows[r].t : end;
            const double pieces = std::ceil((until - t) / flow.longest), from = t;
            for (int k = 1; k < pieces; k++, t = segments.back().t1)
                segments.push_back({t, from + (until - from) * (k / pieces), 0, -1, {}, {}});
            segments.push_back({t, until, 0, r < rows.size() ? (int)r : -1, {}, {}});
            t = until;
        }
        for (size_t e = 0; e < segments.size(); e += LANES)
            matrices(e, (int)std::min<size_t>(LANES, segments.size() - e));
    }

    // Segments side by side: their matrices are polynomials of how long they are.
    void matrices(size_t e, int lanes) {
        V h{};
        double most = 0;
        for (int i = 0; i < lanes; i++) h[i] = segments[e + i].t1 - segments[e + i].t0, most = std::max(most, h[i]);
        const int last = most > 0 ? flows[1].order(most) : 0;
        for (int i = 0; i < lanes; i++) segments[e + i].slack = 0.125 * h[i] * h[i];
        for (int j = 0; j < NX; j++)
            for (int k = 0; k <= NX; k++) {
                if (k < NX ? !G::REACH[j][k < NX ? k : 0] : !G::AFFINE[j]) continue;
                V sum = V{} + flows[1].M[last][j][k];
                for (int m = last - 1; m >= 0; m--) sum = sum * h + flows[1].M[m][j][k];
                for (int i = 0; i < lanes; i++) (k < NX ? segments[e + i].P[j][k] : segments[e + i].c[j]) = sum[i];
            }
    }

    // What a row adds to lanes of neurons; `active` is not zero where they are.
    V weight(const Path& path, int m, int64_t at, int lanes) const {
        if (!path.p->w_each[m]) return V{} + path.p->w[m][0];
        return lanes >= LANES ? load(path.p->w[m] + at) : load_some(path.p->w[m] + at, lanes);
    }
    void added(const Path& path, int64_t at, int lanes, V active, V* out) const {
        for (int j = 0; j < NX; j++) out[j] = V{};
        for (int m = 0; m < path.p->n_w; m++) {
            const V w = weight(path, m, at, lanes);
            UNROLL for (int j = 0; j < NX; j++)
                if (G::JUMPED[j]) {
                    const V on = path.unit[1][j][m] * w;
                    out[j] += !G::GATES ? on : (active > V{} ? on : path.unit[0][j][m] * w);
                }
        }
    }
};
