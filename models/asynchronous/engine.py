"""The compiled asynchronous engine: generated from a neuron's equations and a scheduler's key, called with
events."""

from __future__ import annotations

import ctypes
import functools
import os

import numpy as np
from scipy import sparse

from ..errors import EngineError, NetworkError
from ..native.build import compile_library, render
from ..native.structures import Block, NetworkStruct, Population, address
from ..order.loop import COUNTERS, STOP_RULES, EventLoop
from ..order.queue_code import queue_code
from .connectivity import Connectivity
from .lowering import leak_factors, lower

__all__ = ["COUNTERS", "STOP_RULES", "AsynchronousEngine", "check_dtype", "queue_code"]

TILE = 16


@functools.cache
def _source(items: tuple) -> str:
    return render("asynchronous/asynchronous.cpp.jinja", **dict(items))


class AsynchronousEngine(EventLoop):
    """One network under one scheduler, compiled.

    Parameters
    ----------
    connectivity : Connectivity
    model : AsynchronousModel
    scheduler : Scheduler
        Only its form is compiled; its numbers are passed at every run.
    sigma : (N,) array
        Synchronisation threshold.
    dtype : {'float32', 'float64'}
    threads : int, optional
        Default: all cores this process may use.
    """

    remedy = "Weaken the recurrent weights, raise V_th, keep refractory=True, or set a spike budget as stop rule."

    def __init__(self, connectivity: Connectivity, model, scheduler, sigma, dtype="float32", threads=None):
        self.connectivity, self.model, self.dtype = connectivity, model, np.dtype(dtype)
        self.threads = threads or len(os.sched_getaffinity(0))
        code = lower(model)
        values = {"synchronised": bool(np.any(sigma)), **code.__dict__, **queue_code(scheduler)}
        source = _source(tuple(sorted(values.items())))
        self.compiled = values["queue"] != "external"
        library = compile_library(source, self.dtype.name)
        self._uniform_leak = np.ndim(leak_factors(model, 1.0)) == 0
        self._leak = self._tiles(np.float64(1) if self._uniform_leak else np.ones(connectivity.n_neurons))
        self._dt = None
        self._kept: list = [self._leak]
        cores = scheduler.core_of(connectivity)
        self._open(library, self._network(code, sigma, cores, scheduler.cores))

    # -- what the library reads: every array is kept alive in self._kept -------------------------------

    def _tiles(self, values) -> np.ndarray:
        """One value for all neurons as one tile; values per neuron padded to whole tiles."""
        values = np.asarray(values, dtype=self.dtype)
        if values.ndim == 0:
            return np.full(TILE, values)
        return np.ascontiguousarray(np.pad(values, (0, -len(values) % TILE), mode="edge"))

    def _keep(self, array, dtype=None) -> int:
        array = np.ascontiguousarray(array, dtype=dtype)
        self._kept.append(array)
        return address(array)

    def _network(self, code, sigma, cores, n_cores) -> NetworkStruct:
        net = self.connectivity
        layer = net.layer_of()
        cores = np.zeros(len(layer), np.int32) if cores is None else np.asarray(cores)
        if cores.min() < 0 or cores.max() >= n_cores:
            raise NetworkError(f"The assignment names core {cores.max()}; there are cores 0 to {n_cores - 1}.")
        fanout = np.zeros(len(layer), np.int64)
        blocks, populations = [], []
        for index, (first, size) in enumerate(zip(net.starts, net.sizes, strict=True)):
            begin = len(blocks)
            for p in (p for p in net.projections if p.source == index):
                block, degree = self._block(p)
                fanout[first : first + size] += degree
                blocks.append(block)
            populations.append(Population(int(first), size, begin, len(blocks)))
        tables = (Population * len(populations))(*populations), (Block * max(1, len(blocks)))(*blocks)
        self._kept.extend(tables)
        constants = [np.asarray(self.model.constants[name], dtype=float) for name in code.parameters]
        pointers = [self._keep(self._tiles(values)) for values in constants]
        return NetworkStruct(
            n_inputs=net.n_inputs,
            n_neurons=net.n_neurons,
            n_outputs=net.n_outputs,
            n_populations=len(populations),
            n_cores=n_cores,
            population=self._keep(layer, np.int32),
            layer=self._keep(layer, np.int32),
            core=self._keep(cores, np.int32),
            fanout=self._keep(fanout),
            populations=ctypes.addressof(tables[0]),
            blocks=ctypes.addressof(tables[1]),
            leak=address(self._leak),
            sigma=self._keep(self._tiles(sigma)),
            parameters=self._keep(np.array(pointers or [0], np.uint64)),
            steps=self._keep(np.array([values.ndim for values in constants] or [0], np.int64)),
            leak_step=int(not self._uniform_leak),
        )

    def _block(self, p) -> tuple[Block, np.ndarray]:
        first = int(self.connectivity.starts[p.target]) - self.connectivity.n_inputs
        if not sparse.issparse(p.weights):
            rows = self._whole_tiles(p.weights, first)
            block = Block(first=first - first % TILE, width=rows.shape[1], dense=address(rows))
            return block, np.count_nonzero(p.weights, axis=1)
        ptr = p.weights.indptr.astype(np.int64)
        block = Block(
            first=first,
            width=p.weights.shape[1],
            ptr=self._keep(ptr),
            targets=self._keep(p.weights.indices + np.int32(first), np.int32),
            weights=self._keep(p.weights.data, self.dtype),
        )
        return block, np.zeros(len(ptr) - 1, np.int64)

    def _whole_tiles(self, weights, first: int) -> np.ndarray:
        """Rows (n_pre, multiple of TILE) with zeros for what else lies in the tiles; they start at cache lines."""
        n_pre, width = weights.shape
        before = first % TILE
        total = before + width + (-(before + width)) % TILE
        spare = 64 // self.dtype.itemsize
        memory = np.zeros(n_pre * total + spare, self.dtype)
        begin = -address(memory) % 64 // self.dtype.itemsize
        rows = memory[begin : begin + n_pre * total].reshape(n_pre, total)
        rows[:, before : before + width] = weights
        self._kept.append(rows)
        return rows

    # -- running ---------------------------------------------------------------------------------------

    def run(self, events, dt: float, scheduler, options: dict, detail: str = "nothing", counter: int = 0) -> dict:
        """Run a batch.

        Parameters
        ----------
        events : StepEvents
        dt : float
            Length of a timestep in seconds.
        scheduler : Scheduler
        options : dict
            Fields of ``Run`` in ``asynchronous.hpp``.
        detail : {'nothing', 'spikes', 'tape'}
        counter : int
            Training iteration, for schedules.

        Returns
        -------
        dict
            ``counters`` (n_samples, n_steps, 9), ``outputs`` (n_samples, n_steps, n_out), ``first``
            (n_samples, n_steps, n_out, 2), and the record: see `brian2grad.models.recordings.Tape`.

        Raises
        ------
        NetworkError
            If the excitation runs away, or a scheduler's choice is not valid.
        """
        if dt != self._dt:
            self._leak[:] = self._tiles(leak_factors(self.model, dt))
            self._dt = dt
        return self._execute(events, scheduler, options, detail, counter)


def check_dtype(dtype) -> str:
    """Name of a supported floating-point type."""
    name = np.dtype(dtype).name
    if name not in ("float32", "float64"):
        raise EngineError(f"dtype = {dtype}: the engine computes in float32 or float64.")
    return name
