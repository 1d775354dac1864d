"""What is asked of a classifier's outputs, as values that a recipe can hold; the losses themselves are in `losses`.

The gradients of both are exact. What is not, the spikes that silent neurons should have, is a term of its own: `wake`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from brian2 import ms

from ..errors import TrainingError
from .losses import FirstSpikeCrossEntropy, MaxCrossEntropy


@dataclass(frozen=True)
class Goal:
    """What every goal has besides its own numbers.

    Attributes
    ----------
    activity : float
        Must be 0: the number of spikes has no derivative.
    wake : float
        Not exact: weight with which a neuron that spikes too rarely pulls at the weights that excite it, as if its mean
        spike count grew by one per unit of weight. 0 leaves silent neurons silent, as the exact gradient does. An
        output without spikes counts as one that spikes in each sample of its class in which it rises.
    rate : float
        Spikes per sample below which `wake` acts.
    """

    activity: float = 0.0
    wake: float = 0.0
    rate: float = 0.1

    def __post_init__(self):
        if self.activity:
            raise TrainingError(
                f"activity = {self.activity}: the number of spikes has no derivative; use 0 with exact gradients."
            )
        for name in ("wake", "rate"):
            if not getattr(self, name) >= 0:
                raise TrainingError(f"{name} = {getattr(self, name)} must not be negative.")


@dataclass(frozen=True)
class FirstSpike(Goal):
    """Cross entropy of the first spike times: the class is the output that spikes first; see `FirstSpikeCrossEntropy`.

    Attributes
    ----------
    tau0_ms : float
        Time scale of the softmax.
    alpha, tau1_ms : float
        Weight and time scale of the penalty on a late correct spike.
    activity, wake, rate : float
        See `Goal`.

    """

    name: ClassVar[str] = "first-spike"
    tau0_ms: float = 0.5
    alpha: float = 3e-3
    tau1_ms: float = 6.4

    def __post_init__(self):
        super().__post_init__()
        for name in ("tau0_ms", "tau1_ms"):
            if not getattr(self, name) > 0:
                raise TrainingError(f"{name} = {getattr(self, name)} must be positive.")

    def loss(self, outputs, readout: str) -> FirstSpikeCrossEntropy:
        """The loss of a group's first spikes."""
        return FirstSpikeCrossEntropy(outputs, 0, self.tau0_ms * ms, self.alpha, self.tau1_ms * ms)


@dataclass(frozen=True)
class HighestPotential(Goal):
    """Cross entropy of the largest potential that every output reaches over time; see `MaxCrossEntropy`.

    Attributes
    ----------
    gain : float
        Factor of the potentials before the softmax, in the inverse of their SI unit.
    activity, wake, rate : float
        See `Goal`.

    References
    ----------
    Nowotny, Turner & Knight 2022, arXiv 2212.01232; Wunderlich & Pehle 2021, doi:10.1038/s41598-021-91786-z
    """

    name: ClassVar[str] = "max-over-time"
    gain: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if not self.gain > 0:
            raise TrainingError(f"gain = {self.gain} must be positive.")

    def loss(self, outputs, readout: str) -> MaxCrossEntropy:
        """The loss of a group's largest potentials."""
        return MaxCrossEntropy(readout, outputs, scale=1 / self.gain)


GOALS = {kind.name: kind for kind in (FirstSpike, HighestPotential)}
