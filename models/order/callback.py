"""Schedulers written in Python, called by the engine at every forward step."""

from __future__ import annotations

import numpy as np

from ..errors import NetworkError
from .keys import QueueView


class SelectCallback:
    """Passes the queue to `scheduler.select` and checks the answer; an exception is kept for the caller of the run.

    Attributes
    ----------
    error : Exception or None
    pointer : cdata
        C function, alive as long as this object.
    """

    def __init__(self, scheduler, connectivity, ffi, dtype):
        self.scheduler, self._ffi, self.dtype = scheduler, ffi, np.dtype(dtype)
        self.layer = connectivity.layer_of()
        self.error: Exception | None = None
        self.pointer = ffi.callback("Select", self._select)

    def _select(self, waiting) -> int:
        try:
            return self._answer(waiting)
        except Exception as error:  # must not cross the C++ frames
            self.error = error
            return -1

    def _view(self, pointer, n: int, dtype) -> np.ndarray:
        """Array over memory of the library, valid during the call."""
        return np.frombuffer(self._ffi.buffer(pointer, n * np.dtype(dtype).itemsize), dtype)

    def _answer(self, waiting) -> int:
        n_queued, n_sources = waiting.n_queued, len(self.layer)
        queued = self._view(waiting.sources, n_queued, np.int32).copy()
        sample, timestep, step, count = waiting.sample, waiting.timestep, waiting.step, waiting.count
        queue = QueueView(
            sources=queued,
            P=self._view(waiting.P, n_sources, float)[queued],
            arrival=self._view(waiting.arrival, n_sources, np.int64)[queued],
            layer=self.layer[queued],
            multiplicity=self._view(waiting.copies, n_sources, self.dtype)[queued],
            rand=self._view(waiting.uniforms, n_queued, float).copy(),
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
        unknown = np.setdiff1d(chosen, queued)
        if len(unknown):
            raise NetworkError(f"{where} returned source {unknown[0]}, which is not queued; see queue.sources.")
        if len(chosen) > count and not self.scheduler.ties:
            raise NetworkError(f"{where} returned {len(chosen)} sources; the forward group holds {count}.")
        self._view(waiting.chosen, n_queued, np.int32)[: len(chosen)] = chosen
        return len(chosen)
