"""One process at a time in a folder: a lock that its holder's death releases."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import RunError

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)


@contextlib.contextmanager
def locked(folder) -> Iterator[None]:
    """Hold a folder for the length of a block.

    The lock belongs to an open file (``flock``), so the system releases it however the process ends; the file ``.lock``
    holds the process id for the message to others. A file system without locks is used without one.

    Raises
    ------
    RunError
        If another process, or another part of this one, holds it.
    """
    path = Path(folder) / ".lock"
    try:
        file = _taken(path)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            reason = error.strerror or error
            raise RunError(f"{folder} cannot be written ({reason}); choose another --out.") from None
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # while it is held: whoever opened it meanwhile sees that it is another one by now
        file.close()


def _taken(path: Path):
    while True:
        file = open(path, "a+")  # noqa: SIM115 - open as long as the lock is held
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(path) and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                file.truncate(0)
                file.write(str(os.getpid()))
                file.flush()
                return file
        except BlockingIOError:
            file.seek(0)
            holder = file.read(20).strip() or "unknown"
            file.close()
            raise RunError(
                f"{path.parent} is being trained by process {holder}; wait until it is done, or end it (kill {holder})."
            ) from None
        except BaseException:
            file.close()
            raise
        file.close()  # its last holder removed it while we waited to lock it
