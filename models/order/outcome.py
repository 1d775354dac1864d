"""What a run of an asynchronous network leaves behind, whichever engine ran it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ...equations.display import DisplayedFields


@dataclass(frozen=True, repr=False)
class SpikeList(DisplayedFields):
    """Emitted spikes in processing order, arrays of equal length; neurons count from 0 without the input.

    Within a forward step all spikes are simultaneous; they are listed by ascending neuron. In continuous time there is
    one timestep, the sample, and no forward step.
    """

    sample: np.ndarray
    timestep: np.ndarray
    step: np.ndarray
    neuron: np.ndarray

    def __len__(self):
        return len(self.neuron)


@dataclass(frozen=True)
class Latency:
    """How long until an output spike, per sample; infinite where there was none.

    Attributes
    ----------
    spikes : (n_samples,) array
        Network spikes, those of the same forward step included.
    forward_steps : (n_samples,) array
    ms : (n_samples,) array
        End of the timestep, before which its frame is not complete (continuous time: of the spike itself).
    """

    spikes: np.ndarray
    forward_steps: np.ndarray
    ms: np.ndarray


class Outcome(DisplayedFields):
    """Base of `AsynchronousResult`, `TimedResult` and `BrianOutcome`.

    Attributes
    ----------
    outputs : (n_samples, T, n_out) array of int
        Spikes of the output neurons per timestep; in continuous time T is 1.
    spike_list : SpikeList
        Emitted spikes in processing order.
    counters : dict of str to (n_samples, T) array
        ``spikes`` (hidden and output), ``synaptic_operations`` (weights that are not zero, once per delivered source),
        ``forward_steps`` where there are any, and what else an engine counts.
    dt : float
        Length of a timestep in seconds.
    n_neurons : int
    """

    outputs: np.ndarray
    spike_list: SpikeList
    counters: dict[str, np.ndarray]
    dt: float
    n_neurons: int

    @property
    def predictions(self) -> np.ndarray:
        """Class with the most output spikes, (n_samples,); the lower one of equals."""
        return self.outputs.sum(axis=1).argmax(axis=1)

    @property
    def spikes(self) -> SpikeList:
        """The same as `spike_list`."""
        return self.spike_list

    @property
    def forward_steps(self) -> np.ndarray:
        """Forward steps of every timestep, (n_samples, T)."""
        return self.counters["forward_steps"]

    @property
    def counts(self) -> np.ndarray:
        """Spikes per sample, timestep and neuron, (n_samples, T, N)."""
        return self.sparse_counts.toarray().reshape(*self.outputs.shape[:2], self.n_neurons)

    @property
    def sparse_counts(self) -> sparse.csr_array:
        """Spikes per neuron, one row per (sample, timestep)."""
        spikes = self.spike_list
        n_samples, n_steps = self.outputs.shape[:2]
        rows = spikes.sample * n_steps + spikes.timestep
        ones = np.ones(len(rows), np.int32)
        return sparse.csr_array((ones, (rows, spikes.neuron)), shape=(n_samples * n_steps, self.n_neurons))

    def latency(self, labels=None) -> Latency:
        """Decision latency to the first output spike, or to the first of the labelled class.

        Parameters
        ----------
        labels : (n_samples,) array of int, optional
        """
        s, (n, _, n_out) = self.spike_list, self.outputs.shape
        output = s.neuron - (self.n_neurons - n_out)
        hit = output >= 0 if labels is None else output == np.asarray(labels)[s.sample]
        found, at = np.unique(s.sample[hit], return_index=True)
        at = np.flatnonzero(hit)[at]
        ends = np.cumsum(self.forward_steps, axis=1)
        step = (ends - self.forward_steps)[s.sample, s.timestep] + s.step
        values = np.full((3, n), np.inf)
        place = s.sample * (ends.max(initial=0) + 1) + step  # ascending: spikes of the same forward step count too
        values[0, found] = np.searchsorted(place, place[at], "right") - np.searchsorted(s.sample, found)
        values[1, found] = step[at] + 1
        values[2, found] = (s.timestep[at] + 1) * self.dt * 1e3
        return Latency(*values)
