"""Read ``.npz`` archives: whole and well-formed, or not at all."""

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ...models.cache import cache_folder
from .archive import EventArchive
from .errors import DataError, field_error

__all__ = ["read_archive", "read_fields"]

REQUIRED = ("units", "times", "offsets", "labels", "n_units", "time_unit_us")

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    MemoryError,
)


def _native(array):
    # A file from a big-endian machine holds the same numbers; everything after the reader wants native ones.
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def read_fields(path):
    """Read every array of an ``.npz`` file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict of numpy.ndarray
        By name. Arrays of Python objects are left out: reading them could run code.

    Raises
    ------
    DataError
        If the file is missing, isn't an ``.npz`` file, is cut short or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of an existing .npz archive")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: truncated, damaged or not an .npz file; copy or download it again")
    fields = {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            for name in stored.files:
                try:
                    array = stored[name]
                except ValueError as error:
                    if "allow_pickle" not in str(error):
                        raise
                    continue
                if isinstance(array, np.ndarray):
                    fields[name] = _native(array)
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: truncated or damaged ({reason}); copy or download it again") from error
    return fields


def require(path, fields, names, kind):
    """Refuse a file that lacks a field.

    Parameters
    ----------
    path : path-like
    fields : dict
    names : sequence of str
    kind : str
        What the file should be, for the message.
    """
    for name in names:
        if name not in fields:
            raise field_error(path, name, f"is missing or unreadable; an {kind} needs {', '.join(names)}")


def archive_from_fields(path, fields):
    """Build an event archive from what `read_fields` returned; see `read_archive`."""
    require(path, fields, REQUIRED, "event archive")
    known = {*REQUIRED, "labels_per_step"}
    n_samples = max(fields["offsets"].size - 1, 0)
    extra = {
        name: array for name, array in fields.items() if name not in known and array.ndim and len(array) == n_samples
    }
    return EventArchive.from_fields(fields, where=str(path), name=Path(path).stem, extra=extra)


def read_archive(path):
    """Read an event archive.

    Parameters
    ----------
    path : path-like
        ``.npz`` file with ``units`` uint16, ``times`` unsigned, ``offsets`` int64, ``labels`` uint8,
        ``n_units`` and ``time_unit_us``; optionally ``labels_per_step``. Further arrays with one entry for
        each sample are kept as extras, others are ignored.

    Returns
    -------
    EventArchive

    Raises
    ------
    DataError
        If the file is missing, damaged or malformed: one line with file, field, first bad index and remedy.
    """
    return archive_from_fields(path, read_fields(path))


def cached_archive(file_name, make):
    """Return the archive stored in the cache folder under a name, made first if it isn't there.

    A cache that can't be read or written is passed over: the archive is made again, nothing fails.

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
        return read_archive(path)
    except (DataError, OSError):
        archive = make()
    try:
        archive.save(path, compressed=False)
    except (DataError, OSError):
        return archive  # a read-only home is no reason to fail: the data are there
    return archive
