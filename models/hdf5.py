"""HDF5 files, read in a process of their own, since a damaged one can hang or crash the library.

This file is that process's program, too: it imports nothing of the package, and writes what it reads to its output.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import select
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

VERSION = 2  # of the block before our own files; files of version 1 have none
_BLOCK = 512  # bytes; what lies before an HDF5 file's own beginning is left alone by every HDF5 library
_TITLE = re.compile(rb"brian2grad file, version (\d+)\nsha256 ([0-9a-f]{64})\n")
# What a file may take in memory: values 4 times as large as the file, and MORE bytes besides.
_TIMES, _MORE = 4, 96 * 2**20
_CHILD_MORE = 64 * 2**20
_PATIENCE, _BYTES_PER_SECOND = 8.0, 1e6  # seconds for any file, and for every megabyte of it
_SLAB = 2**22
_ROWS = 128  # ragged rows read at once


class DamagedFile(ValueError):
    """What is wrong with an HDF5 file, without its name."""


class NewerFile(DamagedFile):
    """A newer version of brian2grad wrote the file."""


def reason_of(error: Exception) -> str:
    """What made reading a file fail, on one line: a missing entry is named."""
    return f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else " ".join(str(error).split())


class Ragged(NamedTuple):
    """Rows of unequal length, one after the other.

    Attributes
    ----------
    values : (n,) array
    lengths : (n_rows,) array of int
    """

    values: np.ndarray
    lengths: np.ndarray


# -- the reading process -----------------------------------------------------------------------------------------


def _child(path: str, room: int, names: list[str]) -> None:
    """Write attributes and data sets of a file to the standard output, frame by frame."""
    _bound_memory(os.path.getsize(path) + _CHILD_MORE)
    try:
        with h5py.File(path, "r") as file:
            _send({"attrs": {name: _plain(file.attrs[name]) for name in list(file.attrs)[:100]}})
            for name in names or _datasets(file):
                room = _send_dataset(file, name, room)
        _send({"done": True})
    except Exception as error:  # whatever the library meets in damaged bytes
        _send({"error": " ".join(str(error).split())[:300] or type(error).__name__})


def _bound_memory(more: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        used = int(re.search(r"VmData:\s*(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (used + more, used + more))
    except (ImportError, OSError, TypeError):
        return  # another system: the bounds on what is asked for remain


def _plain(value):
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, str | int | float | bool) else None


def _datasets(file) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def _dataset(file, name: str):
    """Data set of a name; what leads out of the file is not followed."""
    place = file
    for part in name.split("/"):
        if not isinstance(place, h5py.Group) or not isinstance(place.get(part, getlink=True), h5py.HardLink):
            return None
        place = place[part]
    if not isinstance(place, h5py.Dataset):
        return None
    if place.external or place.is_virtual:
        raise DamagedFile(f"'{name}' refers to other files, which are never read")
    return place


def _send_dataset(file, name: str, room: int) -> int:
    optional, name = name.endswith("?"), name.removesuffix("?")
    data = _dataset(file, name)
    if data is None:
        return room
    ragged = h5py.check_vlen_dtype(data.dtype)
    kind = np.dtype(ragged or data.dtype)
    if kind.kind not in "biuf" or kind.itemsize > 8 or data.shape is None or (ragged and len(data.shape) != 1):
        if optional:
            return room
        raise DamagedFile(f"'{name}' has dtype {data.dtype}; it must hold plain numbers")
    kind, size = kind.newbyteorder("<"), int(np.prod(data.shape, dtype=object))
    if (8 if ragged else kind.itemsize) * size > room:
        raise DamagedFile(f"'{name}' claims {size} values, too many for a file of this size")
    _send({"name": name, "dtype": kind.str, "shape": data.shape, "ragged": bool(ragged)})
    if ragged:
        for first in range(0, size, _ROWS):
            rows = [np.asarray(row, kind) for row in data[first : first + _ROWS]]
            room -= sum(row.nbytes + 8 for row in rows)
            if room < 0:
                raise DamagedFile(f"'{name}' holds more values than a file of this size can")
            _send({"rows": [len(row) for row in rows]}, b"".join(row.tobytes() for row in rows))
        return room
    if not data.shape:
        _send({}, np.asarray(data[()], kind).tobytes())
        return room - kind.itemsize
    step = max(1, _SLAB // max(1, kind.itemsize * size // max(1, data.shape[0])))
    for first in range(0, data.shape[0] if size else 0, step):
        _send({}, np.asarray(data[first : first + step], kind).tobytes())
    return room - kind.itemsize * size


def _send(head: dict, content: bytes = b"") -> None:
    text = json.dumps(head).encode()
    sys.stdout.buffer.write(struct.pack("<QQ", len(text), len(content)) + text + content)
    sys.stdout.buffer.flush()


# -- the asking process ------------------------------------------------------------------------------------------


def read_hdf5(path, names=(), patience: float = _PATIENCE) -> tuple[dict, dict[str, np.ndarray | Ragged]]:
    """Read an HDF5 file of a stranger.

    Parameters
    ----------
    path : path-like
    names : sequence of str
        Data sets to read, by default all; those that the file lacks are left out, and one whose name here ends with
        ``?`` also if it holds no plain numbers.
    patience : float
        Seconds that any file is given; large ones are given more.

    Returns
    -------
    attributes : dict
        Texts and numbers of the root; ``None`` where it is another thing.
    datasets : dict
        Arrays by name; `Ragged` where rows have unequal lengths.

    Raises
    ------
    DamagedFile
        If the library refuses the file, hangs or crashes, or if it claims more than a file of its size can hold.
    """
    size = os.path.getsize(path)
    command = [sys.executable, "-I", "-W", "ignore", __file__, str(path), str(_TIMES * size + _MORE), *names]
    # No plug-ins are loaded for the sake of a file, and one thread is enough.
    environment = os.environ | {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    deadline = time.monotonic() + patience + size / _BYTES_PER_SECOND
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            return _collect(process.stdout.fileno(), deadline)
        except TimeoutError:
            raise DamagedFile("reading it does not come to an end") from None
        except (EOFError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, DamagedFile):
                raise
            raise DamagedFile("the HDF5 library crashed on it") from None
        finally:
            process.kill()


def _collect(handle: int, deadline: float):
    attributes, kinds, parts, lengths, name = {}, {}, {}, {}, ""
    while True:
        head, content = _frame(handle, deadline)
        if "error" in head:
            raise DamagedFile(head["error"])
        if "attrs" in head:
            attributes = head["attrs"]
        elif "name" in head:
            name = head["name"]
            kinds[name], parts[name], lengths[name] = head, bytearray(), []
        elif "done" in head:
            return attributes, {name: _array(kinds[name], parts[name], lengths[name]) for name in kinds}
        else:
            parts[name] += content
            lengths[name] += head.get("rows", ())


def _array(kind: dict, content: bytearray, lengths: list[int]):
    values = np.frombuffer(content, kind["dtype"])
    return Ragged(values, np.array(lengths, np.int64)) if kind["ragged"] else values.reshape(kind["shape"])


def _frame(handle: int, deadline: float) -> tuple[dict, bytes]:
    text, content = struct.unpack("<QQ", _take(handle, 16, deadline))
    return json.loads(_take(handle, text, deadline)), _take(handle, content, deadline)


def _take(handle: int, n: int, deadline: float) -> bytearray:
    found = bytearray()
    while len(found) < n:
        if not select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError
        part = os.read(handle, min(n - len(found), 2**20))
        if not part:
            raise EOFError
        found += part
    return found


# -- files of our own: with a checksum, written at once ----------------------------------------------------------


def sealed(attributes: dict, datasets: dict[str, np.ndarray]) -> bytes:
    """Content of an HDF5 file with a block before it that holds its checksum.

    It is built in memory: the library crashes when a disk is full at the wrong moment.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=_BLOCK) as file:
        file.attrs.update(attributes)
        for name, value in datasets.items():
            file.create_dataset(name, data=value)
    content = buffer.getbuffer()[_BLOCK:]
    title = f"brian2grad file, version {VERSION}\nsha256 {hashlib.sha256(content).hexdigest()}\n"
    return title.encode().ljust(_BLOCK, b"\0") + content


