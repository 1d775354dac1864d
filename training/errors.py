"""Errors of this folder; each text names what is wrong and how to mend it."""


class TrainingError(ValueError):
    """Raise when training cannot start or go on."""


class RunError(ValueError):
    """Raise when a run folder is missing, damaged or would be overwritten."""
