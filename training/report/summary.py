"""What a page says about a run: numbers of an evaluation that are not in its report."""

from __future__ import annotations

import numpy as np

# Horowitz 2014 (ISSCC), 45 nm, 32-bit floating point: an addition, and a multiplication with its addition.
ADDITION, MULTIPLICATION = 0.9e-12, 4.6e-12  # joule


def confusion(labels, predictions, n_classes: int) -> np.ndarray:
    """How often each class was answered by each, (n_classes, n_classes + 1); the last column counts no answer.

    Parameters
    ----------
    labels, predictions : arrays of int of one shape
        Labels below zero are left out.
    """
    labels, predictions = np.ravel(labels), np.ravel(predictions)
    asked = labels >= 0
    answers = np.where((predictions >= 0) & (predictions < n_classes), predictions, n_classes)
    table = np.zeros((n_classes, n_classes + 1), np.int64)
    np.add.at(table, (labels[asked], answers[asked]), 1)
    return table


def confused(table) -> list[tuple[int, int, int]]:
    """Wrong answers as (class, answer, how often), the most frequent first; an answer -1 is none."""
    wrong = np.array(table)
    n = len(wrong)
    wrong[np.arange(n), np.arange(n)] = 0
    order = np.argsort(-wrong, axis=None, kind="stable")
    pairs = [tuple(map(int, divmod(flat, n + 1))) for flat in order if wrong.flat[flat]]
    return [(label, -1 if answer == n else answer, int(wrong[label, answer])) for label, answer in pairs]


def worst_samples(labels, predictions, table, most: int = 3) -> list[int]:
    """Samples to look at: one of each of the most frequent confusions, then others that are wrong, in order."""
    if np.ndim(labels) > 1:  # every step has a label: those with the most wrong steps
        wrong = ((labels != predictions) & (labels >= 0)).sum(axis=1)
        return [int(k) for k in np.argsort(-wrong, kind="stable")[:most] if wrong[k]]
    chosen: list[int] = []
    for label, answer, _ in confused(table):
        fits = (labels == label) & ((predictions == answer) if answer >= 0 else (predictions < 0))
        chosen += [int(k) for k in np.flatnonzero(fits)[:1]]
    chosen += [int(k) for k in np.flatnonzero(labels != predictions) if k not in chosen]
    return chosen[:most]


def differing(configs: list[dict]) -> list[tuple[str, list[str]]]:
    """Entries in which configurations differ, as (section.entry, one text per configuration)."""
    flat = [dict(_entries(config)) for config in configs]
    names = dict.fromkeys(name for entries in flat for name in entries)
    rows = [(name, [str(entries.get(name, "not set")) for entries in flat]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _entries(config: dict, prefix: str = ""):
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _entries(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def energy(report: dict) -> dict[str, float]:
    """Estimated energy per sample in joule: additions of the network, and of a dense network at as many operations."""
    return {
        "spiking": report["synaptic_operations"] * ADDITION,
        "multiplying": report["synaptic_operations"] * MULTIPLICATION,
    }
