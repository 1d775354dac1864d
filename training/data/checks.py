"""What a well-formed archive is, checked without copies: real sets hold tens of millions of events."""

import numpy as np

from .fields import first_true

__all__ = ["check_events", "check_offsets"]


def check_offsets(problems, offsets, n_items, items):
    """Check the borders of the samples.

    Parameters
    ----------
    problems : Problems
        Takes the first offset that doesn't fit.
    offsets : (n_samples + 1,) int64 array
        Sample ``k`` holds the items ``offsets[k]`` to ``offsets[k + 1] - 1``.
    n_items : int
        Length of the array that is cut into samples.
    items : str
        Name of that array.
    """
    if len(offsets) == 0:
        problems.add("offsets", "is empty; it must have one entry more than there are samples")
        return
    if offsets[0] != 0:
        problems.add("offsets", f"starts at {offsets[0]} (index 0); it must start at 0")
    bad = first_true(offsets[1:] < offsets[:-1])
    if bad is not None:
        values = f"{offsets[bad + 1]} after {offsets[bad]}"
        problems.add("offsets", f"isn't monotonic: {values} at index {bad + 1}; sort the samples")
    if offsets[-1] != n_items:
        problem = f"ends at {offsets[-1]} (index {len(offsets) - 1}), but '{items}' has {n_items} entries"
        problems.add("offsets", problem + "; the file is cut short or mixed up")


def _check_times(problems, times, offsets):
    falls = times[1:] < times[:-1]
    # Time may go back from the last event of a sample to the first of the next one that isn't empty.
    starts = offsets[1:-1]
    starts = starts[(starts > 0) & (starts < len(times))]
    falls[starts - 1] = False
    bad = first_true(falls)
    if bad is not None:
        sample = int(np.searchsorted(offsets, bad + 1, side="right")) - 1
        values = f"{times[bad + 1]} after {times[bad]}"
        problems.add("times", f"isn't sorted in sample {sample}: {values} at index {bad + 1}; sort each sample by time")


def check_events(problems, units, times, offsets, labels, n_units, labels_per_step=None, extra=None):
    """Note event arrays that contradict each other; types and bounds of each are checked before.

    Parameters
    ----------
    problems : Problems
    units : (n_events,) uint16 array
    times : (n_events,) unsigned integer array
    offsets : (n_samples + 1,) int64 array
    labels : (n_samples,) uint8 array
    n_units : int
    labels_per_step : (n_samples, n_steps) uint8 array, optional
    extra : dict, optional
        Arrays whose first axis is the samples.
    """
    if len(times) != len(units):
        problems.add("times", f"has {len(times)} entries, but 'units' has {len(units)}; they must agree")
    check_offsets(problems, offsets, len(units), "units")
    n_samples = len(offsets) - 1
    if n_samples >= 0 and len(labels) != n_samples:
        problem = f"has {len(labels)} entries, but 'offsets' describes {n_samples} samples; they must agree"
        problems.add("labels", problem)
    if len(units) and units.max() >= n_units:  # the maximum needs no temporary array
        bad = first_true(units >= n_units)
        problem = f"is {units[bad]} at index {bad}, but n_units is {n_units}; units count from 0 to n_units - 1"
        problems.add("units", problem)
    if not problems.found.keys() & {"times", "offsets"}:
        _check_times(problems, times, offsets)
    if labels_per_step is not None and (len(labels_per_step) != n_samples or not labels_per_step.shape[1]):
        problem = f"has shape {labels_per_step.shape}; it must be ({n_samples}, number of steps)"
        problems.add("labels_per_step", problem)
    for name, values in (extra or {}).items():
        if np.shape(values)[:1] != (n_samples,):
            problems.add(name, f"must have one entry for each of the {n_samples} samples")
