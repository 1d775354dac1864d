// One update of Adam, in one pass over what it reads and writes.
#pragma once
#include "native/support.hpp"
extern "C" {
#include "native/adam.h"
}

void adam(int64_t n, R* RESTRICT value, R* RESTRICT first, R* RESTRICT second, const R* RESTRICT gradient, double rate,
          double beta1, double beta2, double epsilon) {
    const R step = (R)rate, new1 = (R)(1 - beta1), new2 = (R)(1 - beta2), least = (R)epsilon;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        first[i] += (gradient[i] - first[i]) * new1;
        second[i] += (gradient[i] * gradient[i] - second[i]) * new2;
        value[i] -= step * first[i] / (std::sqrt(second[i]) + least);
    }
}
