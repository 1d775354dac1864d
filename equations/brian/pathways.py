"""What a spike does when it arrives: the statements of `Synapses` as maps of the target's and the synapse's state.

A synapse's own variables do not move between its events. Those with an ``(event-driven)`` equation are taken to the
time of an event there, by the closed form that Brian 2 itself uses, of ``t - lastupdate``: time enters the jump, and
``lastupdate`` is a variable of the synapse like any other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import sympy
from brian2 import Synapses
from brian2.core.variables import Constant
from brian2.stateupdaters.base import UnsupportedEquationsException
from brian2.stateupdaters.exact import linear

from ..errors import ModelError
from .events import assigned, lines_of
from .extraction import HybridNeuron, ModelText

SYNAPTIC = "_syn"  # ends the name of a synaptic variable that the target group has as well
_NAME = re.compile(r"\b[A-Za-z_]\w*\b")


@dataclass(frozen=True)
class HybridPathway:
    """Jump of the target's state, and of the synapse's own, at an arrival, in the target's symbols.

    Attributes
    ----------
    name : str
        Name of Brian 2's pathway, such as ``synapses_pre``.
    jump : dict of str to sympy.Expr
        New values while the target is not refractory; states that are missing stay.
    jump_refractory : dict of str to sympy.Expr
        The same while it is refractory: variables marked ``(unless refractory)`` are held.
    parameters : dict of str to str
        Symbol in the expressions -> name of the synaptic (or ``_pre``) variable that gives its value.
    constants, dimensions : dict
        As in `HybridNeuron`, for the parameters met here.
    states : dict of str to str
        Symbol -> synaptic variable that events of the synapse change; the same for all pathways of one object.
    post : bool
        Spikes of the target set it off (`on_post`).
    inputs : dict
        Arrays that its statements read at the time of the arrival, as in `HybridNeuron`.
    """

    name: str
    jump: dict[str, sympy.Expr]
    jump_refractory: dict[str, sympy.Expr]
    parameters: dict[str, str]
    constants: dict[str, float]
    dimensions: dict
    states: dict[str, str] = field(default_factory=dict)
    post: bool = False
    inputs: dict = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """Symbol -> name of every value that its jump is differentiated by: parameters, then constants."""
        return {**self.parameters, **{name: name for name in self.constants}}

    def touched(self) -> set[str]:
        """What the statements read or change."""
        tables = (self.jump, self.jump_refractory)
        return {s.name for table in tables for e in table.values() for s in e.free_symbols}.union(*tables)


def targets_of(synapses: Synapses) -> set[str]:
    """Variables of the target group that the synapses' statements assign."""
    names = set()
    for pathway in synapses._pathways:
        for line in lines_of(pathway.code):
            names.add(assigned(line).removesuffix("_post"))
    return names & set(synapses.target.variables) - _own(synapses)


def _own(synapses) -> set[str]:
    """Variables that are the synapses' own by their equations."""
    return {*synapses.equations, *(synapses.event_driven or ()), *(("lastupdate",) if synapses.event_driven else ())}


def synaptic_states(synapses: Synapses) -> tuple[str, ...]:
    """Variables of a synapse that its events change, in the order of their names; `lastupdate` comes last."""
    names = set(synapses.event_driven.diff_eq_names) if synapses.event_driven is not None else set()
    for pathway in synapses._pathways:
        names |= {assigned(line) for line in lines_of(pathway.code)} & _own(synapses)
    return (*sorted(names - {"lastupdate"}), *(("lastupdate",) if synapses.event_driven is not None else ()))


def pathways_of(synapses: Synapses, neuron: HybridNeuron, namespace: dict | None = None) -> list[HybridPathway]:
    """Derive the jumps of all pathways of a `Synapses` object onto the neurons that `neuron` describes.

    Raises
    ------
    ModelError
        For what is not supported: summed variables, clock-driven equations of synapses, events other than spikes,
        statements that alter the source's variables.
    """
    _refuse(synapses)
    return [_pathway(synapses, pathway, neuron, namespace or {}) for pathway in synapses._pathways]


def _refuse(synapses) -> None:
    name = synapses.name
    if synapses.summed_updaters:
        raise ModelError(f"'{name}': summed variables couple neurons continuously and are not supported; use on_pre.")
    moving = sorted(synapses.equations.diff_eq_names)
    if moving:
        raise ModelError(
            f"'{name}': '{moving[0]}' is integrated in every time step (clock-driven), one flow a synapse, which is "
            "not supported; mark its equation (event-driven), or write it into the target group."
        )
    for pathway in synapses._pathways:
        if pathway.event != "spike":
            raise ModelError(
                f"'{name}': the pathway '{pathway.objname}' follows the event '{pathway.event}'; only spikes have an "
                "adjoint."
            )


