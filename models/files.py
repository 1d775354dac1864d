"""Files that appear whole or not at all, and nothing else than files ever replaced."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path


def check_regular(path) -> Path:
    """Return the path that a file would be written to, a link followed.

    Raises
    ------
    OSError
        If something else than a regular file is there: a folder, a device, a pipe.
    """
    target = Path(path).resolve()  # a link stays one
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return target


@contextlib.contextmanager
def atomic(path) -> Iterator[Path]:
    """Write a file under a temporary name beside `path`, which it takes when the block ends.

    Yields
    ------
    Path
        The name to write to. If the block fails nothing is left of it, and what was at `path` is still there.

    Raises
    ------
    OSError
        If the file can't be written, or something else than a regular file is at `path`.
    """
    target = check_regular(path)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        with open(temporary, "r+b") as file:  # on the disk before the name is: a power cut leaves the old file
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:  # a full disk names no file
        error.filename = error.filename or str(path)
        raise
    finally:
        with contextlib.suppress(OSError):  # the first error is the one to report
            temporary.unlink()


def write_file(path, content: bytes) -> None:
    """Write a file whose content is complete in memory: libraries that write by themselves crash on a full disk.

    Raises
    ------
    OSError
        As `atomic`.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def remove_leftovers(folder, age: float = 0.0) -> None:
    """Remove what a process killed while writing left in a folder of ours, if it is `age` seconds old."""
    for leftover in Path(folder).glob(".*.tmp"):
        number = leftover.name.removesuffix(".tmp").rpartition(".")[2]
        with contextlib.suppress(OSError):
            found = leftover.lstat()
            if len(number) == 32 and stat.S_ISREG(found.st_mode) and time.time() - found.st_mtime >= age:
                leftover.unlink()


def _sync_folder(folder: Path) -> None:
    """Put a new name on the disk; file systems that can't are no reason to fail, the content is there."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
