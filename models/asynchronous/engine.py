"""The compiled asynchronous engine: generated from a neuron's equations and a scheduler's key, called with events."""

from __future__ import annotations

import functools

import numpy as np

from ..checks import processors
from ..errors import EngineError, NetworkError
from ..native.build import render
from ..native.interface import Arrays, library
from ..order.loop import COUNTERS, STOP_RULES, EventLoop, LoopArguments
from ..order.queue_code import queue_code
from .connectivity import Connectivity
from .lowering import leak_factors, lower
from .packing import HEADER, TILE, Kept

__all__ = ["COUNTERS", "STOP_RULES", "AsynchronousEngine", "LoopArguments", "check_dtype", "queue_code"]


@functools.cache
def _source(items: tuple) -> str:
    return render("asynchronous/asynchronous.cpp.jinja", **dict(items))


class AsynchronousEngine(EventLoop):
    """Networks of one shape, neuron and kind of scheduler, compiled; all numbers are passed at every run.

    Parameters
    ----------
    connectivity : Connectivity
        Only its sizes count here.
    model : AsynchronousModel
        Only its equations count here.
    scheduler : Scheduler
        Only its form is compiled.
    synchronised : bool
        Whether neurons have a synchronisation threshold.
    dtype : {'float32', 'float64'}
    threads : int, optional
        Default: all cores this process may use.
    """

    remedy = "Weaken the recurrent weights, raise V_th, keep refractory=True, or set a spike budget as stop rule."

    def __init__(self, connectivity, model, scheduler, synchronised=False, dtype="float32", threads=None):
        self.connectivity, self.dtype = connectivity, np.dtype(dtype)
        self.synchronised = bool(synchronised)
        self.threads = threads or processors()
        code = lower(model)
        self._kept: tuple = (None, None, None)
        self._numbers = Kept()
        self._parameters, n_sources = code.parameters, connectivity.n_inputs + connectivity.n_neurons
        values = {"synchronised": self.synchronised, **code.__dict__, **queue_code(scheduler)}
        self.compiled = values["queue"] != "external"
        cores = scheduler.core_of(connectivity)
        self._cores = np.zeros(n_sources, np.int32) if cores is None else np.array(cores, np.int32)
        self._n_cores = scheduler.cores
        if self._cores.min() < 0 or self._cores.max() >= self._n_cores:
            raise NetworkError(f"The assignment names core {cores.max()}; there are cores 0 to {self._n_cores - 1}.")
        self._open(*library(_source(tuple(sorted(values.items()))), HEADER, self.dtype.name))

    def run(
        self, events, dt: float, scheduler, arguments: LoopArguments, keep: str = "nothing", *,
        connectivity: Connectivity, model, sigma,
    ) -> dict:  # fmt: skip
        """Run a batch.

        Parameters
        ----------
        events : StepEvents
        dt : float
            Length of a timestep in seconds.
        scheduler : Scheduler
        arguments : LoopArguments
        keep : {'nothing', 'spikes', 'tape'}
        connectivity : Connectivity
        model : AsynchronousModel
        sigma : (N,) array
            Synchronisation threshold.

        Returns
        -------
        dict
            ``counters`` (n_samples, T, 9), ``outputs`` (n_samples, T, n_out), ``first`` (n_samples, T, n_out, 2),
            and the record: see `brian2grad.models.order.tape.Tape`.

        Raises
        ------
        NetworkError
            If an argument does not fit, the excitation runs away, or a scheduler's choice is not valid.
        EngineError
            If memory runs out.
        """
        numbers = self._numbers.of((dt, sigma, *model.constants.values()), lambda: self._per_neuron(dt, model, sigma))
        kept = self._kept
        if connectivity is not kept[0] or numbers is not kept[1]:
            self._kept = kept = (None, None, None)  # frees what the last run read
            network = {**connectivity.packed(self.dtype).fields, **numbers[0]}
            self._kept = kept = connectivity, numbers, self._ffi.new("Network*", network)
        arrays = Arrays(self._ffi, self.dtype)
        return self._execute(arrays.keep(kept)[2], arrays, events, scheduler, arguments, keep)

    def _per_neuron(self, dt: float, model, sigma) -> tuple[dict, Arrays]:
        """Fields of the C structure that do not depend on weights, and what they point to."""
        arrays, n = Arrays(self._ffi, self.dtype), self.connectivity.n_neurons
        leak = np.asarray(leak_factors(model, dt))
        constants = [np.array(model.constants[name], dtype=float) for name in self._parameters]
        tables = [self._tiles(arrays, name, v, n) for name, v in zip(self._parameters, constants, strict=True)]
        fields = {
            "n_cores": self._n_cores,
            "core": arrays.output(self._cores),
            "leak": self._tiles(arrays, "leak", leak, n),
            "leak_step": leak.ndim,
            "sigma": self._tiles(arrays, "sigma", sigma, n) if self.synchronised else self._ffi.NULL,
            "parameters": arrays.table(tables, "const R"),
            "steps": arrays.input("steps", [values.ndim for values in constants] or [0], np.int64),
        }
        return fields, arrays

    def _tiles(self, arrays: Arrays, name: str, values, n: int):
        """One value for all neurons as one tile; values per neuron padded to whole tiles."""
        values = np.asarray(values, dtype=self.dtype)
        if values.ndim == 0:
            return arrays.output(np.full(TILE, values))
        if values.shape != (n,):
            raise NetworkError(f"{name} has shape {values.shape}, expected ({n},).")
        return arrays.input(name, np.pad(values, (0, -n % TILE), mode="edge"))


def check_dtype(dtype) -> str:
    """Name of a supported floating-point type."""
    name = np.dtype(dtype).name
    if name not in ("float32", "float64"):
        raise EngineError(f"dtype = {dtype}: the engine computes in float32 or float64.")
    return name
