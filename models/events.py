"""Events in continuous time to events per time step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from brian2 import Quantity, second
from brian2.units.fundamentalunits import have_same_dimensions
from scipy.sparse import csr_matrix

from ..equations.display import DisplayedFields
from .errors import NetworkError


class TimedEvents(Protocol):
    """Events as they were recorded, sample after sample, such as those of an `EventArchive`.

    Attributes
    ----------
    units, times : (n_events,) arrays of int
        Times in units of `time_unit_us` microseconds, ascending within a sample.
    offsets : (n_samples + 1,) array of int
    n_units : int
    time_unit_us : float
    """

    units: np.ndarray
    times: np.ndarray
    offsets: np.ndarray
    n_units: int
    time_unit_us: float


def checked_timed(events) -> TimedEvents:
    """Return events that have times; refuse others."""
    if isinstance(events, StepEvents):
        raise NetworkError("Binned events have lost their times; pass the event archive that they were made of.")
    missing = [name for name in TimedEvents.__annotations__ if not hasattr(events, name)]
    if missing:
        raise NetworkError(f"{type(events).__name__} is no event archive: it has no {', '.join(missing)}.")
    return events


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

    @classmethod
    def from_dense(cls, counts, dt) -> StepEvents:
        """Events of an array of counts.

        Parameters
        ----------
        counts : (n_samples, n_steps, n_units) array
            Zeros are no events.
        dt : Quantity, second, or float
            Step (seconds, if a number).
        """
        counts = np.asarray(counts)
        if counts.ndim != 3:
            raise NetworkError(f"counts have shape {counts.shape}; expected (n_samples, n_steps, n_units).")
        *shape, n_units = counts.shape
        rows, units = np.nonzero(counts.reshape(-1, n_units))
        ptr = np.searchsorted(rows, np.arange(shape[0] * shape[1] + 1))
        units, values = units.astype(unit_type(n_units)), _compact(counts[counts != 0])
        return cls(ptr, units, values, n_units, shape[1], shape[0], float(dt))

    @classmethod
    def from_triples(cls, samples, steps, units, shape, dt, values=None) -> StepEvents:
        """Events one by one, in any order; equal ones add up.

        Parameters
        ----------
        samples, steps, units : (n,) arrays of int
        shape : (n_samples, n_steps, n_units)
        dt : Quantity, second, or float
            Step (seconds, if a number).
        values : (n,) array, optional
            1 each by default.
        """
        n_samples, n_steps, n_units = shape
        samples, steps, units = places = [np.asarray(a, np.int64).ravel() for a in (samples, steps, units)]
        for name, place, n in zip(("samples", "steps", "units"), places, shape, strict=True):
            bad = np.flatnonzero((place < 0) | (place >= n))
            if len(bad):
                raise NetworkError(f"{name}[{bad[0]}] = {place[bad[0]]}; expected numbers from 0 to {n - 1}.")
        rows = samples * n_steps + steps
        values = np.ones(len(rows), np.float32) if values is None else np.asarray(values, np.float32)
        counts = csr_matrix((values, (rows, units)), shape=(n_samples * n_steps, n_units))
        counts.sum_duplicates()
        ptr, units = counts.indptr.astype(np.int64), counts.indices.astype(unit_type(n_units))
        return cls(ptr, units, _compact(counts.data), n_units, n_steps, n_samples, float(dt))

    @staticmethod
    def concatenate(parts) -> StepEvents:
        """Steps one after the other, sample by sample: what `steps` cut apart."""
        first, *others = parts
        if not others:
            return first
        found = {(p.n_samples, p.n_units, p.dt) for p in parts}
        if len(found) > 1:
            raise NetworkError(f"Parts of (samples, units, dt) {sorted(found)} don't follow each other.")
        sizes = [np.diff(p.ptr).reshape(p.n_samples, p.n_steps) for p in parts]
        pieces = [(p, p.ptr[s * p.n_steps], p.ptr[(s + 1) * p.n_steps]) for s in range(first.n_samples) for p in parts]
        units, values = (
            np.concatenate([getattr(p, name)[begin:end] for p, begin, end in pieces] or [getattr(first, name)])
            for name in ("units", "values")
        )
        n_steps = sum(p.n_steps for p in parts)
        ptr = np.concatenate([[0], np.cumsum(np.concatenate(sizes, axis=1))])
        return StepEvents(ptr, units, values, first.n_units, n_steps, first.n_samples, first.dt)

    def __len__(self):
        return self.n_samples

    @property
    def rows(self) -> np.ndarray:
        """Row ``sample*n_steps + step`` of every event."""
        return np.repeat(np.arange(self.n_samples * self.n_steps), np.diff(self.ptr))

    def steps(self, begin: int, end: int) -> StepEvents:
        """Steps begin .. end - 1 of every sample."""
        begin, end, _ = slice(begin, end).indices(self.n_steps)
        first = np.arange(self.n_samples) * self.n_steps
        lengths = self.ptr[first + end] - self.ptr[first + begin]
        # Place of every event: its number in the result, moved by what was left out before its sample.
        chosen = np.arange(lengths.sum()) + np.repeat(self.ptr[first + begin] - np.cumsum(lengths) + lengths, lengths)
        sizes = np.diff(self.ptr).reshape(self.n_samples, self.n_steps)[:, begin:end]
        ptr = np.concatenate([[0], np.cumsum(sizes)])
        part = self.units[chosen], self.values[chosen]
        return StepEvents(ptr, *part, self.n_units, end - begin, self.n_samples, self.dt)

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
        ptr = self.ptr[sample * self.n_steps : (sample + 1) * self.n_steps + 1]
        part = slice(ptr[0], ptr[-1])
        counts[np.repeat(np.arange(self.n_steps), np.diff(ptr)), self.units[part]] = self.values[part]
        return counts


def bin_events(events, dt, n_steps: int | None = None) -> StepEvents:
    """Sort events into steps of duration `dt`; several events of a unit within a step add up.

    Parameters
    ----------
    events : StepEvents or TimedEvents
        Events already on a grid are returned unchanged if their step fits.
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
    events = checked_timed(events)
    scale = float(events.time_unit_us) * 1e-6 / float(dt)
    if n_steps is None:
        n_steps = int(np.floor(int(events.times.max(initial=0)) * scale + 1e-9)) + 1
    if n_steps < 1:
        raise NetworkError(f"n_steps = {n_steps}: a run needs at least one step.")
    parts, sizes = [], [np.zeros(1, np.int64)]
    kind = unit_type(events.n_units)
    block = max(1, 2_000_000 // max(1, len(events.units) // max(1, len(events.offsets) - 1)))
    for first in range(0, len(events.offsets) - 1, block):  # in blocks: a set has tens of millions of events
        counts = _count(events, first, min(first + block, len(events.offsets) - 1), scale, n_steps)
        parts.append((counts.indices.astype(kind), _compact(counts.data)))
        sizes.append(np.diff(counts.indptr).astype(np.int64))
    units = np.concatenate([p[0] for p in parts]) if parts else np.zeros(0, kind)
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


def unit_type(n_units: int):
    """The smaller of the types in which unit numbers are kept."""
    return np.uint16 if n_units <= 65536 else np.int32


def _compact(counts: np.ndarray) -> np.ndarray:
    """Whole numbers up to 255 as bytes; others as they are."""
    with np.errstate(invalid="ignore"):  # NaN is no byte
        compact = counts.astype(np.uint8)
    return compact if np.array_equal(compact, counts) else counts


def times_of(step_index, dt) -> Quantity:
    """Time of each step as a Quantity."""
    return np.asarray(step_index) * float(dt) * second