def read_sealed(path) -> tuple[dict, dict[str, np.ndarray]]:
    """Read a file made of `sealed`, or one of the first version, which had no checksum.

    Raises
    ------
    DamagedFile
        If a byte has changed since it was written, or a newer version wrote it.
    """
    with open(path, "rb") as file:
        head = file.read(_BLOCK)
        title = _TITLE.match(head)
        if title:
            _refuse_newer(int(title[1]))
            if hashlib.file_digest(file, "sha256").hexdigest().encode() != title[2] or head[title.end() :].strip(b"\0"):
                _refuse_newer(_version_within(path))
                raise DamagedFile("its checksum differs: it was changed or damaged after it was written")
        elif not head.startswith(b"\x89HDF\r\n\x1a\n"):
            raise DamagedFile("its beginning is missing")
    attributes, datasets = read_hdf5(path)
    _refuse_newer(_version_of(attributes))
    if not title and _version_of(attributes) > 1:
        raise DamagedFile("its beginning, which holds its checksum, is missing")
    return attributes, datasets


def _refuse_newer(version: int) -> None:
    if version > VERSION:
        raise NewerFile(f"was made by a newer version of brian2grad (format {version}); update brian2grad")


def _version_of(attributes: dict) -> int:
    """Version that the attribute `format` ends with; 1 where there is none."""
    found = re.search(r"version (\d{1,9})$", str(attributes.get("format", "")))
    return int(found[1]) if found else 1


def _version_within(path) -> int:
    """Version that a file with another checksum says it has: a newer one may seal in another way."""
    try:
        return _version_of(read_hdf5(path, ["-"], patience=2.0)[0])
    except DamagedFile:
        return 1


if __name__ == "__main__":
    _child(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
