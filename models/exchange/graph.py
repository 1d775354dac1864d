"""Names and shapes that writing and reading a NIR graph share."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import numpy as np

from ..errors import NetworkError
from ..topology.geometry import pooled
from ..topology.plan import Plan, plan_of


def nir_module():
    """The package nir.

    Raises
    ------
    NetworkError
        If it is missing.
    """
    if importlib.util.find_spec("nir") is None:
        raise NetworkError("The package nir is not installed: pip install 'brian2grad[nir]'.")
    import nir

    return nir


def plan_of_network(network) -> Plan:
    """Layers of a network; those of one given by its projections must form a chain of dense ones."""
    if network.plan is not None:
        return network.plan
    plan, projections = plan_of(network.sizes), network.connectivity.projections
    chain = len(projections) == len(plan.layers) and all(
        (p.source, p.target) == (k, k + 1) and isinstance(p.weights, np.ndarray) for k, p in enumerate(projections)
    )
    if not chain:
        raise NetworkError("Only chains of dense layers, and layers given as values, are written to NIR; give layers.")
    return plan


@dataclass(frozen=True)
class Site:
    """Where a layer's neurons are in a graph: in a row, or (channels, height, width) of a map.

    Attributes
    ----------
    shape : (channels, height, width)
    """

    shape: tuple[int, int, int]

    @property
    def array(self) -> tuple[int, ...]:
        """Shape of the layer's arrays in the graph."""
        channels, height, width = self.shape
        return self.shape if height * width > 1 else (channels,)

    @property
    def is_map(self) -> bool:
        return len(self.array) == 3

    def spread(self, values) -> np.ndarray:
        """Values by channel, or one for all, for every neuron."""
        column = np.asarray(values, float).reshape(-1, *([1] * (len(self.array) - 1)))
        return np.ascontiguousarray(np.broadcast_to(column, self.array))

    def of_neurons(self, values) -> np.ndarray:
        """Values of the neurons in our order (the channels of a place side by side), or one for all."""
        values = np.asarray(values, float)
        if values.ndim == 0 or not self.is_map:
            return np.ascontiguousarray(np.broadcast_to(values, self.array))
        channels, height, width = self.shape
        return np.ascontiguousarray(values.reshape(height, width, channels).transpose(2, 0, 1))

    def to_neurons(self, values) -> np.ndarray:
        """The reverse of `of_neurons`."""
        values = np.asarray(values, float)
        return values.transpose(1, 2, 0).ravel() if self.is_map else values.ravel()


def window(plan: Plan, connection) -> int:
    """Side of the pooling windows through which a connection sees its source; 1 for none.

    Raises
    ------
    NetworkError
        If it sees it in another way.
    """
    view = connection.view
    source = plan.input if view.source == 0 else plan.layers[view.source - 1].shape
    if view.shape[1:] == source[1:]:
        return 1
    channels, height, width = source
    for size in range(2, height + 1):
        if (height // size, width // size) == view.shape[1:]:
            target, _ = pooled(height, width, size)
            position, channel = np.divmod(np.arange(channels * height * width), channels)
            cells = np.where(target[position] >= 0, target[position] * channels + channel, -1)
            if view.source == 0:  # input units are numbered channel by channel
                cells = cells.reshape(height * width, channels).T.ravel()
            if np.array_equal(cells, view.cells):
                return size
    raise NetworkError("This pooling has no counterpart in NIR: windows must be square and side by side.")


def by_channel(connection) -> bool:
    """Whether the rows of a dense connection count cells, place by place, and not units, channel by channel."""
    view = connection.view
    return view.shape[1] * view.shape[2] > 1 and not (view.source == 0 and view.cells is None)


def rows_in_graph(connection) -> np.ndarray:
    """Row of the weights (ours) of every unit of the flattened source in the graph (channel by channel)."""
    channels, height, width = connection.view.shape
    if not by_channel(connection):
        return np.arange(channels * height * width)
    return np.arange(channels * height * width).reshape(height * width, channels).T.ravel()


def prefix(index: int, connection) -> str:
    """Name of the nodes of a connection."""
    return f"layer{index}_{connection.name}"
