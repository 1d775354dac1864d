"""Put events found in any order into the order of an archive."""

import numpy as np

__all__ = ["flatten_events"]


def flatten_events(found, n_samples):
    """Sort events by sample, time and unit.

    Parameters
    ----------
    found : sequence of (samples, units, times)
        Integer arrays of equal length; units below 2**16, times below 2**32.
    n_samples : int
        Below 2**15.

    Returns
    -------
    units : (n_events,) uint16 array
    times : (n_events,) uint32 array
    offsets : (n_samples + 1,) int64 array
    """
    # One 64-bit key sorts faster than three arrays, and the order no longer depends on that of detection.
    parts = [(np.int64(s) << 48) | (np.int64(t) << 16) | np.int64(u) for s, u, t in found]
    key = np.concatenate([np.empty(0, np.int64), *parts])
    key.sort()
    offsets = np.searchsorted(key, np.arange(n_samples + 1, dtype=np.int64) << 48).astype(np.int64)
    return (key & 0xFFFF).astype(np.uint16), ((key >> 16) & 0xFFFFFFFF).astype(np.uint32), offsets
