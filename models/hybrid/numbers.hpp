// The embedded Runge-Kutta method (its numbers are compiled in, see engine.py) and functions of expressions.
#pragma once
#include <cmath>

#include "native/support.hpp"

static inline double exprel(double x) { return x != 0 ? std::expm1(x) / x : 1.0; }
static inline double exprel_slope(double x) {
    if (std::fabs(x) >= 0.5) return ((x - 1) * std::exp(x) + 1) / (x * x);
    double term = 1, sum = 0;  // the difference cancels here; its series does not
    for (int k = 0; k < 16; k++) {
        sum += term / (k + 2);
        term *= x / (k + 1);
    }
    return sum;
}
static inline double sign(double x) { return x > 0 ? 1.0 : (x < 0 ? -1.0 : 0.0); }