def _until_now(synapses) -> list[str]:
    """Statements that take the event-driven variables to the time of an event."""
    if synapses.event_driven is None:
        return []
    try:
        code = linear(synapses.event_driven, synapses.variables)
    except UnsupportedEquationsException:
        raise ModelError(
            f"'{synapses.name}': its event-driven equations have no closed form; write them linear in their variables."
        ) from None
    return lines_of(re.sub(r"\bdt\b", "(t - lastupdate)", code))


def _pathway(synapses, pathway, neuron, namespace) -> HybridPathway:
    post = {*neuron.system.states, *neuron.system.parameters, *synapses.target.variables}
    own, changing = {*_own(synapses), "i", "j"}, synaptic_states(synapses)
    found: dict[str, str] = {}

    def renamed(word):
        return word + SYNAPTIC if word in post or word in "ij" else word

    def rename(match):
        word = match.group()
        if word.endswith("_post"):
            return word.removesuffix("_post")
        if word in own:
            found[renamed(word)] = word
            return renamed(word)
        if word.endswith("_pre") and word in synapses.variables:
            found[word] = word
        return word

    states = {renamed(n): n for n in changing}
    lines = [*_until_now(synapses), *lines_of(pathway.code)]
    lines = [_NAME.sub(rename, line) for line in (*lines, *(["lastupdate = t"] if "lastupdate" in changing else []))]
    targets = [assigned(line) for line in lines]
    for line, target in zip(lines, targets, strict=True):
        if target.endswith("_pre") or target in post - {*neuron.system.states}:
            raise ModelError(
                f"'{pathway.name}': '{line}' alters '{target}', which is neither a variable of the target group nor of "
                "the synapse; only these may change at an arrival."
            )
    inner = {renamed(n): _NAME.sub(rename, synapses.equations[n].expr.code) for n in synapses.equations.subexpr_names}
    resolve = _resolver(synapses, found, neuron, namespace)
    text = ModelText(pathway.name, neuron.system.equations, resolve, inner)
    kept = {*neuron.system.states, *states}
    jump, refractory = (
        {name: value for name, value in text.statements("\n".join(code)).items() if name in kept}
        for code in (lines, [line for line, n in zip(lines, targets, strict=True) if n not in neuron.gated])
    )
    used = {s.name for e in (*jump.values(), *refractory.values()) for s in e.free_symbols}
    neuron.refuse_left_out({*used, *targets}, pathway.name)
    for name, variable in found.items():
        if variable.endswith("_pre") and name in used and not _is_constant(synapses, variable):
            raise ModelError(
                f"'{pathway.name}': '{variable}' is a variable of the source that changes in time; "
                "a spike can only carry constant parameters of its source."
            )
    parameters = {n: v for n, v in found.items() if n in used and n not in states}
    dimensions = {n: synapses.variables[v].dim for n, v in (parameters | states).items()}
    known = {*parameters, *states, *neuron.dimensions}
    constants = {n: v for n, v in text.constants.items() if n in used and n not in known}
    dimensions = {**text.dimensions, **neuron.dimensions, **dimensions}
    is_post = pathway.prepost == "post"
    return HybridPathway(
        pathway.name, jump, refractory, parameters, constants, dimensions, states, is_post, text.inputs
    )


def _is_constant(synapses, variable) -> bool:
    source = synapses.source
    name = variable.removesuffix("_pre")
    equations = getattr(source, "equations", None) or getattr(getattr(source, "source", None), "equations", {})
    return name in equations and equations[name].type == "parameter" and "constant" in equations[name].flags


def _resolver(synapses, parameters, neuron, namespace):
    def resolve(name):
        if name in parameters:
            return synapses.variables[parameters[name]]
        if name in neuron.constants:
            return Constant(name, neuron.constants[name], dimensions=neuron.dimensions[name])
        if name in synapses.target.variables:
            return synapses.target.variables[name]
        try:
            return synapses.resolve_all({name}, namespace)[name]
        except KeyError:
            raise ModelError(
                f"'{synapses.name}': '{name}' is neither a synaptic variable, one of the target nor in the namespace."
            ) from None

    return resolve
