"""Label-preserving changes of recordings."""

import numpy as np

from .errors import DataError

__all__ = ["shift_units"]


def shift_units(units, n_units, width, height, dx, dy):
    """Move the events of a camera across its pixels.

    Parameters
    ----------
    units : (n_events,) integer array
        ``polarity * width * height + y * width + x``.
    n_units : int
        A multiple of ``width * height``.
    width, height : int
        Pixels of the camera.
    dx, dy : int or (n_events,) integer array
        Shift in pixels, for all events or for each (to shift each sample of a batch differently).

    Returns
    -------
    shifted : (n_kept,) array of the type of `units`
        Units of the events still on the camera.
    kept : (n_events,) bool array
        Which events these are; apply it to the times.

    Raises
    ------
    DataError
        If `n_units` doesn't belong to such a camera.
    """
    if n_units % (width * height):
        raise DataError(
            f"{n_units} units are no multiple of {width} x {height} pixels; give the camera's size"
        )
    units = np.asarray(units)
    # Padded frames would be simpler for images; events are few, so their coordinates are moved instead.
    pixel = units.astype(np.int32) % (width * height)
    x = pixel % width + dx
    y = pixel // width + dy
    kept = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    moved = units.astype(np.int32) + (np.asarray(dy) * width + np.asarray(dx))
    return moved[kept].astype(units.dtype), kept
