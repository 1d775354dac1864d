// Counter-based random numbers: a number is a hash of what it is used for, so any of them can be asked for again. This
// header is C++11, as Brian 2's projects are, which include it too.
#pragma once
#include <cstdint>

static const uint64_t GOLDEN = 0x9E3779B97F4A7C15ull;

enum Purpose { KEY = 0, REFRACTORY_DROPOUT = 1, SPIKE_DROPOUT = 2, INPUT_DROPOUT = 3, PICK = 4, PURPOSES = 8 };

static inline uint64_t mix(uint64_t z) {  // finalizer of splitmix64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}
static inline uint64_t stream_of(uint64_t seed, uint64_t sample, uint64_t timestep) {
    return mix(mix(mix(seed + GOLDEN) + GOLDEN * (sample + 1)) + GOLDEN * (timestep + 1));
}
static inline uint64_t field_of(uint64_t stream, uint64_t step, Purpose purpose) {
    return mix(stream + GOLDEN * (PURPOSES * step + purpose + 1));
}
static inline uint64_t bits_of(uint64_t field, uint64_t index) { return mix(field + GOLDEN * (index + 1)); }
static inline double uniform(uint64_t field, uint64_t index) { return double(bits_of(field, index) >> 11) / 9007199254740992.0; }
// Uniform on 0 .. n-1; the bias, n / 2^64, is beyond measurement.
static inline uint64_t below(uint64_t bits, uint64_t n) { return (uint64_t)(((unsigned __int128)bits * n) >> 64); }
