"""A SpikingGamma model lowered to the expressions and numbers from which its C++ is generated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy

from ...equations import ModelError, SpikingGammaModel
from ...equations.hybrid import HybridSystem
from ...equations.statements import substituted, symbol
from ..native.express import Constants, cpp


@dataclass(frozen=True)
class LayerCode:
    """What the template needs of one kind of layer; equal code means one compiled kind."""

    buckets: tuple[str, ...]
    flow: tuple[tuple[int, ...], ...]
    code_states: tuple[str, ...]
    code_updates: tuple[str, ...]
    parameters: tuple[str, ...]
    targets: tuple[int, ...]
    signal: str
    signal_by_bucket: tuple[str, ...]
    signal_by_parameter: tuple[str, ...]
    margin: str
    jump: str
    count: str
    resets: tuple[tuple[str, str], ...]
    estimate: str

    @property
    def readout(self) -> bool:
        """Whether the layer only reads out."""
        return not self.margin


@dataclass(frozen=True)
class LayerNumbers:
    """The run-time numbers that belong to a `LayerCode`.

    Attributes
    ----------
    A : (K, K) array
        Update of the buckets over one step, ``z(t+dt) = A z(t)``.
    constants : (n,) array
        Values of ``c0 ...`` in the code.
    scales : (n_weights,) array
        Factor with which each weight's jump enters its bucket.
    alpha : float
        Decay of the estimate over one step (0 for a readout).
    """

    A: np.ndarray
    constants: np.ndarray
    scales: np.ndarray
    alpha: float


def lower(model: SpikingGammaModel, dt: float) -> tuple[LayerCode, LayerNumbers]:
    """Derive code and numbers of a layer from its equations.

    Parameters
    ----------
    model : SpikingGammaModel
    dt : float
        Step in seconds.

    Raises
    ------
    ModelError
        If the model is not a linear memory with a signal read from it and jumps added to it.
    """
    system = HybridSystem.of(model)
    step = system.step(dt)
    A = step.linear(model.memory_names)
    constants = Constants()
    text = lambda e: cpp(constants.hoist(e))  # noqa: E731
    signal = constants.hoist(substituted(model, model.signal))
    slopes = tuple(map(cpp, system.jacobian({"signal": signal}, (*model.memory_names, *model.trained_names))))
    code_states = tuple(s for s in step.states if s not in model.memory_names)
    updates = tuple(text(step.next[s]) for s in code_states)
    targets, scales = _injection(system, model)
    margin = jump = count = estimate = ""
    resets: tuple = ()
    alpha = 0.0
    if system.margin is not None:
        margin = text(system.margin)
        jump = text(substituted(model, model.jump))
        count = text(substituted(model, model.count)) if model.count else "1"
        resets = tuple((s, text(system.reset[s])) for s in code_states if system.reset[s] != symbol(s))
        estimate = model.estimate
        alpha = float(step.linear((estimate,))[0, 0])
    code = LayerCode(
        buckets=model.memory_names,
        flow=tuple(tuple(int(c) for c in np.flatnonzero(row)) for row in A),
        code_states=code_states,
        code_updates=updates,
        parameters=model.trained_names,
        targets=targets,
        signal=cpp(signal),
        signal_by_bucket=slopes[: len(A)],
        signal_by_parameter=slopes[len(A) :],
        margin=margin,
        jump=jump,
        count=count,
        resets=resets,
        estimate=estimate,
    )
    return code, LayerNumbers(A, np.array(constants.values), scales, alpha)


def _injection(system, model) -> tuple[tuple[int, ...], np.ndarray]:
    """Which bucket each weight's jump enters and with what factor, read from ``on_pre``."""
    by_weight = system.jacobian("jump", model.weight_names)
    targets, scales = [], []
    for column, weight in enumerate(model.weight_names):
        hits = [(name, slope) for name, slope in zip(system.states, by_weight[:, column], strict=True) if slope != 0]
        if len(hits) != 1:
            raise ModelError(f"'{weight}' must act on exactly one bucket in on_pre:\n{model.on_pre}")
        name, slope = hits[0]
        factor = sympy.simplify(slope / symbol("jump_pre"))
        if factor.free_symbols:
            raise ModelError(f"'{name} += ...{weight}' must be weight * jump_pre * number in:\n{model.on_pre}")
        targets.append(model.memory_names.index(name))
        scales.append(float(factor))
    return tuple(targets), np.array(scales)
