"""What ``hidden`` and ``input`` of a configuration mean for a data set."""

from __future__ import annotations

import numpy as np

from ...models.errors import NetworkError
from ...models.topology.layers import Conv2d, Pool2d, parse_layers
from ..tasks import Task, sensor_of

CAMERA = (2, 34, 34)  # polarities, height, width of a camera whose data are not there yet


def needs_places(hidden) -> bool:
    """Whether a layer needs rows and columns of its input."""
    try:
        return any(isinstance(layer, Conv2d | Pool2d) for layer in parse_layers(hidden))
    except (NetworkError, TypeError):
        return False  # refused where the network is made


def units_expected(network: dict) -> int:
    """Input units to rehearse ``[network]`` with before its data are there."""
    hidden, given = network.get("hidden", ()), network.get("input")
    if isinstance(given, list) and all(isinstance(n, int) for n in given):
        return int(np.prod(given))
    return int(np.prod(CAMERA)) if isinstance(hidden, list) and needs_places(hidden) else 1


def structure(network, task: Task) -> dict:
    """Arguments ``sizes``, or ``input`` and ``layers``, of a network.

    Parameters
    ----------
    network : Section
        With ``hidden``, ``input`` and ``n_classes``; an input of unknown shape is a camera's where a layer asks for it.
    task : Task
    """
    n_units, layers = task.events.n_units, [*network.hidden, network.n_classes or task.n_classes]
    if all(isinstance(layer, int) for layer in layers):
        return {"sizes": [n_units, *layers]}
    if network.input:
        return {"input": network.input, "layers": layers}
    return {"input": (2, *reversed(sensor_of(n_units))) if needs_places(layers) else n_units, "layers": layers}
