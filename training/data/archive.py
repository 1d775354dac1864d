"""Event archives: labelled recordings as flat arrays of units and times."""

import dataclasses
import hashlib
import numbers
from functools import cached_property
from pathlib import Path

import numpy as np
from brian2 import Quantity, second
from brian2.units.fundamentalunits import fail_for_dimension_mismatch

from ...equations.display import Displayed
from .checks import check_events
from .errors import DataError, field_error
from .fields import Field, Problems
from .storage import write_npz

__all__ = ["EXTRA", "FIELDS", "EventArchive"]

FIELDS = {
    "n_units": Field("int64", 0, 1, 2**16),
    "time_unit_us": Field("float64", 0, 1e-6, 1e9),
    "units": Field("uint16"),
    "times": Field("unsigned", most=2**63 - 1),
    "offsets": Field("int64", least=0),
    "labels": Field("uint8"),
    "labels_per_step": Field("uint8", 2, required=False),
}
# What readers know besides: it says which samples to hold out, and a file without it is as good.
EXTRA = {
    "speaker": Field("text", required=False, lenient=True),
    "take": Field("int64", required=False, lenient=True),
    "source_index": Field("int64", required=False, lenient=True),
}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class EventArchive(Displayed):
    """Hold labelled event recordings, sample after sample, in flat arrays.

    Parameters
    ----------
    units : (n_events,) uint16 array
        Which input unit fired. Here and below other integers that fit are taken.
    times : (n_events,) unsigned integer array
        When, in units of `time_unit_us`, sorted within each sample.
    offsets : (n_samples + 1,) int64 array
        Sample ``k`` is ``units[offsets[k]:offsets[k + 1]]``.
    labels : (n_samples,) uint8 array
        Class of each sample.
    n_units : int
        Number of input units, at most 65536.
    time_unit_us : int or float, microseconds
        Length of one time unit.
    labels_per_step : (n_samples, n_steps) integer array, optional
        A class for every step of data labelled in time.
    name : str, optional
        Names the archive in messages.
    extra : dict, optional
        More arrays with one entry for each sample, such as ``speaker``.

    Raises
    ------
    DataError
        If the arrays contradict each other; the message names field and first bad index.
    """

    units: np.ndarray
    times: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    n_units: int
    time_unit_us: float
    labels_per_step: np.ndarray | None = None
    name: str = ""
    extra: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self._check(self.name or "event archive")

    def _check(self, where):
        for name in FIELDS.keys() & self.extra.keys():
            raise DataError(f"{where}: extra '{name}' has the name of a field; rename it")
        problems = Problems(where)
        problems.keep(self, FIELDS)
        arrays = (self.units, self.times, self.offsets, self.labels)
        check_events(problems, *arrays, self.n_units, self.labels_per_step, self.extra)
        problems.stop()

    @classmethod
    def _unchecked(cls, **fields):
        # Mini-batches are cut from a checked archive: checking each again would cost more than cutting it.
        archive = object.__new__(cls)
        for field in dataclasses.fields(cls):
            object.__setattr__(archive, field.name, fields[field.name])
        return archive

    @classmethod
    def from_fields(cls, fields, where, name="", extra=None):
        """Build an archive from a file's fields, with the file's path in every error message."""
        given = {field: fields.get(field) for field in FIELDS}
        archive = cls._unchecked(**given, name=name, extra=dict(extra or {}))
        archive._check(where)
        return archive

    @classmethod
    def from_samples(cls, samples, labels, n_units, time_unit_us, **more):
        """Join single recordings.

        Parameters
        ----------
        samples : sequence of (units, times)
            Two integer arrays for each recording.
        labels : (n_samples,) integer array
        n_units : int
        time_unit_us : int or float, microseconds
        **more
            `labels_per_step`, `name`, `extra`.

        Returns
        -------
        EventArchive

        Raises
        ------
        DataError
            If a value doesn't fit its type, or as in the constructor.
        """
        where = more.get("name") or "event archive"
        n_events = []
        for k, (units, times) in enumerate(samples):
            if len(units) != len(times):
                raise DataError(f"{where}: sample {k} has {len(units)} units but {len(times)} times")
            n_events.append(len(units))
        offsets = np.concatenate([[0], np.cumsum(n_events)]).astype(np.int64)
        units = _joined(where, "units", [s[0] for s in samples], np.uint16)
        times = _joined(where, "times", [s[1] for s in samples], np.uint32)
        labels = _joined(where, "labels", [labels], np.uint8)
        return cls(units, times, offsets, labels, n_units, time_unit_us, **more)

    @classmethod
    def from_monitor(cls, monitor, labels, duration, *, start=0 * second, **more):
        """Cut the spikes of a Brian 2 run into samples of equal length, one after the other.

        Parameters
        ----------
        monitor : SpikeMonitor
            Recorded all neurons of its source; these become the units, and the clock's step the time unit.
        labels : (n_samples,) integer array
        duration : Quantity, second
            Of one sample: a whole number of the clock's steps.
        start : Quantity, second
            Where the first sample begins; what was recorded before is left out.
        **more
            `labels_per_step`, `name`, `extra`.

        Returns
        -------
        EventArchive

        Raises
        ------
        DataError
            If a spike lies behind the last sample, or `duration` or `start` is no whole number of steps.
        """
        where, dt = more.get("name") or "event archive", float(monitor.clock.dt)
        begin, length = (_whole_steps(where, *item, dt) for item in (("start", start), ("duration", duration)))
        if length < 1:
            raise DataError(f"{where}: duration = {duration}; it must be positive")
        steps = np.rint(np.asarray(monitor.t_) / dt).astype(np.int64) - begin
        kept = steps >= 0
        units, (sample, step) = np.asarray(monitor.i)[kept], np.divmod(steps[kept], length)
        n_samples, late = len(labels), int(sample.max(initial=-1))
        if late >= n_samples:
            raise DataError(
                f"{where}: a spike lies in sample {late} of {duration} each, but there are {n_samples} labels; give "
                "one label per sample"
            )
        edges = np.searchsorted(sample, np.arange(n_samples + 1))
        samples = [(units[a:b], step[a:b]) for a, b in zip(edges[:-1], edges[1:], strict=True)]
        return cls.from_samples(samples, labels, len(monitor.source), round(dt * 1e6, 9), **more)

    def __len__(self):
        return len(self.labels)

    @property
    def n_samples(self) -> int:
        """Number of recordings."""
        return len(self)

    def take(self, samples):
        """Return some of the samples as an archive, as ``archive[samples]`` does."""
        return self[samples]

    def summary(self) -> dict:
        """Sizes of the archive."""
        steps = self.labels_per_step
        return {
            "name": self.name,
            "samples": len(self),
            "classes": self.n_classes,
            "units": self.n_units,
            "events": f"{len(self.units)} ({len(self.units) / max(1, len(self)):.1f} per sample)",
            "duration": f"{self.duration}, in units of {self.time_unit_us:g} us",
            "labels": None if steps is None else f"one for each of {steps.shape[1]} steps",
            "extra": ", ".join(self.extra),
        }

    def from_zero(self):
        """Return the archive with the first event of every sample at time 0: for times that count from elsewhere."""
        counts = np.diff(self.offsets)
        first = self.times[self.offsets[:-1][counts > 0]]
        return dataclasses.replace(self, times=self.times - np.repeat(first, counts[counts > 0]))

    def until(self, duration):
        """Return the events before `duration` seconds, of every sample."""
        kept = np.asarray(self.times) * (self.time_unit_us * 1e-6) < duration - 1e-12
        offsets = np.concatenate([[0], np.cumsum(kept)])[np.asarray(self.offsets)]
        return dataclasses.replace(self, units=self.units[kept], times=self.times[kept], offsets=offsets)

    def __getitem__(self, which):
        """Return some of the samples as an archive.

        Parameters
        ----------
        which : int, slice, integer array or boolean array
            An int gives an archive with this one sample. A slice without a step shares memory. As of an array with
            samples along its first axis, ``archive[which, ...]`` is the same: scikit-learn asks like that.
        """
        if isinstance(which, tuple) and len(which) == 2 and which[1] is Ellipsis:
            which = which[0]
        if isinstance(which, numbers.Integral):
            if not -len(self) <= which < len(self):
                raise IndexError(f"sample {which} of an archive with {len(self)} samples")
            start = int(which) % len(self)
            which = slice(start, start + 1)
        if isinstance(which, slice):
            start, stop, step = which.indices(len(self))
            if step == 1:
                return self._contiguous(start, max(start, stop))
        chosen = np.arange(len(self))[which]
        starts, stops = self.offsets[chosen], self.offsets[chosen + 1]
        offsets = np.concatenate([[0], np.cumsum(stops - starts)]).astype(np.int64)
        units = np.empty(offsets[-1], self.units.dtype)
        times = np.empty(offsets[-1], self.times.dtype)
        for a, b, start, stop in zip(offsets[:-1], offsets[1:], starts, stops, strict=True):
            units[a:b] = self.units[start:stop]
            times[a:b] = self.times[start:stop]
        return self._with_events(units, times, offsets, chosen)

    def _contiguous(self, start, stop):
        first, last = self.offsets[start], self.offsets[stop]
        offsets = self.offsets[start : stop + 1] - first
        return self._with_events(self.units[first:last], self.times[first:last], offsets, slice(start, stop))

    def _with_events(self, units, times, offsets, chosen):
        steps = self.labels_per_step
        return self._unchecked(
            units=units,
            times=times,
            offsets=offsets,
            labels=self.labels[chosen],
            n_units=self.n_units,
            time_unit_us=self.time_unit_us,
            labels_per_step=None if steps is None else steps[chosen],
            name=self.name,
            extra={name: np.asarray(values)[chosen] for name, values in self.extra.items()},
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and input units, as scikit-learn counts samples and features."""
        return len(self), self.n_units

    @property
    def n_classes(self):
        """Highest label plus one; a subset may lack the last classes, so ask the whole training set."""
        labels = self.labels if self.labels_per_step is None else self.labels_per_step
        return int(labels.max()) + 1 if labels.size else 0

    @property
    def duration(self) -> Quantity:
        """Time from 0 to the end of the time unit that holds the last event, second."""
        last = int(self.times.max()) + 1 if len(self.times) else 0
        return last * self.time_unit_us * 1e-6 * second

    @cached_property
    def sha256(self):
        """Hexadecimal SHA-256 of everything that defines the recordings, for run records and cache names."""
        digest = hashlib.sha256(f"{self.n_units} {self.time_unit_us} ".encode())
        for array in (self.units, self.times, self.offsets, self.labels, self.labels_per_step):
            if array is not None:
                digest.update(f"{array.dtype.str} {array.shape} ".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def save(self, path, compressed=True):
        """Write the archive to an ``.npz`` file, atomically.

        Parameters
        ----------
        path : path-like
            A file already there is replaced when the new one is complete.
        compressed : bool
            Smaller and slower.

        Raises
        ------
        DataError
            If the file can't be written.
        """
        write_npz(Path(path), self.stored(), compressed)

    def stored(self) -> dict:
        """Return what a file of this archive holds."""
        return {name: getattr(self, name) for name in FIELDS if getattr(self, name) is not None} | self.extra


def _whole_steps(where, name, value, dt) -> int:
    fail_for_dimension_mismatch(value, second, f"{name} must be a time")
    steps = float(value) / dt
    if not np.isfinite(steps) or abs(steps - round(steps)) > 1e-6:
        raise DataError(f"{where}: {name} = {value} is no whole number of the clock's steps of {dt * 1e3:g} ms")
    return round(steps)


def _joined(where, field, parts, dtype):
    parts = [np.asarray(part) for part in parts]
    limit = np.iinfo(dtype).max
    for k, part in enumerate(parts):
        if part.dtype == dtype:
            continue
        if part.size and part.dtype.kind not in "ui":
            raise field_error(where, field, f"has dtype {part.dtype}; it must be integer")
        if part.size and (part.min() < 0 or part.max() > limit):
            bad = int(np.argmax((part < 0) | (part > limit)))
            problem = f"is {part[bad]} at index {bad} of entry {k}; 0 to {limit} fit"
            raise field_error(where, field, problem)
    return np.concatenate([part.astype(dtype, copy=False) for part in parts]) if parts else np.empty(0, dtype)
