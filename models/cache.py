"""Where compiled engines and generated data are kept between runs: in folders that nobody else can write to."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

_NOBODY = 65534
_WORK = "work-"
MOST_KEPT = 32  # programs and projects, of a few MB each


def cache_folder(*parts: str) -> Path:
    """Return (and create) a folder below the cache.

    The root is ``$BRIAN2GRAD_CACHE``, else ``$XDG_CACHE_HOME/brian2grad``, else ``~/.cache/brian2grad``; where none
    can be written, or others can write to it, a folder under the system's temporary directory. Code is loaded from
    here, so every folder belongs to this user, and nobody else may write to it; if not even that under the temporary
    directory is so, the process takes a fresh one, removed when it ends.
    """
    explicit = os.environ.get("BRIAN2GRAD_CACHE")
    configured = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that relative values are to be ignored.
    base = Path(configured) if os.path.isabs(configured) else Path(os.path.expanduser("~")) / ".cache"
    default = Path(explicit) if explicit else base / "brian2grad"
    fallback = Path(tempfile.gettempdir()) / f"brian2grad-{os.getuid()}"
    for root, forbidden in ((default, 0o022), (fallback, 0o077)):
        folder = _private_folder(root, parts, forbidden)
        if folder is not None:
            return folder
    try:
        folder = _own_folder().joinpath(*parts)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        message = f"No cache folder can be written: tried {default} and {fallback}. Set BRIAN2GRAD_CACHE."
        raise OSError(message) from None
    return folder


def is_private(folder: Path, forbidden: int = 0o022) -> bool:
    """Whether a folder is this user's, no link, and without the `forbidden` bits of its mode."""
    found = os.lstat(folder)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & forbidden


def lock(path: Path, *, make: bool = True, shared: bool = False, wait: bool = False) -> int | None:
    """Take a lock on something in the cache, which the end of this process releases, whatever ends it.

    Parameters
    ----------
    path : Path
    make : bool
        Make a file where there is none.
    shared : bool
        Allow others a shared lock, too.
    wait : bool
        Until it is free.

    Returns
    -------
    int or None
        A descriptor; closing it releases the lock. None if somebody else holds one.

    Raises
    ------
    OSError
        If the path can't be opened.
    """
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR if make else os.O_RDONLY, 0o600)
        try:
            fcntl.flock(handle, kind)
        except OSError:
            os.close(handle)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        os.close(handle)  # it was removed meanwhile: what is there now is another


@contextlib.contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Make a folder below `folder` that goes away at the end, or is left to `tidy` if this process is killed."""
    turn = lock(folder, make=False, wait=True)  # nobody tidies before the new one is locked
    try:
        place = Path(tempfile.mkdtemp(prefix=_WORK, dir=folder))
        handle = lock(place, make=False)
    finally:
        os.close(turn)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(handle)


def tidy(folder: Path, most: int = MOST_KEPT) -> None:
    """Remove what killed processes left in `work_folder`, and all but the folders that were used last.

    Parameters
    ----------
    folder : Path
        Its folders belong to who holds a lock on the file beside them, `lock_beside`.
    most : int
        How many of those that nobody holds stay.
    """
    turn = lock(folder, make=False, wait=True)
    try:
        for path in folder.glob(f"{_WORK}*"):
            _remove(path, path)
        kept = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(_WORK)]
        for path in sorted(kept, key=lambda path: path.stat().st_mtime, reverse=True)[most:]:
            _remove(path, lock_beside(path))
    finally:
        os.close(turn)


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep a folder from being tidied away."""
    handle = lock(lock_beside(folder), shared=True)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def lock_beside(folder: Path) -> Path:
    """File of the lock of a folder in the cache."""
    return folder.with_name(f"{folder.name}.lock")


def _remove(folder: Path, held: Path) -> None:
    """Remove a folder and the file of its lock, if nobody holds that."""
    with contextlib.suppress(OSError):
        handle = lock(held, make=held != folder)
        if handle is not None:
            shutil.rmtree(folder, ignore_errors=True)
            if held != folder:
                held.unlink()
            os.close(handle)


def _private_folder(root: Path, parts: tuple[str, ...], forbidden: int) -> Path | None:
    """Folder below `root`, made where it is missing; ``None`` if it can't be written or is not ours alone."""
    try:
        for above in reversed(root.parents):
            if not above.exists():
                above.mkdir(mode=0o700, exist_ok=True)
        root = root.resolve() if forbidden == 0o022 else root  # a home may lie behind a link, a temporary folder not
        if not _trusted_above(root):
            return None
        folder = root
        for name in ("", *parts):
            folder = folder / name
            folder.mkdir(mode=0o700, exist_ok=True)
            if not is_private(folder, forbidden):
                return None
        return folder if os.access(folder, os.W_OK) else None
    except OSError:
        return None


def _trusted_above(root: Path) -> bool:
    """Whether nobody but this user and the superuser can rename a folder: not even a race exchanges it."""
    for above in root.resolve().parents:
        found = os.stat(above)
        # Within a user namespace the superuser's folders seem to be nobody's.
        if found.st_uid not in (0, _NOBODY, os.geteuid()) or (
            found.st_mode & 0o002 and not found.st_mode & stat.S_ISVTX
        ):
            return False
    return True


@functools.cache
def _own_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="brian2grad-")
    process = os.getpid()  # a forked child does not take the folder away from its parent
    atexit.register(lambda: os.getpid() == process and shutil.rmtree(folder, ignore_errors=True))
    return Path(folder)
