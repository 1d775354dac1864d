"""Events in continuous time to events per time step."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol

import numpy as np
from brian2 import Quantity, second
from brian2.units.fundamentalunits import have_same_dimensions
from scipy.sparse import csr_matrix

from ..equations.display import DisplayedFields
from .checks import checked_number
from .errors import NetworkError

LATE = 10.0  # seconds of silence after which the origin of the times is doubted
MOST_ROWS = 2**29  # samples times steps: what says where each begins takes 4 GiB


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


class EventsLeftOut(UserWarning):
    """Some events lie after the end of their sample and are not run."""


def checked_timed(events) -> TimedEvents:
    """Return events that have times, or one error: what is missing, malformed, or counted from another origin."""
    if isinstance(events, StepEvents):
        raise NetworkError("Binned events have lost their times; pass the event archive that they were made of.")
    missing = [name for name in TimedEvents.__annotations__ if not hasattr(events, name)]
    if missing:
        raise NetworkError(f"{type(events).__name__} is no event archive: it has no {', '.join(missing)}.")
    units, times, offsets = map(np.asarray, (events.units, events.times, events.offsets))
    for name, array in (("units", units), ("times", times), ("offsets", offsets)):
        if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
            raise NetworkError(f"{name} have type {array.dtype}, shape {array.shape}; expected whole numbers in a row.")
    if len(units) != len(times):
        raise NetworkError(f"There are {len(units)} units and {len(times)} times; expected one time per event.")
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(units) or (offsets[1:] < offsets[:-1]).any():
        raise NetworkError(f"offsets = {offsets}; expected them to ascend from 0 to the {len(units)} events.")
    for name, array, end in (("units", units, int(events.n_units)), ("times", times, None)):
        if array.size and (array.min() < 0 or (end is not None and array.max() >= end)):
            at = int(np.flatnonzero((array < 0) | (array >= (array.max() + 1 if end is None else end)))[0])
            raise NetworkError(
                f"{name}[{at}] = {array[at]}; expected numbers from 0" + (f" to {end - 1}." if end else ".")
            )
    _check_origin(times, offsets, float(events.time_unit_us) * 1e-6)
    return events


def _check_origin(times, offsets, unit: float) -> None:
    """Refuse times since 1970 or since a device was switched on: a sample would begin with an endless silence."""
    begins, ends = (edges[np.diff(offsets) > 0] for edges in (offsets[:-1], offsets[1:] - 1))
    first, last = (times[edges].astype(float) * unit for edges in (begins, ends))
    late = first > max(LATE, 10 * (last - first).max(initial=0))
    if late.any():
        sample = int(np.flatnonzero(np.diff(offsets) > 0)[np.argmax(late)])
        raise NetworkError(
            f"The times of sample {sample} start at {first[late][0]:g} s, as if they counted from another origin; "
            "subtract the first time of each sample: times - np.repeat(times[offsets[:-1]], np.diff(offsets)), or use "
            "--zero-time."
        )


@dataclass(frozen=True, repr=False)
class StepEvents(DisplayedFields):
    """Input of a batch of samples on a time grid, sparse: only units with events are stored.

    Attributes
    ----------
    ptr : (n_samples*n_steps + 1,) array of int64
        Events of sample s, step t are ``ptr[s*n_steps + t] : ptr[s*n_steps + t + 1]``.
    units : (n_events,) array of uint16 or int32
        Ascending within a step.
    values : (n_events,) array of uint8, float32 or another number type
        How many events of the unit fell into the step (the smallest type that holds them: a set is kept in memory), or
        any finite number: every network takes it as a factor of the unit's weights, with its sign. Zero is no event,
        several entries of a unit in one step add up: see `summed`.
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

    def __post_init__(self):
        for name in ("ptr", "units", "values"):
            if not isinstance(getattr(self, name), np.ndarray):
                object.__setattr__(self, name, np.asarray(getattr(self, name)))
        for name, least in (("n_units", 1), ("n_steps", 0), ("n_samples", 0)):
            checked_number(f"{name} of the events", getattr(self, name), least, whole=True)

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
        values = np.ones(len(units), np.float32) if values is None else np.asarray(values)
        return cls(*_sums(samples * n_steps + steps, units, values, shape), n_units, n_steps, n_samples, float(dt))

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

    def summed(self) -> StepEvents:
        """The same input with one entry per step and unit, none of them zero: what all engines and Brian 2 run.

        Malformed events are returned as they are: the boundary of the engines says what is wrong with them.
        """
        ptr, units, values = self.ptr, self.units, self.values
        if {ptr.dtype.kind, units.dtype.kind} - {"i", "u"} or ptr.shape != (self.n_samples * self.n_steps + 1,):
            return self
        repeats = units[1:] <= units[:-1]
        starts = ptr[1:-1]
        repeats[starts[(starts > 0) & (starts <= len(repeats))] - 1] = False  # from one step to the next
        if np.count_nonzero(values) == len(values) and not repeats.any():
            return self
        fine = ptr[0] == 0 and ptr[-1] == len(units) == len(values) and (ptr[1:] >= ptr[:-1]).all()
        if not (fine and np.isfinite(values).all() and units.min() >= 0 and units.max() < self.n_units):
            return self
        ptr, units, values = _sums(self.rows, units, values, (self.n_samples, self.n_steps, self.n_units))
        return replace(self, ptr=ptr, units=units, values=values)

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
        np.add.at(counts, (np.repeat(np.arange(self.n_steps), np.diff(ptr)), self.units[part]), self.values[part])
        return counts


