"""A network's layers laid out: neurons, connections between them, and the shape of every weight."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..checks import checked_number, checked_sizes
from ..errors import NetworkError
from .geometry import Patches, patches, pooled
from .layers import Conv2d, Dense, Flatten, LayerValue, Pool2d, Recurrent, parse_layers

_VIEWS = Pool2d | Flatten  # layers without neurons: other sights of the one before


@dataclass(frozen=True, eq=False)
class View:
    """What a layer sees of a source: its cells (place by place, the channels of a place side by side).

    Attributes
    ----------
    source : int
        0 is the input, l the l-th layer with neurons.
    shape : (channels, height, width)
        ``(n, 1, 1)`` of neurons in a row.
    cells : (n_units,) array of int32 or None
        Cell of every unit of the source, -1 for none; ``None``: each is its own.
    flat : bool
        Whether there are no places.
    """

    source: int
    shape: tuple[int, int, int]
    cells: np.ndarray | None = None
    flat: bool = False


@dataclass(frozen=True, eq=False)
class Connection:
    """Weights through which a source acts on a layer.

    Attributes
    ----------
    name : str
        Of the parameter: ``w``, or ``w_`` and the name of the source where there are several.
    shape : tuple of int
        Of the weights: (n_pre, n_post), or (height, width, channels, n_post channels) of a kernel.
    view : View
    patches : Patches or None
        ``None``: dense, cell by neuron.
    """

    name: str
    shape: tuple[int, ...]
    view: View
    patches: Patches | None = None

    @property
    def source(self) -> int:
        return self.view.source

    @property
    def matrix(self) -> tuple[int, int]:
        """The same weights as rows: (taps times channels, n_post channels)."""
        return int(math.prod(self.shape[:-1])), self.shape[-1]

    @property
    def fan_in(self) -> int:
        """Weights that meet in a neuron (of a kernel, away from the border)."""
        return self.matrix[0]

    def synapses(self, n_units: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Every synapse, ordered by its source unit: source unit, target neuron, and place of its weight in `shape`.

        Parameters
        ----------
        n_units : int
            Of the source.
        """
        depth, n_post = self.view.shape[0], self.shape[-1]
        cells = np.arange(n_units) if self.view.cells is None else self.view.cells
        units = np.flatnonzero(cells >= 0)
        position, channel = np.divmod(cells[units], depth)
        if self.patches is None:
            unit, row, place = units, cells[units], np.zeros(len(units), int)
        else:
            begin, count = self.patches.ptr[position], np.diff(self.patches.ptr)[position]
            entry = np.arange(count.sum()) + np.repeat(begin - np.concatenate([[0], np.cumsum(count)[:-1]]), count)
            unit, place = np.repeat(units, count), self.patches.places[entry]
            row = self.patches.taps[entry] * depth + np.repeat(channel, count)
        post = np.arange(n_post)
        every = lambda a: np.repeat(a, n_post)  # noqa: E731
        return every(unit), (place[:, None] * n_post + post).ravel(), (row[:, None] * n_post + post).ravel()

    def fan_out(self, n_units: int) -> np.ndarray:
        """Synapses of every source unit."""
        cells = np.arange(n_units) if self.view.cells is None else self.view.cells
        if self.patches is None:
            return np.where(cells >= 0, self.shape[-1], 0)
        return np.where(cells >= 0, np.diff(self.patches.ptr)[cells // self.view.shape[0]] * self.shape[-1], 0)


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """A layer with neurons.

    Attributes
    ----------
    shape : (channels, height, width)
    connections : tuple of Connection
    """

    shape: tuple[int, int, int]
    connections: tuple[Connection, ...]

    @property
    def n(self) -> int:
        return int(math.prod(self.shape))

    @property
    def places(self) -> int:
        return self.shape[1] * self.shape[2]


@dataclass(frozen=True, eq=False)
class Plan:
    """A network laid out.

    Attributes
    ----------
    input : (channels, height, width)
        Input units are numbered channel by channel, as in recordings of event cameras.
    layers : tuple of LayerPlan
        The readout last.
    values : tuple of LayerValue
        As given.
    """

    input: tuple[int, int, int]
    layers: tuple[LayerPlan, ...]
    values: tuple[LayerValue, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Input units, then the neurons of every layer."""
        return (int(math.prod(self.input)), *(layer.n for layer in self.layers))

    @property
    def layer_values(self) -> tuple[LayerValue, ...]:
        """The value of each of `layers`: those that have neurons."""
        return tuple(value for value in self.values if not isinstance(value, _VIEWS))

    @property
    def chain(self) -> bool:
        """Whether every layer is dense and takes the one before it, nothing else."""
        return all(
            len(layer.connections) == 1
            and layer.connections[0].source == index
            and layer.connections[0].patches is None
            and layer.connections[0].view.cells is None
            for index, layer in enumerate(self.layers)
        )

    def fan_out(self) -> list[np.ndarray]:
        """Synapses of every unit of the input and of every layer, one array (n,) each."""
        total = [np.zeros(n, np.int64) for n in self.sizes]
        for layer in self.layers:
            for c in layer.connections:
                total[c.source] += c.fan_out(self.sizes[c.source])
        return total


def plan_of(sizes=None, *, input=None, layers=None) -> Plan:
    """Lay out a network given by its sizes, or by its input and layers.

    Parameters
    ----------
    sizes : sequence of int, optional
        Input units, hidden layers, outputs: short for dense layers.
    input : int or (channels, height, width), optional
    layers : list of layers or str, optional
        The last one is the readout; texts as in `parse_layers`.

    Raises
    ------
    NetworkError
        Names the layer that does not fit.
    """
    if (sizes is None) == (layers is None) or (input is None) != (layers is None):
        raise NetworkError("Give either sizes, or input and layers.")
    if layers is None:
        input, *layers = checked_sizes(sizes)
    values = parse_layers(layers)
    shape = _input_shape(input)
    views, built = {"input": View(0, shape, _channels_last(shape), flat=shape[1] * shape[2] == 1)}, []
    last = views["input"]
    for index, value in enumerate(values, start=1):
        where = f"layer {index} ({value})"
        taken = [_named(views, name, where) for name in value.inputs] or [last]
        if isinstance(value, _VIEWS):
            if len(taken) > 1:
                raise NetworkError(f"{where} takes one input, got {len(taken)}.")
            last = _flat(taken[0]) if isinstance(value, Flatten) else _pooled(taken[0], value, where)
        else:
            built.append(_layer(len(built) + 1, value, taken, where))
            last = View(len(built), built[-1].shape, flat=isinstance(value, Dense | Recurrent))
        if value.name in (*views, "own"):  # w_own are the weights of a recurrent layer to itself
            raise NetworkError(f"{where}: '{value.name}' is taken; give every layer a name of its own.")
        if value.name:
            views[value.name] = last
    if not values or not isinstance(values[-1], Dense):
        raise NetworkError("The last layer is the readout; it must be Dense (a number).")
    return Plan(shape, tuple(built), tuple(values))


def _layer(number: int, value: LayerValue, taken: list[View], where: str) -> LayerPlan:
    connect = _convolved if isinstance(value, Conv2d) else _dense
    names = [f"w_{name}" for name in value.inputs] if len(taken) > 1 else ["w"]
    connections = [connect(name, view, value, where) for name, view in zip(names, taken, strict=True)]
    if isinstance(value, Conv2d):
        shapes = {connection.patches.shape for connection in connections}
        if len(shapes) > 1:
            raise NetworkError(f"{where}: its inputs give maps of {sorted(shapes)}; they must be equal.")
        return LayerPlan((value.channels, *shapes.pop()), tuple(connections))
    shape = (value.n, 1, 1)
    if isinstance(value, Recurrent):
        connections.append(Connection("w_own", (value.n, value.n), View(number, shape, flat=True)))
    return LayerPlan(shape, tuple(connections))


def _dense(name: str, view: View, value, where: str) -> Connection:
    if view.source == 0 and view.cells is not None and view.cells.size == np.prod(view.shape):
        view = replace(view, cells=None)  # weights by input unit, as the events count them
    return Connection(name, (int(np.prod(view.shape)), value.n), view)


def _convolved(name: str, view: View, value: Conv2d, where: str) -> Connection:
    if view.flat:
        raise NetworkError(f"{where} needs rows and columns; give the input as (channels, height, width).")
    channels, height, width = view.shape
    made = patches(height, width, value.sides, value.stride, value.padding)
    return Connection(name, (*value.sides, channels, value.channels), view, made)


def _pooled(view: View, value: Pool2d, where: str) -> View:
    if view.flat:
        raise NetworkError(f"{where} needs rows and columns; give the input as (channels, height, width).")
    channels, height, width = view.shape
    window, shape = pooled(height, width, value.size)
    cells = np.arange(channels * height * width) if view.cells is None else view.cells
    position, channel = np.divmod(cells, channels)
    target = window[position]
    moved = np.where((cells >= 0) & (target >= 0), target * channels + channel, -1).astype(np.int32)
    return replace(view, shape=(channels, *shape), cells=moved)


def _flat(view: View) -> View:
    return replace(view, flat=True)


def _named(views: dict[str, View], name: str, where: str) -> View:
    if name not in views:
        raise NetworkError(f"{where}: there is no layer '{name}' before it; there are {', '.join(views)}.")
    return views[name]


def _input_shape(input) -> tuple[int, int, int]:
    shape = (input,) if np.ndim(input) == 0 else tuple(input)
    if len(shape) not in (1, 3):
        raise NetworkError(f"input = {input}: give a number of units, or (channels, height, width).")
    numbers = [int(checked_number("input", n, 1, whole=True)) for n in shape]
    return (numbers[0], 1, 1) if len(numbers) == 1 else tuple(numbers)


def _channels_last(shape: tuple[int, int, int]) -> np.ndarray | None:
    """Cell of every input unit."""
    channels, height, width = shape
    if height * width == 1:
        return None
    return np.arange(channels * height * width).reshape(height * width, channels).T.ravel().astype(np.int32)
