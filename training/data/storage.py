"""Atomic files, and archives kept in the cache."""

import os
from pathlib import Path

import numpy as np

from ...models.cache import cache_folder
from ...models.files import atomic
from .errors import DataError

__all__ = ["cached_archive", "check_target", "write_npz"]


def check_target(path) -> Path:
    """Refuse a path that no file can be written to, before the work whose result it is to hold.

    Raises
    ------
    DataError
        If the path is a folder, or its folder is missing or can't be written.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the name of a file")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        reason = "can't be written" if path.parent.is_dir() else "does not exist"
        raise DataError(
            f"{path}: can't be written (the folder {path.parent} {reason}); choose a folder that is writable"
        )
    return path


def write_npz(path, fields, compressed=True):
    """Write named arrays to an ``.npz`` file that appears whole or not at all.

    Parameters
    ----------
    path : path-like
        Target; a file already there is replaced only when the new one is complete.
    fields : dict
        Arrays or scalars by name.
    compressed : bool
        Deflate the arrays: about a third of the size, ten times slower to write.

    Raises
    ------
    DataError
        If the folder is missing or can't be written.
    """
    path = check_target(path)
    try:
        # An open file, because numpy would append '.npz' to any other name.
        with atomic(path) as partial, open(partial, "xb") as handle:
            (np.savez_compressed if compressed else np.savez)(handle, **fields)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path}: can't be written ({reason}); choose a folder that is writable") from error


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
    from .npz import read_archive  # the reader needs the archive, and the archive needs `write_npz`

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