def bin_events(events, dt, n_steps: int | None = None) -> StepEvents:
    """Sort events into steps of duration `dt`; several events of a unit within a step add up.

    Parameters
    ----------
    events : StepEvents or TimedEvents
        Events already on a grid are taken as they are, with one entry per step and unit, if their step fits.
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
        If `dt` is not a positive time, or `events` is neither of the two, malformed, or starts long after 0.

    Warns
    -----
    EventsLeftOut
        If events lie after `n_steps`: how many.

    Notes
    -----
    Where dt is a multiple or a simple fraction of the time unit, steps are computed in whole numbers, exact up to 2^53.
    """
    if not have_same_dimensions(dt, second) or not float(dt) > 0:
        raise NetworkError(f"dt = {dt!r} must be a positive time such as 1*ms.")
    if isinstance(events, StepEvents):
        if not math.isclose(events.dt, float(dt), rel_tol=1e-9) or n_steps not in (None, events.n_steps):
            raise NetworkError(
                f"The events are binned to {events.n_steps} steps of {events.dt:g} s; {n_steps} steps of "
                f"{float(dt):g} s were asked for. Bin the original events again."
            )
        return events.summed()
    events = checked_timed(events)
    grid = _Grid(events.time_unit_us, dt)
    if n_steps is None:
        n_steps = int(grid(np.asarray(events.times).max(initial=0, keepdims=True))[0]) + 1
    n_samples = len(events.offsets) - 1
    if n_steps < 1:
        raise NetworkError(f"n_steps = {n_steps}: a run needs at least one step.")
    if n_samples * n_steps > MOST_ROWS:
        raise NetworkError(f"{n_samples} samples of {n_steps} steps are too many; choose a longer dt or fewer n_steps.")
    parts, sizes = [], [np.zeros(1, np.int64)]
    kind = unit_type(events.n_units)
    block = max(1, 2_000_000 // max(1, len(events.units) // max(1, n_samples)))
    for first in range(0, n_samples, block):  # in blocks: a set has tens of millions of events
        counts = _count(events, first, min(first + block, n_samples), grid, n_steps)
        parts.append((counts.indices.astype(kind), _compact(counts.data)))
        sizes.append(np.diff(counts.indptr).astype(np.int64))
    units = np.concatenate([p[0] for p in parts]) if parts else np.zeros(0, kind)
    values = np.concatenate([p[1] for p in parts]) if parts else np.zeros(0, np.uint8)
    left = len(events.units) - int(values.sum(dtype=np.int64))
    if left:
        text = f"{left} of {len(events.units)} events lie after the end of their sample at {n_steps * float(dt):g} s"
        warnings.warn(f"{text} and are left out.", EventsLeftOut, stacklevel=2)
    ptr = np.cumsum(np.concatenate(sizes))
    return StepEvents(ptr, units, values, int(events.n_units), n_steps, n_samples, float(dt))


class _Grid:
    """Step of a time: floor(time*q/p) in whole numbers, where dt/unit is a fraction p/q; else rounded."""

    def __init__(self, time_unit_us, dt):
        self.ratio = float(dt) * 1e6 / float(time_unit_us)
        large = Fraction(max(self.ratio, 1 / self.ratio))
        near = [large.limit_denominator(most) for most in (1, 1000, 10**6)]
        exact = next((f for f in near if abs(float(f / large) - 1) < 1e-15), None)  # simplest first
        self.p = self.q = 0
        if exact is not None and exact.numerator * exact.denominator < 2**62:
            self.p, self.q = exact.as_integer_ratio() if self.ratio >= 1 else (1 / exact).as_integer_ratio()

    def __call__(self, times: np.ndarray) -> np.ndarray:
        if not self.p:
            return np.floor(times / self.ratio + 1e-9).astype(np.int64)
        whole, rest = np.divmod(times.astype(np.int64), self.p)
        return whole * self.q + rest * self.q // self.p


def _count(events, first, last, grid, n_steps) -> csr_matrix:
    """Sparse counts of samples first .. last, one row per (sample, step)."""
    begin, end = int(events.offsets[first]), int(events.offsets[last])
    step = grid(np.asarray(events.times[begin:end]))
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


def _sums(rows, units, values, shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``ptr``, ``units`` and ``values`` of entries in any order; those of a row and unit add up, zeros are left out."""
    n_samples, n_steps, n_units = shape
    values = values.astype(np.float32 if values.dtype in (np.float32, np.uint8) else float)
    counts = csr_matrix((values, (rows, units)), shape=(n_samples * n_steps, n_units))
    counts.sum_duplicates()
    counts.eliminate_zeros()
    return counts.indptr.astype(np.int64), counts.indices.astype(unit_type(n_units)), _compact(counts.data)


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
