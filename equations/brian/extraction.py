"""From the user's own Brian 2 objects to hybrid systems: flow, threshold, reset, refractoriness, synaptic jumps."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace

import sympy
from brian2 import Equations, NeuronGroup, Quantity, TimedArray, get_dimensions, second
from brian2.core.functions import Function
from brian2.core.namespace import DEFAULT_UNITS
from brian2.core.variables import ArrayVariable
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER
from brian2.equations.refractory import add_refractoriness
from sympy.core.function import AppliedUndef

from ..errors import ModelError
from ..hybrid import HybridSystem
from ..statements import compose, parse, symbol
from .derivatives import known
from .events import OTHER_EVENT, assigned, events_left_out, lines_of, refuse_operations

GATE = "not_refractory"
REFRACTORY = "refractory"  # name of the parameter that `refractory=5*ms` becomes


@dataclass(frozen=True)
class HybridNeuron:
    """A neuron group's hybrid system and what else decides when its neurons spike.

    Attributes
    ----------
    system : HybridSystem
        ``not_refractory`` in the expressions is 0 or 1; units stand in them by name.
    refractory : sympy.Expr or None
        Length of the refractory period in seconds, an expression of parameters.
    rearms : bool
        The threshold has to be crossed from below (``refractory`` repeats the threshold's condition).
    gated : tuple of str
        States that are held, and that no synapse alters, while the neuron is refractory.
    dimensions : dict
        Brian 2 dimension of every state and parameter that has one.
    constants : dict of str to float
        Parameters whose value comes from the namespace.
    inputs : dict of sympy.Symbol to (TimedArray or None, bool)
        Symbol that stands for ``array(t)`` or, where the flag is set, ``array(t, i)``.
    left_out : frozenset of str
        Variables that only events other than spikes change or read; nothing else depends on them.
    """

    system: HybridSystem
    refractory: sympy.Expr | None
    rearms: bool
    gated: tuple[str, ...]
    dimensions: dict
    constants: dict[str, float]
    inputs: dict = field(default_factory=dict)
    left_out: frozenset = frozenset()

    def refuse_left_out(self, names, where: str) -> None:
        """Refuse to read what events other than spikes change."""
        found = sorted(self.left_out.intersection(names))
        if found:
            raise ModelError(f"'{where}' reads '{found[0]}', {OTHER_EVENT.format(name=self.system.name)}")


class ModelText:
    """The text of one model: parses with subexpressions written out and collects the parameters that it meets.

    Parameters
    ----------
    name : str
        Model name for error messages.
    equations : Equations
    resolve : callable
        Gives the `Constant`, `Function` or `TimedArray` behind an external name, ``None`` if there is none.
    subexpressions : dict of str to str, optional
        Further ones than those of the equations.
    """

    def __init__(self, name: str, equations: Equations, resolve, subexpressions=None):
        self.name, self.equations, self.resolve = name, equations, resolve
        self.constants: dict[str, float] = {}
        self.dimensions = {n: eq.dim for n, eq in equations.items()}
        self.inputs: dict[sympy.Symbol, tuple] = {}
        self.free: set[str] = set()
        self._subexpressions: dict[sympy.Symbol, sympy.Expr] = {}
        written = {n: equations[n].expr.code for n in equations.subexpr_names} | (subexpressions or {})
        self._subexpressions = {symbol(n): self._plain(code) for n, code in written.items()}

    def parse(self, text: str) -> sympy.Expr:
        return self.finish(self._written_out(text))

    def _plain(self, text: str) -> sympy.Expr:
        try:
            return parse(text)
        except (SyntaxError, TypeError, AttributeError) as error:
            raise ModelError(f"'{self.name}': '{text}' cannot be read as an expression ({error}).") from None

    def _written_out(self, text: str) -> sympy.Expr:
        expression = self._plain(text)
        while expression.free_symbols & self._subexpressions.keys():
            expression = expression.xreplace(self._subexpressions)
        return expression

    def finish(self, expression: sympy.Expr, at_event: bool = False) -> sympy.Expr:
        """Write out inputs, and check that every function has a derivative."""
        expression = self._hold_inputs(expression)
        expression = known(expression, self.name, at_event)
        self._note_constants(expression)
        return expression

    def _hold_inputs(self, expression):
        table = {}
        for call in expression.atoms(AppliedUndef):
            arguments = tuple(str(a) for a in call.args)
            array = self.resolve(call.func.__name__)
            if isinstance(array, TimedArray) and arguments not in (("t",), ("t", "i")):
                raise ModelError(f"'{self.name}': '{call}' must read the array at (t) or (t, i), nothing else.")
            if arguments in (("t",), ("t", "i")) and (array is None or isinstance(array, TimedArray)):
                held = symbol(f"{call.func.__name__}_at_{'_'.join(arguments)}")
                table[call] = held
                self.inputs[held] = (array, len(arguments) == 2)
                if array is not None:
                    self.dimensions[held.name] = array.dim
        return expression.xreplace(table)

    def _note_constants(self, expression):
        inner = {*self.equations, *(s.name for s in self.inputs), "t", "i", "N", GATE}
        for s in expression.free_symbols:
            if s.name in ("dt", "t_in_timesteps", "lastspike"):
                raise ModelError(f"'{self.name}': '{s.name}' in '{expression}' has no meaning in continuous time.")
            if s.name in inner:
                continue
            constant = self.resolve(s.name)
            if isinstance(constant, Function | TimedArray):
                raise ModelError(f"'{self.name}': '{s.name}' in '{expression}' is a function, not a value.")
            if is_unit(s, constant):
                continue
            self.free.add(s.name)
            if constant is not None:
                self.dimensions[s.name] = constant.dim
                if not isinstance(constant, ArrayVariable):  # arrays are read where the network is built
                    self.constants[s.name] = float(constant.get_value())

    def statements(self, code: str) -> dict[str, sympy.Expr]:
        """Map of statements executed one after another; a statement reads subexpressions as they are by then."""
        return {name: self.finish(value, True) for name, value in compose(code, self._written_out).items()}


def complete(maps: dict[str, sympy.Expr], states) -> list[sympy.Expr]:
    """New value of every state; what no statement assigns stays as it is."""
    return [maps.get(state, symbol(state)) for state in states]


def is_unit(name: sympy.Symbol, constant=None) -> bool:
    """Whether a symbol is a unit of Brian 2, and not the user's own constant of the same name."""
    unit = DEFAULT_UNITS.get(name.name)
    return unit is not None and (constant is None or float(constant.get_value()) == float(unit))


def neuron_of(model, namespace: dict | None = None, altered=()) -> HybridNeuron:
    """Derive the hybrid system of a `NeuronGroup`, or of equations that know their events.

    Parameters
    ----------
    model : NeuronGroup or NeuronModel
    namespace : dict, optional
        Where names that the group's own namespace lacks are looked up.
    altered : iterable of str
        Parameters that synapses change, which are therefore states.

    Raises
    ------
    ModelError
        If anything in the model has no derivative; the text names the model, the expression and the remedy.
    """
    left_out = frozenset()
    if isinstance(model, NeuronGroup):
        refuse_operations(model)
        left_out = events_left_out(model)
        equations, name = model.equations, model.name
        threshold, reset = model.events.get("spike"), model.event_codes.get("spike")
        refractory, resolve = model._refractory, _resolver(model, namespace or {})
    elif isinstance(model, Equations):
        equations, name = Equations(list(model.values())), getattr(model, "name", "model")
        threshold, reset, refractory = (getattr(model, f, None) for f in ("threshold", "reset", "refractory"))
        if refractory is not False and refractory is not None:
            equations = add_refractoriness(equations)
        resolve = _value_of(namespace or {})
    else:
        raise ModelError(f"{type(model).__name__} is not a NeuronGroup or a NeuronModel with equations.")
    _refuse_equations(name, equations, model)
    text = ModelText(name, equations, resolve)
    reset = "\n".join(line for line in lines_of(reset or "") if assigned(line) not in left_out)
    found = _neuron(text, equations, threshold, reset, refractory, tuple(altered), model)
    return replace(found, left_out=left_out)


def _neuron(text, equations, threshold, reset, refractory, altered, model) -> HybridNeuron:
    flow = {n: text.parse(equations[n].expr.code) for n in equations if n in equations.diff_eq_names}
    margin = _margin(text, threshold) if threshold else None
    resets = text.statements(reset)
    for target in resets:
        if target not in equations.names or target in equations.subexpr_names:
            raise ModelError(f"'{text.name}': the reset assigns '{target}', which is not a variable of the model.")
    for target in (*resets, *altered):
        flow.setdefault(target, sympy.Integer(0))
    period, rearms = _refractory(text, refractory, threshold, flow)
    used = set(text.free)
    for expression in (*flow.values(), *resets.values(), *[e for e in (margin, period) if e is not None]):
        used |= {s.name for s in expression.free_symbols}
    inner = {*flow, "t", "i", "N", GATE, *(s.name for s in text.inputs)}
    parameters = sorted(n for n in used - inner if n in text.free or n in equations)
    gated = tuple(n for n in flow if n in equations and "unless refractory" in equations[n].flags)
    system = HybridSystem(
        name=text.name,
        states=tuple(flow),
        parameters=tuple(parameters),
        flow=flow,
        margin=margin,
        reset=dict(zip(flow, complete(resets, flow), strict=True)),
        jump={},
        equations=equations,
        method=getattr(model, "method", None),
    )
    return HybridNeuron(system, period, rearms, gated, text.dimensions, text.constants, text.inputs)


def _margin(text: ModelText, threshold: str) -> sympy.Expr:
    """g of the spike condition, which holds where g > 0; ``and not_refractory`` says nothing new."""
    tree = ast.parse(threshold.strip(), mode="eval").body
    if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And):
        parts = [p for p in tree.values if ast.unparse(p) != GATE]
        tree = parts[0] if len(parts) == 1 else tree
    if not isinstance(tree, ast.Compare) or len(tree.ops) != 1:
        raise ModelError(
            f"'{text.name}': the threshold '{threshold}' must be one comparison, such as 'v > V_th'; the time of a "
            "spike by several conditions has no derivative of its own. Express the other conditions in the equations."
        )
    left, right = (text.parse(ast.unparse(side)) for side in (tree.left, tree.comparators[0]))
    if isinstance(tree.ops[0], ast.Gt | ast.GtE):
        margin = left - right
    elif isinstance(tree.ops[0], ast.Lt | ast.LtE):
        margin = right - left
    else:
        raise ModelError(f"'{text.name}': the threshold '{threshold}' must be written with > or <.")
    if margin.free_symbols & text.inputs.keys():
        raise ModelError(
            f"'{text.name}': the threshold '{threshold}' reads a TimedArray, which jumps in time; "
            "let the array drive a variable and compare that."
        )
    return margin


