"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


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
    target = Path(path).resolve()  # a link stays one
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        with open(temporary, "r+b") as file:  # on the disk before the name is: a power cut leaves the old file
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):  # the first error is the one to report
            temporary.unlink()
