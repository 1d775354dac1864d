"""What a well-formed archive is, checked without copies: real sets hold tens of millions of events."""

import numbers

import numpy as np

from .errors import field_error

__all__ = ["check_events", "check_offsets", "check_scalar", "first_true"]


def first_true(mask):
    """Return the index of the first True, or None."""
    if mask.size == 0:
        return None
    index = int(mask.argmax())
    return index if mask.flat[index] else None


def _check_array(where, field, array, kind, itemsize=None, ndim=1):
    wanted = {"u": "uint", "i": "int"}[kind] + (str(8 * itemsize) if itemsize else "")
    if not isinstance(array, np.ndarray):
        raise field_error(where, field, f"is a {type(array).__name__}, not an array; store it as {wanted}")
    if array.dtype.kind != kind or (itemsize and array.dtype.itemsize != itemsize):
        raise field_error(where, field, f"has dtype {array.dtype}; store it as {wanted}")
    if array.ndim != ndim:
        raise field_error(where, field, f"has {array.ndim} dimensions; it must have {ndim}")


def check_scalar(where, field, value, integer=False):
    """Return a positive number as int or float.

    Parameters
    ----------
    where, field : str
        For the error message.
    value : number or 0-d array
    integer : bool
        Refuse fractions.

    Raises
    ------
    DataError
        If it isn't one finite positive number.
    """
    if isinstance(value, np.ndarray | np.generic) and value.size == 1:
        value = value.item()
    kind = numbers.Integral if integer else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind):
        raise field_error(where, field, f"must be one {'integer' if integer else 'number'}, not {value!r}")
    if not (0 < value < float("inf")):
        raise field_error(where, field, f"is {value}; it must be positive and finite")
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def check_offsets(where, offsets, n_items, items):
    """Check the borders of the samples.

    Parameters
    ----------
    where : str
        For the error message.
    offsets : (n_samples + 1,) int64 array
        Sample ``k`` holds the items ``offsets[k]`` to ``offsets[k + 1] - 1``.
    n_items : int
        Length of the array that is cut into samples.
    items : str
        Name of that array.

    Raises
    ------
    DataError
        Naming the first offset that doesn't fit.
    """
    _check_array(where, "offsets", offsets, "i", 8)
    if len(offsets) == 0:
        raise field_error(where, "offsets", "is empty; it must have one entry more than there are samples")
    if offsets[0] != 0:
        raise field_error(where, "offsets", f"starts at {offsets[0]} (index 0); it must start at 0")
    bad = first_true(offsets[1:] < offsets[:-1])
    if bad is not None:
        values = f"{offsets[bad + 1]} after {offsets[bad]}"
        raise field_error(where, "offsets", f"isn't monotonic: {values} at index {bad + 1}; sort the samples")
    if offsets[-1] != n_items:
        problem = f"ends at {offsets[-1]} (index {len(offsets) - 1}), but '{items}' has {n_items} entries"
        raise field_error(where, "offsets", problem + "; the file is cut short or mixed up")


def _check_times(where, times, offsets):
    falls = times[1:] < times[:-1]
    # Time may go back from the last event of a sample to the first of the next one that isn't empty.
    starts = offsets[1:-1]
    starts = starts[(starts > 0) & (starts < len(times))]
    falls[starts - 1] = False
    bad = first_true(falls)
    if bad is not None:
        sample = int(np.searchsorted(offsets, bad + 1, side="right")) - 1
        values = f"{times[bad + 1]} after {times[bad]}"
        problem = f"isn't sorted in sample {sample}: {values} at index {bad + 1}; sort each sample by time"
        raise field_error(where, "times", problem)


def _check_labels_per_step(where, steps, n_samples):
    if not isinstance(steps, np.ndarray) or steps.dtype.kind not in "ui":
        kind = getattr(steps, "dtype", type(steps).__name__)
        raise field_error(where, "labels_per_step", f"has dtype {kind}; store it as uint8")
    if steps.ndim != 2 or len(steps) != n_samples:
        problem = f"has shape {steps.shape}; it must be ({n_samples}, number of steps)"
        raise field_error(where, "labels_per_step", problem)
    if steps.dtype.kind == "i" and steps.size and steps.min() < 0:
        index = np.unravel_index(first_true(steps.ravel() < 0), steps.shape)
        place = f"at index {tuple(int(i) for i in index)}"
        raise field_error(where, "labels_per_step", f"is negative {place}; number the classes from 0")


def check_events(where, units, times, offsets, labels, n_units, labels_per_step=None, extra=()):
    """Refuse event arrays that contradict each other.

    Parameters
    ----------
    where : str
        File or archive, for the error message.
    units : (n_events,) uint16 array
    times : (n_events,) unsigned integer array
    offsets : (n_samples + 1,) int64 array
    labels : (n_samples,) uint8 array
    n_units : int
    labels_per_step : (n_samples, n_steps) integer array, optional
    extra : dict, optional
        Arrays whose first axis is the samples.

    Raises
    ------
    DataError
        Naming file, field, first bad index and the remedy.
    """
    _check_array(where, "units", units, "u", 2)
    _check_array(where, "times", times, "u")
    _check_array(where, "labels", labels, "u", 1)
    if len(times) != len(units):
        problem = f"has {len(times)} entries, but 'units' has {len(units)}; they must agree"
        raise field_error(where, "times", problem)
    check_offsets(where, offsets, len(units), "units")
    n_samples = len(offsets) - 1
    if len(labels) != n_samples:
        problem = f"has {len(labels)} entries, but 'offsets' describes {n_samples} samples; they must agree"
        raise field_error(where, "labels", problem)
    if len(units) and units.max() >= n_units:  # the maximum needs no temporary array
        bad = first_true(units >= n_units)
        problem = f"is {units[bad]} at index {bad}, but n_units is {n_units}; units count from 0 to n_units - 1"
        raise field_error(where, "units", problem)
    _check_times(where, times, offsets)
    if labels_per_step is not None:
        _check_labels_per_step(where, labels_per_step, n_samples)
    for name in extra:
        if np.shape(extra[name])[:1] != (n_samples,):
            raise field_error(where, name, f"must have one entry for each of the {n_samples} samples")
