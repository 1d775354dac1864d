// Lanes: neighbouring neurons computed together in one vector register, and the row and matrix kernels made of them.
#pragma once
#include "native/support.hpp"
#if defined(__AVX__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANE_BYTES 64
#else
#define LANE_BYTES 32
#endif
constexpr int LANES = LANE_BYTES / sizeof(R);
typedef R V __attribute__((vector_size(LANE_BYTES)));
typedef R Unaligned __attribute__((vector_size(LANE_BYTES), aligned(sizeof(R)), may_alias));
#define UNROLL _Pragma("GCC unroll 16")

// -- what generated expressions may call ------------------------------------------------------------------------------

static inline V lanes(V x) { return x; }
static inline V lanes(R x) { return V{} + x; }
static inline V lanes(int x) { return V{} + R(x); }
static inline V Gate(V x) { return x > V{} ? V{} + R(1) : V{}; }
static inline V sign(V x) { return Gate(x) - Gate(-x); }
static inline V abs(V x) { return x < V{} ? -x : x; }
static inline V clip(V x, V lo, V hi) { x = x < lo ? lo : x; return x > hi ? hi : x; }
#define LANEWISE(name)                                              \
    static inline V name(V x) {                                     \
        for (int i = 0; i < LANES; i++) x[i] = std::name(x[i]);     \
        return x;                                                   \
    }
LANEWISE(exp) LANEWISE(expm1) LANEWISE(log) LANEWISE(log1p) LANEWISE(sqrt) LANEWISE(sin) LANEWISE(cos) LANEWISE(tanh)
LANEWISE(ceil) LANEWISE(floor)
#undef LANEWISE
template <class B> static inline V _brian_pow(V x, B y) {
    const V power = lanes(y);
    for (int i = 0; i < LANES; i++) x[i] = std::pow(x[i], power[i]);
    return x;
}

// Bit i: lane i is above zero, or is not zero.
#if defined(__AVX512F__)
#define WHERE(how) (sizeof(R) == 4 ? (uint64_t)_mm512_cmp_ps_mask((__m512)x, _mm512_setzero_ps(), how) \
                                   : (uint64_t)_mm512_cmp_pd_mask((__m512d)x, _mm512_setzero_pd(), how))
#elif defined(__AVX__)
#define WHERE(how) (uint64_t)(sizeof(R) == 4 ? _mm256_movemask_ps(_mm256_cmp_ps((__m256)x, _mm256_setzero_ps(), how)) \
                                             : _mm256_movemask_pd(_mm256_cmp_pd((__m256d)x, _mm256_setzero_pd(), how)))
#else
enum { _CMP_GT_OQ, _CMP_NEQ_OQ };
static inline uint64_t where(V x, int how) {
    uint64_t bits = 0;
    for (int i = 0; i < LANES; i++) bits |= (uint64_t)(x[i] > R(0) || (how && x[i] < R(0))) << i;
    return bits;
}
#define WHERE(how) where(x, how)
#endif
static inline uint64_t positive(V x) { return WHERE(_CMP_GT_OQ); }
static inline uint64_t nonzero(V x) { return WHERE(_CMP_NEQ_OQ); }

// How many of the ascending numbers lie in first .. first + 15, and their bits; without a branch where the processor can.
static inline int64_t numbers_within(const int32_t* numbers, int64_t count, int32_t first, uint64_t& bits) {
    int64_t n = 0;
    bits = 0;
#if defined(__AVX512F__)
    const __mmask16 there = (__mmask16)((1u << std::min<int64_t>(count, 16)) - 1);
    const __m512i at = _mm512_sub_epi32(_mm512_maskz_loadu_epi32(there, numbers), _mm512_set1_epi32(first));
    const __mmask16 within = _mm512_mask_cmplt_epu32_mask(there, at, _mm512_set1_epi32(16));
    bits = (uint32_t)_mm512_mask_reduce_or_epi32(within, _mm512_sllv_epi32(_mm512_set1_epi32(1), at));
    n = __builtin_popcount(within);
#else
    for (; n < count && (uint32_t)(numbers[n] - first) < 16; n++) bits |= (uint64_t)1 << (numbers[n] - first);
#endif
    return n;
}

