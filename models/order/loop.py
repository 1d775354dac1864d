"""What Python does around a compiled event loop, whatever the neuron: arrays in, counters and record out."""

from __future__ import annotations

import ctypes
import threading
import weakref

import numpy as np

from ..errors import NetworkError
from ..native.structures import RunStruct, address
from .callback import SelectCallback

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


class EventLoop:
    """Base of the engines that deliver spikes in the order of a scheduler.

    Attributes
    ----------
    connectivity : Connectivity
        Numbers the sources: input units, then the neurons.
    dtype : numpy.dtype
    threads : int
    compiled : bool
        Whether the scheduler's key is compiled; else its ``select`` is called at every forward step.
    remedy : str
        What to do about runaway excitation.
    """

    remedy = "Set a spike budget as stop rule."

    def _open(self, library, network) -> None:
        """Take a compiled library and a network structure, whose memory the caller keeps alive."""
        library.engine_create.restype = ctypes.c_void_p
        library.engine_free.argtypes = [ctypes.c_void_p]
        self._library, self._lock = library, threading.Lock()
        self._handle = ctypes.c_void_p(library.engine_create(ctypes.byref(network)))
        self._finalizer = weakref.finalize(self, library.engine_free, self._handle)

    def _execute(self, events, scheduler, options: dict, detail: str, counter: int) -> dict:
        """Run a batch; arguments and result as in `AsynchronousEngine.run`."""
        shape = (events.n_samples, events.n_steps)
        n_out = self.connectivity.n_outputs
        result = {
            "counters": np.zeros((*shape, len(COUNTERS)), np.int64),
            "outputs": np.zeros((*shape, n_out), np.int32),
            "first": np.zeros((*shape, n_out, 2), np.int64),
        }
        failure = np.zeros(2, np.int64)
        numbers = scheduler.numbers(counter)
        ids, state = options.pop("sample_ids", None), options.pop("state", None)
        arrays = {
            "ptr": np.ascontiguousarray(events.ptr, np.int64),
            "units": np.ascontiguousarray(events.units, np.int32),
            "values": np.ascontiguousarray(events.values, self.dtype),
            "sample_ids": np.arange(shape[0]) if ids is None else np.ascontiguousarray(ids, np.int64),
            "key_parameters": np.array([numbers[name] for name in sorted(numbers)] or [0.0]),
            "failure": failure,
            **result,
        }
        if state is not None:
            arrays["initial"] = np.ascontiguousarray(state, self.dtype)
            arrays["final"] = result["final"] = np.zeros((shape[0], self.connectivity.n_neurons), self.dtype)
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
                f"Runaway excitation: sample {sample} passed {run.max_spikes} spikes in timestep {step}. {self.remedy}"
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
