"""Where compiled engines and generated data are kept between runs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """Return (and create) a folder below the cache.

    The root is ``$BRIAN2GRAD_CACHE``, else ``$XDG_CACHE_HOME/brian2grad``, else ``~/.cache/brian2grad``; where none
    can be written, a folder under the system's temporary directory.
    """
    explicit = os.environ.get("BRIAN2GRAD_CACHE")
    configured = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that relative values are to be ignored.
    base = Path(configured) if os.path.isabs(configured) else Path(os.path.expanduser("~")) / ".cache"
    default = base / "brian2grad"
    fallback = Path(tempfile.gettempdir()) / f"brian2grad-{os.getuid()}"
    for root in (Path(explicit) if explicit else default, fallback):
        folder = root.joinpath(*parts)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
        except OSError:
            continue
    raise OSError(f"No cache folder can be written: tried {default} and {fallback}. Set BRIAN2GRAD_CACHE.")
