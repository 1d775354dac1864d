"""Event archives: labelled recordings as flat arrays of units and times."""

import dataclasses
import hashlib
import numbers
from functools import cached_property
from pathlib import Path

import numpy as np
from brian2 import Quantity, second

from ...equations.display import Displayed
from .checks import check_events, check_scalar
from .errors import DataError, field_error
from .storage import write_npz

__all__ = ["EventArchive"]

_FIELDS = ("units", "times", "offsets", "labels", "n_units", "time_unit_us", "labels_per_step")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class EventArchive(Displayed):
    """Hold labelled event recordings, sample after sample, in flat arrays.

    Parameters
    ----------
    units : (n_events,) uint16 array
        Which input unit fired.
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
        object.__setattr__(self, "n_units", check_scalar(where, "n_units", self.n_units, integer=True))
        object.__setattr__(self, "time_unit_us", check_scalar(where, "time_unit_us", self.time_unit_us))
        for name in set(_FIELDS) & set(self.extra):
            raise DataError(f"{where}: extra '{name}' has the name of a field; rename it")
        arrays = (self.units, self.times, self.offsets, self.labels)
        check_events(where, *arrays, self.n_units, self.labels_per_step, self.extra)

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
        given = {field: fields.get(field) for field in _FIELDS}
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

    def __len__(self):
        return len(self.labels)

    def until(self, duration):
        """Return the events before `duration` seconds, of every sample."""
        kept = np.asarray(self.times) * (self.time_unit_us * 1e-6) < duration - 1e-12
        offsets = np.concatenate([[0], np.cumsum(kept)])[np.asarray(self.offsets)]
        return dataclasses.replace(self, units=self.units[kept], times=self.times[kept], offsets=offsets)

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
        fields = {name: getattr(self, name) for name in _FIELDS if getattr(self, name) is not None}
        write_npz(Path(path), {**fields, **self.extra}, compressed)


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
