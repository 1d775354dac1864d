// Convolution, sparse in events: a spike adds its rows of the kernel to the places that they meet, and the kernel's
// gradient takes the same rows back. Errors are sent down densely, as a product for every place and tap.
#pragma once
#include "gamma/spans.hpp"

// Events of one place lie side by side: a run of them meets the same targets, which stay in registers.
template <int NV>
static void patch_span(const Connection& c, const Blocks& shape, const EventView& in, int t0, int t1, R scale, V* rows,
                       const V* weights, V* grad) {
    const int vectors = shape.per_place * NV, ld = shape.ld();
    for (int t = t0; t < t1; t++)
        for (int64_t e = in.ptr[t], end = in.ptr[t + 1], next; e < end; e = next) {
            const int place = in.units[e] / c.depth, first = place * c.depth;
            for (next = e + 1; next < end && (uint32_t)(in.units[next] - first) < (uint32_t)c.depth;) next++;
            for (int j = c.ptr[place]; j < c.ptr[place + 1]; j++)
                for (int b = 0; b < shape.per_place; b++) {
                    V* RESTRICT at = rows + (size_t)(t - t0) * ld + (size_t)c.targets[j] * vectors + b * NV;
                    const int64_t row = (int64_t)b * c.n_rows + (int64_t)c.taps[j] * c.depth - first;  // of unit 0
                    V held[NV];
                    UNROLL for (int i = 0; i < NV; i++) held[i] = at[i];
                    for (int64_t k = e; k < next; k++) {
                        const R amount = scale * in.amounts[k];
                        const int64_t begin = (row + in.units[k]) * NV;
                        if (grad) UNROLL for (int i = 0; i < NV; i++) grad[begin + i] += amount * held[i];
                        else UNROLL for (int i = 0; i < NV; i++) held[i] += amount * weights[begin + i];
                    }
                    if (!grad) UNROLL for (int i = 0; i < NV; i++) at[i] = held[i];
                }
        }
}

// Steps t0 .. t1 of the events: with `grad` its rows take from `rows`, else `rows` from the weights.
static inline void run_patches(const Connection& c, const Blocks& shape, const EventView& in, int t0, int t1, R scale,
                               V* rows, const V* weights, V* grad) {
    const auto run = shape.nv == 1 ? patch_span<1> : shape.nv == 2 ? patch_span<2> : patch_span<4>;
    run(c, shape, in, t0, t1, scale, rows, weights, grad);
}

// -- errors -----------------------------------------------------------------------------------------------------------

// Vectors of a place of the cells, as the source's rows have them, and how many of them a panel of `multiply` takes.
struct CellRow {
    int vectors, n_panel, ld;
    CellRow(const Connection& c, const Blocks& source) {
        vectors = source.places == 1 ? source.ld() : source.per_place * source.nv;
        n_panel = vectors % 2 ? 1 : 2;
        ld = c.cells ? c.n_places * vectors : source.ld();
    }
};

static inline void pack_errors(std::vector<V>& out, const Connection& c, const Blocks& source, const R* weights, int n) {
    const CellRow cells(c, source);
    const int n_taps = c.n_rows / c.depth;
    const size_t size = (size_t)cells.vectors * n;
    out.assign(n_taps * size, V{});
    for (int tap = 0; tap < n_taps; tap++)
        pack_panels(out.data() + tap * size, weights + (size_t)tap * c.depth * n, c.depth, n, cells.n_panel);
}

// rows of cells (= or +=, `add`) from rows of errors of the layer, through one weight.
static inline void errors_of_cells(const Connection& c, const Blocks& source, const Blocks& shape, const V* panels,
                                   int steps, const V* error, V* out, bool add) {
    const CellRow cells(c, source);
    const auto product = cells.n_panel == 1 ? multiply<1> : multiply<2>;
    const int n = shape.channels, vectors = shape.per_place * shape.nv;
    for (int place = 0; place < c.n_places; place++) {
        V* at = out + (size_t)place * cells.vectors;
        const int begin = c.ptr ? c.ptr[place] : place, end = c.ptr ? c.ptr[place + 1] : place + 1;
        for (int j = begin; j < end; j++) {
            const int tap = c.ptr ? c.taps[j] : j, target = c.ptr ? c.targets[j] : 0;
            product(at, error + (size_t)target * vectors, panels + (size_t)tap * cells.vectors * n, steps, n,
                    cells.vectors / cells.n_panel, shape.ld(), cells.ld, add || j > begin);
        }
        if (begin == end && !add)
            for (int t = 0; t < steps; t++) std::fill_n(at + (size_t)t * cells.ld, cells.vectors, V{});
    }
}

// rows of the source's neurons (= or +=, `add`) from rows of the cells that they act from.
static inline void errors_of_units(const Connection& c, const Blocks& source, int steps, const V* cell_rows, V* out, bool add) {
    const CellRow cells(c, source);
    for (int t = 0; t < steps; t++)
        for (int place = 0; place < source.places; place++) {
            const int unit = place * source.channels, cell = c.cells ? c.cells[unit] : unit;
            V* to = out + (size_t)t * source.ld() + (size_t)place * cells.vectors;
            const V* from = cell_rows + (size_t)t * cells.ld + (size_t)(cell / c.depth) * cells.vectors;
            for (int i = 0; i < cells.vectors; i++) to[i] = (add ? to[i] : V{}) + (cell >= 0 ? from[i] : V{});
        }
}
