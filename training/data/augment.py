"""Label-preserving changes of recordings."""

import numpy as np

from .errors import DataError

__all__ = ["shift_units", "vary_envelopes"]


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
        raise DataError(f"{n_units} units are no multiple of {width} x {height} pixels; give the camera's size")
    units = np.asarray(units)
    # Padded frames would be simpler for images; events are few, so their coordinates are moved instead.
    pixel = units.astype(np.int32) % (width * height)
    x = pixel % width + dx
    y = pixel // width + dy
    kept = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    moved = units.astype(np.int32) + (np.asarray(dy) * width + np.asarray(dx))
    return moved[kept].astype(units.dtype), kept


def vary_envelopes(envelopes, rng, shift=0.0625, tilt=1.0, noise=(1e-4, 0.05), grain=1):
    """Change the envelopes of a recording as another throat, microphone and room would.

    Parameters
    ----------
    envelopes : (n_steps, n_channels) array
        Linear (not compressed), at most 1.
    rng : Generator
    shift : float
        Everything is moved along the channels by up to this part of their number.
    tilt : float
        Standard deviation, in nepers, of a smooth random gain over the channels: slope, bow and wave.
    noise : tuple of float
        Range of the level of the noise added, drawn evenly on a logarithmic scale.
    grain : int
        Steps for which the noise keeps its value, as slow as the envelopes are.

    Returns
    -------
    (n_steps, n_channels) array
        At most 1 again.
    """
    n_channels = envelopes.shape[1]
    position = np.clip(np.arange(n_channels) - rng.uniform(-shift, shift) * n_channels, 0, n_channels - 1)
    below = position.astype(int)
    above, part = np.minimum(below + 1, n_channels - 1), position - below
    varied = envelopes[:, below] * (1 - part) + envelopes[:, above] * part
    place = np.linspace(-1, 1, n_channels)
    slope, bow, wave = rng.normal(0, tilt, 3) * (0.7, 0.5, 0.5)
    varied = varied * np.exp(slope * place + bow * place**2 + wave * np.cos(1.5 * np.pi * place))
    level = np.exp(rng.uniform(*np.log(noise)) + rng.normal() * place)
    grains = rng.uniform(0.5, 1.5, (-(-len(varied) // grain), n_channels))
    varied += level * np.repeat(grains, grain, axis=0)[: len(varied)]
    return varied / varied.max()
