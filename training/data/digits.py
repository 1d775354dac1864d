"""The embedded default: handwritten digits moved in saccades before a simulated event camera."""

import numpy as np
import scipy

from .archive import EventArchive
from .camera import EventCamera
from .errors import DataError
from .npz import cached_archive
from .splits import stratified_split

__all__ = ["digits", "simulate_digits"]

VERSION = 3  # in the name of the cached file; raise it with every change of the simulation
CAMERA = EventCamera(width=24, height=24)
N_VALIDATION = 360
ZOOM = 2.5  # 8 x 8 images fill 20 x 20 of the 24 x 24 pixels
FRAME_US = 2000
FRAMES_PER_SACCADE = 50
CORNERS = np.array([(-1.8, -1.8), (0.0, 1.8), (1.8, -1.8), (-1.8, -1.8)])  # (x, y) in pixels from the centre


def _path():
    """Return the (n_frames, 2) shifts: three saccades of 100 ms along a triangle, as N-MNIST was recorded."""
    # A raised cosine, because an eye or a pan-tilt unit accelerates and brakes.
    progress = (1 - np.cos(np.pi * np.arange(FRAMES_PER_SACCADE) / FRAMES_PER_SACCADE)) / 2
    sides = zip(CORNERS[:-1], CORNERS[1:], strict=True)
    moves = [start + progress[:, None] * (end - start) for start, end in sides]
    return np.concatenate([*moves, CORNERS[-1:]])


def _placed(size, n_pixels, shift):
    """Return the (n_pixels, size) matrix that shifts a line of samples by linear interpolation."""
    position = np.arange(n_pixels) - (n_pixels - size) / 2 - shift
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(size))).astype(np.float32)


def _frames(images):
    size = images.shape[1]
    for dx, dy in _path():
        yield _placed(size, CAMERA.height, dy) @ images @ _placed(size, CAMERA.width, dx).T


def simulate_digits(seed=0):
    """Record all 1797 digits of scikit-learn with the simulated camera.

    Parameters
    ----------
    seed : int
        Draws the pixels' thresholds and the background events.

    Returns
    -------
    EventArchive
        1152 units (``polarity * 576 + y * 24 + x``), times in microseconds, 300 ms.

    References
    ----------
    Alpaydin and Kaynak (1998), "Optical recognition of handwritten digits", UCI, doi:10.24432/C50P49; the
    saccades follow Orchard et al. (2015), doi:10.3389/fnins.2015.00437.
    """
    from sklearn.datasets import load_digits  # here, because it takes a while to import

    source = load_digits()
    images = scipy.ndimage.zoom(source.images / 16, (1, ZOOM, ZOOM), order=1, grid_mode=True, mode="nearest")
    rng = np.random.default_rng(seed)
    units, times, offsets = CAMERA.record(_frames(images.astype(np.float32)), FRAME_US, rng)
    labels = source.target.astype(np.uint8)
    return EventArchive(units, times, offsets, labels, CAMERA.n_units, 1, name="digits")


def digits(split="train", seed=0):
    """Return one part of the embedded data set, simulated at first use and kept in the user's cache.

    Parameters
    ----------
    split : {'train', 'validation', 'all'}
        1437, 360 or 1797 recordings; the two parts hold the classes in equal proportion.
    seed : int
        Of the simulation and of the split.

    Returns
    -------
    EventArchive

    Raises
    ------
    DataError
        If there is no such split.
    """
    if split not in ("train", "validation", "all"):
        raise DataError(f"digits: no split '{split}'; it has 'train' and 'validation'")
    archive = cached_archive(f"digits-v{VERSION}-seed{seed}.npz", lambda: simulate_digits(seed))
    if split == "all":
        return archive
    train, validation = stratified_split(archive.labels, N_VALIDATION, seed)
    return archive[train if split == "train" else validation]
