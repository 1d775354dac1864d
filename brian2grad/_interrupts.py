"""Ctrl-C while the command line is still being loaded, which takes seconds: one line instead of a traceback."""

import _signal as signal  # built in, and at once there: importing `signal` could itself be interrupted
import os
import sys


def _stop(number, frame):
    os.write(2, b"error: interrupted\n")
    os._exit(130)  # nothing has begun that would have to be put away


def answer_at_once() -> None:
    """Answer Ctrl-C in one line from now on; a process that is to ignore it goes on ignoring it."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, _stop)


def answer_as_python() -> None:
    """Leave the answer to whoever handles `KeyboardInterrupt`."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def started_as_command() -> bool:
    """Whether this process is the command ``brian2grad``, or was told ``-m brian2grad...`` and is on the way there."""
    name = (getattr(sys, "argv", None) or [""])[0]
    on_the_way = name == "-m" and any(text.startswith("brian2grad") for text in sys.orig_argv[1:])
    return on_the_way or os.path.basename(name) == "brian2grad"
