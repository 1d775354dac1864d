"""Events without meaning, for timings."""

from __future__ import annotations

import numpy as np

from brian2grad.models.events import StepEvents


def random_events(n_samples, n_steps, n_units, density, dt=1e-3, seed=0) -> StepEvents:
    """Independent events with the given chance per unit and step."""
    rng = np.random.default_rng(seed)
    counts, units = [], []
    for first in range(0, n_samples * n_steps, 4096):  # in pieces: the whole chart of chances would not fit in memory
        rows = min(4096, n_samples * n_steps - first)
        row, unit = np.nonzero(rng.random((rows, n_units), np.float32) < density)
        counts.append(np.bincount(row, minlength=rows))
        units.append(unit.astype(np.uint16))
    ptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    units = np.concatenate(units)
    return StepEvents(ptr, units, np.ones(len(units), np.uint8), n_units, n_steps, n_samples, dt)


def dense(events: StepEvents) -> np.ndarray:
    """Counts of a batch in single precision, shape (n_steps, n_samples, n_units)."""
    B, T = events.n_samples, events.n_steps
    rows = np.repeat(np.arange(B * T), np.diff(events.ptr))
    x = np.zeros((T, B, events.n_units), np.float32)
    x[rows % T, rows // T, events.units] = events.values
    return x
