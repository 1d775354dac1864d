"""N-MNIST recordings as published: folders of ``.bin`` files."""

from pathlib import Path

import numpy as np

from .archive import EventArchive
from .errors import DataError

__all__ = ["read_nmnist", "read_nmnist_file"]

WIDTH = HEIGHT = 34
N_UNITS = 2 * WIDTH * HEIGHT
MOST_US = 2**32 - 1
MOST_BYTES = 5 * 2**21  # hundreds of times what a recording of 300 ms has
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
        If the file can't be read, is larger than a recording can be, its size is no multiple of 5, an event lies
        outside the 34 x 34 pixels or time runs backwards.

    References
    ----------
    Orchard, Jayawant, Cohen and Thakor (2015), "Converting static image datasets to spiking neuromorphic
    datasets using saccades", doi:10.3389/fnins.2015.00437.
    """
    raw = _bytes(Path(path))
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
    late = np.flatnonzero(times > MOST_US)
    if late.size:
        raise DataError(f"{path}: is {times[late[0]]} at event {late[0]}; 0 to {MOST_US} microseconds fit, cut it")
    units = (high >> 7) * (WIDTH * HEIGHT) + y * WIDTH + x
    return units[~overflow].astype(np.uint16), times[~overflow].astype(np.uint32)


def _bytes(path):
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: can't be read (it is no regular file); remove it")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataError(f"{path}: has {size} bytes; a recording has a few thousand events of 5 bytes, cut it")
        raw = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error}); copy it again") from error
    if raw.size % 5:
        raise DataError(f"{path}: has {raw.size} bytes, not a multiple of 5; it is cut short, copy it again")
    return raw


def _recordings(folder):
    return sorted(file for file in folder.iterdir() if file.suffix.lower() == ".bin")


def _class_folders(folder):
    """Return the digits' folders; recordings that lie elsewhere would be left out without a word."""
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and entry.name in set("0123456789"):
            found.append(entry)
        elif entry.suffix.lower() == ".bin" or (entry.is_dir() and any(entry.rglob("*.[bB][iI][nN]"))):
            raise DataError(f"{entry}: holds recordings, but is none of the digits' folders 0 ... 9; move it elsewhere")
    return found


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
        If nothing is found, if recordings lie elsewhere than in the digits' folders, or as in `read_nmnist_file`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the folder that holds the digits' folders 0 ... 9")
    half = folder / {"train": "Train", "test": "Test"}[split]
    chosen = half if half.is_dir() and not (folder / "0").is_dir() else folder
    try:
        files = [(int(c.name), file) for c in _class_folders(chosen) for file in _recordings(c)]
    except OSError as error:
        raise DataError(f"{chosen}: can't be read ({error.strerror or error}); give another folder") from error
    if not files:
        raise DataError(f"{chosen}: no recordings found; expected files such as {chosen / '0' / '00002.bin'}")
    samples = [read_nmnist_file(file) for _, file in files]
    if not any(len(units) for units, _ in samples):
        raise DataError(f"{chosen}: has recordings, but no event in any of them; copy them again")
    names = [file.stem for _, file in files]
    numbered = all(n.isascii() and n.isdecimal() and len(n) < 18 for n in names)
    extra = {"source_index": np.array(names, np.int64)} if numbered else {}
    labels = np.array([label for label, _ in files], np.uint8)
    return EventArchive.from_samples(samples, labels, N_UNITS, 1, name=str(folder), extra=extra)
