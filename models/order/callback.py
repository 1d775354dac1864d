"""Schedulers written in Python, called by the engine at every forward step."""

from __future__ import annotations

import ctypes

import numpy as np

from ..errors import NetworkError
from .keys import QueueView

_int, _pointer = ctypes.c_int64, ctypes.c_void_p
_SIGNATURE = ctypes.CFUNCTYPE(_int, *[_int] * 6, *[_pointer] * 6)


class SelectCallback:
    """Passes the queue to `scheduler.select` and checks the answer; an exception is kept for the caller of
    the run.

    Attributes
    ----------
    error : Exception or None
    pointer : c_void_p
        C function, alive as long as this object.
    """

    def __init__(self, scheduler, connectivity, dtype):
        self.scheduler, self.dtype = scheduler, np.dtype(dtype)
        self.layer = connectivity.layer_of()
        self.error: Exception | None = None
        self._function = _SIGNATURE(self._select)
        self.pointer = ctypes.cast(self._function, ctypes.c_void_p)

    def _select(self, sample, timestep, step, core, count, n_queued, *pointers) -> int:
        try:
            return self._answer(sample, timestep, step, core, count, n_queued, *pointers)
        except Exception as error:  # must not cross the C++ frames
            self.error = error
            return -1

    def _answer(self, sample, timestep, step, core, count, n_queued, sources, rand, P, arrival, copies, out):
        queued = _view(sources, n_queued, np.int32).copy()
        n_sources = len(self.layer)
        queue = QueueView(
            sources=queued,
            P=_view(P, n_sources, float)[queued],
            arrival=_view(arrival, n_sources, np.int64)[queued],
            layer=self.layer[queued],
            multiplicity=_view(copies, n_sources, self.dtype)[queued],
            rand=_view(rand, n_queued, float).copy(),
            sample=sample,
            timestep=timestep,
            step=step,
        )
        chosen = np.atleast_1d(np.asarray(self.scheduler.select(queue, count)))
        where = f"{self.scheduler.name} at sample {sample}, timestep {timestep}, forward step {step}"
        if chosen.ndim != 1 or not np.issubdtype(chosen.dtype, np.integer):
            raise NetworkError(f"{where} returned {chosen!r}; it must return whole numbers, some of queue.sources.")
        if not len(chosen):
            raise NetworkError(f"{where} returned nothing although {n_queued} spikes wait; take at least one.")
        if len(np.unique(chosen)) != len(chosen):
            twice = np.unique(chosen)[np.unique(chosen, return_counts=True)[1] > 1][0]
            raise NetworkError(f"{where} returned source {twice} twice; a waiting neuron can be taken once.")
        strangers = np.setdiff1d(chosen, queued)
        if len(strangers):
            raise NetworkError(f"{where} returned source {strangers[0]}, which is not queued; see queue.sources.")
        if len(chosen) > count and not self.scheduler.ties:
            raise NetworkError(f"{where} returned {len(chosen)} sources; the forward group holds {count}.")
        _view(out, n_queued, np.int32)[: len(chosen)] = chosen
        return len(chosen)


def _view(pointer, n: int, dtype) -> np.ndarray:
    """Array over memory of the library, valid during the call."""
    size = n * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(pointer), dtype)
