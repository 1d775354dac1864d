"""The compiled asynchronous engine: generated from a neuron's equations and a scheduler's key, called with
events."""

from __future__ import annotations

import ctypes
import functools
import os
import threading
import weakref

import numpy as np
from scipy import sparse

from ..connectivity import Connectivity
from ..errors import EngineError, NetworkError
from .asynchronous_lowering import leak_factors, lower, queue_code
from .build import compile_library, render
from .callback import SelectCallback
from .structures import Block, NetworkStruct, Population, RunStruct, address

HEADERS = (
    "support.hpp",
    "random.hpp",
    "queues.hpp",
    "asynchronous.hpp",
    "asynchronous_worker.hpp",
    "asynchronous_driver.hpp",
)
TILE = 16
COUNTERS = (
    "spikes",
    "synaptic_operations",
    "threshold_tests",
    "forward_steps",
    "delivered",
    "queue_max",
    "queue_sum",
    "queue_left",
    "stopped",
)
STOP_RULES = {"drained": 0, "after_output": 1, "spike_budget": 2, "step_budget": 3}
DETAILS = {"nothing": 0, "spikes": 1, "tape": 2}


@functools.cache
def _source(items: tuple) -> str:
    return render("asynchronous.cpp.jinja", **dict(items))


class AsynchronousEngine:
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

    def __init__(self, connectivity: Connectivity, model, scheduler, sigma, dtype="float32", threads=None):
        self.connectivity, self.model, self.dtype = connectivity, model, np.dtype(dtype)
        self.threads = threads or len(os.sched_getaffinity(0))
        code = lower(model)
        values = {"synchronised": bool(np.any(sigma)), **code.__dict__, **queue_code(scheduler)}
        source = _source(tuple(sorted(values.items())))
        self.compiled = values["queue"] != "external"
        self._library = compile_library(source, self.dtype.name, HEADERS)
        self._library.engine_create.restype = ctypes.c_void_p
        self._library.engine_free.argtypes = [ctypes.c_void_p]
        self._uniform_leak = np.ndim(leak_factors(model, 1.0)) == 0
        self._leak = self._tiles(np.float64(1) if self._uniform_leak else np.ones(connectivity.n_neurons))
        self._dt = None
        self._lock = threading.Lock()
        self._kept: list = [self._leak]
        cores = scheduler.core_of(connectivity)
        network = self._network(code, sigma, cores, scheduler.cores)
        self._handle = ctypes.c_void_p(self._library.engine_create(ctypes.byref(network)))
        self._finalizer = weakref.finalize(self, self._library.engine_free, self._handle)

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
            block = Block(first=first, width=p.weights.shape[1], dense=self._keep(p.weights, self.dtype))
            return block, np.count_nonzero(p.weights, axis=1)
        ptr = p.weights.indptr.astype(np.int64)
        block = Block(
            first=first,
            width=p.weights.shape[1],
            ptr=self._keep(ptr),
            targets=self._keep(p.weights.indices + np.int32(first), np.int32),
            weights=self._keep(p.weights.data, self.dtype),
        )
        return block, np.diff(ptr)

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
        shape = (events.n_samples, events.n_steps)
        n_out = self.connectivity.n_outputs
        result = {
            "counters": np.zeros((*shape, len(COUNTERS)), np.int64),
            "outputs": np.zeros((*shape, n_out), np.int32),
            "first": np.zeros((*shape, n_out, 2), np.int64),
        }
        failure = np.zeros(2, np.int64)
        numbers = scheduler.numbers(counter)
        ids = options.pop("sample_ids", None)
        arrays = {
            "ptr": np.ascontiguousarray(events.ptr, np.int64),
            "units": np.ascontiguousarray(events.units, np.int32),
            "values": np.ascontiguousarray(events.values, self.dtype),
            "sample_ids": np.arange(shape[0]) if ids is None else np.ascontiguousarray(ids, np.int64),
            "key_parameters": np.array([numbers[name] for name in sorted(numbers)] or [0.0]),
            "failure": failure,
            **result,
        }
        select = None if self.compiled else SelectCallback(scheduler, self.connectivity, self.dtype)
        run = RunStruct(
            n_samples=shape[0],
            n_steps=shape[1],
            threads=self.threads if self.compiled else 1,
            detail=DETAILS[detail],
            select=select.pointer if select else None,
            **{name: address(array) for name, array in arrays.items()},
            **options,
        )
        with self._lock:  # Python's own is released during the call, and a handle has one set of workers
            status = self._library.engine_run(self._handle, ctypes.byref(run))
            record = self._record(shape) if detail != "nothing" and not status else {}
        if select is not None and select.error is not None:
            raise select.error
        if status:
            sample, step = failure
            raise NetworkError(
                f"Runaway excitation: sample {sample} passed {run.max_spikes} spikes in timestep {step}. "
                "Weaken the "
                "recurrent weights, raise V_th, keep refractory=True, or set a spike budget as stop rule."
            )
        return result | record

    def _record(self, shape) -> dict:
        sizes = np.zeros(4, np.int64)
        self._library.record_sizes(self._handle, ctypes.c_void_p(address(sizes)))
        n_steps, n_spikes, n_group, n_received = map(int, sizes)
        record = {
            "steps": np.zeros(shape, np.int32),
            "spike_ptr": np.zeros(n_steps + 1, np.int64),
            "spikes": np.zeros(n_spikes, np.int32),
            "flags": np.zeros(n_spikes, np.uint8),
            "group_ptr": np.zeros(n_steps + 1, np.int64),
            "group": np.zeros(n_group, np.int32),
            "multiplicity": np.zeros(n_group, self.dtype),
            "received_ptr": np.zeros(n_steps + 1, np.int64),
            "received": np.zeros(n_received, np.int32),
            "membrane": np.zeros(n_received, self.dtype),
        }
        self._library.record_copy(self._handle, *(ctypes.c_void_p(address(a)) for a in record.values()))
        return record


def check_dtype(dtype) -> str:
    """Name of a supported floating-point type."""
    name = np.dtype(dtype).name
    if name not in ("float32", "float64"):
        raise EngineError(f"dtype = {dtype}: the engine computes in float32 or float64.")
    return name
