"""Everything that a run needs to go on bit for bit: written in one file, checked whole before anything is changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ..models.errors import NetworkError
from ..models.files import write_file
from ..models.hdf5 import VERSION, DamagedFile, NewerFile, read_sealed, reason_of, sealed
from .errors import RunError

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(path, network, optimiser, rng, epoch: int) -> None:
    """Write parameters, moments of the optimiser and random numbers after an epoch.

    Raises
    ------
    OSError
        If the file can't be written.
    """
    attributes = {"format": f"brian2grad checkpoint, version {VERSION}", "epoch": epoch, "steps": optimiser.steps}
    attributes |= {"optimiser": optimiser.name, "rng": json.dumps(rng.bit_generator.state), "complete": True}
    datasets = {f"parameters/{name}": value for name, value in network.parameters.items()}
    datasets |= {f"optimiser/{name}": value for name, value in optimiser.state.items()}
    write_file(path, sealed(attributes, datasets))


def load_checkpoint(path, network, optimiser, rng) -> int:
    """Set network, optimiser and random numbers to those of a checkpoint and return its epoch.

    Raises
    ------
    RunError
        If the file is damaged, of a newer version or of another network or optimiser; nothing is changed then.
    """
    path = Path(path)
    try:
        attributes, datasets = read_sealed(path)
        if attributes.get("complete") is not True:
            raise DamagedFile("it was not written to its end")
        epoch, steps = (_whole(attributes, name) for name in ("epoch", "steps"))
        generator = _generator(rng, attributes["rng"])
        if attributes.get("optimiser", optimiser.name) != optimiser.name:
            raise DamagedFile(f"it is of optimiser '{attributes['optimiser']!s:.20}', not '{optimiser.name}'")
        parameters = network.checked_parameters(_within(datasets, "parameters"), "its network")
        state = {_renamed(key, network.renamed): value for key, value in _within(datasets, "optimiser").items()}
        state = _checked_state(state, parameters, optimiser, steps)
    except NewerFile as error:
        raise RunError(f"{path} {error}.") from None
    except (OSError, DamagedFile, NetworkError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise RunError(
            f"{path} is damaged ({reason_of(error).rstrip('.'):.200}); the network of the last epoch is still in "
            f"{path.with_name('weights.h5')}."
        ) from None
    network.set_parameters(parameters)
    optimiser.state, optimiser.steps = state, steps
    rng.bit_generator.state = generator
    return epoch


def _whole(attributes: dict, name: str) -> int:
    value = attributes[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DamagedFile(f"{name} = {value!r:.40}; expected a whole number")
    return value


def _generator(rng, text: str) -> dict:
    """State of random numbers that a generator of the same kind takes."""
    state = json.loads(text)
    trial = type(rng.bit_generator)()
    trial.state = state
    if json.dumps(trial.state) != json.dumps(state):
        raise DamagedFile("its random numbers are of another kind")
    return state


def _within(datasets: dict, group: str) -> dict:
    return {name.partition("/")[2]: value for name, value in datasets.items() if name.startswith(f"{group}/")}


def _checked_state(state: dict, parameters: dict, optimiser, steps: int) -> dict:
    """Moments of the optimiser as it would keep them: all of every parameter that has one, finite, of its shape."""
    trained = {key.partition(".")[2] for key in state}
    wanted = {f"{moment}.{name}" for moment in optimiser.moments for name in trained}
    if wanted != state.keys() or not trained <= parameters.keys() or bool(state) != bool(steps):
        raise DamagedFile(f"after {steps} steps its optimiser holds {', '.join(sorted(state)) or 'nothing'}")
    for key, value in state.items():
        own = parameters[key.partition(".")[2]]
        if np.shape(value) != own.shape or not np.isfinite(value).all():
            raise DamagedFile(f"'optimiser/{key}' has shape {np.shape(value)}; expected finite numbers, {own.shape}")
        if key.startswith("second.") and (value < 0).any():
            raise DamagedFile(f"'optimiser/{key}' holds a negative mean of squares")
    return {key: np.array(value, parameters[key.partition(".")[2]].dtype) for key, value in state.items()}


def _renamed(key: str, names: dict[str, str]) -> str:
    """Name of an optimiser's array, ``first.layer1.w``, where older files have another name for the parameter."""
    moment, _, name = key.partition(".")
    return f"{moment}.{names.get(name, name)}"
