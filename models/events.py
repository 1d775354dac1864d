"""Events in continuous time to events per time step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from brian2 import Quantity, second
from brian2.units.fundamentalunits import have_same_dimensions
from scipy.sparse import csr_matrix

from ..equations.display import DisplayedFields
from .errors import NetworkError


@dataclass(frozen=True, repr=False)
class StepEvents(DisplayedFields):
    """Input of a batch of samples on a time grid, sparse: only units with events are stored.

    Attributes
    ----------
    ptr : (n_samples*n_steps + 1,) array of int64
        Events of sample s, step t are ``ptr[s*n_steps + t] : ptr[s*n_steps + t + 1]``.
    units : (n_events,) array of uint16 or int32
        Ascending within a step.
    values : (n_events,) array of uint8 or float32
        How many events of the unit fell into the step (the smallest type that holds them: a set is kept in memory).
    n_units, n_steps, n_samples : int
    dt : float
        Step in seconds.
    """

    ptr: np.ndarray
    units: np.ndarray
    values: np.ndarray
    n_units: int
    n_steps: int
    n_samples: int
    dt: float

    def __len__(self):
        return self.n_samples

    def take(self, samples) -> StepEvents:
        """Return the chosen samples, in the given order, as a new batch."""
        samples = np.atleast_1d(np.arange(self.n_samples)[samples])
        T = self.n_steps
        begins, ends = self.ptr[samples * T], self.ptr[(samples + 1) * T]
        lengths = ends - begins
        starts = np.concatenate([[0], np.cumsum(lengths)])
        units = np.empty(starts[-1], self.units.dtype)
        values = np.empty(starts[-1], self.values.dtype)
        ptr = np.empty(len(samples) * T + 1, np.int64)
        for row, (sample, begin, end) in enumerate(zip(samples, begins, ends, strict=True)):
            units[starts[row] : starts[row + 1]] = self.units[begin:end]
            values[starts[row] : starts[row + 1]] = self.values[begin:end]
            ptr[row * T : (row + 1) * T] = self.ptr[sample * T : (sample + 1) * T] - begin + starts[row]
        ptr[-1] = starts[-1]
        return StepEvents(ptr, units, values, self.n_units, T, len(samples), self.dt)

    def dense(self, sample: int) -> np.ndarray:
        """Counts of one sample, shape (n_steps, n_units)."""
        counts = np.zeros((self.n_steps, self.n_units))
        for t in range(self.n_steps):
            part = slice(*self.ptr[sample * self.n_steps + t : sample * self.n_steps + t + 2])
            counts[t, self.units[part]] = self.values[part]
        return counts


def bin_events(events, dt, n_steps: int | None = None) -> StepEvents:
    """Sort events into steps of duration `dt`; several events of a unit within a step add up.

    Parameters
    ----------
    events : StepEvents or EventArchive
        An archive has ``units``, ``times`` (in ``time_unit_us`` microseconds), ``offsets`` and ``n_units``. Events
        already on a grid are returned unchanged if their step fits.
    dt : Quantity, second
        Step; event times are rounded down to the grid.
    n_steps : int, optional
        Length of every sample; later events are left out. By default the longest sample decides.

    Returns
    -------
    StepEvents

    Raises
    ------
    NetworkError
        If `dt` is not a positive time or `events` is neither of the two.
    """
    if not have_same_dimensions(dt, second) or not float(dt) > 0:
        raise NetworkError(f"dt = {dt!r} must be a positive time such as 1*ms.")
    if isinstance(events, StepEvents):
        if not math.isclose(events.dt, float(dt), rel_tol=1e-9) or n_steps not in (None, events.n_steps):
            raise NetworkError(
                f"The events are binned to {events.n_steps} steps of {events.dt:g} s; {n_steps} steps of "
                f"{float(dt):g} s were asked for. Bin the original events again."
            )
        return events
    missing = [a for a in ("units", "times", "offsets", "n_units", "time_unit_us") if not hasattr(events, a)]
    if missing:
        raise NetworkError(f"{type(events).__name__} is no event archive: it has no {', '.join(missing)}.")
    scale = float(events.time_unit_us) * 1e-6 / float(dt)
    if n_steps is None:
        n_steps = int(np.floor(int(events.times.max(initial=0)) * scale + 1e-9)) + 1
    if n_steps < 1:
        raise NetworkError(f"n_steps = {n_steps}: a run needs at least one step.")
    parts, sizes = [], [np.zeros(1, np.int64)]
    unit_type = np.uint16 if events.n_units <= 65536 else np.int32
    block = max(1, 2_000_000 // max(1, len(events.units) // max(1, len(events.offsets) - 1)))
    for first in range(0, len(events.offsets) - 1, block):  # in blocks: a set has tens of millions of events
        counts = _count(events, first, min(first + block, len(events.offsets) - 1), scale, n_steps)
        parts.append((counts.indices.astype(unit_type), _compact(counts.data)))
        sizes.append(np.diff(counts.indptr).astype(np.int64))
    units = np.concatenate([p[0] for p in parts]) if parts else np.zeros(0, unit_type)
    values = np.concatenate([p[1] for p in parts]) if parts else np.zeros(0, np.uint8)
    return StepEvents(
        np.cumsum(np.concatenate(sizes)),
        units,
        values,
        int(events.n_units),
        n_steps,
        len(events.offsets) - 1,
        float(dt),
    )


def _count(events, first, last, scale, n_steps) -> csr_matrix:
    """Sparse counts of samples first .. last, one row per (sample, step)."""
    begin, end = int(events.offsets[first]), int(events.offsets[last])
    # 1e-9 of a step keeps a time that lies on the grid on its own side of a rounding error.
    step = np.floor(events.times[begin:end] * scale + 1e-9).astype(np.int64)
    sample = np.repeat(np.arange(last - first), np.diff(events.offsets[first : last + 1]))
    inside = step < n_steps
    rows = (sample * n_steps + step)[inside]
    units = np.asarray(events.units[begin:end])[inside]
    counts = csr_matrix(
        (np.ones(len(rows), np.float32), (rows, units)),
        shape=((last - first) * n_steps, int(events.n_units)),
    )
    counts.sum_duplicates()
    return counts


def _compact(counts: np.ndarray) -> np.ndarray:
    return counts.astype(np.uint8) if counts.max(initial=0) <= 255 else counts


def times_of(step_index, dt) -> Quantity:
    """Time of each step as a Quantity."""
    return np.asarray(step_index) * float(dt) * second
