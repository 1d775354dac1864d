"""Array files that appear whole or not at all."""

import io
import os
from pathlib import Path

import numpy as np

from ...models.files import write_file
from .errors import DataError

__all__ = ["check_target", "write_npz"]


def check_target(path) -> Path:
    """Refuse a path that no file can be written to, before the work whose result it is to hold.

    Raises
    ------
    DataError
        If the path is a folder or a device, or its folder is missing or can't be written.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the name of a file")
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: is no regular file; only those are replaced, give another name")
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
    content = io.BytesIO()  # a zip file that can't be finished on a full disk leaves errors behind
    (np.savez_compressed if compressed else np.savez)(content, **fields)
    try:
        write_file(path, content.getbuffer())
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path}: can't be written ({reason}); choose a folder with space that is writable") from error
