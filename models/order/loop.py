"""What Python does around a compiled event loop, whatever the neuron: arrays in, counters and record out."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from ..errors import NetworkError
from ..native.forking import Forked
from ..native.interface import Arrays, check_status
from ..native.recycled import Recycled
from .callback import SelectCallback
from .stopping import Stop

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
_LARGEST = 2**63 - 1
_abandoned: list = []  # engines of a parent process: not even freed, as they may be half-way through a run


@dataclass(frozen=True)
class LoopArguments:
    """What a run is asked for besides its events and its scheduler.

    Attributes
    ----------
    forward_group : int
        Queued sources delivered per forward step, and core.
    max_spikes : int
        Spikes of one timestep beyond which excitation counts as runaway.
    seed : int
        Seed of all random numbers of the run.
    sample_ids : (n_samples,) array of int, optional
        What a sample's random numbers depend on besides the seed; by default its place in the batch.
    iteration : int
        Training iteration, for schedules.
    stop : Stop
    prioritised, once_per_timestep : bool
        Input is delivered at once; a neuron spikes at most once per timestep.
    lockstep : bool
        A batch goes on, step by step together, until every sample wants to stop, or only inhibition is left.
    refractory_dropout, spike_dropout, input_dropout : float
    state : (n_samples, N) array, optional
        Membranes to go on from.
    first_timestep : int
        Number of the first timestep.
    """

    forward_group: int
    max_spikes: int
    seed: int = 0
    sample_ids: np.ndarray | None = None
    iteration: int = 0
    stop: Stop = Stop()
    prioritised: bool = True
    once_per_timestep: bool = True
    lockstep: bool = False
    refractory_dropout: float = 0.0
    spike_dropout: float = 0.0
    input_dropout: float = 0.0
    state: np.ndarray | None = None
    first_timestep: int = 0

    def numbers(self) -> dict:
        """Fields of the C structure that are numbers."""
        given = (self.stop.value, self.forward_group, self.max_spikes, self.first_timestep)
        if min(given) < 0 or max(given) > _LARGEST:
            names = ("stop value", "forward_group", "max_spikes", "first_timestep")
            name, value = next(pair for pair in zip(names, given, strict=True) if not 0 <= pair[1] <= _LARGEST)
            raise NetworkError(f"{name} = {value}; expected a number from 0 to {_LARGEST}.")
        return {
            "forward_group": int(self.forward_group),
            "max_spikes": int(self.max_spikes),
            "first_timestep": int(self.first_timestep),
            "prioritised": self.prioritised,
            "once_per_timestep": self.once_per_timestep,
            "lockstep": self.lockstep,
            "refractory_dropout": self.refractory_dropout,
            "spike_dropout": self.spike_dropout,
            "input_dropout": self.input_dropout,
            "seed": int(self.seed) % 2**64,
            "stop_rule": STOP_RULES[self.stop.rule],
            "stop_value": int(self.stop.value),
            "stop_per_sample": self.stop.scope == "sample",
            "carry": self.stop.leftover == "carry" or self.lockstep,
        }


def check_queued(values, prioritised: bool) -> None:
    """Refuse input that cannot wait in a queue, where a source counts the spikes that it stands for."""
    if not prioritised and not (values > 0).all():
        raise NetworkError("Input that queues must have positive values; use prioritised=True for others.")


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

    def _open(self, ffi, lib) -> None:
        """Take a compiled library."""
        self._ffi, self._lib, self._lock, self._forked = ffi, lib, threading.Lock(), Forked()
        self._recycled = Recycled()
        handle = ffi.new("void**")
        check_status(lib.engine_create(handle), "free some")
        self._handle = ffi.gc(handle[0], lib.engine_free)

    def _execute(self, network, arrays: Arrays, events, scheduler, arguments: LoopArguments, keep: str) -> dict:
        """Run a batch; `network` is the C structure, `arrays` what it points to; else as `AsynchronousEngine.run`."""
        if self._forked():  # a thread of the parent may have held the lock, and been about to change what it guards
            _abandoned.append(self._handle)
            self._open(self._ffi, self._lib)
        shape, n_out = (events.n_samples, events.n_steps), self.connectivity.n_outputs
        result = {
            "counters": np.zeros((*shape, len(COUNTERS)), np.int64),
            "outputs": np.zeros((*shape, n_out), np.int32),
            "first": np.zeros((*shape, n_out, 2), np.int64),
        }
        if arguments.state is not None:
            result["final"] = np.zeros((shape[0], self.connectivity.n_neurons), self.dtype)
        failure = np.zeros(2, np.int64)
        select = None if self.compiled else SelectCallback(scheduler, self.connectivity, self._ffi, self.dtype)
        run = self._ffi.new(
            "LoopArguments*",
            {
                "n_samples": shape[0],
                "n_timesteps": shape[1],
                "threads": self.threads if self.compiled else 1,
                "detail": DETAILS[keep],
                "select": select.pointer if select else self._ffi.NULL,
                "failure": arrays.output(failure),
                **arguments.numbers(),
                **self._input(arrays, events, scheduler, arguments),
                **{name: arrays.output(array) for name, array in result.items()},
            },
        )
        with self._lock:  # Python's own is released during the call, and a handle has one set of workers
            status = self._lib.engine_run(self._handle, network, run)
            record = self._record(shape) if keep != "nothing" and not status else {}
        if select is not None and select.error is not None:
            raise select.error
        if status == self._lib.RUNAWAY:
            sample, step = failure
            raise NetworkError(
                f"Runaway excitation: sample {sample} passed {run.max_spikes} spikes in timestep {step}. {self.remedy}"
            )
        check_status(status, "run fewer samples at a time, or keep less of them")
        return result | record

    def _input(self, arrays: Arrays, events, scheduler, arguments: LoopArguments) -> dict:
        n_samples, n_events, net = events.n_samples, len(events.units), self.connectivity
        amounts, ids = events.values, arguments.sample_ids
        check_queued(amounts, arguments.prioritised)
        numbers = scheduler.numbers(arguments.iteration)
        keys = [numbers[name] for name in sorted(numbers)]
        return {
            "ptr": arrays.offsets("ptr", events.ptr, n_samples * events.n_steps, n_events),
            "units": arrays.input("units", events.units, np.int32, shape=(n_events,), least=0, below=net.n_inputs),
            "amounts": arrays.input("values", amounts, shape=(n_events,), finite=True),
            "sample_ids": arrays.input(
                "sample_ids", np.arange(n_samples) if ids is None else ids, np.int64, shape=(n_samples,)
            ),
            "initial": arrays.input("state", arguments.state, shape=(n_samples, net.n_neurons), finite=True),
            "key_parameters": arrays.input("scheduler.numbers", keys or None, float, finite=True),
        }

    def _record(self, shape) -> dict:
        arrays, sizes = Arrays(self._ffi, self.dtype), np.zeros(4, np.int64)
        self._lib.record_sizes(self._handle, arrays.output(sizes))
        n_steps, n_spikes, n_group, n_received = map(int, sizes)
        lengths = {
            "spike_ptr": (n_steps + 1, np.int64),
            "spikes": (n_spikes, np.int32),
            "flags": (n_spikes, np.uint8),
            "group_ptr": (n_steps + 1, np.int64),
            "group": (n_group, np.int32),
            "multiplicity": (n_group, self.dtype),
            "received_ptr": (n_steps + 1, np.int64),
            "received": (n_received, np.int32),
            "membrane": (n_received, self.dtype),
        }
        record = {"steps": np.empty(shape, np.int32)}
        record |= {name: self._recycled.empty(name, *form) for name, form in lengths.items()}
        pointers = {name: arrays.output(array) for name, array in record.items()}
        self._lib.record_copy(self._handle, self._ffi.new("RecordArrays*", pointers))
        return record
