"""Plain Python functions of numbers, made from a model's expressions and their derivatives."""

from __future__ import annotations

import sympy

from ...equations.brian.derivatives import differentiate, function_of
from ...equations.brian.extraction import GATE, HybridNeuron
from ...equations.brian.jacobians import jump_jacobians, neuron_jacobians
from ...equations.statements import symbol


class NeuronFunctions:
    """Functions of ``(t, gate, x, held, theta)``: time, 0 or 1, state, input values, parameters.

    Parameters
    ----------
    neuron : HybridNeuron
    inputs : sequence of sympy.Symbol
        What `held` gives values to.
    theta : sequence of str
        Parameters, and ``i`` and ``N``.
    wrt : sequence of str
        Those of them that derivatives are taken of.
    """

    def __init__(self, neuron: HybridNeuron, inputs, theta, wrt):
        jac = self.jacobians = neuron_jacobians(neuron, wrt)
        self.arguments = [symbol("t"), symbol(GATE), list(jac.x), list(inputs), [symbol(n) for n in theta]]
        self.spikes = jac.margin is not None
        margin = sympy.Integer(0) if jac.margin is None else jac.margin
        self.flow = self._function(jac.flow)
        self.margin = self._function([margin])
        self.slope = self._function([jac.slope])
        self.margin_gradient = self._function([*jac.margin_x, *jac.margin_q])
        self.reset = self._function(jac.reset)
        self.reset_rate = self._function(jac.reset_x * jac.flow + jac.reset_t)
        self.reset_x = self._function(jac.reset_x)
        self.reset_q = self._function(jac.reset_q)
        self.period = None if jac.period is None else self._function([jac.period])
        self.period_q = self._function(jac.period_q)

    def _function(self, expressions):
        return function_of(self.arguments, list(expressions))

    def backward(self, running: sympy.Expr, name: str):
        """Rates of ``p`` and ``q`` in reversed time, with the running loss; the adjoint is the sixth argument."""
        jac = self.jacobians
        p = sympy.Matrix([symbol(f"p_{x.name}") for x in jac.x])
        rates = [
            *(jac.flow_x.T * p + sympy.Matrix([differentiate(running, x, name) for x in jac.x])),
            *(jac.flow_q.T * p + sympy.Matrix(len(jac.q), 1, [differentiate(running, q, name) for q in jac.q])),
        ]
        return function_of([*self.arguments, list(p)], rates)

    def value(self, expression: sympy.Expr):
        """Function of one expression."""
        return self._function([expression])

    def loss_at_spike(self, expression: sympy.Expr, name: str):
        """Value, derivative by the spike time, by the states and by the parameters of a loss at spikes."""
        jac = self.jacobians
        by_state = [differentiate(expression, x, name) for x in jac.x]
        by_time = differentiate(expression, symbol("t"), name) + sum(
            d * rate for d, rate in zip(by_state, jac.flow, strict=True)
        )
        return self._function([expression, by_time, *by_state, *(differentiate(expression, q, name) for q in jac.q)])

    def loss_at_end(self, expression: sympy.Expr, name: str):
        """Value, derivative by the states and by the parameters of a loss at the end."""
        jac = self.jacobians
        return self._function([expression, *(differentiate(expression, s, name) for s in (*jac.x, *jac.q))])


class JumpFunctions:
    """Functions of ``(t, gate, x, held, theta, w, y)`` of one pathway, for an active or a refractory target.

    `w` are parameters of the synapse, `y` its own states, which the jump returns after those of the target.
    """

    def __init__(self, pathway, neuron: HybridNeuron, target: NeuronFunctions, wrt, refractory: bool):
        jac = jump_jacobians(pathway, neuron, wrt, refractory)
        arguments = [*target.arguments, list(jac.w), list(jac.y)]
        self.jump = function_of(arguments, list(jac.jump))
        self.rate = function_of(arguments, list(jac.rate(target.jacobians.flow)))
        self.jump_x = function_of(arguments, list(jac.jump_x))
        self.jump_w = function_of(arguments, list(jac.jump_w))
        self.jump_q = function_of(arguments, list(jac.jump_q))
