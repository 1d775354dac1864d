"""Every stop rule from one run: a rule that ends a sample cuts the drained run short and changes nothing before.

Random numbers belong to (seed, sample, timestep, forward step), so the spikes up to the stop are those of the drained
run; `tests/figures/test_mismatch.py` compares with the engine's own rules.
"""

from dataclasses import dataclass

import numpy as np

from brian2grad.models.order.tape import TimedResult

NEVER = np.iinfo(np.int64).max


@dataclass
class Spikes:
    """Spikes of a drained run in processing order.

    Attributes
    ----------
    sample, step : (n_spikes,) arrays of int
        Forward steps are counted through all timesteps of the sample. Continuous time has none; spikes at the same
        time are one step there.
    output : (n_spikes,) array of int
        Class of an output spike, -1 of a hidden one.
    ms : (n_spikes,) array
        End of the spike's timestep (continuous time: of the spike itself).
    steps : (n_samples,) array of int
        Forward steps of each sample.
    n_neurons, n_outputs : int
    """

    sample: np.ndarray
    step: np.ndarray
    output: np.ndarray
    ms: np.ndarray
    steps: np.ndarray
    n_neurons: int
    n_outputs: int

    @classmethod
    def of(cls, result, n_outputs: int):
        """Read a run of `AsynchronousNetwork.run` with ``record=True``, or a `TimedResult`."""
        first_output = result.n_neurons - n_outputs
        if isinstance(result, TimedResult):
            sample, neuron, ms = result.samples, result.neurons, result.times * 1e-9
            n, change = len(result.offsets) - 1, np.diff(result.times, prepend=-1) != 0
            change[result.offsets[:-1][np.diff(result.offsets) > 0]] = True
            rank = np.cumsum(change)
            start = np.concatenate([rank, [0]])[np.minimum(result.offsets[:-1], len(rank))]
            step, steps = rank - start[sample], np.bincount(sample, change, n).astype(int)
        else:
            spikes, per_timestep = result.spikes, result.counters["forward_steps"]
            before = per_timestep.cumsum(axis=1) - per_timestep
            sample, neuron = spikes.sample, spikes.neuron
            step = before[sample, spikes.timestep] + spikes.step
            ms, steps = (spikes.timestep + 1) * result.dt * 1e3, per_timestep.sum(axis=1)
        output = np.where(neuron >= first_output, neuron - first_output, -1)
        return cls(sample, step, output, ms, steps, result.n_neurons, n_outputs)

    def first_output(self, labels=None) -> np.ndarray:
        """Step of each sample's first output spike, or of the first of its class; `NEVER` without one."""
        hit = self.output >= 0 if labels is None else self.output == np.asarray(labels)[self.sample]
        return self._first(np.flatnonzero(hit))

    def spent(self, budget: int) -> np.ndarray:
        """Step in which each sample has emitted `budget` spikes; `NEVER` if it never does."""
        starts = np.searchsorted(self.sample, np.arange(len(self.steps)))
        return self._first(np.flatnonzero(np.arange(len(self.sample)) - starts[self.sample] == budget - 1))

    def until(self, ms: float) -> np.ndarray:
        """Last step that is over `ms` milliseconds after the start; -1 if none is."""
        stop = np.full(len(self.steps), -1)
        before = self.ms <= ms + 1e-9
        stop[self.sample[before]] = self.step[before]  # steps ascend: the last one stays
        return stop

    def _first(self, at) -> np.ndarray:
        stop = np.full(len(self.steps), NEVER)
        samples, first = np.unique(self.sample[at], return_index=True)
        stop[samples] = self.step[at[first]]
        return stop

    def stopped(self, stop) -> dict:
        """What is known of each sample after step `stop`.

        Parameters
        ----------
        stop : (n_samples,) array of int
            `NEVER` runs until the queue is empty.

        Returns
        -------
        dict of str to (n_samples,) array
            ``predictions`` (the output with the most spikes; -1 without any), ``spikes``, ``forward_steps`` and
            ``ms`` (of the last spike; infinite if the stop never came).
        """
        n, answers = len(self.steps), self.output >= 0
        answers = np.flatnonzero(answers)[self.step[answers] <= stop[self.sample[answers]]]
        index = self.sample[answers] * self.n_outputs + self.output[answers]
        counts = np.bincount(index, minlength=n * self.n_outputs).reshape(n, self.n_outputs)
        width = int(self.steps.max(initial=0)) + 1  # (sample, step) as one ascending number
        ends = np.searchsorted(
            self.sample * width + self.step, np.arange(n) * width + np.minimum(stop, width - 1), "right"
        )
        spikes = ends - np.searchsorted(self.sample, np.arange(n))
        last = (stop < NEVER) & (spikes > 0)
        return {
            "predictions": np.where(counts.any(axis=1), counts.argmax(axis=1), -1),
            "spikes": spikes,
            "forward_steps": np.minimum(self.steps, np.where(stop < NEVER, stop, NEVER - 1) + 1),
            "ms": np.where(last, self.ms[np.where(last, ends - 1, 0)] if len(self.ms) else np.inf, np.inf),
        }


def further(stop, steps: int) -> np.ndarray:
    """The same stop, `steps` forward steps later."""
    return np.where(stop < NEVER, stop + steps, NEVER)
