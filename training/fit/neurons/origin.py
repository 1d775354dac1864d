"""Where a neuron to be fitted comes from: a ready one by its name, or a function in the user's file."""

from __future__ import annotations

from ...configuration.own_files import called, defined, taken_from
from ...errors import TrainingError
from .models import FittingModel, fitting_model
from .ready import FITTED, ready_model

_OPTIONAL = ("constants", "initial", "input", "drive", "threshold", "namespace")


def model_of(origin: str, current: bool) -> FittingModel:
    """The neuron that a word of the command line names.

    Parameters
    ----------
    origin : str
        A ready neuron, or ``MODEL.py:OBJECT``: a `FittingModel`, or a function without arguments that returns one or a
        mapping with arguments of `fitting_model`; ``namespace`` is by default the file's own names.
    current : bool
        Whether the input is a current.

    Raises
    ------
    TrainingError
        If the file or the object is missing, or what it returns is incomplete.
    """
    if origin in FITTED:
        return ready_model(origin, current)
    path, _, name = origin.rpartition(":")
    if not path or not name:
        raise TrainingError(f"'{origin}' is no neuron to fit; there are {', '.join(FITTED)}, or give MODEL.py:OBJECT.")
    module, found = defined(path, name)
    if isinstance(found, FittingModel):
        return found
    described = called(path, name, found)
    if isinstance(described, FittingModel):
        return described
    missing = [key for key in ("model", "bounds") if not isinstance(described, dict) or key not in described]
    if missing:
        raise TrainingError(f"'{origin}' must return a mapping with model and bounds; '{missing[0]}' is missing.")
    unknown = sorted(described.keys() - {"model", "bounds", *_OPTIONAL})
    if unknown:
        raise TrainingError(f"'{origin}' returns '{unknown[0]}', which means nothing here.")
    names = {key: value for key, value in vars(module).items() if not key.startswith("__")}
    with taken_from(origin):
        return fitting_model(name, **{"namespace": names, **described})
