"""What training, evaluation and the command line rely on: three small protocols, and what a network has by default."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from .events import StepEvents
from .gradients import Gradient
from .parameters import ParameterInfo, constrain


class Runs(Protocol):
    """A network that answers."""

    def forward(self, events, **options):
        """What the outputs did, for every sample and timestep."""

    def predict(self, events, **options) -> np.ndarray:
        """Class of every sample, (n_samples,)."""

    def score(self, events, labels=None, **options) -> float:
        """Fraction of samples whose class is predicted."""

    def brian2(self, events, **options):
        """The same run in Brian 2."""


class Learns(Protocol):
    """A network that training can change.

    Attributes
    ----------
    parameters : dict of str to array
        Changed in place by an optimiser; runs and gradients see it.
    info : dict of str to ParameterInfo
        Of the same names.
    gradients_accepted, goals_accepted : tuple of type
        What `gradients` takes, the default first.
    theta : tuple of float or None
        Thresholds that a schedule may change; ``None`` where there are none.
    n_spiking : int
        Neurons over which spikes are averaged.
    """

    parameters: dict[str, np.ndarray]
    info: dict[str, ParameterInfo]
    gradients_accepted: tuple[type, ...]
    goals_accepted: tuple[type, ...]
    theta: tuple[float, ...] | None
    n_spiking: int

    def initialise(self, draw: Callable[[int], StepEvents]) -> None:
        """Begin a training; `draw` gives so many random samples of the data."""

    def begin(self, iteration: int, progress: float) -> None:
        """Begin a batch; all that is drawn for it may depend on the iteration only, so that a training can resume."""

    def gradients(self, events, labels=None, *, goal=None, rule=None) -> Iterator[Gradient]:
        """Gradients of a batch, for an update after each."""

    def constrain(self) -> None:
        """Put parameters back into their range after an update."""

    def hits(self, outputs: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
        """Correct answers, and answers asked for."""


class Stored(Protocol):
    """A network that can be written to a file and read again."""

    def config(self) -> dict:
        """Constructor arguments as plain numbers."""

    def save(self, path) -> None:
        """Write it."""

    @classmethod
    def load(cls, path, **overrides):
        """Read it."""


class Learner:
    """Defaults of `Learns`: nothing to initialise, nothing drawn per batch, ranges as `info` says."""

    theta: tuple[float, ...] | None = None

    def initialise(self, draw: Callable[[int], StepEvents]) -> None:
        """Begin a training: nothing to do."""

    def begin(self, iteration: int, progress: float) -> None:
        """Begin a batch: nothing to do."""

    def constrain(self) -> None:
        """Put parameters back into their range after an update."""
        constrain(self.parameters, self.info)


class StandIn:
    """A network that learns in another way; everything but that is the network's own.

    Parameters
    ----------
    network : Learns
    """

    def __init__(self, network):
        self.network = network

    def __getattr__(self, name):
        if name == "network":  # of a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self.network, name)

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The network's own; an optimiser changes them in place."""
        return self.network.parameters

    @parameters.setter
    def parameters(self, value):
        self.network.parameters = value

    @property
    def theta(self) -> tuple[float, ...] | None:
        """Thresholds, which a schedule may change."""
        return self.network.theta

    @theta.setter
    def theta(self, value):
        self.network.theta = value
