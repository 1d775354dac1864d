"""Spikes of many samples in three flat arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import NetworkError


@dataclass(frozen=True)
class SampleSpikes:
    """Spikes, sample after sample.

    Parameters
    ----------
    neurons : (n_spikes,) int array
    times : (n_spikes,) array
        Seconds.
    offsets : (n_samples + 1,) int array
        Sample s holds the spikes ``offsets[s] : offsets[s + 1]``.
    """

    neurons: np.ndarray
    times: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, samples) -> SampleSpikes:
        """From a list of ``(neurons, times)`` pairs, one per sample."""
        pairs = [(np.asarray(n, int), np.asarray(t, float)) for n, t in samples]
        sizes = [len(n) for n, _ in pairs]
        return cls(
            np.concatenate([n for n, _ in pairs]) if pairs else np.zeros(0, int),
            np.concatenate([t for _, t in pairs]) if pairs else np.zeros(0),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        )

    @property
    def n_samples(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """Neurons and times of one sample."""
        if not 0 <= sample < self.n_samples:
            raise IndexError(sample)
        a, b = self.offsets[sample], self.offsets[sample + 1]
        return self.neurons[a:b], self.times[a:b]

    def check(self, name: str, n_neurons: int) -> None:
        """Refuse what is no list of spikes of `n_neurons` neurons.

        Raises
        ------
        NetworkError
            With the name and the first wrong entry.
        """
        if not isinstance(self, SampleSpikes):
            raise NetworkError(f"{name} is {type(self).__name__}; give SampleSpikes, such as SampleSpikes.of([...]).")
        for what, kinds in (("neurons", "iu"), ("times", "f"), ("offsets", "iu")):
            array = np.asarray(getattr(self, what))
            if array.ndim != 1 or (array.dtype.kind not in kinds and array.size):
                kind = "seconds" if kinds == "f" else "whole numbers"
                raise NetworkError(
                    f"{name}: {what} have type {array.dtype} and {array.ndim} dimensions; expected a list of {kind}."
                )
        offsets = np.asarray(self.offsets)
        first, last = offsets[:1].tolist(), offsets[-1:].tolist()
        if first != [0] or not [len(self.neurons)] == [len(self.times)] == last:
            raise NetworkError(
                f"{name}: {len(self.neurons)} neurons, {len(self.times)} times and offsets from {first} to {last}; "
                "expected as many of each."
            )
        neurons, times = np.asarray(self.neurons), np.asarray(self.times)
        bad = np.flatnonzero((neurons < 0) | (neurons >= n_neurons))
        if len(bad):
            raise NetworkError(
                f"{name}: spike {bad[0]} is of neuron {self.neurons[bad[0]]}; expected 0 to {n_neurons - 1}."
            )
        bad = np.flatnonzero(~(np.isfinite(times) & (times >= 0)))
        if len(bad):
            raise NetworkError(f"{name}: spike {bad[0]} is at {self.times[bad[0]]} s; expected a time from 0 on.")
