"""Spiking Heidelberg Digits (SHD) and Spiking Speech Commands (SSC), HDF5 files as published."""

from pathlib import Path

import numpy as np

from ...models.hdf5 import DamagedFile, Ragged, read_hdf5
from .archive import EventArchive
from .errors import DataError
from .fields import Field, Misfit, Problems, first_true

__all__ = ["read_heidelberg"]

N_UNITS = 700
LONGEST = 20.0  # seconds: spoken words are shorter, even a short one in milliseconds is longer
_NEEDED = "spikes/units, spikes/times and labels"
_FIELDS = {
    "labels": Field("uint8"),
    "spikes/units": Field("uint16", most=N_UNITS - 1),
    "spikes/times": Field("float64", least=0, most=LONGEST),
}


def _values(path, datasets, problems):
    """Return labels, units and times in the types they are kept in, and the ragged arrays' lengths."""
    found, lengths = {}, {}
    for name, field in _FIELDS.items():
        value = datasets.get(name)
        if value is None:
            problems.add(name, f"is missing; an SHD or SSC file needs {_NEEDED}")
            continue
        if isinstance(value, Ragged) != name.startswith("spikes"):
            problems.add(
                name, "must hold one row for each recording" if name != "labels" else "must hold one number each"
            )
            continue
        flat = value
        if isinstance(value, Ragged):
            flat, lengths[name] = value
        try:
            if name == "spikes/times" and flat.dtype.kind != "f":
                raise Misfit(f"has dtype {flat.dtype}; store float seconds")
            field.check_shape(flat.shape)
            found[name] = field.fitted(flat)
        except Misfit as misfit:
            problems.add(name, _explained(str(misfit), name, lengths.get(name), field, flat))
    return found, lengths


def _explained(text, name, lengths, field, flat):
    """Say in which recording the first bad value is, and what seems to have happened to times."""
    if lengths is None or " at index " not in text:
        return text
    values = flat.astype(np.float64)
    bad = first_true(~((values >= 0) & (values <= field.most)))
    sample = int(np.searchsorted(np.cumsum(lengths), bad, side="right"))
    text = f"is {flat[bad]} at index {bad - int(lengths[:sample].sum())} of sample {sample}"
    if name == "spikes/units":
        return f"{text}; units count from 0 to {N_UNITS - 1}"
    if values[bad] > LONGEST:
        return f"{text}; times are seconds, and no spoken word takes {LONGEST:g} of them: divide milliseconds by 1000"
    return f"{text}; times are seconds from 0 to {LONGEST:g}"


def _sorted(units, times, offsets):
    """Sort each recording by time: the published format promises no order, and sorting loses nothing."""
    falls = np.flatnonzero(times[1:] < times[:-1]) + 1
    for sample in np.unique(np.searchsorted(offsets, falls, side="right") - 1):
        part = slice(offsets[sample], offsets[sample + 1])
        order = np.argsort(times[part], kind="stable")
        units[part], times[part] = units[part][order], times[part][order]


def _archive(path, datasets):
    problems = Problems(path)
    found, lengths = _values(path, datasets, problems)
    problems.stop()
    labels, units, times = (found[name] for name in _FIELDS)
    for name, rows in lengths.items():
        if len(rows) != len(labels):
            problems.add(name, f"has shape ({len(rows)},), but there are {len(labels)} labels; they must agree")
    problems.stop()
    counts, other = (lengths[name] for name in ("spikes/units", "spikes/times"))
    bad = first_true(counts != other)
    if bad is not None:
        numbers = f"has {other[bad]} entries in sample {bad}, but there are {counts[bad]} units"
        problems.add("spikes/times", f"{numbers}; they must agree")
    if not len(labels):
        problems.add("labels", "is empty; the file holds no recordings")
    elif not len(units):
        problems.add("spikes/units", "is empty; recordings without any spike hold nothing to learn")
    problems.stop()
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    units, times = np.array(units), np.rint(times * 1e6).astype(np.uint32)
    _sorted(units, times, offsets)
    speaker = datasets.get("extra/speaker")
    fits = isinstance(speaker, np.ndarray) and speaker.shape == labels.shape and speaker.dtype.kind in "ui"
    extra = {"speaker": speaker} if fits else {}
    return EventArchive(units, times, offsets, labels, N_UNITS, 1, name=Path(path).stem, extra=extra)


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
        If the file is missing, cut short or malformed, or times are not in seconds: file, every wrong field, first
        bad index and remedy.

    References
    ----------
    Cramer, Stradmann, Schemmel and Zenke (2022), "The Heidelberg spiking data sets for the systematic
    evaluation of spiking neural networks", doi:10.1109/TNNLS.2020.3044364.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of an existing SHD or SSC file")
    try:
        _, datasets = read_hdf5(path, ("labels", "spikes/units", "spikes/times", "extra/speaker?"))
    except (DamagedFile, OSError) as error:
        raise DataError(f"{path}: truncated, damaged or not HDF5 ({error}); unpack or copy it again") from None
    return _archive(path, datasets)
