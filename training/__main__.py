"""``python -m brian2grad.training``: the same command line as ``brian2grad``."""

from .cli.main import main

if __name__ == "__main__":
    main()
