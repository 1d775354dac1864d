// One step of the flow and its reverse: Taylor's series for linear flows, an embedded Runge-Kutta method for others.
#pragma once
#include <limits>

#include "hybrid/numbers.hpp"

constexpr int TERMS = 24;        // of the series; with more of them the step is taken shorter
constexpr double LEAST = 1e-130;  // scale of a variable that has no size yet; its square still is a number

// Where a neuron is: what stays the same during a flight.
struct Place {
    double gate;
    const double* held;
    const double* th;
};

template <class G> struct Stepper {
    using M = typename G::Method;
    static constexpr int NX = G::NX, NQ = G::NQ, S = M::STAGES;

    // Terms of the series of x(t + u h) in powers of u, from u^0 on, and their sum; how many, or 0 if h is too long.
    static int series(double t, const Place& at, const double* x, double h, double (*y)[NX], double* out) {
        G::flow(t, at.gate, x, at.held, at.th, y[1]);
        for (int j = 0; j < NX; j++) y[0][j] = x[j], y[1][j] *= h, out[j] = x[j] + y[1][j];
        for (int k = 2; k <= TERMS; k++) {
            G::homogeneous(t, at.gate, y[k - 1], at.held, at.th, y[k]);
            bool small = k > NX;
            for (int j = 0; j < NX; j++) {
                y[k][j] *= h / k;
                out[j] += y[k][j];
                small &= std::fabs(y[k][j]) <= 1.2e-16 * std::fabs(out[j]) || y[k][j] == 0;
            }
            if (small) return k + 1;
        }
        return 0;
    }

    // x(t + h) from x(t); false if h is too long for the series.
    static bool advance(double t, const Place& at, const double* x, double h, double* out) {
        if constexpr (G::LINEAR) {
            double y[TERMS + 1][NX];
            return series(t, at, x, h, y, out) > 0;
        } else {
            double k[S][NX];
            stages(t, at, x, h, k);
            combine(x, h, k, out);
            return true;
        }
    }

    static void stages(double t, const Place& at, const double* x, double h, double (*k)[NX], double (*states)[NX] = nullptr) {
        for (int s = 0; s < S; s++) {
            double y[NX];
            for (int j = 0; j < NX; j++) {
                double sum = 0;
                for (int r = 0; r < s; r++) sum += M::A[s][r] * k[r][j];
                y[j] = x[j] + h * sum;
                if (states) states[s][j] = y[j];
            }
            G::flow(t + M::C[s] * h, at.gate, y, at.held, at.th, k[s]);
        }
    }

    static void combine(const double* x, double h, const double (*k)[NX], double* out) {
        for (int j = 0; j < NX; j++) {
            double sum = 0;
            for (int s = 0; s < S; s++) sum += M::B[s] * k[s][j];
            out[j] = x[j] + h * sum;
        }
    }

    // The same with an estimate of the error, in units of what is tolerated; `scale` remembers how large states were.
    static double attempt(double t, const Place& at, const double* x, double h, double tolerance, const double* scale,
                          double* out) {
        double k[S][NX], states[S][NX], five = 0, three = 0;
        stages(t, at, x, h, k, states);
        combine(x, h, k, out);
        const auto add = [&](auto rate, double size) {
            double e5 = 0, e3 = 0;
            for (int s = 0; s < S; s++) e5 += M::E5[s] * rate(s), e3 += M::E3[s] * rate(s);
            const double unit = 1 / std::max(size * tolerance, LEAST);
            five += e5 * e5 * unit * unit, three += e3 * e3 * unit * unit;
        };
        for (int j = 0; j < NX; j++)
            add([&](int s) { return k[s][j]; },
                std::max({std::fabs(x[j]), std::fabs(out[j]), scale[j], h * std::fabs(k[0][j])}));
        if constexpr (G::RUNNING) {
            double loss[S], most = 0;
            for (int s = 0; s < S; s++) {
                loss[s] = G::running(t + M::C[s] * h, at.gate, states[s], at.held, at.th);
                most = std::max(most, std::fabs(loss[s]));
            }
            add([&](int s) { return loss[s]; }, std::max(h * most, scale[NX]));
        }
        const double both = five + 0.01 * three;
        if (!std::isfinite(both)) return std::numeric_limits<double>::infinity();
        return both > 0 ? h * five / std::sqrt(both * NX) : 0;
    }

    // Running loss over a step.
    static double integral(double t, const Place& at, const double* x, double h) {
        double k[S][NX], states[S][NX], sum = 0;
        stages(t, at, x, h, k, states);
        for (int s = 0; s < S; s++)
            if (M::B[s] != 0) sum += M::B[s] * G::running(t + M::C[s] * h, at.gate, states[s], at.held, at.th);
        return h * sum;
    }

    // The reverse of `advance` (and of `integral`, whose adjoint is pl): p is replaced, pq added to.
    static void reverse(double t, const Place& at, const double* x, double h, double* p, double pl, double* pq) {
        if constexpr (G::LINEAR) {
            // exp(hA)' p has a series of its own; how soon that of x ends says nothing about it
            double term[NX], sum[NX], next[NX], unused[NQ + 1] = {};
            for (int j = 0; j < NX; j++) term[j] = sum[j] = p[j];
            int last = 1;
            for (bool small = false; last <= TERMS && !small; last++) {
                for (int j = 0; j < NX; j++) next[j] = 0;
                G::homogeneous_back(t, at.gate, x, at.held, at.th, term, next, unused);
                small = last > NX;
                for (int j = 0; j < NX; j++) {
                    term[j] = next[j] * (h / last);
                    sum[j] += term[j];
                    small &= std::fabs(term[j]) <= 1.2e-16 * std::fabs(sum[j]) || term[j] == 0;
                }
            }
            if constexpr (NQ > 0) {
                double y[TERMS + 1][NX], bar[NX];
                G::flow(t, at.gate, x, at.held, at.th, y[1]);
                for (int j = 0; j < NX; j++) y[1][j] *= h, bar[j] = p[j];
                for (int k = 2; k < last; k++) {
                    G::homogeneous(t, at.gate, y[k - 1], at.held, at.th, y[k]);
                    for (int j = 0; j < NX; j++) y[k][j] *= h / k;
                }
                for (int k = last - 2; k >= 1; k--) {
                    double scaled[NX];
                    for (int j = 0; j < NX; j++) scaled[j] = bar[j] * (h / (k + 1)), bar[j] = p[j];
                    G::homogeneous_back(t, at.gate, y[k], at.held, at.th, scaled, bar, pq);
                }
                for (int j = 0; j < NX; j++) bar[j] *= h, next[j] = 0;
                G::flow_back(t, at.gate, x, at.held, at.th, bar, 0, next, pq);
            }
            for (int j = 0; j < NX; j++) p[j] = sum[j];
        } else {
            double k[S][NX], states[S][NX], bar[S][NX];
            stages(t, at, x, h, k, states);
            for (int s = 0; s < S; s++)
                for (int j = 0; j < NX; j++) bar[s][j] = h * M::B[s] * p[j];
            for (int s = S - 1; s >= 0; s--) {
                double px[NX] = {};
                G::flow_back(t + M::C[s] * h, at.gate, states[s], at.held, at.th, bar[s], pl * h * M::B[s], px, pq);
                for (int j = 0; j < NX; j++) {
                    p[j] += px[j];
                    for (int r = 0; r < s; r++) bar[r][j] += h * M::A[s][r] * px[j];
                }
            }
        }
    }
};
