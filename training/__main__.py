"""``python -m brian2grad.training``: the same command line as ``brian2grad``."""

from .cli import main

if __name__ == "__main__":
    main()
