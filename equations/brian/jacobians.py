"""The partial derivatives that the event adjoint is made of: of flow, threshold, reset and synaptic jumps."""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from ..statements import symbol
from .derivatives import differentiate
from .extraction import GATE, HybridNeuron, complete
from .pathways import HybridPathway


def _matrix(expressions, by, model, at_event=False):
    return sympy.Matrix(
        len(expressions), len(by), lambda r, c: differentiate(sympy.sympify(expressions[r]), by[c], model, at_event)
    )


@dataclass(frozen=True)
class NeuronJacobians:
    """Derivatives of one neuron; rows follow the states, columns the states (``_x``) or the parameters (``_q``).

    Attributes
    ----------
    x, q : tuple of sympy.Symbol
        States, and the parameters that derivatives are taken of.
    flow, flow_x, flow_q
        Right-hand side f; the gate is a symbol in it.
    margin, margin_x, margin_t, margin_q
        Threshold function g, which rises through zero at a spike; ``None`` for groups that never spike.
    reset, reset_x, reset_t, reset_q
        State r after a spike.
    period, period_q
        Refractory period and its derivatives.
    """

    x: tuple
    q: tuple
    flow: sympy.Matrix
    flow_x: sympy.Matrix
    flow_q: sympy.Matrix
    margin: sympy.Expr | None
    margin_x: sympy.Matrix
    margin_t: sympy.Expr
    margin_q: sympy.Matrix
    reset: sympy.Matrix
    reset_x: sympy.Matrix
    reset_t: sympy.Matrix
    reset_q: sympy.Matrix
    period: sympy.Expr | None
    period_q: sympy.Matrix

    @property
    def slope(self) -> sympy.Expr:
        """Slope of the threshold function just before a spike, g_x f + g_t."""
        return (self.margin_x * self.flow)[0].subs(symbol(GATE), 1) + self.margin_t


def neuron_jacobians(neuron: HybridNeuron, wrt=()) -> NeuronJacobians:
    """Differentiate a neuron by its states and by the parameters named in `wrt`."""
    system, t, name = neuron.system, [symbol("t")], neuron.system.name
    x, q = tuple(map(symbol, system.states)), tuple(map(symbol, wrt))
    flow = [system.flow[state] for state in system.states]
    reset = complete(system.reset, system.states)
    margin = [sympy.Integer(0) if system.margin is None else system.margin]
    period = [sympy.Integer(0) if neuron.refractory is None else neuron.refractory]
    return NeuronJacobians(
        x=x,
        q=q,
        flow=sympy.Matrix(flow),
        flow_x=_matrix(flow, x, name),
        flow_q=_matrix(flow, q, name),
        margin=system.margin,
        margin_x=_matrix(margin, x, name),
        margin_t=_matrix(margin, t, name)[0],
        margin_q=_matrix(margin, q, name),
        reset=sympy.Matrix(reset),
        reset_x=_matrix(reset, x, name, at_event=True),
        reset_t=_matrix(reset, t, name, at_event=True),
        reset_q=_matrix(reset, q, name, at_event=True),
        period=neuron.refractory,
        period_q=_matrix(period, q, name),
    )


@dataclass(frozen=True)
class JumpJacobians:
    """Derivatives of one jump h of the target's states and, after them, the synapse's own.

    ``_x`` by all of these states, ``_w`` by the synaptic parameters, ``_q`` by parameters of the target; `y` are the
    states of the synapse.
    """

    w: tuple
    y: tuple
    jump: sympy.Matrix
    jump_x: sympy.Matrix
    jump_t: sympy.Matrix
    jump_w: sympy.Matrix
    jump_q: sympy.Matrix

    def rate(self, flow: sympy.Matrix) -> sympy.Matrix:
        """How the states after the jump change with its time, the target following its flow before it."""
        return self.jump_x[:, : len(flow)] * flow + self.jump_t


def jump_jacobians(pathway: HybridPathway, neuron: HybridNeuron, wrt=(), refractory: bool = False) -> JumpJacobians:
    """Differentiate a pathway's jump; of synaptic parameters by all, of the target's by those in `wrt`."""
    states, name = (*neuron.system.states, *pathway.states), pathway.name
    jump = complete(pathway.jump_refractory if refractory else pathway.jump, states)
    w = tuple(map(symbol, pathway.variables))
    return JumpJacobians(
        w=w,
        y=tuple(map(symbol, pathway.states)),
        jump=sympy.Matrix(jump),
        jump_x=_matrix(jump, tuple(map(symbol, states)), name, at_event=True),
        jump_t=_matrix(jump, (symbol("t"),), name, at_event=True),
        jump_w=_matrix(jump, w, name, at_event=True),
        jump_q=_matrix(jump, tuple(map(symbol, wrt)), name, at_event=True),
    )