// The next numbers for those of N places whose bit is set, zeros for the others.
template <int N> static inline void expand(R* to, const R* numbers, uint64_t bits) {
#if defined(__AVX512F__)
    for (int at = 0; at < N; at += LANES, bits >>= LANES) {
        *(V*)(to + at) = sizeof(R) == 4 ? (V)_mm512_maskz_expandloadu_ps((__mmask16)bits, numbers)
                                        : (V)_mm512_maskz_expandloadu_pd((__mmask8)bits, numbers);
        numbers += __builtin_popcountll(bits & (((uint64_t)1 << LANES) - 1));
    }
#else
    for (int at = 0; at < N; at++) to[at] = bits >> at & 1 ? *numbers++ : R(0);
#endif
}
// The numbers of N places whose bit is set, one after the other; writes beyond them.
template <int N> static inline void compress(R* to, const R* numbers, uint64_t bits) {
#if defined(__AVX512F__)
    for (int at = 0; at < N; at += LANES, bits >>= LANES) {
        if (sizeof(R) == 4) _mm512_storeu_ps(to, _mm512_maskz_compress_ps((__mmask16)bits, _mm512_load_ps(numbers + at)));
        else _mm512_storeu_pd(to, _mm512_maskz_compress_pd((__mmask8)bits, _mm512_load_pd(numbers + at)));
        to += __builtin_popcountll(bits & (((uint64_t)1 << LANES) - 1));
    }
#else
    for (; bits; bits &= bits - 1) *to++ = numbers[__builtin_ctzll(bits)];
#endif
}

static inline R sum_of(V x) {
#if defined(__AVX512F__)
    return sizeof(R) == 4 ? (R)_mm512_reduce_add_ps((__m512)x) : (R)_mm512_reduce_add_pd((__m512d)x);
#else
    R sum = 0;
    for (int i = 0; i < LANES; i++) sum += x[i];
    return sum;
#endif
}

// exp for arguments <= 0: the library's in double precision; in single precision a polynomial (error below 2 ulp).
template <class X> static inline X exp_negative(X x) {
    if constexpr (sizeof(R) == 8) {
        return exp(x);
    } else {
        typedef int32_t I __attribute__((vector_size(LANE_BYTES)));
        const X lowest = lanes(R(-87)), magic = lanes(R(12582912.));  // 1.5 * 2^23: adding it rounds to an integer
        x = x > lowest ? x : lowest;
        const X n = (x * R(1.44269504088896341) + magic) - magic;
        const X r = (x - n * R(0.693359375)) - n * R(-2.12194440e-4);
        X p = lanes(R(1.9875691500e-4));
        p = p * r + R(1.3981999507e-3);
        p = p * r + R(8.3334519073e-3);
        p = p * r + R(4.1665795894e-2);
        p = p * r + R(1.6666665459e-1);
        p = p * r + R(5.0000001201e-1);
        p = p * r * r + r + R(1);
        return p * (X)((__builtin_convertvector(n, I) + 127) << 23);
    }
}

// -- layers packed into blocks of NV lanes-wide vectors -----------------------------------------------------------------

// A layer has places (pixels; one if it has no shape) with channels each. Every place begins a block of its own; missing
// neurons of its last block have zero weights and parameters.
struct Blocks {
    int nv = 1, per_place = 0, places = 1, channels = 0;

    Blocks() = default;
    Blocks(int n, int vectors_per_block, int n_places) : nv(vectors_per_block), places(n_places), channels(n / n_places) {
        per_place = (channels + width() - 1) / width();
    }
    int width() const { return nv * LANES; }
    int count() const { return per_place * places; }
    size_t vectors() const { return (size_t)count() * nv; }
    int ld() const { return (int)(vectors() + 1) / 2 * 2; }  // vectors in a row of signals (even)
    int first(int b) const { return b / per_place * channels + b % per_place * width(); }  // neuron of a block
    int size(int b) const { return std::min(width(), channels - b % per_place * width()); }  // neurons of a block
    Blocks one_place() const { return Blocks(channels, nv, 1); }
};

