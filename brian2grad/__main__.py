"""The command ``brian2grad``, also as ``python -m brian2grad``."""

import sys

from ._interrupts import answer_as_python, answer_at_once


def greet(arguments, stream) -> None:
    """Say in a terminal that something happens while Brian 2 is loaded; the next line takes its place."""
    if stream.isatty() and arguments and not {"--quiet", "--help", "--version"} & {*arguments}:
        stream.write("loading Brian 2 ...\r")
        stream.flush()


def main() -> None:
    """Load the command line and run it."""
    answer_at_once()
    greet(sys.argv[1:], sys.stderr)
    from .training.cli.main import main as run

    run(ready=answer_as_python)


if __name__ == "__main__":
    main()
