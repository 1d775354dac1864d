"""Threads of the compiled engines and ``os.fork``: the child of a process that has used them can use them, too.

OpenMP keeps its threads between calls, and they do not exist in a forked child, which would wait for them for ever. So
they are given back before every fork, as OpenMP 5.0 provides for, and made anew at the next call. What an engine of
another thread was doing at that moment is unknown in the child: engines open again there, see `Forked`.
"""

from __future__ import annotations

import ctypes
import os

_HARD = 2  # omp_pause_hard
_pauses: dict[int, object] = {}  # by address: one for every OpenMP library in use


def pause_before_fork(path) -> None:
    """Give back the threads of the OpenMP library that a compiled library uses before every fork."""
    function = getattr(ctypes.CDLL(str(path)), "omp_pause_resource_all", None)  # found among what it depends on
    if function is None:
        return  # an OpenMP before 5.0
    if not _pauses:
        os.register_at_fork(before=_pause)
    _pauses.setdefault(ctypes.cast(function, ctypes.c_void_p).value, function)


def _pause() -> None:
    for function in _pauses.values():
        function(_HARD)  # refused within a parallel region, where Python never is


class Forked:
    """Whether this process is a child forked since the last question; the first answer is no."""

    def __init__(self):
        self._process = os.getpid()

    def __call__(self) -> bool:
        before, self._process = self._process, os.getpid()
        return before != self._process
