"""A connectivity as compiled code reads it, packed once for runs and gradients."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ..native.interface import Arrays, interface

HEADER = "asynchronous/arguments.h"
TILE = 16  # as in the header
LINE = 64  # bytes


class PackedConnectivity:
    """Tables of projections and of the ranges of sources that have them; see ``asynchronous/arguments.h``.

    Parameters
    ----------
    connectivity : Connectivity
        Its weights are constant: others make another connectivity.
    dtype : numpy.dtype

    Attributes
    ----------
    fields : dict
        Fields of ``Network``.
    layer : (n_sources,) array of int32
    n_weights : int
        Gradients of all projections, in their order.
    """

    def __init__(self, connectivity, dtype):
        self._ffi = interface(HEADER, np.dtype(dtype).name)
        self._arrays = Arrays(self._ffi, dtype)
        self.layer, fanout = connectivity.layer_of(), np.zeros(connectivity.n_inputs + connectivity.n_neurons, np.int64)
        sizes = [p.weights.nnz if sparse.issparse(p.weights) else p.weights.size for p in connectivity.projections]
        offsets = np.cumsum([0, *sizes])
        ranges, projections = [], []
        for index, (first, size) in enumerate(zip(connectivity.starts, connectivity.sizes, strict=True)):
            begin = len(projections)
            for k, p in enumerate(connectivity.projections):
                if p.source != index:
                    continue
                target = int(connectivity.starts[p.target]) - connectivity.n_inputs
                fields = {"first": target, "width": p.weights.shape[1], "offset": int(offsets[k])}
                if sparse.issparse(p.weights):
                    fields |= self._sparse(p.weights, target)
                else:
                    fields |= self._dense(p.weights, target)
                    fanout[first : first + size] += np.count_nonzero(p.weights, axis=1)
                projections.append(fields)
            own = fanout[first : first + size]
            ranges.append((int(first), size, begin, len(projections), int(own[0]) if (own == own[0]).all() else -1))
        self.n_weights = int(offsets[-1])
        self.fields = {
            "n_inputs": connectivity.n_inputs,
            "n_neurons": connectivity.n_neurons,
            "n_outputs": connectivity.n_outputs,
            "n_ranges": len(ranges),
            "layer": self._arrays.input("layer", self.layer, np.int32),
            "fanout": self._arrays.input("fanout", fanout, np.int64),
            "ranges": self._arrays.keep(self._ffi.new("SourceRange[]", ranges)),
            "projections": self._arrays.keep(self._ffi.new("Projection[]", projections)),
        }

    def _sparse(self, w, target: int) -> dict:
        return {
            "ptr": self._arrays.offsets("indptr", w.indptr, w.shape[0], w.nnz),
            "targets": self._arrays.input("indices", w.indices + np.int32(target), np.int32),
            "weights": self._arrays.input("weights", w.data),
        }

    def _dense(self, weights, target: int) -> dict:
        """Rows of whole tiles, with zeros for what else lies in them; they start at cache lines."""
        dtype, (n_pre, width) = self._arrays.dtype, weights.shape
        before = target % TILE
        stride = before + width + (-(before + width)) % TILE
        if stride != width or weights.dtype != dtype:
            rows = np.zeros((n_pre, stride), dtype)
            rows[:, before : before + width] = weights
            weights = at_cache_line(rows)
        return {"first_tile": target // TILE, "stride": stride, "dense": self._arrays.output(weights)}


def at_cache_line(array: np.ndarray) -> np.ndarray:
    """A copy of an array whose rows lie one after the other, from the beginning of a cache line on."""
    memory = np.empty(array.size + LINE // array.itemsize, array.dtype)
    begin = -memory.ctypes.data % LINE // array.itemsize
    copy = memory[begin : begin + array.size].reshape(array.shape)
    copy[...] = array
    return copy
