"""A command that is killed while it writes: ``python killed_writing.py N ARGUMENTS`` ends at its N-th step of writing.

A file is written in three steps: half of it is there, all of it is there but may not be on the disk, and it is complete
but has no name yet.
"""

import os
import signal
import sys
from pathlib import Path

from brian2grad.training.cli.main import main

left = int(sys.argv[1])


def fatal(function, half=False):
    """The function, before whose last call the process ends."""

    def call(first, *arguments, **options):
        global left
        left -= 1
        if left == 0:
            if half:
                function(first, arguments[0][: len(arguments[0]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return function(first, *arguments, **options)

    return call


os.fsync, os.replace = fatal(os.fsync), fatal(os.replace)
Path.write_bytes = fatal(Path.write_bytes, half=True)
main(sys.argv[2:])
