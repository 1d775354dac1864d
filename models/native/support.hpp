// Hand-written helpers shared by all generated engines: expression functions, event lists, rows and one matrix product.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>
#include <omp.h>

typedef REAL R;
#define RESTRICT __restrict__

static inline R Gate(R x) { return x > R(0) ? R(1) : R(0); }
template <class A, class B> static inline R _brian_pow(A x, B y) { return std::pow(R(x), R(y)); }
static inline R clip(R x, R lo, R hi) { return x < lo ? lo : (x > hi ? hi : x); }

// How a call of the library ended; no C++ exception leaves it, nor a thread of it.
enum { OUT_OF_MEMORY = 1, FAILED = 2 };
template <class F> int guarded(F f) {
    try { f(); return 0; } catch (const std::bad_alloc&) { return OUT_OF_MEMORY; } catch (...) { return FAILED; }
}

// target += sum of value * row, in the order of the events (the order in which Brian 2 applies them).
static inline void add_rows(R* RESTRICT target, const R* RESTRICT rows, int n, const int32_t* units, const R* values,
                            int64_t begin, int64_t end, R scale) {
    int64_t e = begin;
    for (; e + 4 <= end; e += 4) {  // four rows a pass: the target is read and written once
        const R* RESTRICT r0 = rows + (int64_t)units[e] * n;
        const R* RESTRICT r1 = rows + (int64_t)units[e + 1] * n;
        const R* RESTRICT r2 = rows + (int64_t)units[e + 2] * n;
        const R* RESTRICT r3 = rows + (int64_t)units[e + 3] * n;
        const R v0 = scale * values[e], v1 = scale * values[e + 1], v2 = scale * values[e + 2], v3 = scale * values[e + 3];
        for (int j = 0; j < n; j++) target[j] = (((target[j] + v0 * r0[j]) + v1 * r1[j]) + v2 * r2[j]) + v3 * r3[j];
    }
    for (; e < end; e++) {
        const R* RESTRICT row = rows + (int64_t)units[e] * n;
        const R v = scale * values[e];
        for (int j = 0; j < n; j++) target[j] += v * row[j];
    }
}

// rows[unit] += value * source for every event.
static inline void scatter_rows(R* RESTRICT rows, const R* RESTRICT source, int n, const int32_t* units, const R* values,
                                int64_t begin, int64_t end, R scale) {
    for (int64_t e = begin; e < end; e++) {
        R* RESTRICT row = rows + (int64_t)units[e] * n;
        const R v = scale * values[e];
        for (int j = 0; j < n; j++) row[j] += v * source[j];
    }
}

static inline R dot(const R* RESTRICT a, const R* RESTRICT b, int n) {
    R sum = 0;
    for (int j = 0; j < n; j++) sum += a[j] * b[j];
    return sum;
}

// C (m, n) += A (m, k) B (k, n), row-major; leading dimensions lda, n, n. Register blocks of 4 x 16.
static inline void multiply_add(R* RESTRICT C, const R* RESTRICT A, const R* RESTRICT B, int m, int k, int n, int lda) {
    constexpr int MB = 4, NB = 64 / sizeof(R);
    for (int i0 = 0; i0 < n; i0 += NB) {
        const int nb = std::min(NB, n - i0);
        for (int t0 = 0; t0 < m; t0 += MB) {
            const int mb = std::min(MB, m - t0);
            if (nb == NB && mb == MB) {
                R acc[MB][NB] = {};
                for (int j = 0; j < k; j++) {
                    const R* RESTRICT b = B + (int64_t)j * n + i0;
                    for (int r = 0; r < MB; r++) {
                        const R a = A[(int64_t)(t0 + r) * lda + j];
                        for (int i = 0; i < NB; i++) acc[r][i] += a * b[i];
                    }
                }
                for (int r = 0; r < MB; r++)
                    for (int i = 0; i < NB; i++) C[(int64_t)(t0 + r) * n + i0 + i] += acc[r][i];
            } else {
                for (int r = 0; r < mb; r++)
                    for (int j = 0; j < k; j++) {
                        const R a = A[(int64_t)(t0 + r) * lda + j];
                        for (int i = 0; i < nb; i++) C[(int64_t)(t0 + r) * n + i0 + i] += a * B[(int64_t)j * n + i0 + i];
                    }
            }
        }
    }
}
