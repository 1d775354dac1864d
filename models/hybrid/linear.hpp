// A linear flow with numbers for its coefficients: dx/dt = A x + b, by its series; linear functions of the state.
#pragma once
#include "hybrid/stepper.hpp"
#include "native/lanes.hpp"

template <int N> struct Factorials {
    double inverse[N + 1];
    constexpr Factorials() : inverse{1} {
        double factor = 1;
        for (int k = 1; k <= N; k++) factor *= k, inverse[k] = 1 / factor;
    }
};

template <class G> struct LinearFlow {
    static constexpr int NX = G::NX, MOST = 20;  // terms of the series; for more of them the step is too long
    double A[NX][NX], transposed[NX][NX], b[NX], longest;
    double M[MOST + 1][NX][NX + 1];  // [A b]^k / k!: exp(hA) is the sum of h^k M[k]
    double size[NX][NX + 1];         // bounds of |exp(hA)| and of what b adds, for every step
    int terms[64];                   // of steps shorter than longest * 2^(1 - k)

    // False if nothing is short enough.
    bool set(double gate, const double* held, const double* th, double duration) {
        double zero[NX] = {}, column[NX];
        G::flow(0, gate, zero, held, th, b);
        for (int k = 0; k < NX; k++) {
            double unit[NX] = {};
            unit[k] = 1;
            G::homogeneous(0, gate, unit, held, th, column);
            for (int j = 0; j < NX; j++) A[j][k] = transposed[k][j] = column[j];
        }
        longest = duration;
        while (!(terms[0] = count(longest)))
            if (!((longest *= 0.5) > 1e-18 * duration)) return false;
        for (int k = 1; k < 64; k++) terms[k] = count(std::ldexp(longest, 1 - k));
        count(longest);
        for (int k = 0; k <= MOST; k++)
            for (int j = 0; j < NX; j++)
                for (int i = 0; i <= NX; i++) {
                    double sum = k == 1 && i == NX ? b[j] : 0;
                    for (int l = 0; l < NX && k; l++) sum += A[j][l] * M[k - 1][l][i];
                    M[k][j][i] = k ? sum / k : (double)(i == j);
                }
        return true;
    }

    // Terms that a step needs, from the series of |A|; 0 if they are too many.
    int count(double h) {
        double term[NX][NX + 1], next[NX][NX + 1];
        for (int j = 0; j < NX; j++)
            for (int i = 0; i <= NX; i++) term[j][i] = size[j][i] = i == j;
        for (int k = 1; k <= MOST; k++) {
            bool small = k > NX;
            for (int j = 0; j < NX; j++)
                for (int i = 0; i <= NX; i++) {
                    double sum = k == 1 && i == NX ? std::fabs(b[j]) : 0;
                    for (int l = 0; l < NX; l++) sum += std::fabs(A[j][l]) * term[l][i];
                    next[j][i] = sum * h / k;
                    size[j][i] += next[j][i];
                    small &= next[j][i] <= 2e-17 * size[j][i];
                }
            if (small) return k;
            std::memcpy(term, next, sizeof term);
        }
        return 0;
    }
    static int exponent(double h) {
        int64_t bits;
        std::memcpy(&bits, &h, sizeof h);
        return (int)(bits >> 52 & 0x7ff);
    }
    int order(double h) const { return terms[std::min(63, std::max(0, exponent(longest) - exponent(h)))]; }

    void advance(double h, double* x) const { sum(h, x, [](int j, int i) { return G::FLOWS[j][i]; }, A, true); }
    void reverse(double h, double* p) const {
        sum(h, p, [](int j, int i) { return G::FLOWS[i][j]; }, transposed, false);
    }
    // x += sum over k of (h m)^k x / k!
    template <class Used> void sum(double h, double* x, Used used, const double (&m)[NX][NX], bool forward) const {
        static constexpr Factorials<MOST> factor;
        double y[NX], z[NX], step[NX][NX];
        UNROLL for (int j = 0; j < NX; j++) {
            y[j] = x[j];
            UNROLL for (int i = 0; i < NX; i++) step[j][i] = h * m[j][i];
        }
        for (int k = 1, last = order(h); k <= last; k++) {
            UNROLL for (int j = 0; j < NX; j++) {
                z[j] = forward && G::AFFINE[j] && k == 1 ? h * b[j] : 0;
                UNROLL for (int i = 0; i < NX; i++)
                    if (used(j, i)) z[j] += step[j][i] * y[i];
            }
            UNROLL for (int j = 0; j < NX; j++) y[j] = z[j], x[j] += factor.inverse[k] * y[j];
        }
    }
};

// c + a x of one state or of lanes of them; `USED` says which of a are not zero.
template <class G> struct Functional {
    static constexpr int NX = G::NX;
    double a[NX] = {}, c = 0;

    template <class X> X operator()(const X* x, const bool (&used)[NX]) const {
        X sum = X{} + c;
        UNROLL for (int j = 0; j < NX; j++)
            if (used[j]) sum += a[j] * x[j];
        return sum;
    }
    Functional rate(const LinearFlow<G>& f) const {
        Functional d;
        for (int j = 0; j < NX; j++) {
            d.c += a[j] * f.b[j];
            for (int k = 0; k < NX; k++) d.a[k] += a[j] * f.A[j][k];
        }
        return d;
    }
};
