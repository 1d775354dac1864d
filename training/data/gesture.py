"""DVS128 Gesture as published: AEDAT 3.1 recordings, a table of gestures beside each, lists of trials."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import re
from pathlib import Path

import numpy as np

from .archive import EventArchive
from .errors import DataError
from .npz import cached_archive

__all__ = ["read_gestures", "read_polarity_events"]

SIDE = 128  # pixels of the camera, in both directions
SIZES = (8, 16, 32, 64, 128)
N_CLASSES = 11
LISTS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
STEP_US = 1000  # of the archive: what a pixel sends within one step is one event
VERSION = 1  # in the name of the cached file; raise it with every change of what is read
END = b"#!END-HEADER\r\n"
POLARITY = 1  # type of a packet; others (special, IMU) are passed over
_PACKET = np.dtype(
    [("type", "<i2"), ("source", "<i2"), *((name, "<i4") for name in ("size", "offset", "overflow", "capacity",
                                                                      "number", "valid"))]
)  # fmt: skip
_EVENT = np.dtype([("data", "<u4"), ("time", "<i4")])
_COLUMNS = ("class", "startTime_usec", "endTime_usec")


def read_polarity_events(path):
    """Read the polarity events of an AEDAT 3.1 file.

    Parameters
    ----------
    path : path-like
        Text header up to ``#!END-HEADER``, then packets of 28 bytes and their events of 8 bytes, little endian.

    Returns
    -------
    x, y, polarity : (n_events,) arrays of uint16, uint16, uint8
        Of the events that are marked valid.
    times : (n_events,) array of int64, microseconds
        Of the camera's clock.

    Raises
    ------
    DataError
        If the file is missing, of another version, or cut short; names the first bad packet.

    References
    ----------
    AEDAT 3.1 file format, iniVation; field by field as ``libcaer/events/common.h`` and ``polarity.h`` declare it.
    """
    path = Path(path)
    try:
        raw = np.fromfile(path, np.uint8) if path.is_file() else None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error}); copy it again") from error
    if raw is None:
        raise DataError(f"{path}: no such file; give an AEDAT 3.1 recording")
    head = raw[: 2**16].tobytes()
    if not head.startswith(b"#!AER-DAT3.1"):
        first = head[:16].split(b"\r")[0].decode("latin-1")
        raise DataError(f"{path}: begins with {first!r}, not with '#!AER-DAT3.1'; give the file as published")
    if END not in head:
        raise DataError(f"{path}: its header has no end (#!END-HEADER); copy it again")
    position, parts, index = head.index(END) + len(END), [], 0
    while position < len(raw):
        if len(raw) - position < _PACKET.itemsize:
            raise DataError(f"{path}: packet {index} is cut short in its header; copy the file again")
        packet = raw[position : position + _PACKET.itemsize].view(_PACKET)[0]
        size, capacity, number = (int(packet[name]) for name in ("size", "capacity", "number"))
        position += _PACKET.itemsize
        if size < 1 or not 0 <= number <= capacity or (packet["type"] == POLARITY and size != _EVENT.itemsize):
            raise DataError(f"{path}: packet {index} has {number} of {capacity} events of {size} bytes; copy it again")
        if len(raw) - position < size * capacity:
            raise DataError(f"{path}: packet {index} is cut short; copy the file again")
        if packet["type"] == POLARITY:
            events = raw[position : position + size * number].view(_EVENT)
            events = events[(events["data"] & 1) == 1]
            parts.append((events["data"], events["time"] + (np.int64(packet["overflow"]) << 31)))
        position, index = position + size * capacity, index + 1
    data = np.concatenate([np.empty(0, np.uint32), *(part[0] for part in parts)])
    times = np.concatenate([np.empty(0, np.int64), *(part[1] for part in parts)])
    x, y, polarity = data >> 17, (data >> 2) & 0x7FFF, (data >> 1) & 1
    return x.astype(np.uint16), y.astype(np.uint16), polarity.astype(np.uint8), times


def _gestures(path):
    """Return class (from 0), first and last microsecond of every gesture of a recording's table."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: can't be read ({error}); the table belongs beside its recording") from None
    found = []
    for line, row in enumerate(rows, start=2):
        try:
            label, start, end = (int(row[name]) for name in _COLUMNS)
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{path}: line {line} has no whole numbers {', '.join(_COLUMNS)}") from None
        if not (1 <= label <= N_CLASSES and 0 <= start < end):
            raise DataError(f"{path}: line {line}: class {label} (1 to {N_CLASSES}) from {start} to {end} us")
        found.append((label - 1, start, end))
    if not found:
        raise DataError(f"{path}: holds no gestures")
    return found


