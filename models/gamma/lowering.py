"""A SpikingGamma model lowered to the expressions and numbers from which its C++ is generated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy

from ...equations import ModelError, SpikingGammaModel
from ...equations.update import (
    compose,
    condition,
    expand_subexpressions,
    parse,
    substituted,
    symbol,
    update_map,
)
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
    estimate_decay : float
        Decay of the estimate over one step (0 for a readout).
    """

    A: np.ndarray
    constants: np.ndarray
    scales: np.ndarray
    estimate_decay: float


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
    step = update_map(model, dt)
    A = step.linear(model.memory_names)
    constants = Constants()
    signal = constants.hoist(substituted(model, model.signal))
    used = [(signal.diff(symbol(n))) for n in (*model.memory_names, *model.trained_names)]
    code_states = tuple(s for s in step.states if s not in model.memory_names)
    updates = tuple(cpp(constants.hoist(step.next[s])) for s in code_states)
    targets, scales = _injection(model)
    margin = jump = count = estimate = ""
    resets: tuple = ()
    alpha = 0.0
    if model.threshold:
        margin = cpp(constants.hoist(condition(model, model.threshold)))
        jump = cpp(constants.hoist(substituted(model, model.jump)))
        count = cpp(constants.hoist(substituted(model, model.count))) if model.count else "1"
        composed = compose(model.reset)
        # A local variable of the reset is already written out in the statements that use it.
        kept = {name: e for name, e in composed.items() if name in code_states}
        resets = tuple((n, cpp(constants.hoist(expand_subexpressions(model, e)))) for n, e in kept.items())
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
        signal_by_bucket=tuple(cpp(d) for d in used[: len(A)]),
        signal_by_parameter=tuple(cpp(d) for d in used[len(A) :]),
        margin=margin,
        jump=jump,
        count=count,
        resets=resets,
        estimate=estimate,
    )
    return code, LayerNumbers(A, np.array(constants.values), scales, alpha)


def _injection(model) -> tuple[tuple[int, ...], np.ndarray]:
    """Which bucket each weight's jump enters and with what factor, read from ``on_pre``."""
    composed = compose(model.on_pre)
    jump = parse("jump_pre")
    targets, scales = [], []
    for weight in model.weight_names:
        w = symbol(weight)
        hits = [(name, expr.diff(w)) for name, expr in composed.items() if expr.has(w)]
        if len(hits) != 1:
            raise ModelError(f"'{weight}' must act on exactly one bucket in on_pre:\n{model.on_pre}")
        name, slope = hits[0]
        factor = sympy.simplify(slope / jump)
        if factor.free_symbols:
            raise ModelError(f"'{name} += ...{weight}' must be weight * jump_pre * number in:\n{model.on_pre}")
        targets.append(model.memory_names.index(name.removesuffix("_post")))
        scales.append(float(factor))
    return tuple(targets), np.array(scales)
