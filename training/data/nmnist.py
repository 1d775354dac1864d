"""N-MNIST recordings as published: folders of ``.bin`` files."""

from pathlib import Path

import numpy as np

from .archive import EventArchive
from .errors import DataError

__all__ = ["read_nmnist", "read_nmnist_file"]

WIDTH = HEIGHT = 34
N_UNITS = 2 * WIDTH * HEIGHT
OVERFLOW_ROW = 240  # not a pixel: the recorder's time counter has wrapped
OVERFLOW_STEP = 2**13  # microseconds


def read_nmnist_file(path):
    """Read one recording.

    Parameters
    ----------
    path : path-like
        File of 5 bytes for each event: x, y, then one bit of polarity, 23 bits of microseconds, big endian.

    Returns
    -------
    units : (n_events,) uint16 array
        ``polarity * 1156 + y * 34 + x``.
    times : (n_events,) uint32 array, microseconds

    Raises
    ------
    DataError
        If the file can't be read, its size is no multiple of 5, an event lies outside the 34 x 34 pixels or
        time runs backwards.

    References
    ----------
    Orchard, Jayawant, Cohen and Thakor (2015), "Converting static image datasets to spiking neuromorphic
    datasets using saccades", doi:10.3389/fnins.2015.00437.
    """
    try:
        raw = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from error
    if raw.size % 5:
        raise DataError(f"{path}: has {raw.size} bytes, not a multiple of 5; it is cut short, copy it again")
    x, y, high, middle, low = raw.reshape(-1, 5).T.astype(np.int64)
    times = ((high & 0x7F) << 16) | (middle << 8) | low
    overflow = y == OVERFLOW_ROW
    # A marker moves all events after it; it is no event itself.
    times += OVERFLOW_STEP * np.cumsum(overflow)
    outside = ((x >= WIDTH) | (y >= HEIGHT)) & ~overflow
    if outside.any():
        bad = int(outside.argmax())
        raise DataError(f"{path}: event {bad} lies at x = {x[bad]}, y = {y[bad]}, outside the 34 x 34 pixels")
    falls = np.flatnonzero(np.diff(times[~overflow]) < 0)
    if falls.size:
        bad = int(np.flatnonzero(~overflow)[falls[0] + 1])
        raise DataError(f"{path}: time runs backwards at event {bad}; sort the events by time")
    units = (high >> 7) * (WIDTH * HEIGHT) + y * WIDTH + x
    return units[~overflow].astype(np.uint16), times[~overflow].astype(np.uint32)


def _class_folders(folder):
    return [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and entry.name in set("0123456789")]


def read_nmnist(folder, split="train"):
    """Read a folder of recordings, one subfolder ``0`` ... ``9`` for each digit.

    Parameters
    ----------
    folder : path-like
        Holds the digits' folders, or ``Train`` and ``Test`` as published.
    split : {'train', 'test'}
        Which of the two to read, where the folder holds both.

    Returns
    -------
    EventArchive
        2312 units, times in microseconds, samples sorted by digit and file name; the number in the file's
        name is kept as extra ``source_index`` if every name is a number.

    Raises
    ------
    DataError
        If nothing is found, or as in `read_nmnist_file`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the folder that holds the digits' folders 0 ... 9")
    half = folder / {"train": "Train", "test": "Test"}[split]
    chosen = half if half.is_dir() else folder
    files = [(int(c.name), file) for c in _class_folders(chosen) for file in sorted(c.glob("*.bin"))]
    if not files:
        raise DataError(f"{chosen}: no recordings found; expected files such as {chosen / '0' / '00002.bin'}")
    samples = [read_nmnist_file(file) for _, file in files]
    names = [file.stem for _, file in files]
    extra = {"source_index": np.array(names, np.int64)} if all(n.isdecimal() for n in names) else {}
    labels = np.array([label for label, _ in files], np.uint8)
    return EventArchive.from_samples(samples, labels, N_UNITS, 1, name=str(folder), extra=extra)
