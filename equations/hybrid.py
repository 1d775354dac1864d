"""A Brian 2 model as a hybrid system: flow between events, spike condition, reset, synaptic jump, all symbolic.

With x the states, theta the parameters and w what a synapse brings along:

==========  ==================================  ===========================================
``flow``    ``dx/dt = f(x, t, theta)``          the differential equations
``margin``  ``g(x, t, theta)``                  the neuron spikes where it rises through zero
``reset``   ``x <- r(x, t, theta)``             at a spike of the neuron itself
``jump``    ``x <- h(x, t, theta, w)``          at a spike that arrives
==========  ==================================  ===========================================

Engines and gradients are generated from these maps, so that the equations stay the only place where dynamics are
written.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Any

import sympy
from brian2 import Equations
from brian2.core.namespace import DEFAULT_UNITS
from brian2.equations.refractory import add_refractoriness
from brian2.utils.stringtools import get_identifiers

from .errors import ModelError
from .statements import compose, condition, substituted, symbol
from .steps import Decay, StepMap, decay_of, step_of

MAPS = ("flow", "margin", "reset", "jump")
_FIELDS = ("name", "threshold", "reset", "on_pre", "method")
_CLOCK = {"t", "dt", "t_in_timesteps", "i", "j", "N", "lastspike", "not_refractory"}  # given by Brian 2
_CACHED = 512  # a schedule of thresholds makes new systems all the time


@dataclass(frozen=True, eq=False)
class HybridSystem:
    """States, parameters and the four maps of one neuron, with one pathway onto it.

    All expressions are of symbols as made by `statements.symbol`, with subexpressions written out and units as
    symbols. Models of equal text share one system.

    Attributes
    ----------
    name : str
    states : tuple of str
        Variables with a differential equation, then those that only a reset or a jump changes.
    parameters : tuple of str
        What else the maps depend on, apart from the time, the unit and presynaptic variables.
    flow : dict of str to sympy.Expr
        Time derivative of every state.
    margin : sympy.Expr or None
        The neuron spikes where it rises through zero; ``None``: never.
    reset : dict of str to sympy.Expr
        Every state after a spike, of the values before.
    jump : dict of str to sympy.Expr
        Every state after a spike has arrived, of the values before. Presynaptic variables end in ``_pre``.
    equations : Equations
    method : str or callable or None
        State updater of Brian 2.
    """

    name: str
    states: tuple[str, ...]
    parameters: tuple[str, ...]
    flow: dict[str, sympy.Expr]
    margin: sympy.Expr | None
    reset: dict[str, sympy.Expr]
    jump: dict[str, sympy.Expr]
    equations: Equations
    method: Any = None

    @classmethod
    def of(cls, model: Equations, **fields) -> HybridSystem:
        """Derive the system of a model.

        Parameters
        ----------
        model : NeuronModel or Equations
        **fields
            ``threshold``, ``reset``, ``on_pre`` (text), ``method`` and ``name`` in place of the model's own.

        Raises
        ------
        ModelError
            If the equations are stochastic, a condition is not one strict comparison, or ``on_pre`` changes the
            presynaptic neuron.
        """
        unknown = sorted(fields.keys() - set(_FIELDS))
        if unknown:
            raise ModelError(f"'{unknown[0]}' is no part of a model; give {', '.join(_FIELDS)}.")
        values = {name: fields.get(name, getattr(model, name, None)) for name in _FIELDS}
        values["method"] = _Method(values["method"])
        return _derive(_Text.of(model), **values)

    @property
    def continuous(self) -> tuple[str, ...]:
        """States with a differential equation."""
        return tuple(name for name in self.states if name in self.equations.diff_eq_names)

    def expressions(self, of) -> dict[str, sympy.Expr]:
        """Named expressions: one of the four maps by its name, or a dictionary or expression as it is."""
        if isinstance(of, str):
            if of not in MAPS:
                raise ModelError(f"'{of}' is no map of '{self.name}'; there are {', '.join(MAPS)}.")
            of = getattr(self, of)
            if of is None:
                raise ModelError(f"'{self.name}' has no margin, as it has no threshold.")
        return of if isinstance(of, dict) else {"margin": sympy.sympify(of)}

    def jacobian(self, of, by) -> sympy.Matrix:
        """Derivatives of a map.

        Parameters
        ----------
        of : {'flow', 'margin', 'reset', 'jump'} or dict or sympy.Expr
            A map of the system, or expressions of its symbols.
        by : str or sequence of str
            States, parameters or other symbols.

        Returns
        -------
        (n, m) sympy.Matrix
            A row for every state (margin: one), a column for every name in `by`.

        Raises
        ------
        ModelError
            If an expression has no derivative, such as one of ``clip`` or ``floor``.
        """
        by = (by,) if isinstance(by, str) else tuple(by)
        if isinstance(of, str):
            return _jacobian(self, of, by).as_mutable()
        return _differentiated(self, of, by)

    def step(self, dt) -> StepMap:
        """Map of one time step, as Brian 2 would execute it with the model's state updater.

        Parameters
        ----------
        dt : float or sympy.Symbol
            Seconds; a symbol keeps the step symbolic, for updaters that do not need its value.
        """
        return step_of(self, dt)

    def decay(self, by=None, states=None) -> Decay:
        """How states decay to zero, as a function of parameters.

        Parameters
        ----------
        by : str or sequence of str, optional
            Parameters, in the order in which their values will be given; by default those of the flow of `states`.
        states : sequence of str, optional
            By default all with a differential equation.

        Raises
        ------
        ModelError
            If their equations are not linear in each other, have a constant part or depend on another parameter.
        """
        by = (by,) if isinstance(by, str) else by
        return decay_of(self, None if by is None else tuple(by), tuple(states or self.continuous))


# -- derivation: done once per text, as networks are made by the hundred and their equations are not --------------


@dataclass(frozen=True)
class _Text:
    """Equations that can be looked up by their text (Brian 2's own hash fails on equations with flags)."""

    text: str
    equations: Equations = field(compare=False)

    @classmethod
    def of(cls, model) -> _Text:
        return cls("\n".join(map(str, model.values())), Equations(list(model.values())))


class _Method:
    """State updater as a key: names and functions by value, others (which may carry state) by identity."""

    def __init__(self, updater):
        self.updater = tuple(updater) if isinstance(updater, list) else updater
        self._key = id(updater) if self.updater.__hash__ is None else self.updater

    def __eq__(self, other):
        return self._key == other._key

    def __hash__(self):
        return hash(self._key)


@functools.lru_cache(_CACHED)
def _derive(text: _Text, method: _Method, name, threshold, reset, on_pre) -> HybridSystem:
    equations, name = text.equations, name or "equations"
    if equations.is_stochastic:
        noise = ", ".join(sorted(equations.stochastic_variables))
        raise ModelError(f"'{name}' contains noise ({noise}), of which no map is derived; remove it.")
    if any("unless refractory" in equation.flags for equation in equations.values()):
        equations = add_refractoriness(equations)
    after = compose(reset or "", functools.partial(substituted, equations))
    arrived = _arrived(equations, on_pre or "", name)
    changed = dict.fromkeys((*after, *arrived))
    wrong = sorted(equations.subexpr_names & changed.keys())
    if wrong:
        raise ModelError(f"A statement of '{name}' assigns to '{wrong[0]}', which its equations define already.")
    continuous = [v for v in equations if v in equations.diff_eq_names]
    # A local variable of the statements is already written out in those that use it.
    discrete = [v for v in changed if v in equations.parameter_names]
    states = (*continuous, *discrete)
    flow = {v: substituted(equations, equations[v].expr.code) for v in continuous}
    flow |= dict.fromkeys(discrete, sympy.Integer(0))
    margin = condition(equations, threshold) if threshold else None
    reset_map, jump_map = ({v: m.get(v, symbol(v)) for v in states} for m in (after, arrived))
    expressions = [*flow.values(), *reset_map.values(), *jump_map.values(), *([margin] if threshold else [])]
    used = {s.name for e in expressions for s in e.free_symbols} - set(states) - _CLOCK - DEFAULT_UNITS.keys()
    parameters = tuple(sorted(v for v in used if not v.endswith("_pre")))
    return HybridSystem(name, states, parameters, flow, margin, reset_map, jump_map, equations, method.updater)


def _arrived(equations, on_pre: str, name: str) -> dict[str, sympy.Expr]:
    """Map of ``on_pre`` with the neuron's own variables written without ``_post``."""
    code = re.sub("#.*", "", on_pre)
    both = sorted(get_identifiers(code) & equations.names)
    if both:
        raise ModelError(
            f"on_pre of '{name}' names '{both[0]}', which is a variable of the neuron: write '{both[0]}_post' for it, "
            "and give the synapse's variable another name."
        )
    composed = compose(re.sub(r"\b(\w+)_post\b", r"\1", code), functools.partial(substituted, equations))
    sent = sorted(v for v in composed if v.endswith("_pre"))
    if sent:
        raise ModelError(
            f"on_pre of '{name}' changes '{sent[0]}'; a spike may only change the neuron that receives it."
        )
    return composed


@functools.lru_cache(_CACHED)
def _jacobian(system: HybridSystem, of: str, by: tuple[str, ...]) -> sympy.ImmutableMatrix:
    return sympy.ImmutableMatrix(_differentiated(system, of, by))


def _differentiated(system, of, by) -> sympy.Matrix:
    rows = []
    for name, expression in system.expressions(of).items():
        row = [expression.diff(symbol(b)) for b in by]
        for b, slope in zip(by, row, strict=True):
            cause = next(iter(slope.atoms(sympy.Derivative, sympy.Subs, sympy.DiracDelta)), None)
            if cause is not None:
                where = f"{of} of '{name}'" if isinstance(of, str) else f"'{name}'"
                raise ModelError(
                    f"'{system.name}': {where}, {expression}, has no derivative by '{b}' because of {cause}; write it "
                    "with smooth functions and gates such as 'int(x > 0)'."
                )
        rows.append(row)
    return sympy.Matrix(rows)
