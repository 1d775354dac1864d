"""Weights as whole numbers of eight bits, one scale per channel, and training that knows of it."""

from __future__ import annotations

import numpy as np

from ..protocols import StandIn

LARGEST = 127  # of int8, symmetric


def channel_scale(w: np.ndarray) -> np.ndarray:
    """Size of one unit of int8, per channel (the last axis): the largest weight of the channel is 127."""
    largest = np.abs(w).max(axis=tuple(range(w.ndim - 1)))
    return np.where(largest > 0, largest, LARGEST) / LARGEST


def rounded(w: np.ndarray) -> np.ndarray:
    """Weights at the nearest whole number of their channel's unit, in their own type."""
    scale = channel_scale(np.asarray(w, float))
    return (np.rint(w / scale) * scale).astype(w.dtype)


def without_zeros(w: np.ndarray) -> np.ndarray:
    """Weights whose zeros are a millionth of a unit: in an asynchronous network a shared zero would be no synapse."""
    return np.where(w == 0, 1e-6 * channel_scale(np.asarray(w, float)), w).astype(w.dtype)


def is_whole(w: np.ndarray, scale: np.ndarray) -> bool:
    """Whether weights are whole numbers of a scale, up to the rounding of single precision."""
    units = w / scale
    return bool(np.abs(units - np.rint(units)).max(initial=0) < 1e-3)


def is_weight(name: str) -> bool:
    """Whether a parameter is synaptic: ``layer1.w``, ``layer2.w_own``, ``projection0.w``."""
    kind = name.rpartition(".")[2]
    return kind == "w" or kind.startswith("w_")


def quantised(network, parameters: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """Parameters of a network whose synaptic weights are rounded; per bucket where synapses have one weight each.

    Parameters
    ----------
    network : SpikingGammaNetwork or AsynchronousNetwork
    parameters : dict of str to array, optional
        In place of the network's own. Bucket weights, biases, thresholds and time constants stay as they are.

    Returns
    -------
    dict of str to array
        Of the network's own types.
    """
    found, shared = {}, {f"projection{k}.w" for k in getattr(network, "shared", ())}
    for name, value in (network.parameters if parameters is None else parameters).items():
        if not is_weight(name):
            found[name] = value.copy()
        elif name in shared:
            found[name] = without_zeros(rounded(value))
        elif value.ndim == 3 and name.startswith("layer"):  # (K, n_pre, n_post)
            found[name] = np.stack([rounded(each) for each in value])
        else:
            found[name] = rounded(value)
    return found


class RoundedNetwork(StandIn):
    """A network that learns with rounded weights: gradients are those at the rounded weights, and move the others.

    `parameters` are those before rounding; `finish` leaves the network with rounded weights.

    Parameters
    ----------
    network : SpikingGammaNetwork or AsynchronousNetwork
        Trained already.

    References
    ----------
    Jacob et al. 2018, arXiv 1712.05877 (training with rounded weights, the rounding's own derivative taken as one).
    """

    def initialise(self, draw) -> None:
        """Begin a training: the weights stay."""

    def gradients(self, events, labels=None, *, goal=None, rule=None):
        """Gradients of a batch at the rounded weights."""
        precise = self.network.parameters
        found = self.network.gradients(events, labels, goal=goal, rule=rule)
        while True:
            self.network.parameters = quantised(self.network, precise)
            try:
                result = next(found, None)
            finally:
                self.network.parameters = precise
            if result is None:
                return
            yield result

    def finish(self):
        """The network, with rounded weights."""
        self.network.parameters = quantised(self.network)
        return self.network
