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
