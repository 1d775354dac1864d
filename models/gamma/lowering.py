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
    """What the templates need of one kind of layer; equal code means one compiled kind.

    In the generated code ``a{r}_{k}`` is the entry of the buckets' update A with which bucket r takes from bucket k,
    ``in{k}`` the derivative of the loss by bucket k at this step, ``later{k}`` its cotangent one step later.
    """

    buckets: tuple[str, ...]
    entries: tuple[tuple[int, int], ...]
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

    @property
    def next(self) -> tuple[str, ...]:
        """Every bucket after a step, of ``z[k][i]``: rows of A z."""
        return self._rows(tuple(f"z[{k}][i]" for k in range(len(self.buckets))))

    @property
    def next_by_name(self) -> tuple[str, ...]:
        """The same, of variables called as in the equations."""
        return self._rows(self.buckets)

    @property
    def cotangent(self) -> tuple[str, ...]:
        """Cotangent of every bucket: what enters at this step, and rows of A^T times the later ones."""
        return tuple(_sum([f"in{k}", *self._spilled(k)]) for k in range(len(self.buckets)))

    @property
    def sent(self) -> tuple[str, ...]:
        """What the layer below receives through each weight: as the cotangent, with the estimate's decay taken off."""
        return tuple(
            _sum([f"in{k}", f"lag{w} * later{k}", *self._spilled(k, others=True)]) for w, k in enumerate(self.targets)
        )

    @property
    def sent_at_once(self) -> str:
        """The same for rules that send an error down at the same step."""
        return _sum(f"L.send[w * K + {k}] * in{k}" for k in range(len(self.buckets)))

    def _rows(self, values) -> tuple[str, ...]:
        rows = range(len(self.buckets))
        return tuple(_sum(f"a{r}_{k} * {values[k]}" for r, k in self.entries if r == row) for row in rows)

    def _spilled(self, bucket: int, others: bool = False) -> list[str]:
        """What the buckets that take from `bucket` give back one step later; itself left out if `others`."""
        return [f"a{r}_{k} * later{r}" for r, k in self.entries if k == bucket and not (others and r == k)]


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
        entries=tuple((int(r), int(k)) for r, k in np.argwhere(A)),
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


def _sum(terms) -> str:
    return " + ".join(terms)


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
