"""What Brian 2 leaves of a run of a SpikingGamma network."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ....equations.display import DisplayedFields


@dataclass(repr=False)
class BrianRun(DisplayedFields):
    """What Brian 2 computed.

    Attributes
    ----------
    spikes : list over samples of list over hidden layers of (steps, units)
        Step index and neuron of every spike.
    counts : list over samples of list over hidden layers of int
        Spikes (an event of a neuron that may spike several times a step counts as many).
    readout : (n_samples, n_steps, n_out) array
    signals, estimates : list over hidden layers of (n_samples, n_steps, n) arrays, or None
        Internal signal y and decoded estimate yhat after every step.
    buckets : list over layers of (n_samples, n_steps, K, n) arrays, or None
    device : str
    compilations : int
        C++ compilations (C++ standalone).
    seconds : float
        Time of the runs without building; in C++ standalone of the simulation loops, summed over the processes.
    failed : dict of int to str
        Samples without a result in C++ standalone, and why; their readout is NaN.
    """

    device: str
    spikes: list = field(default_factory=list)
    counts: list = field(default_factory=list)
    readout: np.ndarray | None = None
    signals: list | None = None
    estimates: list | None = None
    buckets: list | None = None
    compilations: int = 0
    seconds: float = 0.0
    failed: dict[int, str] = field(default_factory=dict)

    @property
    def spike_counts(self) -> np.ndarray:
        """Spikes per sample and hidden layer, (n_samples, n_hidden_layers)."""
        return np.array(self.counts)
