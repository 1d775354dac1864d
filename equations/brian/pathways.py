"""What a spike does when it arrives: the `on_pre` statements of `Synapses` as maps of the target's state."""

from __future__ import annotations

import re
from dataclasses import dataclass

import sympy
from brian2 import Synapses
from brian2.core.variables import Constant

from ..errors import ModelError
from .extraction import HybridNeuron, ModelText

SYNAPTIC = "_syn"  # ends the name of a synaptic variable that the target group has as well
_NAME = re.compile(r"\b[A-Za-z_]\w*\b")


@dataclass(frozen=True)
class HybridPathway:
    """Jump of the target's state at an arrival, in the target's symbols.

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
    """

    name: str
    jump: dict[str, sympy.Expr]
    jump_refractory: dict[str, sympy.Expr]
    parameters: dict[str, str]
    constants: dict[str, float]
    dimensions: dict


def targets_of(synapses: Synapses) -> set[str]:
    """Variables of the target group that the synapses' statements assign."""
    names = set()
    for pathway in synapses._pathways:
        for line in _lines(pathway.code):
            target = _NAME.match(line.strip())
            if target:
                names.add(target.group().removesuffix("_post"))
    return names & set(synapses.target.variables) - set(synapses.equations)


def pathways_of(synapses: Synapses, neuron: HybridNeuron, namespace: dict | None = None) -> list[HybridPathway]:
    """Derive the jumps of all pathways of a `Synapses` object onto the neurons that `neuron` describes.

    Raises
    ------
    ModelError
        For what is not supported: `on_post`, summed variables, synaptic dynamics, statements that alter anything
        but the target's variables.
    """
    _refuse(synapses)
    return [_pathway(synapses, pathway, neuron, namespace or {}) for pathway in synapses._pathways]


def _refuse(synapses) -> None:
    name = synapses.name
    if synapses.summed_updaters:
        raise ModelError(f"'{name}': summed variables couple neurons continuously and are not supported; use on_pre.")
    if synapses.event_driven is not None or synapses.equations.diff_eq_names:
        raise ModelError(
            f"'{name}': differential equations of synapses are not supported yet; "
            "write them into the target group, one variable for each kind of synapse."
        )
    for pathway in synapses._pathways:
        if pathway.prepost != "pre" or pathway.event != "spike":
            raise ModelError(
                f"'{name}': the pathway '{pathway.objname}' is not on_pre of a spike; only on_pre is supported."
            )


def _lines(code: str):
    return [line.split("#")[0].strip() for line in code.replace(";", "\n").splitlines() if line.split("#")[0].strip()]


def _pathway(synapses, pathway, neuron, namespace) -> HybridPathway:
    post = {*neuron.system.states, *neuron.system.parameters, *synapses.target.variables}
    own = {n for n in synapses.equations} | {"i", "j"}
    parameters: dict[str, str] = {}

    def rename(match):
        word = match.group()
        if word.endswith("_post"):
            return word.removesuffix("_post")
        if word in own:
            name = word + SYNAPTIC if word in post or word in "ij" else word
            parameters[name] = word
            return name
        if word.endswith("_pre") and word in synapses.variables:
            parameters[word] = word
        return word

    lines = [_NAME.sub(rename, line) for line in _lines(pathway.code)]
    for line in lines:
        target = _NAME.match(line).group()
        if target not in neuron.system.states:
            raise ModelError(
                f"'{pathway.name}': '{line}' alters '{target}', which is not a variable of the target group; "
                "only the target's variables may change at an arrival."
            )
    text = ModelText(pathway.name, neuron.system.equations, _resolver(synapses, parameters, neuron, namespace))
    jump = text.statements("\n".join(lines))
    free = [line for line in lines if _NAME.match(line).group() not in neuron.gated]
    refractory = text.statements("\n".join(free)) if neuron.gated else jump
    used = {s.name for e in (*jump.values(), *refractory.values()) for s in e.free_symbols}
    for name, variable in parameters.items():
        if variable.endswith("_pre") and name in used and not _is_constant(synapses, variable):
            raise ModelError(
                f"'{pathway.name}': '{variable}' is a variable of the source that changes in time; "
                "a spike can only carry constant parameters of its source."
            )
    parameters = {n: v for n, v in parameters.items() if n in used}
    dimensions = {n: synapses.variables[v].dim for n, v in parameters.items()}
    constants = {n: v for n, v in text.constants.items() if n in used and n not in {*parameters, *neuron.dimensions}}
    return HybridPathway(
        pathway.name, jump, refractory, parameters, constants, {**text.dimensions, **neuron.dimensions, **dimensions}
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