// [block][row][nv] from (n_rows, n) and back.
static inline void pack(std::vector<V>& out, const Blocks& p, const R* rows, int n_rows) {
    const int n = p.places * p.channels;
    out.assign(p.vectors() * n_rows, V{});
    for (int b = 0; b < p.count(); b++)
        for (int i = 0; i < n_rows; i++)
            std::memcpy((R*)(out.data() + ((size_t)b * n_rows + i) * p.nv), rows + (size_t)i * n + p.first(b), sizeof(R) * p.size(b));
}

// [N vectors over rows][column][N] from (n_rows, n): the right-hand side of `multiply`.
static inline void pack_panels(V* out, const R* rows, int n_rows, int n, int N) {
    for (int i = 0; i < n_rows; i++) {
        R* panel = (R*)(out + (size_t)(i / (N * LANES)) * n * N) + i % (N * LANES);
        for (int j = 0; j < n; j++) panel[(size_t)j * N * LANES] = rows[(size_t)i * n + j];
    }
}

// C (m, N*n_panels vectors) = A (m, k) B, or += with `add`; A and C have lda and ldc vectors in a row.
template <int M, int N>
static __attribute__((noinline)) void multiply_rows(V* C, const V* A, const V* panels, int k, int n_panels, int lda, int ldc, bool add) {
    const R* a[M];  // a pointer each: offsets would not fit the integer registers
    for (int r = 0; r < M; r++) a[r] = (const R*)(A + (size_t)r * lda);
    for (int p = 0; p < n_panels; p++) {
        const V* RESTRICT B = panels + (size_t)p * k * N;
        V c[M][N];
        UNROLL for (int r = 0; r < M; r++) UNROLL for (int i = 0; i < N; i++) c[r][i] = V{};
        for (int j = 0; j < k; j++) {
            V b[N];
            UNROLL for (int i = 0; i < N; i++) b[i] = B[N * j + i];
            UNROLL for (int r = 0; r < M; r++) UNROLL for (int i = 0; i < N; i++) c[r][i] += a[r][j] * b[i];
        }
        UNROLL for (int r = 0; r < M; r++) {
            V* out = C + (size_t)r * ldc + N * p;
            UNROLL for (int i = 0; i < N; i++) out[i] = add ? out[i] + c[r][i] : c[r][i];
        }
    }
}
template <int N>
static inline void multiply(V* C, const V* A, const V* panels, int m, int k, int n_panels, int lda, int ldc, bool add) {
#if defined(__AVX512F__)
    constexpr int M = 8;
#else
    constexpr int M = 4;
#endif
    int r = 0;
    for (; r + M <= m; r += M) multiply_rows<M, N>(C + (size_t)r * ldc, A + (size_t)r * lda, panels, k, n_panels, lda, ldc, add);
    for (; r + 2 <= m; r += 2) multiply_rows<2, N>(C + (size_t)r * ldc, A + (size_t)r * lda, panels, k, n_panels, lda, ldc, add);
    for (; r < m; r++) multiply_rows<1, N>(C + (size_t)r * ldc, A + (size_t)r * lda, panels, k, n_panels, lda, ldc, add);
}

// target[i] += amount * rows[unit][i] in the order of the events of step t (the order in which Brian 2 applies them).
template <int NV, class Events>
static inline void gather(V* target, const V* RESTRICT rows, const Events& in, int t, R scale) {
    V sum[NV];
    UNROLL for (int i = 0; i < NV; i++) sum[i] = target[i];
    for (int64_t e = in.ptr[t], end = in.ptr[t + 1]; e < end; e++) {
        const V* RESTRICT row = rows + (int64_t)in.units[e] * NV;
        const R v = scale * in.amounts[e];
        UNROLL for (int i = 0; i < NV; i++) sum[i] += v * row[i];
    }
    UNROLL for (int i = 0; i < NV; i++) target[i] = sum[i];
}

// rows[unit][i] += amount * source[i] for every event of step t.
template <int NV, class Events>
static inline void scatter(V* RESTRICT rows, const V* source, const Events& in, int t, R scale) {
    for (int64_t e = in.ptr[t], end = in.ptr[t + 1]; e < end; e++) {
        V* RESTRICT row = rows + (int64_t)in.units[e] * NV;
        const R v = scale * in.amounts[e];
        UNROLL for (int i = 0; i < NV; i++) row[i] += v * source[i];
    }
}
