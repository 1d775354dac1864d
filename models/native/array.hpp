// Arrays on huge pages, and lists whose greatest length is known.
#pragma once
#include <cstdlib>
#include <memory>
#ifdef __linux__
#include <sys/mman.h>
#endif
#if defined(__AVX512F__)
#include <immintrin.h>
#endif
#include "native/support.hpp"

// An array of fixed size. Large ones lie on huge pages: state and rows are met in random order, and with small pages
// every visit of a large network would walk the page table first.
template <class T> class Array {
    static constexpr size_t HUGE_PAGE = (size_t)1 << 21, LARGE = HUGE_PAGE / 4;
    std::unique_ptr<T, void (*)(void*)> owner{nullptr, std::free};
    int64_t n = 0;

  public:
    void assign(int64_t size, const T& value) {
        const size_t needed = (size_t)size * sizeof(T);
        const size_t align = needed >= LARGE ? HUGE_PAGE : alignof(T) > 128 ? alignof(T) : 128;
        const size_t bytes = (needed / align + 1) * align;
        void* memory = std::aligned_alloc(align, bytes);
        if (!memory) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
        if (align == HUGE_PAGE) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
        owner.reset(static_cast<T*>(memory));
        n = size;
        fill(value);
    }
    void fill(const T& value) { std::uninitialized_fill_n(owner.get(), n, value); }
    int64_t size() const { return n; }
    T* data() { return owner.get(); }
    const T* data() const { return owner.get(); }
    T& operator[](int64_t i) { return owner.get()[i]; }
    const T& operator[](int64_t i) const { return owner.get()[i]; }
};

// A list whose greatest length is known.
struct List {
    std::vector<int32_t> items;
    size_t count = 0;
    void reserve(size_t n) { items.resize(n + 16); }  // room for what `push_bits` writes beyond the end
    void push(int32_t item) { items[count++] = item; }
    // first + i for every bit i that is set; without a branch where the processor can, as none foresees them.
    void push_bits(int32_t first, uint16_t bits) {
#if defined(__AVX512F__)
        const __m512i all = _mm512_add_epi32(_mm512_set1_epi32(first), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
        _mm512_storeu_si512(items.data() + count, _mm512_maskz_compress_epi32(bits, all));
        count += (size_t)__builtin_popcount(bits);
#else
        for (; bits; bits &= (uint16_t)(bits - 1)) push(first + __builtin_ctz(bits));
#endif
    }
    void clear() { count = 0; }
    size_t size() const { return count; }
    int32_t* begin() { return items.data(); }
    int32_t* end() { return items.data() + count; }
    const int32_t* begin() const { return items.data(); }
    const int32_t* end() const { return items.data() + count; }
};
