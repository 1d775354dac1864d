"""Spiking Heidelberg Digits (SHD) and Spiking Speech Commands (SSC), HDF5 files as published."""

from pathlib import Path

import h5py
import numpy as np

from .archive import EventArchive
from .checks import first_true
from .errors import DataError, field_error

__all__ = ["read_heidelberg"]

N_UNITS = 700
CHUNK = 512  # recordings read at once: their ragged form is many times larger than the flat arrays

# A damaged HDF5 file shows as any of these, depending on where the damage is.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)


def _dataset(path, file, field):
    dataset = file.get(field)
    if not isinstance(dataset, h5py.Dataset):
        needed = "spikes/units, spikes/times and labels"
        raise field_error(path, field, f"is missing; an SHD or SSC file needs {needed}")
    return dataset


def _checked_units(path, units, k):
    units = np.asarray(units)
    if units.dtype.kind not in "ui":
        raise field_error(path, "spikes/units", f"has dtype {units.dtype} in sample {k}; it must be integer")
    bad = first_true((units < 0) | (units >= N_UNITS))
    if bad is not None:
        problem = f"is {units[bad]} at index {bad} of sample {k}; units count from 0 to {N_UNITS - 1}"
        raise field_error(path, "spikes/units", problem)
    return units.astype(np.uint16)


def _checked_times(path, times, k):
    times = np.asarray(times)
    if times.dtype.kind != "f":
        raise field_error(path, "spikes/times", f"has dtype {times.dtype} in sample {k}; store float seconds")
    microseconds = np.rint(times.astype(np.float64) * 1e6)
    # The comparison is written so that it is also False for NaN.
    bad = first_true(~((microseconds >= 0) & (microseconds < 2**32)))
    if bad is not None:
        problem = f"is {times[bad]} at index {bad} of sample {k}; times are seconds from 0 to 4294"
        raise field_error(path, "spikes/times", problem)
    return microseconds.astype(np.uint32)


def _sample(path, units, times, k):
    units, times = _checked_units(path, units, k), _checked_times(path, times, k)
    if len(units) != len(times):
        problem = f"has {len(times)} entries in sample {k}, but there are {len(units)} units; they must agree"
        raise field_error(path, "spikes/times", problem)
    # The published format promises no order within a recording; sorting loses nothing.
    if (times[1:] < times[:-1]).any():
        order = np.argsort(times, kind="stable")
        units, times = units[order], times[order]
    return units, times


def _checked_labels(path, dataset):
    labels = dataset[()]
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        raise field_error(path, "labels", f"has dtype {labels.dtype}, shape {labels.shape}; store one integer each")
    bad = first_true((labels < 0) | (labels > 255))
    if bad is not None:
        raise field_error(path, "labels", f"is {labels[bad]} at index {bad}; classes count from 0 to 255")
    if not len(labels):
        raise field_error(path, "labels", "is empty; the file holds no recordings")
    return labels.astype(np.uint8)


def _read(path, file):
    units, times = (_dataset(path, file, f"spikes/{name}") for name in ("units", "times"))
    labels = _checked_labels(path, _dataset(path, file, "labels"))
    for name, dataset in (("spikes/units", units), ("spikes/times", times)):
        if dataset.shape != labels.shape:
            problem = f"has shape {dataset.shape}, but there are {len(labels)} labels; they must agree"
            raise field_error(path, name, problem)
    samples = []
    for start in range(0, len(labels), CHUNK):
        chunk = slice(start, start + CHUNK)
        pairs = zip(units[chunk], times[chunk], strict=True)
        samples += [_sample(path, u, t, start + k) for k, (u, t) in enumerate(pairs)]
    extra = {}
    speaker = file.get("extra/speaker")
    if isinstance(speaker, h5py.Dataset) and speaker.shape == labels.shape:
        extra["speaker"] = speaker[()]
    return EventArchive.from_samples(samples, labels, N_UNITS, 1, name=Path(path).stem, extra=extra)


def read_heidelberg(path):
    """Read an SHD or SSC file.

    Parameters
    ----------
    path : path-like
        HDF5 file with ragged ``spikes/times`` (seconds, float) and ``spikes/units`` (0 to 699), ``labels``
        and optionally ``extra/speaker``.

    Returns
    -------
    EventArchive
        700 units, times rounded to microseconds (the published files store half precision: 1 ms at 1 s), each
        recording sorted by time, extra ``speaker`` where the file has it.

    Raises
    ------
    DataError
        If the file is missing, cut short or malformed: file, field, first bad index and remedy.

    References
    ----------
    Cramer, Stradmann, Schemmel and Zenke (2022), "The Heidelberg spiking data sets for the systematic
    evaluation of spiking neural networks", doi:10.1109/TNNLS.2020.3044364.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of an existing SHD or SSC file")
    try:
        with h5py.File(path, "r") as file:
            return _read(path, file)
    except DataError:
        raise
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: truncated, damaged or not HDF5 ({reason}); unpack or copy it again") from error
