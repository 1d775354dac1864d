"""What is asked of the readout at every step, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross entropy of every step.

    Attributes
    ----------
    activity : float
        Weight of the mean signal of the hidden neurons, a penalty added to the loss.
    """

    name: ClassVar[str] = "cross_entropy"
    activity: float = 0.0

    def arguments(self, labels, n_steps: int, n_out: int) -> dict:
        """Arguments of `SpikingGammaNetwork.gradient` for labels (n_samples,) or (n_samples, n_steps); -1 is none."""
        return {"labels": labels}


@dataclass(frozen=True)
class SquaredError:
    """Squared error of every step against the one-hot label. `activity` as in `CrossEntropy`."""

    name: ClassVar[str] = "squared_error"
    activity: float = 0.0

    def arguments(self, labels, n_steps: int, n_out: int) -> dict:
        """As of `CrossEntropy`."""
        labels = np.asarray(labels)
        full = np.repeat(labels[:, None], n_steps, axis=1) if labels.ndim == 1 else labels
        one_hot = np.eye(n_out)[np.maximum(full, 0)]
        return {"targets": one_hot, "weight": (full >= 0).astype(float), "loss": self.name}


GOALS = {kind.name: kind for kind in (CrossEntropy, SquaredError)}
