"""The least that an event-driven gradient must do, as a bare C++ loop: add the rows of the weights that events select,
add to the rows of their gradients, and multiply the errors by the weights. No neurons, no memory, no loss."""

from __future__ import annotations

import ctypes

import numpy as np

from brian2grad.models.native.build import compile_library

SOURCE = """
#include "native/lanes.hpp"
struct Given { const int64_t* ptr; const int32_t* units; const R* amounts; };
template <int NV>
static void rows_of(const Blocks& p, V* weights, V* grads, const Given& in, int n_pre, int T, bool gradient, V* state) {
    for (int b = 0; b < p.count(); b++) {
        V *sum = state + (size_t)b * NV, *rows = weights + (size_t)b * n_pre * NV;
        V* out = grads + (size_t)b * n_pre * NV;
        for (int t = 0; t < T; t++) gather<NV>(sum, rows, in, t, R(1));
        for (int t = T - 1; gradient && t >= 0; t--) scatter<NV>(out, sum, in, t, R(1));
    }
}
extern "C" void run(int n_layers, const int32_t* sizes, const int64_t* const* ptr, const int32_t* const* units,
                    const R* const* values, int B, int T, int threads, int gradient) {
    #pragma omp parallel num_threads(std::min(threads, B))
    {
        static thread_local std::vector<std::vector<V>> weights, grads, panels;
        static thread_local std::vector<V> state, error, below;
        std::vector<Blocks> packed(n_layers);
        weights.resize(n_layers); grads.resize(n_layers); panels.resize(n_layers);
        for (int l = 0; l < n_layers; l++) {
            packed[l] = Blocks(sizes[l + 1], sizes[l + 1] <= LANES ? 1 : sizes[l + 1] <= 2 * LANES ? 2 : 4, 1);
            weights[l].resize(sizes[l] * packed[l].vectors());
            grads[l].resize(weights[l].size());
            if (l) panels[l].resize((size_t)packed[l - 1].ld() * sizes[l + 1]);
        }
        state.resize(64); error.resize(64 * 64); below.resize(64 * 64);
        #pragma omp for schedule(dynamic, 1)
        for (int s = 0; s < B; s++)
            for (int l = 0; l < n_layers; l++) {
                const Blocks& p = packed[l];
                const Given in = {ptr[l] + (size_t)s * T, units[l], values[l]};
                auto* rows = p.nv == 1 ? rows_of<1> : p.nv == 2 ? rows_of<2> : rows_of<4>;
                rows(p, weights[l].data(), grads[l].data(), in, sizes[l], T, gradient, state.data());
                for (int t = 0; l && gradient && t < T; t += 64)
                    multiply<2>(below.data(), error.data(), panels[l].data(), std::min(64, T - t), sizes[l + 1],
                             packed[l - 1].ld() / 2, p.ld(), packed[l - 1].ld(), false);
            }
    }
}
"""


class Floor:
    """Runs the bare loop over the events that a network's layers receive.

    Parameters
    ----------
    network : SpikingGammaNetwork
        At most 1024 neurons a layer.
    events : StepEvents
    """

    def __init__(self, network, events):
        self._library = compile_library(SOURCE, "float32")
        B, T = events.n_samples, events.n_steps
        self.shape = B, T
        self.sizes = np.array(network.sizes, np.int32)
        self.ptr, self.units = [np.asarray(events.ptr, np.int64)], [events.units.astype(np.int32)]
        recorded = network.forward(events, record=True).recorded
        for layer in range(len(network.sizes) - 2):
            steps = np.concatenate([T * s + recorded[s][layer][0] for s in range(B)])
            self.ptr.append(np.concatenate([[0], np.cumsum(np.bincount(steps, minlength=B * T))]).astype(np.int64))
            self.units.append(np.concatenate([recorded[s][layer][1] for s in range(B)]).astype(np.int32))
        self.values = [np.ones(len(u), np.float32) for u in self.units]

    def _table(self, arrays):
        return (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])

    def run(self, threads: int, gradient: bool) -> None:
        """Pass over the batch once."""
        tables = [self._table(a) for a in (self.ptr, self.units, self.values)]
        sizes = ctypes.c_void_p(self.sizes.ctypes.data)
        self._library.run(len(self.sizes) - 1, sizes, *tables, *self.shape, threads, int(gradient))
