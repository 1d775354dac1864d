r"""The adjoint of a spiking neuron as Brian 2 equations and three event rules.

Sign: ``p_v`` is dL/dv. EventProp's variables are lambda_v = -p_v/tau_m. Time runs backward: the equations hold in
s = T - t. Every event has a *timing cotangent* kappa = dL/d(time of the event); only kappa travels across synapses,
and kappa of an arrival is the derivative by that synapse's delay. (Wunderlich & Pehle 2021; Meszaros, Knight &
Nowotny 2025; saltation matrices: Kong et al. 2023.)
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy
from brian2 import Equations, NeuronGroup, Synapses, get_dimensions, second
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER, Expression, SingleEquation
from brian2.groups.group import get_local_namespace
from brian2.parsing.sympytools import str_to_sympy, sympy_to_str
from brian2.units.fundamentalunits import DIMENSIONLESS

from ..errors import ModelError
from ..statements import symbol
from .extraction import GATE, HybridNeuron, is_unit, neuron_of
from .jacobians import NeuronJacobians, jump_jacobians, neuron_jacobians
from .pathways import HybridPathway, pathways_of, targets_of

KAPPA = symbol("kappa")
OPEN = "active"  # name of the gate in the printed equations: 1, and 0 while the neuron is refractory


@dataclass(frozen=True)
class EventRule:
    """What happens to the adjoint at one kind of event, walking backward.

    Attributes
    ----------
    name : str
    kappa : sympy.Expr
        Timing cotangent; at a spike it contains ``kappa``, the sum of what arrivals and the loss handed over.
    state : dict of str to sympy.Expr
        Adjoint just before the event, of the values just after it.
    gradient : dict of str to sympy.Expr
        What is added to the derivatives by the parameters.
    """

    name: str
    kappa: sympy.Expr
    state: dict[str, sympy.Expr]
    gradient: dict[str, sympy.Expr]


@dataclass(frozen=True)
class Adjoint:
    """Adjoint flow as Brian 2 equations, event rules, and what the forward pass has to keep.

    Attributes
    ----------
    equations : Equations
        In reversed time; forward variables that occur are declared as parameters (they come from the tape).
    rules : tuple of EventRule
        Arrivals (one a pathway), end of the refractory period, spike. The adjoint of a synapse's own variables
        rests between its events.
    slope : sympy.Expr or None
        Slope of the threshold function just before a spike; the smaller, the steeper the gradient.
    tape : dict of str to tuple of str
        Forward variables to keep: ``flow`` at all times, the others just before an event of that kind.
    """

    neuron: HybridNeuron
    equations: Equations
    rules: tuple[EventRule, ...]
    slope: sympy.Expr | None
    tape: dict[str, tuple[str, ...]]

    def rule(self, name: str) -> EventRule:
        """Event rule by name: ``'spike'``, ``'refractory end'`` or the name of a pathway."""
        for rule in self.rules:
            if rule.name == name:
                return rule
        raise ModelError(
            f"'{self.neuron.system.name}' has no event rule '{name}'; it has {[r.name for r in self.rules]}."
        )

    def __str__(self) -> str:
        lines = [f"Adjoint of '{self.neuron.system.name}': p_x = dL/dx, time runs backward", "", str(self.equations)]
        for rule in self.rules:
            lines += ["", f"at {_TITLE.get(rule.name, f'an arrival by {rule.name}')}:"]
            if rule.name == "spike":
                lines.append(f"    slope = {_text(self.slope)}")
            lines.append(f"    kappa = {_text(rule.kappa)}")
            lines += [f"    p_{name} = {_text(value)}" for name, value in rule.state.items()]
            lines += [f"    dL/d{name} += {_text(value)}" for name, value in rule.gradient.items()]
        kept = [f"{kind}: {', '.join(names) or 'nothing'}" for kind, names in self.tape.items()]
        return "\n".join([*lines, "", "tape: " + "; ".join(kept)])

    def _repr_latex_(self) -> str:
        rows = []
        for name in self.equations.diff_eq_names:
            rows.append((rf"\frac{{d {_latex(symbol(name))}}}{{ds}}", symbol_of_equation(self.equations, name)))
        for rule in self.rules:
            rows.append((rf"\text{{{rule.name}:}}\quad \kappa", rule.kappa))
            rows += [(f"{_latex(symbol('p_' + name))}^-", value) for name, value in rule.state.items()]
            rows += [
                (rf"\Delta\, \partial L/\partial {_latex(symbol(n))}", value) for n, value in rule.gradient.items()
            ]
        body = r" \\ ".join(f"{left} &= {_latex(right)}" for left, right in rows)
        return rf"$\begin{{aligned}} {body} \end{{aligned}}$"


_TITLE = {"spike": "a spike", "refractory end": "the end of the refractory period"}


def symbol_of_equation(equations: Equations, name: str) -> sympy.Expr:
    """Right-hand side of an equation as the parser reads it."""
    return str_to_sympy(equations[name].expr.code)


def derive_adjoint(model, *synapses, wrt=None, loss_unit=1, namespace=None, level=0) -> Adjoint:
    """Derive the event adjoint of a neuron group or model.

    Parameters
    ----------
    model : NeuronGroup or NeuronModel
        A model's threshold and reset are its own.
    *synapses : Synapses
        Those that arrive at the group; each pathway gets an event rule.
    wrt : iterable of str, optional
        Parameters of the group whose derivatives are wanted; all by default.
    loss_unit : Quantity or 1
        Unit of the loss; the adjoint's units follow from it, and Brian 2 checks them.
    namespace : dict, optional
        Where names are looked up; the caller's variables by default.

    Returns
    -------
    Adjoint
        Prints as readable equations and rules; in notebooks as LaTeX.

    Raises
    ------
    ModelError
        If something in the model has no derivative.
    """
    namespace = get_local_namespace(level + 1) if namespace is None else namespace
    for item in synapses:
        if not isinstance(item, Synapses) or item.target is not model:
            raise ModelError(f"{getattr(item, 'name', item)!r} is not a Synapses object that arrives at the model.")
    altered = sorted(set().union(*map(targets_of, synapses))) if isinstance(model, NeuronGroup) else ()
    neuron = neuron_of(model, namespace, altered)
    pathways = [p for item in synapses for p in pathways_of(item, neuron, namespace)]
    wrt = neuron.system.parameters if wrt is None else tuple(wrt)
    unknown = set(wrt) - set(neuron.system.parameters)
    if unknown:
        raise ModelError(
            f"'{neuron.system.name}' has no parameters {sorted(unknown)}; it has {list(neuron.system.parameters)}."
        )
    jacobians = neuron_jacobians(neuron, wrt)
    rules = [_arrival(p, neuron, jacobians, wrt) for p in pathways]
    if neuron.refractory is not None and jacobians.flow.has(symbol(GATE)):
        rules.append(_refractory_end(jacobians))
    slope = None
    if neuron.system.margin is not None:
        rules.append(_spike(neuron, jacobians))
        slope = jacobians.slope
    equations = _equations(neuron, jacobians, get_dimensions(loss_unit))
    own = {name for pathway in pathways for name in pathway.states}
    return Adjoint(neuron, equations, tuple(rules), slope, _tape(neuron, own, equations, rules, slope))


def _p(jacobians) -> sympy.Matrix:
    return sympy.Matrix([symbol(f"p_{x.name}") for x in jacobians.x])


def _rule(name, kappa, state, gradient) -> EventRule:
    gate = {symbol(GATE): symbol(OPEN)}
    state, gradient = ({n: v.xreplace(gate) for n, v in table.items()} for table in (state, gradient))
    return EventRule(name, sympy.expand(kappa).xreplace(gate), state, gradient)


def _named(symbols, column) -> dict[str, sympy.Expr]:
    return {s.name: value for s, value in zip(symbols, column, strict=True)}


def _nonzero(table: dict) -> dict:
    return {name: value for name, value in table.items() if value != 0}


def _arrival(pathway: HybridPathway, neuron, jac: NeuronJacobians, wrt) -> EventRule:
    j, n = jump_jacobians(pathway, neuron, wrt), len(jac.x)
    p = sympy.Matrix([symbol(f"p_{x.name}") for x in (*jac.x, *j.y)])
    after = jac.flow.xreplace(dict(zip(jac.x, j.jump[:n], strict=True)))
    kappa = (p.T * j.rate(jac.flow) - p[:n, :].T * after)[0]
    gradient = {**_named(j.w, j.jump_w.T * p), **_nonzero(_named(jac.q, j.jump_q.T * p)), "delay": KAPPA}
    return _rule(pathway.name, kappa, _named((*jac.x, *j.y), j.jump_x.T * p), gradient)


def _refractory_end(jac: NeuronJacobians) -> EventRule:
    gate, p = symbol(GATE), _p(jac)
    kappa = (p.T * (jac.flow.subs(gate, 0) - jac.flow.subs(gate, 1)))[0]
    gradient = _nonzero(_named(jac.q, jac.period_q.T * KAPPA))
    return _rule("refractory end", kappa, _named(jac.x, p), gradient)


def _spike(neuron, jac: NeuronJacobians) -> EventRule:
    gate, p, slope = symbol(GATE), _p(jac), symbol("slope")
    before = jac.flow.subs(gate, 1)
    after = jac.flow.subs(gate, 0 if neuron.refractory is not None else 1)
    after = after.xreplace(dict(zip(jac.x, jac.reset, strict=True)))
    kappa = KAPPA + (p.T * (jac.reset_x * before + jac.reset_t - after))[0]
    state = jac.reset_x.T * p - jac.margin_x.T * KAPPA / slope
    gradient = jac.reset_q.T * p - jac.margin_q.T * KAPPA / slope
    return _rule("spike", kappa, _named(jac.x, state), _nonzero(_named(jac.q, gradient)))


def _equations(neuron, jac: NeuronJacobians, loss) -> Equations:
    """The adjoint flow as equations whose units Brian 2 checks, with what comes from the tape as parameters."""
    p = _p(jac)
    rates = {
        **_named(p, jac.flow_x.T * p),
        **{f"q_{n}": v for n, v in _named(jac.q, jac.flow_q.T * p).items() if v != 0},
    }
    dims = neuron.dimensions
    single, used = [], set()
    for name, rate in rates.items():
        own = dims.get(name[2:])
        if own is None:
            raise ModelError(
                f"'{neuron.system.name}': the unit of '{name[2:]}' is not known; give it in the namespace."
            )
        rate = rate.xreplace({symbol(GATE): symbol(OPEN)})
        used |= rate.free_symbols
        code = _text(rate) if rate != 0 else f"0*{name}/second"
        single.append(SingleEquation(DIFFERENTIAL_EQUATION, name, loss / own, expr=Expression(code)))
    for s in sorted(used, key=str):
        if s.name in rates or s.name in ("t", "i", "N") or (s.name not in dims and is_unit(s)):
            continue
        dim = DIMENSIONLESS if s.name == OPEN else second.dim if s.name == "refractory" else dims.get(s.name)
        if dim is not None:
            single.append(SingleEquation(PARAMETER, s.name, dim))
    return Equations(single)


def _tape(neuron, synaptic, equations, rules, slope) -> dict[str, tuple[str, ...]]:
    forward = {*neuron.system.states, *synaptic, *(s.name for s in neuron.inputs)}

    def kept(expressions):
        names = {s.name for e in expressions for s in sympy.sympify(e).free_symbols}
        return tuple(sorted(names & forward))

    flow = [symbol_of_equation(equations, n) for n in equations.diff_eq_names]
    tape = {"flow": kept(flow)}
    for rule in rules:
        extra = [slope] if rule.name == "spike" else []
        tape[rule.name] = kept([rule.kappa, *rule.state.values(), *rule.gradient.values(), *extra])
    return tape


def _text(expression) -> str:
    return sympy_to_str(sympy.sympify(expression))


def _latex(expression) -> str:
    return sympy.latex(expression)
