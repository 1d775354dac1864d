"""What is said of a training that goes nowhere, and what to try."""

from __future__ import annotations

import numpy as np

PATIENCE = 5  # epochs at chance before a word is said: a network may well begin there


class NothingLearned(UserWarning):
    """A training shows no sign of learning."""


def trouble(records: list[dict], labels, n_classes: int, spiking: int) -> str | None:
    """What is wrong with a training so far, and what to try; ``None`` if nothing is.

    Parameters
    ----------
    records : list of dict
        One per finished epoch, see `train`.
    labels : array of int
        Of the training samples, or of their steps; those below zero are not asked.
    n_classes : int
    spiking : int
        Neurons that may spike; a network without any is not blamed for silence.
    """
    if not records:
        return None
    if spiking and records[-1]["spikes_per_neuron"] == 0:
        return (
            f"no neuron spikes after epoch {records[-1]['epoch']}: nothing is learned from silence. Lower the "
            "threshold (theta, V_th), start from larger weights, or check that the events fit the time step."
        )
    asked = max(1, int((np.asarray(labels) >= 0).sum()))
    chance = 1 / max(n_classes, 1)
    limit = chance + 2 * np.sqrt(chance * (1 - chance) / asked)
    late = records[-PATIENCE:]
    falls = records[-1]["loss"] < 0.98 * records[0]["loss"]  # slow, but on its way
    if (
        not falls
        and len(late) == PATIENCE
        and n_classes > 1
        and all(record["train_accuracy"] <= limit for record in late)
    ):
        return (
            f"nothing is learned: {PATIENCE} epochs at chance level ({chance:.0%}). Try another learning rate (ten "
            "times as much, a tenth), more time that the network remembers (K, tau), a smaller threshold, or look at "
            "the data: do the labels belong to their samples?"
        )
    return None
