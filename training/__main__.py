"""``python -m brian2grad.training``: the same command line as ``brian2grad``."""

from ..__main__ import main

if __name__ == "__main__":
    main()
