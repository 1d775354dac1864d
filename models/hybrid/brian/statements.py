"""The event rules of an adjoint as statements of Brian 2, to be run where time goes backward."""

from __future__ import annotations

import sympy
from brian2.parsing.sympytools import sympy_to_str

from ....equations.brian.adjoint import OPEN, Adjoint
from ....equations.brian.derivatives import differentiate
from ....equations.brian.extraction import GATE
from ....equations.statements import symbol
from ..losses import INTEGRAL
from ..network import DELAY, Group, Pathway

BEFORE = "_before"  # ends the name of what a variable was just before an event
SLOT = "slot"  # of an event: which spike of the neuron it belongs to, counted from one; zero: no event
WAITING = "kappa_of"  # with a slot's number: what the arrivals of that spike have handed over
END = "end_of_run"
_T, _GATE = symbol("t"), symbol(GATE)


def reversed_rate(expression) -> str:
    """Text of a right-hand side with the time of the forward run."""
    return sympy_to_str(expression.xreplace({_T: symbol(END) - _T, _GATE: symbol(OPEN)}))


def loss_of(group: Group, kind: str) -> sympy.Expr:
    """Sum of a group's losses of one kind."""
    return sum((term.expression for term in group.terms if term.kind == kind), sympy.Integer(0))


def _at_event(expression, group, suffix="") -> str:
    """Text of a rule: forward variables as they were just before the event, in a target with the suffix ``_post``."""
    table = {_T: symbol(END) - _T - symbol("dt"), _GATE: symbol(OPEN + BEFORE + suffix)}
    table[symbol(OPEN)] = table[_GATE]
    for state in group.states:
        table[symbol(state)] = symbol(state + BEFORE + suffix)
        table[symbol(f"p_{state}")] = symbol(f"p_{state}{suffix}")
    if suffix:
        table |= {symbol(p): symbol(p + suffix) for p in (*group.theta, "i", "N")}
    return sympy_to_str(expression.xreplace(table))


def _hand_over(label, waiting, suffix="") -> list[str]:
    return [f"{WAITING}_{m}{suffix} += kappa*int({SLOT}_{label}{suffix} == {m + 1})" for m in range(waiting)]


def opened(group: Group, adjoint: Adjoint, waiting: int) -> str:
    """End of a refractory period."""
    rule, running = adjoint.rule("refractory end"), loss_of(group, INTEGRAL)
    lost = running.subs(_GATE, 0) - running.subs(_GATE, 1)
    lines = [f"kappa = {_at_event(rule.kappa + lost, group)}"]
    lines += [f"q_{n} += {_at_event(v, group)}" for n, v in rule.gradient.items() if n in group.wrt]
    return "\n".join(lines + _hand_over("opened", waiting))


def replayed(group: Group | None, adjoint: Adjoint | None, waiting: int) -> str:
    """A spike: what waits for it is taken, and the rule follows; a source of input spikes has no rule."""
    slot = f"{SLOT}_replayed"
    taken = " + ".join(f"{WAITING}_{m}*int({slot} == {m + 1})" for m in range(waiting))
    lines = [f"kappa = {taken}"]
    if group is not None:
        lines += _spike(group, adjoint)
    return "\n".join(lines + [f"{WAITING}_{m} = {WAITING}_{m}*int({slot} != {m + 1})" for m in range(waiting)])


def _spike(group, adjoint) -> list[str]:
    rule, jac, name = adjoint.rule("spike"), group.functions.jacobians, group.name
    at_spike, running = loss_of(group, "spike"), loss_of(group, INTEGRAL)
    slopes = [differentiate(at_spike, x, name) for x in jac.x]
    moved = differentiate(at_spike, _T, name)
    moved += sum(d * f for d, f in zip(slopes, jac.flow.subs(_GATE, 1), strict=True))
    after = dict(zip(jac.x, jac.reset, strict=True)) | {_GATE: sympy.Integer(not group.gates)}
    moved += running.subs(_GATE, 1) - running.xreplace(after)
    state = {n: v + d for (n, v), d in zip(rule.state.items(), slopes, strict=True)}
    gained = {n: rule.gradient.get(n, 0) + differentiate(at_spike, symbol(n), name) for n in group.wrt}
    lines = [f"slope = {_at_event(adjoint.slope, group)}", f"kappa = {_at_event(rule.kappa + moved, group)}"]
    lines += [f"new_{n} = {_at_event(v, group)}" for n, v in state.items()]
    lines += [f"q_{n} += {_at_event(v, group)}" for n, v in gained.items() if v != 0]
    return lines + [f"p_{n} = new_{n}" for n in state]


def arrived(k: int, pathway: Pathway, group: Group, adjoint: Adjoint, waiting: int) -> str:
    """An arrival, in a synapse from the source to the target as in the model."""
    rule, running = adjoint.rule(pathway.name), loss_of(group, INTEGRAL)
    jump = {x: pathway.text.jump.get(x.name, x) for x in group.functions.jacobians.x}
    lines = [f"kappa = {_at_event(rule.kappa + running - running.xreplace(jump), group, '_post')}"]
    for name, value in rule.gradient.items():
        if name in group.wrt and name not in pathway.text.parameters:
            lines.append(f"q_{name}_post += {_at_event(value, group, '_post')}")
        elif name != DELAY and (name in pathway.text.parameters or name in pathway.text.constants):
            lines.append(f"q_{name} += {_at_event(value, group, '_post')}")
    changed = {n: v for n, v in rule.state.items() if v != symbol(f"p_{n}")}
    lines += [f"q_{DELAY} += kappa"]
    lines += [f"new_{n} = {_at_event(v, group, '_post')}" for n, v in changed.items()]
    lines += [f"p_{n}_post = new_{n}" for n in changed]
    return "\n".join(lines + _hand_over(f"arrival_{k}", waiting, "_pre"))
