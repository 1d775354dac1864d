"""The one error of this folder: a model, the expression at fault, and the remedy."""


class ModelError(ValueError):
    """Raise when a model cannot be built or derived; the text says what is wrong and how to mend it."""