def _refractory(text, refractory, threshold, flow):
    """Period as an expression of parameters, and whether the neuron merely has to cross from below again."""
    if refractory is None or refractory is False:
        return None, False
    if isinstance(refractory, Quantity) or isinstance(refractory, float | int) and not isinstance(refractory, bool):
        text.constants[REFRACTORY] = float(refractory)
        text.dimensions[REFRACTORY] = second.dim
        text.free.add(REFRACTORY)
        return symbol(REFRACTORY), False
    remedy = "give a time, or an expression of constant parameters in seconds"
    if not isinstance(refractory, str):
        raise ModelError(f"'{text.name}': refractory = {refractory!r} is not supported; {remedy}.")
    if threshold and "".join(refractory.split()) == "".join(threshold.split()):
        return None, True
    if isinstance(ast.parse(refractory.strip(), mode="eval").body, ast.Compare | ast.BoolOp | ast.UnaryOp):
        raise ModelError(
            f"'{text.name}': the condition refractory = '{refractory}' is supported only if it repeats the threshold "
            f"'{threshold}'; otherwise {remedy}."
        )
    period = text.parse(refractory)
    if {s.name for s in period.free_symbols} & {*flow, "t"}:
        raise ModelError(f"'{text.name}': refractory = '{refractory}' changes in time; {remedy}.")
    return period, False


