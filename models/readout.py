"""Reading a class from a readout signal, at the end and at every step."""

from __future__ import annotations

import numpy as np


def probabilities(readout: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    shifted = np.exp(readout - readout.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def scores(readout: np.ndarray, first: int) -> np.ndarray:
    """Evidence for each class, (n_samples, n_out): softmax of (n_samples, n_steps, n_out) summed from step `first`."""
    return probabilities(readout[:, first:]).sum(axis=1)


def decisions(readout: np.ndarray, first: int) -> np.ndarray:
    """Class of the evidence so far after every step, (n_samples, n_steps); -1 before step `first`."""
    classes = np.full(readout.shape[:2], -1)
    classes[:, first:] = probabilities(readout[:, first:]).cumsum(axis=1).argmax(axis=2)
    return classes
