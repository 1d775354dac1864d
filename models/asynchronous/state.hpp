// Where the state of one sample lies: tiles of neighbouring neurons, rows summed in registers.
#pragma once
#include "native/array.hpp"
#include "native/lanes.hpp"
extern "C" {
#include "asynchronous/arguments.h"
}

constexpr int PARTS = TILE / LANES;  // vectors in a tile

struct alignas(2 * TILE * sizeof(R)) Tile {
    R membrane[TILE], current[TILE];
};
// Apart from the tiles: the marks of a million neurons stay in the second-level cache.
struct Mark {
    int32_t epoch;     // timestep whose leak has been applied, counted over what this worker ran
    uint32_t resting;  // bits of neurons that have spiked in that timestep
};
static_assert(TILE <= 32 && TILE % LANES == 0, "a tile is whole vectors, and a bit per neuron");

// Bit per lane of a tile: whether `holds` of it.
template <uint64_t (*holds)(V)> static inline uint32_t bits_where(const R* tile) {
    uint32_t bits = 0;
    UNROLL for (int part = 0; part < PARTS; part++)
        bits |= (uint32_t)holds(*(const V*)(tile + part * LANES)) << (part * LANES);
    return bits;
}

// sum += factor * row, row after row, for N tiles that lie in registers meanwhile.
template <int N>
static inline void sum_rows(V* sum, const R* rows, int64_t width, const int32_t* sources, const R* factor, int64_t count) {
    V held[N * PARTS];
    UNROLL for (int i = 0; i < N * PARTS; i++) held[i] = sum[i];
    for (int64_t e = 0; e < count; e++) {
        const R* row = rows + sources[e] * width;
        const R f = factor[e];
        UNROLL for (int i = 0; i < N * PARTS; i++) held[i] += f * *(const Unaligned*)(row + i * LANES);
    }
    UNROLL for (int i = 0; i < N * PARTS; i++) sum[i] = held[i];
}

// The membranes of a tile after some timesteps without current.
class Leak {
    enum { EXACT = 16, KEPT = 512 };
    const R* factors = nullptr;
    int64_t step = 0;
    std::vector<R> powers;  // of the factor that all neurons share

    // Four at a time, by one where there is nothing to do: how many there are is hard to predict.
    static void multiply(R* v, const R* leak, int64_t times) {
        UNROLL for (int part = 0; part < PARTS; part++) {
            const V choice[] = {V{} + R(1), *(const Unaligned*)(leak + part * LANES)};
            V held = *(const V*)(v + part * LANES);
            for (int64_t k = 0; k < times; k += 4)
                UNROLL for (int more = 0; more < 4; more++) held *= choice[k + more < times];
            *(V*)(v + part * LANES) = held;
        }
    }

  public:
    // The length of a timestep may have changed.
    void refresh(const R* leak, int64_t leak_step) {
        factors = leak;
        step = leak_step;
        if (step || (powers.size() && powers[1] == factors[0])) return;
        powers.resize(KEPT);
        for (int k = 0; k < KEPT; k++) powers[(size_t)k] = (R)std::pow((double)factors[0], k);
    }
    void apply(R* v, int64_t tile, int64_t elapsed) const {
        const R* leak = factors + tile * TILE * step;
        if (elapsed <= EXACT) return multiply(v, leak, elapsed);  // term for term what a dense simulation does
        if (!step && elapsed < KEPT) {
            for (int lane = 0; lane < TILE; lane += LANES) *(V*)(v + lane) *= powers[(size_t)elapsed];
            return;
        }
        for (int lane = 0; lane < TILE; lane++) v[lane] *= (R)std::pow((double)leak[lane], (double)elapsed);
    }
};