def _reads_parameter(group, name: str) -> bool:
    """Whether a linked variable is a parameter where it comes from, so that it has one value for the whole run."""
    owner = getattr(group.variables.get(name), "owner", None) if isinstance(group, NeuronGroup) else None
    equations = getattr(owner, "equations", {})
    source = group.variables[name].name if owner is not None else ""
    return source in equations and equations[source].type == PARAMETER and "linked" not in equations[source].flags


def _refuse_equations(name: str, equations: Equations, group) -> None:
    if equations.is_stochastic:
        raise ModelError(
            f"'{name}': the equations hold noise ({', '.join(sorted(equations.stochastic_variables))}), whose path has "
            "no derivative; remove it, or give one recorded path as a TimedArray."
        )
    for eq in equations.values():
        if "linked" in eq.flags and not _reads_parameter(group, eq.varname):
            raise ModelError(
                f"'{name}': '{eq.varname}' is linked to a variable of another group that changes in time; write both "
                "into one group, or link a parameter."
            )
        if eq.type not in (DIFFERENTIAL_EQUATION, PARAMETER) and "constant over dt" in eq.flags and "rand" in str(eq):
            raise ModelError(f"'{name}': '{eq.varname}' is drawn at random in every step and has no derivative.")


def _resolver(group, namespace):
    def resolve(name):
        if name in group.variables:
            return group.variables[name]
        try:
            return group.resolve_all({name}, namespace)[name]
        except KeyError:
            raise ModelError(
                f"'{group.name}': '{name}' is neither a variable of the group nor in its namespace."
            ) from None

    return resolve


def _value_of(namespace):
    def resolve(name):
        value = namespace.get(name)
        if value is None or isinstance(value, TimedArray | Function):
            return value
        return _Value(float(value), get_dimensions(value))

    return resolve


@dataclass(frozen=True)
class _Value:
    value: float
    dim: object

    def get_value(self):
        return self.value
