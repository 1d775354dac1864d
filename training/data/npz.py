"""Read ``.npz`` files of strangers: only known fields, their sizes bounded before a byte is allocated."""

from __future__ import annotations

import contextlib
import math
import warnings
import zipfile
from pathlib import Path

import numpy as np

from ...models.cache import cache_folder
from .archive import EXTRA, FIELDS, EventArchive
from .errors import DataError
from .fields import Field, Misfit, Problems
from .storage import write_npz

__all__ = ["cached_archive", "field_names", "read_archive", "read_fields"]

BLOCK = 2**20  # values converted at once
# Values of a compressed file may take this much more memory than the file: 4 times as much, and MORE bytes besides.
TIMES, MORE = 4, 160 * 2**20


_CACHED = {"made_as": Field("text", 0)}  # another archive under this name would be another data set without a word


@contextlib.contextmanager
def _opened(path):
    """Open a zip file; whatever goes wrong in it is one line about the file."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of an existing .npz archive")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: truncated, damaged or not an .npz file; copy or download it again")
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(path) as file:
            warnings.simplefilter("ignore")
            yield file
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise whatever they meet in damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: truncated or damaged ({reason:.200}); copy or download it again") from error


def _members(file):
    return {info.filename.removesuffix(".npy"): info for info in file.infolist() if info.filename.endswith(".npy")}


def field_names(path):
    """Return the names of the fields of an ``.npz`` file, none of which is read.

    Raises
    ------
    DataError
        If the file is missing or isn't an ``.npz`` file.
    """
    with _opened(path) as file:
        return set(_members(file))


def read_fields(path, schema, kind="archive"):
    """Read the known fields of an ``.npz`` file; others are not looked at.

    Parameters
    ----------
    path : path-like
    schema : dict of str to Field
        What is known, by name.
    kind : str
        What the file should be, for the message about a missing field.

    Returns
    -------
    dict
        Arrays, numbers and texts by name, in the types that `schema` names.

    Raises
    ------
    DataError
        If the file is missing, damaged, or larger in memory than a file of its size should be; if fields are missing
        or don't fit. One line that names every wrong field, its first bad index and the remedy.
    """
    problems, found = Problems(path), {}
    needed = ", ".join(name for name, field in schema.items() if field.required)
    with _opened(path) as file:
        members, room = _members(file), TIMES * Path(path).stat().st_size + MORE
        for name, field in schema.items():
            if name not in members:
                if field.required:
                    problems.add(name, f"is missing; an {kind} needs {needed}")
                continue
            try:
                found[name] = _read(file, members[name], field, room)
                room -= getattr(found[name], "nbytes", 0)
            except Misfit as misfit:
                if not field.lenient:
                    problems.add(name, misfit)
    problems.stop()
    return found


def _read(file, info, field, room):
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Misfit("is compressed in a way that numpy does not write; store it with numpy.savez")
    with file.open(info) as stream:
        shape, fortran, dtype = _header(stream)
        target = field.target(dtype)
        field.check_shape(shape)
        n, order = math.prod(shape), "F" if fortran else "C"
        begin = stream.tell()
        if n * dtype.itemsize != info.file_size - begin:
            raise Misfit(f"claims {n} values, but {info.file_size - begin} bytes are stored; copy the file again")
        if n * target.itemsize > room:
            size = n * target.itemsize / 2**20
            raise Misfit(f"takes {size:.0f} MiB, too much for a file of this size; store it with numpy.savez")
        values = np.empty(n, target)
        for first in range(0, n, BLOCK):
            length = min(BLOCK, n - first)
            part = np.frombuffer(stream.read(length * dtype.itemsize), dtype, length)
            values[first : first + length] = field.fitted(part, first, shape, order)
    if field.ndim == 0:
        return field.checked(values)
    return values.reshape(shape, order=order)


def _header(stream):
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise Misfit("is stored in a format that holds no plain numbers; store it with numpy.savez")
    shape, fortran, dtype = readers[version](stream)
    if any(length < 0 for length in shape):
        raise Misfit(f"has shape {shape}; copy the file again")
    return shape, fortran, dtype


def read_archive(path):
    """Read an event archive.

    Parameters
    ----------
    path : path-like
        ``.npz`` file with ``units``, ``times``, ``offsets``, ``labels`` (integers of any type that fit uint16,
        unsigned, int64 and uint8), ``n_units`` and ``time_unit_us``; optionally ``labels_per_step``. Of further
        arrays only ``speaker``, ``take`` and ``source_index`` are known, with one entry for each sample.

    Returns
    -------
    EventArchive

    Raises
    ------
    DataError
        If the file is missing, damaged, malformed or without any event: one line with file, every wrong field, first
        bad index and remedy.
    """
    fields = read_fields(path, FIELDS | EXTRA, "event archive")
    extra = {name: fields.pop(name) for name in EXTRA if name in fields}
    extra = {name: values for name, values in extra.items() if len(values) == len(fields["labels"])}
    archive = EventArchive.from_fields(fields, where=str(path), name=Path(path).stem, extra=extra)
    if not len(archive.units):
        raise DataError(f"{path}: field 'units' is empty; an archive without any event holds nothing to learn")
    return archive


def cached_archive(file_name, make):
    """Return the archive stored in the cache folder under a name, made first if it isn't there.

    A cache that can't be read or written, or holds another archive under the name, is passed over: the archive is made
    again, nothing fails.

    Parameters
    ----------
    file_name : str
        Holds everything that the content depends on: version, seed, hash of the parameters.
    make : callable
        Called without arguments; returns an `EventArchive`.

    Returns
    -------
    EventArchive
    """
    try:
        path = cache_folder("data") / file_name
    except OSError:
        return make()
    try:
        if read_fields(path, _CACHED)["made_as"] == file_name:
            return read_archive(path)
    except (DataError, OSError):
        pass  # missing, damaged, or of an older version
    archive = make()
    try:
        write_npz(path, archive.stored() | {"made_as": file_name}, compressed=False)
    except (DataError, OSError):
        return archive  # a read-only home is no reason to fail: the data are there
    return archive
