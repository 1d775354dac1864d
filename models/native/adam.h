// One update of Adam in plain C: the compiler and Python (cffi) read this text.
#pragma once
#include "native/support.hpp"

void adam(int64_t n, R* value, R* first, R* second, const R* gradient, double rate, double beta1, double beta2, double epsilon);