def _samples(path, pixels):
    """Return units and times of every gesture of a recording: its pixels merged to blocks, times to steps."""
    x, y, polarity, times = read_polarity_events(path)
    if len(x) and max(x.max(), y.max()) >= SIDE:
        bad = int(np.argmax(np.maximum(x, y) >= SIDE))
        raise DataError(f"{path}: event {bad} lies at x = {x[bad]}, y = {y[bad]}, outside the {SIDE} x {SIDE} pixels")
    block = SIDE // pixels
    units = polarity.astype(np.int64) * pixels**2 + (y // block).astype(np.int64) * pixels + x // block
    table, samples = _gestures(path.with_name(f"{path.stem}_labels.csv")), []
    for _, start, end in table:
        inside = (times >= start) & (times < end)
        key = np.unique(((times[inside] - start) // STEP_US) * 2 * pixels**2 + units[inside])
        samples.append((key % (2 * pixels**2), key // (2 * pixels**2)))
    return samples, [label for label, _, _ in table]


def read_gestures(folder, split="train", *, pixels=32):
    """Read a part of the DVS128 Gesture data set.

    Parameters
    ----------
    folder : path-like
        Holds the recordings ``user01_fluorescent.aedat``, ..., their tables ``user01_fluorescent_labels.csv`` and the
        lists ``trials_to_train.txt`` and ``trials_to_test.txt``, as published (``DvsGesture``).
    split : {'train', 'test'}
        By which list.
    pixels : int
        Rows and columns of the archive: blocks of the camera's 128 are taken together.

    Returns
    -------
    EventArchive
        ``2*pixels**2`` units, ``unit = polarity*pixels**2 + y*pixels + x``. A block sends at most one event of a
        polarity a millisecond, so that merging pixels does not multiply events. Extra ``speaker`` is the user. Kept in
        the cache folder, under names, sizes and dates of the files.

    Raises
    ------
    DataError
        If a list, a recording or a table is missing or malformed.

    References
    ----------
    Amir et al. 2017, "A low power, fully event-based gesture recognition system", CVPR.
    """
    folder = Path(folder)
    if pixels not in SIZES:
        raise DataError(f"pixels = {pixels!r:.40}; it is one of {', '.join(map(str, SIZES))}")
    recordings = [folder / name for name in _listed(folder / LISTS[split])]
    missing = [path for path in recordings if not path.is_file()]
    if missing:
        raise DataError(f"{missing[0]}: no such file, but {LISTS[split]} lists it; unpack the data set again")
    tables = [path.with_name(f"{path.stem}_labels.csv") for path in recordings]
    states = [path.stat() for path in (*recordings, *(table for table in tables if table.is_file()))]
    known = [folder.resolve(), pixels, [path.name for path in recordings], [(s.st_size, s.st_mtime_ns) for s in states]]
    key = hashlib.sha256(str(known).encode()).hexdigest()[:24]
    archive = cached_archive(f"gesture-v{VERSION}-{key}.npz", lambda: _read(recordings, pixels))
    return dataclasses.replace(archive, name=str(folder))


def _read(recordings, pixels):
    samples, labels, users = [], [], []
    for path in recordings:
        own, classes = _samples(path, pixels)
        samples, labels = samples + own, labels + classes
        user = re.match(r"user(\d{1,6})", path.stem)
        users += [int(user[1]) if user else -1] * len(own)
    if not any(len(units) for units, _ in samples):
        raise DataError(f"{recordings[0].parent}: has gestures, but no event in any of them; copy the files again")
    extra = {"speaker": np.array(users)}
    return EventArchive.from_samples(samples, labels, 2 * pixels**2, STEP_US, name="dvsgesture", extra=extra)


def _listed(path):
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: can't be read ({error}); give the folder of DVS128 Gesture as published") from None
    strange = [name for name in names if Path(name).name != name or not name.endswith(".aedat")]
    if strange or not names:
        raise DataError(f"{path}: lists {strange[0]!r:.80}" if strange else f"{path}: lists no recordings")
    return names
