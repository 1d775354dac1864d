"""Reading a class from a readout signal, at the end and at every step."""

from __future__ import annotations

import numpy as np

from .checks import checked_labels
from .errors import NetworkError


def probabilities(readout: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    # Class by class: reductions over rows of a few numbers are slow.
    raised = np.array(np.moveaxis(readout, -1, 0), np.result_type(readout, np.float32), order="C")
    raised -= raised.max(axis=0)
    np.exp(raised, out=raised)
    raised /= raised.sum(axis=0)
    return np.moveaxis(raised, 0, -1)


def scores(readout: np.ndarray, first: int) -> np.ndarray:
    """Evidence for each class, (n_samples, n_out): softmax of (n_samples, n_steps, n_out) summed from step `first`."""
    return probabilities(readout[:, first:]).sum(axis=1)


def decisions(readout: np.ndarray, first: int) -> np.ndarray:
    """Class of the evidence so far after every step, (n_samples, n_steps); -1 before step `first`."""
    classes = np.full(readout.shape[:2], -1)
    classes[:, first:] = probabilities(readout[:, first:]).cumsum(axis=1).argmax(axis=2)
    return classes


def loss_window(steps: tuple[int, int], labels, weight, first: int, n_out: int):
    """Labels and weight of every step, the weights summing to one over the batch.

    Parameters
    ----------
    steps : (n_samples, n_steps)
    labels : (n_samples,) or (n_samples, n_steps) array of int, or None
        -1 leaves a step out.
    weight : array that broadcasts to `steps`, or None
    first : int
        Steps before it are left out.
    n_out : int
        Classes.

    Returns
    -------
    labels : (n_samples, n_steps) array of int, or None
    weight : (n_samples, n_steps) array

    Raises
    ------
    NetworkError
        If the labels do not fit, or nothing is left.
    """
    if first >= steps[1]:
        raise NetworkError(f"read_from = {first} steps starts after the last of the {steps[1]} steps of a sample.")
    weight = np.ones(steps) if weight is None else np.array(np.broadcast_to(weight, steps), float)
    weight[:, :first] = 0
    if labels is not None:
        labels = checked_labels(labels)
        labels = np.repeat(labels[:, None], steps[1], axis=1) if labels.ndim == 1 else labels
        if labels.shape != steps or labels.max(initial=0) >= n_out:
            raise NetworkError(
                f"labels have shape {labels.shape} and maximum {labels.max(initial=0)}; expected {steps[0]} samples"
                f" (by {steps[1]} steps) and classes below {n_out}."
            )
        weight[labels < 0] = 0
    total = weight.sum()
    if not total > 0:
        raise NetworkError("No step is left for the loss: all weights are zero or all labels masked.")
    return labels, weight / total
