"""Losses written as text in the model's own variables."""

from __future__ import annotations

from dataclasses import dataclass

import sympy
from brian2 import NeuronGroup, second
from brian2.groups.subgroup import Subgroup
from brian2.parsing.expressions import parse_expression_dimensions
from brian2.units.fundamentalunits import DIMENSIONLESS, DimensionMismatchError, have_same_dimensions
from brian2.utils.stringtools import get_identifiers

from ...equations.brian.extraction import ModelText
from ...equations.statements import symbol
from ..errors import NetworkError

SPIKE, INTEGRAL, FINAL, MAX = "spike", "integral", "final", "max"


@dataclass(frozen=True)
class Term:
    """One summand: its kind, its text, and the group (or subgroup) whose variables it reads."""

    kind: str
    text: str
    group: object


@dataclass(frozen=True)
class Loss:
    """A sum of terms; losses add up with ``+``."""

    terms: tuple[Term, ...]

    def __add__(self, other):
        return Loss(self.terms + other.terms) if isinstance(other, Loss) else NotImplemented


def spike_loss(text: str, group) -> Loss:
    """Sum of an expression over all spikes of a group.

    Parameters
    ----------
    text : str
        Expression of ``t`` (spike time), ``i`` (neuron) and the group's variables just before the spike, such as
        ``'sin(t/(10*ms))'``.
    group : NeuronGroup or Subgroup

    Returns
    -------
    Loss
        Losses add up with ``+``.

    Raises
    ------
    NetworkError
        If `text` is no text or `group` no group.
    """
    return Loss((_term(SPIKE, text, group),))


def integral_loss(text: str, group) -> Loss:
    """Integral over the run of an expression of a group's variables, summed over its neurons.

    Parameters
    ----------
    text : str
        Expression of ``t``, ``i`` and the group's variables, such as ``'(v - 0.3)**2/(10*ms)'``.
    group : NeuronGroup or Subgroup

    Returns
    -------
    Loss
        Losses add up with ``+``.

    Raises
    ------
    NetworkError
        If `text` is no text or `group` no group.
    """
    return Loss((_term(INTEGRAL, text, group),))


def final_loss(text: str, group) -> Loss:
    """Sum over neurons of an expression of a group's variables at the end of the run, such as ``'v**2'``.

    Parameters
    ----------
    text : str
    group : NeuronGroup or Subgroup

    Returns
    -------
    Loss
        Losses add up with ``+``.

    Raises
    ------
    NetworkError
        If `text` is no text or `group` no group.
    """
    return Loss((_term(FINAL, text, group),))


def max_loss(text: str, group) -> Loss:
    """Largest value over time of an expression, for every neuron of a group; a caller makes a loss of them.

    Parameters
    ----------
    text : str
    group : NeuronGroup or Subgroup

    Returns
    -------
    Loss
        Losses add up with ``+``.

    Raises
    ------
    NetworkError
        If `text` is no text or `group` no group.
    """
    return Loss((_term(MAX, text, group),))


def _term(kind, text, group) -> Term:
    if not isinstance(text, str):
        raise NetworkError(
            f"A loss is text in the model's variables, such as 'v**2'; {text!r} is {type(text).__name__}."
        )
    if not isinstance(group, NeuronGroup | Subgroup):
        raise NetworkError(f"The loss '{text}' reads a NeuronGroup or a part of one, not a {type(group).__name__}.")
    return Term(kind, text, group)


@dataclass(frozen=True)
class ParsedTerm:
    """A term over neurons `start` to `stop` of a whole group, as an expression with all that it needs."""

    kind: str
    text: str
    group: str
    start: int
    stop: int
    expression: sympy.Expr
    inputs: dict
    constants: dict
    parameters: tuple[str, ...]
    dimensions: dict


def parse_term(term: Term, neuron, namespace) -> ParsedTerm:
    """Read the text of a term in the variables of its group.

    Raises
    ------
    NetworkError
        If a loss at spikes reads a `TimedArray`, which has no derivative in time.
    """
    whole, start, stop = whole_group(term.group)
    text = ModelText(f"loss '{term.text}'", whole.equations, _resolver(whole, neuron, namespace))
    expression = text.parse(term.text).xreplace({symbol("i"): symbol("i") - start} if start else {})
    if term.kind == SPIKE and text.inputs:
        raise NetworkError(f"The loss at spikes '{term.text}' reads a TimedArray, which has no derivative in time.")
    if term.kind == SPIKE and neuron.system.margin is None:
        raise NetworkError(f"The loss '{term.text}' reads the spikes of '{whole.name}', which has no threshold.")
    inner = {*neuron.system.states, "t", "i", "N", "not_refractory", *(s.name for s in text.inputs)}
    names = {s.name for s in expression.free_symbols} - inner
    neuron.refuse_left_out(names, f"loss {term.text}")
    parameters = tuple(sorted(n for n in names if n in text.free or n in whole.equations))
    return ParsedTerm(
        term.kind,
        term.text,
        whole.name,
        start,
        stop,
        expression,
        text.inputs,
        text.constants,
        parameters,
        text.dimensions,
    )


def whole_group(group):
    """The group that a subgroup is cut from, and its range of neurons."""
    if isinstance(group, Subgroup):
        return group.source, group.start, group.stop
    return group, 0, len(group)


def _resolver(group, neuron, namespace):
    def resolve(name):
        if name in group.variables:
            return group.variables[name]
        return group.resolve_all({name}, namespace)[name]

    return resolve


def loss_dimension(loss: Loss, namespace):
    """Common dimension of all terms.

    Raises
    ------
    DimensionMismatchError
        If terms have different units, or one is inconsistent in itself.
    """
    found, terms = [], [term for term in loss.terms if term.kind != MAX]
    for term in terms:
        whole, _, _ = whole_group(term.group)
        variables = whole.resolve_all(get_identifiers(term.text), namespace)
        dim = parse_expression_dimensions(term.text, variables)
        found.append(dim * second.dim if term.kind == INTEGRAL else dim)
    for term, dim in zip(terms, found, strict=True):
        if not have_same_dimensions(dim, found[0]):
            raise DimensionMismatchError(f"The loss '{term.text}' cannot be added to '{terms[0].text}'", dim, found[0])
    return found[0] if found else DIMENSIONLESS
