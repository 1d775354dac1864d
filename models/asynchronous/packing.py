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
    places : list of (bool, slice)
        Where the gradient of every projection lies: among those of the input's dense weights, or the others.
    n_weights, n_input_weights : int
        Other weights, and the input's dense ones.
    """

    def __init__(self, connectivity, dtype):
        self._ffi = interface(HEADER, np.dtype(dtype).name)
        self._arrays = Arrays(self._ffi, dtype)
        self.layer, fanout = connectivity.layer_of(), np.zeros(connectivity.n_inputs + connectivity.n_neurons, np.int64)
        self.n_weights, self.n_input_weights, self.places = 0, 0, []
        for p in connectivity.projections:
            dense = not sparse.issparse(p.weights)
            size, of_input = p.weights.size if dense else p.weights.nnz, dense and p.source == 0
            begin = self.n_input_weights if of_input else self.n_weights
            self.places.append((of_input, slice(begin, begin + size)))
            self.n_input_weights += size * of_input
            self.n_weights += size * (not of_input)
        ranges, projections = [], []
        for index, (first, size) in enumerate(zip(connectivity.starts, connectivity.sizes, strict=True)):
            begin = len(projections)
            for k, p in enumerate(connectivity.projections):
                if p.source != index:
                    continue
                target = int(connectivity.starts[p.target]) - connectivity.n_inputs
                fields = {"first": target, "width": p.weights.shape[1], "offset": self.places[k][1].start}
                if sparse.issparse(p.weights):
                    fields |= self._sparse(p.weights, target)
                else:
                    fields |= self._dense(p.weights, target)
                    fanout[first : first + size] += _nonzero(p.weights)
                projections.append(fields)
            own = fanout[first : first + size]
            ranges.append((int(first), size, begin, len(projections), int(own[0]) if (own == own[0]).all() else -1))
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


class Kept:
    """What was made of some numbers, until one of them changes."""

    def __init__(self):
        self._kept: tuple = (None, None)

    def of(self, numbers, make):
        """``make()``, or what it made when the numbers were the same."""
        values = [np.asarray(number, dtype=float) for number in numbers]
        known = [part for value in values for part in (value.shape, value.tobytes())]
        before, made = self._kept  # at once, as other threads may come by
        if known != before:
            made = make()
            self._kept = known, made
        return made


def _nonzero(w: np.ndarray):
    """Weights that are not zero in every row; of most matrices all."""
    here = w != 0
    return w.shape[1] if here.all() else np.count_nonzero(here, axis=1)


def at_cache_line(array: np.ndarray) -> np.ndarray:
    """A copy of an array whose rows lie one after the other, from the beginning of a cache line on."""
    memory = np.empty(array.size + LINE // array.itemsize, array.dtype)
    begin = -memory.ctypes.data % LINE // array.itemsize
    copy = memory[begin : begin + array.size].reshape(array.shape)
    copy[...] = array
    return copy
