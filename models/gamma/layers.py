"""Layers of a SpikingGamma network as the engine sees them: compiled code, and the numbers that go into it."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
from brian2 import Quantity, second

from ...equations import spiking_gamma
from ...equations.memory import memory_update
from .lowering import LayerCode, LayerNumbers, lower


def lowered(dt: float, layer: dict) -> tuple[LayerCode, LayerNumbers]:
    """Code and numbers of a layer with fixed time constants.

    Parameters
    ----------
    dt : float
        Step in seconds.
    layer : dict
        Arguments of `spiking_gamma`.
    """
    times = {"tau": tuple(np.asarray(layer["tau"]).tolist()), "tau_theta": float(layer["tau_theta"])}
    return _lowered(dt, **(layer | times))


@functools.lru_cache(maxsize=256)
def _lowered(dt: float, tau: tuple[float, ...], tau_theta: float, **layer) -> tuple[LayerCode, LayerNumbers]:
    return lower(spiking_gamma(tau=Quantity(tau, dim=second.dim), tau_theta=tau_theta * second, **layer), dt)


def numbers_of(dt: float, layer: dict, tau: np.ndarray | None = None) -> LayerNumbers:
    """Numbers of a layer, with trained time constants `tau` (K,) in seconds in place of its own; a pure function."""
    if tau is None:
        return lowered(dt, layer)[1]
    fixed = [tau[0], *np.asarray(layer["tau"])[1:]]  # the code reads tau_0 alone, which is not trained
    numbers = lowered(dt, layer | {"tau": fixed})[1]
    transposed = layer["buckets"] == "synapse"
    A = memory_update(layer["K"], layer["memory"], transposed)(tau, dt)
    return replace(numbers, A=A, scales=tau[0] / tau if transposed else numbers.scales)
