"""What an asynchronous run leaves behind: counts, counters, the spikes in processing order, and the tape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...equations.display import DisplayedFields
from ..errors import NetworkError
from .outcome import Latency, Outcome, SpikeList

EMITTED, RESTING = 1, 2


@dataclass(frozen=True, repr=False)
class Tape(DisplayedFields):
    """Everything that happened, forward step after forward step; memory is proportional to the events.

    Forward steps of the whole batch are numbered through: those of sample s, timestep t are
    ``step_ptr[s*T + t] : step_ptr[s*T + t + 1]``. Step k received the sources
    ``group[group_ptr[k]:group_ptr[k+1]]``, tested the neurons of ``received`` and spiked those of ``spikes``.
    Reading it backwards is what a gradient needs: nothing else changes a membrane within a timestep.

    Attributes
    ----------
    steps : (n_samples, T) array
        Forward steps per timestep.
    step_ptr : (n_samples*T + 1,) array
    group_ptr, group, multiplicity : arrays
        Delivered sources, ascending (input units count from 0, neuron j is ``n_inputs + j``), and how many
        spikes each stands for. With prioritised input the group of a timestep's first step is its input.
    received_ptr, received, membrane : arrays
        Neurons that took current (not those that lost it because they rest), each once per step, and their
        membrane just before the test. Empty unless the run was recorded with ``'tape'``.
    spike_ptr, spikes, flags : arrays
        Neurons above threshold, ascending within a step. Flags: `EMITTED` (else dropped by spike dropout),
        `RESTING` (else refractoriness was dropped out, or is off).
    """

    steps: np.ndarray
    step_ptr: np.ndarray
    group_ptr: np.ndarray
    group: np.ndarray
    multiplicity: np.ndarray
    received_ptr: np.ndarray
    received: np.ndarray
    membrane: np.ndarray
    spike_ptr: np.ndarray
    spikes: np.ndarray
    flags: np.ndarray

    @classmethod
    def of(cls, raw: dict) -> Tape:
        """Take the record out of what the engine returned."""
        fields = {name: raw[name] for name in cls.__dataclass_fields__ if name != "step_ptr"}
        return cls(step_ptr=np.concatenate([[0], np.cumsum(raw["steps"].ravel(), dtype=np.int64)]), **fields)

    def received_into(self, step: int) -> np.ndarray:
        """Sources delivered into forward step `step` of the batch."""
        return self.group[self.group_ptr[step] : self.group_ptr[step + 1]]

    @property
    def rows(self) -> np.ndarray:
        """Timestep of every forward step, counted over the samples: ``sample*T + timestep``."""
        return np.repeat(np.arange(self.steps.size), self.steps.ravel())

    @property
    def order(self) -> SpikeList:
        """Emitted spikes in processing order."""
        emitted = (self.flags & EMITTED) != 0
        of_step = np.repeat(np.arange(len(self.spike_ptr) - 1), np.diff(self.spike_ptr))[emitted]
        row, n_steps = self.rows[of_step], self.steps.shape[1]
        return SpikeList(row // n_steps, row % n_steps, of_step - self.step_ptr[row], self.spikes[emitted])


@dataclass(frozen=True, repr=False)
class AsynchronousResult(Outcome):
    """Outcome of `AsynchronousNetwork.run`.

    Attributes
    ----------
    outputs : (n_samples, T, n_out) array of int
        Spikes of the output neurons per timestep.
    counters : dict of str to (n_samples, T) array
        ``spikes`` (hidden and output), ``synaptic_operations`` (weights that are not zero, once per delivered
        source), ``threshold_tests`` (once per forward step and neuron that took current), ``forward_steps``,
        ``delivered``, ``queue_max``, ``queue_sum`` (over forward steps), ``queue_left``, ``stopped``.
    dt : float
        Length of a timestep in seconds.
    n_neurons : int
    first : (n_samples, T, n_out, 2) array
        Network spikes and forward steps of the timestep until the first spike of each output; 0 without one.
    tape : Tape or None
        With ``record=True`` or ``record='tape'``.
    state : (n_samples, N) array or None
        Membranes at the end, for a run that goes on; of a run that was given a `state`.
    """

    outputs: np.ndarray
    counters: dict[str, np.ndarray]
    dt: float
    n_neurons: int
    first: np.ndarray
    tape: Tape | None = None
    state: np.ndarray | None = None

    @property
    def queue_mean(self) -> np.ndarray:
        """Mean queue depth over forward steps, (n_samples, T)."""
        return self.counters["queue_sum"] / np.maximum(self.counters["forward_steps"], 1)

    @property
    def spike_list(self) -> SpikeList:
        """Emitted spikes in processing order."""
        return self._recorded().order

    def latency(self, labels=None) -> Latency:
        """Decision latency to the first output spike, or to the first of the labelled class.

        Parameters
        ----------
        labels : (n_samples,) array of int, optional

        Returns
        -------
        Latency
        """
        first = self.first
        if labels is not None:
            first = np.take_along_axis(first, np.asarray(labels)[:, None, None, None], axis=2)
        never = np.iinfo(np.int64).max
        earliest = np.where(first > 0, first, never).min(axis=2)  # (n_samples, T, 2)
        spiked = earliest[..., 0] < never
        t = spiked.argmax(axis=1)
        rows = np.arange(len(t))
        found = spiked[rows, t]
        values = []
        for index, name in enumerate(("spikes", "forward_steps")):
            earlier = self.counters[name].cumsum(axis=1) - self.counters[name]
            values.append(np.where(found, earlier[rows, t] + earliest[rows, t, index].astype(float), np.inf))
        return Latency(*values, np.where(found, (t + 1) * self.dt * 1e3, np.inf))

    def _recorded(self) -> Tape:
        if self.tape is None:
            raise NetworkError("The spikes were not recorded; run with record=True.")
        return self.tape


@dataclass(frozen=True, repr=False)
class TimedResult(Outcome):
    """Outcome of a run in continuous time.

    Attributes
    ----------
    times : (n_spikes,) array of int64
        Spike times in picoseconds, sample after sample, ascending within one.
    neurons : (n_spikes,) array of int
        Ascending among spikes of one time and round.
    offsets : (n_samples + 1,) array
    synaptic_operations, threshold_tests : (n_samples,) arrays
    n_neurons, n_outputs : int
    """

    times: np.ndarray
    neurons: np.ndarray
    offsets: np.ndarray
    synaptic_operations: np.ndarray
    threshold_tests: np.ndarray
    n_neurons: int
    n_outputs: int

    @property
    def samples(self) -> np.ndarray:
        """Sample of every spike."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @property
    def seconds(self) -> np.ndarray:
        """Spike times in seconds."""
        return self.times * 1e-12

    @property
    def counts(self) -> np.ndarray:
        """Spikes per sample and neuron, (n_samples, N)."""
        flat = self.samples * self.n_neurons + self.neurons
        n = len(self.offsets) - 1
        return np.bincount(flat, minlength=n * self.n_neurons).reshape(n, self.n_neurons)

    @property
    def outputs(self) -> np.ndarray:
        """Output spikes, (n_samples, 1, n_out): as of a run of one timestep."""
        return self.counts[:, None, self.n_neurons - self.n_outputs :]

    @property
    def spike_list(self) -> SpikeList:
        """Emitted spikes, ascending in time; all in timestep 0 and forward step 0, as there are none."""
        none = np.zeros(len(self.neurons), np.int64)
        return SpikeList(self.samples, none, none, self.neurons)

    @property
    def counters(self) -> dict[str, np.ndarray]:
        """``spikes``, ``synaptic_operations`` and ``threshold_tests``, (n_samples, 1) each."""
        return {
            "spikes": np.diff(self.offsets)[:, None],
            "synaptic_operations": self.synaptic_operations[:, None],
            "threshold_tests": self.threshold_tests[:, None],
        }

    def latency(self, labels=None) -> Latency:
        """Decision latency to the first output spike, or to the first of the labelled class; no forward steps."""
        output = self.neurons - (self.n_neurons - self.n_outputs)
        samples, n = self.samples, len(self.offsets) - 1
        hit = output >= 0 if labels is None else output == np.asarray(labels)[samples]
        spikes, ms = np.full(n, np.inf), np.full(n, np.inf)
        found, at = np.unique(samples[hit], return_index=True)
        at = np.flatnonzero(hit)[at]
        spikes[found] = at - self.offsets[found] + 1
        ms[found] = self.times[at] * 1e-9
        return Latency(spikes, np.full(n, np.nan), ms)
