"""Where the objects of a network come from: a ready neuron by its name, or a function in the user's file."""

from __future__ import annotations

import gc

from brian2 import Quantity, second

from ...equations.ready import READY
from ...models.storage import described_by, load_network
from ..configuration.own_files import called, defined, taken_from
from ..errors import TrainingError
from .ready import Layers, ready_network
from .trainable import TrainableNetwork

NEEDED = ("network", "wrt", "duration", "inputs", "outputs")
OPTIONAL = ("loss", "readout", "bounds", "sizes", "namespace")


def described(place: str, needed=NEEDED, optional=OPTIONAL) -> dict:
    """Mapping that a function in a Python file returns.

    Parameters
    ----------
    place : str
        ``MODEL.py:OBJECT``; OBJECT is a function without arguments.
    needed, optional : sequence of str
        Keys; ``namespace`` is by default what the file defines.

    Raises
    ------
    TrainingError
        If the file or the function is missing, or what it returns is incomplete.
    """
    module, mapping = returned(place)
    missing = [key for key in needed if not isinstance(mapping, dict) or key not in mapping]
    if missing:
        raise TrainingError(f"'{place}' must return a mapping with {', '.join(needed)}; '{missing[0]}' is missing.")
    unknown = sorted(mapping.keys() - {*needed, *optional})
    if unknown:
        raise TrainingError(f"'{place}' returns '{unknown[0]}', which means nothing here.")
    return {"namespace": vars(module), **mapping}


def returned(place: str):
    """Module of a user's Python file, and what its function returns.

    Raises
    ------
    TrainingError
        If there is no such file or function, or what it holds fails: in which line, and how.
    """
    path, _, name = place.rpartition(":")
    if not path or not name:
        raise TrainingError(f"'{place}' does not name a model; write MODEL.py:OBJECT, or one of {', '.join(READY)}.")
    gc.collect()  # objects of an earlier call with the same names
    module, function = defined(path, name)
    return module, called(path, name, function)


def is_ready(model: str) -> bool:
    """Whether a model is the name of a ready neuron."""
    return model in READY


def ready_origin(model: str, n_inputs: int, n_outputs: int, layers: dict, duration: float, seed: int) -> dict:
    """Plain description of a layered network of ready neurons; `layers` as of `Layers`, duration in seconds."""
    return {
        "model": model, "n_inputs": int(n_inputs), "n_outputs": int(n_outputs), "layers": layers,
        "duration": float(duration), "seed": int(seed),
    }  # fmt: skip


def open_origin(origin: dict, threads: int | None = None) -> TrainableNetwork:
    """Network of a plain description: of `ready_origin`, or ``{'model': 'MODEL.py:OBJECT'}``."""
    network = _opened(origin, threads)
    network.made_again = reopened
    return network


def _opened(origin: dict, threads: int | None) -> TrainableNetwork:
    if not is_ready(origin["model"]):
        mapping = described(origin["model"])
        with taken_from(origin["model"]):
            return TrainableNetwork(**mapping, threads=threads, origin=origin)
    mapping = ready_network(
        origin["model"], origin["n_inputs"], origin["n_outputs"], Layers(**origin["layers"]),
        Quantity(origin["duration"], dim=second.dim), origin["seed"],
    )  # fmt: skip
    return TrainableNetwork(**mapping, threads=threads, origin=origin)


def reopened(origin: dict, threads: int | None, parameters: dict) -> TrainableNetwork:
    """Network of a plain description with values of its own: what a copy of a network is made by."""
    network = open_origin(origin, threads)
    network.set_parameters(parameters, source="the copied network")
    return network


def restored(path, threads: int | None = None) -> TrainableNetwork:
    """Network of a file that a run wrote: its objects are made again, then take their trained values."""
    config, _ = load_network(path, TrainableNetwork.kind)
    with described_by(path):
        network = open_origin(config["origin"], threads)
        network.restore(path)
    return network
