"""Errors of this folder; each text names what is wrong and how to mend it."""


class EngineError(RuntimeError):
    """Raise when an engine cannot be generated, compiled or run."""


class NetworkError(ValueError):
    """Raise when a network or its input is malformed."""
