"""A hybrid network's expressions and their derivatives as C++ functions, from the same Jacobians as the oracle's.

Every ``*_back`` function adds the product of an adjoint with a Jacobian to what it is given, so that no matrix is made.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import sympy
from sympy.printing.codeprinter import PrintMethodNotImplementedError
from sympy.printing.cxx import CXX17CodePrinter

from ...equations.brian.derivatives import differentiate
from ...equations.brian.extraction import GATE
from ...equations.brian.jacobians import jump_jacobians
from ...equations.statements import symbol, unit_values
from ..errors import EngineError
from .losses import FINAL, INTEGRAL, MAX, SPIKE
from .network import Group, HybridNetwork, Pathway

_AT = "double t, double gate, const double* x, const double* held, const double* th"
_FUNCTIONS = {"Exprel": "exprel", "ExprelSlope": "exprel_slope", "sign": "sign", "Gate": "Gate"}


@dataclass(frozen=True)
class GroupCode:
    """Sizes, properties and functions of one group in C++."""

    name: str
    sizes: dict[str, int]
    flags: dict[str, bool]
    functions: list[str]


class _Printer(CXX17CodePrinter):
    """Symbols by their places in the arguments; small whole powers as products."""

    def __init__(self, names: dict[str, str]):
        super().__init__({"user_functions": _FUNCTIONS, "strict": True})
        self.names = names

    def _print_Symbol(self, expr):
        return self.names.get(expr.name, expr.name)

    def _print_Pow(self, expr):
        base, power = expr.as_base_exp()
        if base.is_Symbol and power.is_Integer and 2 <= abs(int(power)) <= 4:
            product = "(" + "*".join([self._print(base)] * abs(int(power))) + ")"
            return product if power > 0 else f"(1.0/{product})"
        return super()._print_Pow(expr)


class _Writer:
    """Writes functions of one group; `name` is what errors call it."""

    def __init__(self, name: str, names: dict[str, str]):
        self.name, self.names = name, names

    def function(self, head: str, outputs, before: str = "") -> str:
        """A function whose body assigns expressions: pairs of ``'out[0] ='`` or ``'px[0] +='`` and an expression."""
        return f"static {head} {{\n{before}{self.body(outputs)}}}"

    def body(self, outputs) -> str:
        kept = [(to, sympy.sympify(e)) for to, e in outputs]
        kept = [(to, e) for to, e in kept if not (to.endswith("+=") and e == 0)]
        units = {s: v for _, e in kept for s, v in unit_values(e).items() if s.name not in self.names}
        expressions = [e.xreplace(units) for _, e in kept]
        temporaries, expressions = sympy.cse(expressions, sympy.numbered_symbols("shared_", real=True))
        printer, lines = _Printer(self.names), []
        try:
            for place, expression in temporaries:
                lines.append(f"    const double {place} = {printer.doprint(expression)};\n")
            for (to, _), expression in zip(kept, expressions, strict=True):
                lines.append(f"    {to} {printer.doprint(expression)};\n")
        except PrintMethodNotImplementedError as error:
            raise EngineError(f"'{self.name}': the compiled engine cannot express {error}.") from None
        return "".join(lines)

    def value(self, name: str, expression, more: str = "") -> str:
        return self.function(f"double {name}({_AT}{more})", [("return", expression)])


def _places(target: str, expressions, op: str = "+="):
    return [(f"{target}[{k}] {op}", e) for k, e in enumerate(expressions)]


def _dot(p, column):
    return sum((a * b for a, b in zip(p, column, strict=True)), sympy.Integer(0))


def _adjoint(expressions, p, by, model):
    """Products of an adjoint with the Jacobian of some expressions."""
    return [_dot(p, [differentiate(sympy.sympify(e), s, model) for e in expressions]) for s in by]


def lower(network: HybridNetwork) -> list[GroupCode]:
    """Write every group, with the pathways that end in it.

    Raises
    ------
    EngineError
        If an expression calls a function that C++ does not have.
    """
    return [_lower(network, group) for group in network.groups.values()]


def is_linear(group: Group) -> bool:
    """Whether a group's flow is linear with constant coefficients between events, and nothing is integrated."""
    jac = group.functions.jacobians
    moving = {*jac.x, symbol("t")}
    homogeneous = jac.flow_x * sympy.Matrix(jac.x)
    rest = [sympy.expand(f - h) for f, h in zip(jac.flow, homogeneous, strict=True)]
    return (
        not any(t.kind == INTEGRAL for t in group.terms)
        and not jac.flow_x.free_symbols & moving
        and not {s for e in rest for s in sympy.simplify(e).free_symbols} & moving
    )


def _flat(jac) -> bool:
    """Whether the threshold function is linear in the states, with coefficients that do not change in time."""
    moving = {*jac.x, symbol("t")}
    return jac.margin is not None and jac.margin_t == 0 and not jac.margin_x.free_symbols & moving


def _uniform(group: Group, paths: list[Pathway]) -> bool:
    """Whether neurons with equal parameters may be followed side by side: a threshold that is linear in the states,
    and spikes that add to them."""
    jac, found, tops = group.functions.jacobians, [], _of(group, MAX)
    if jac.q or group.inputs or group.neuron.rearms or (tops and jac.margin is not None):
        return False
    if any(path.text.states for path in paths):
        return False
    if jac.margin is not None:
        if not _flat(jac):
            return False
        found += [*jac.margin_x]
    for term in tops:
        if (term.start, term.stop) != (0, group.n):
            return False
        slopes = [differentiate(term.expression, x, group.name) for x in jac.x]
        found += [*slopes, sympy.expand(term.expression - _dot(slopes, jac.x))]
    for path, refractory in itertools.product(paths, (False, True)):
        jump = jump_jacobians(path.text, group.neuron, group.wrt, refractory)
        added = (jump.jump - sympy.Matrix(jac.x)).applyfunc(sympy.expand)
        if any(e != 0 for e in added.subs(dict.fromkeys(jump.w, 0))):
            return False
        found += [*jump.jump_w, *added.jacobian(jac.x)]
        if jump.w and {s for e in jump.jump_w for s in e.free_symbols} & set(jump.w):
            return False
        if any(e != 0 for e in added.jacobian(jac.x)):
            return False
    named = {s for e in [*found, *jac.flow] for s in e.free_symbols}
    moving = {s for e in found for s in e.free_symbols} & {*jac.x, symbol("t")}
    return not moving and not named & {symbol("i"), symbol("t")}


def _patterns(group: Group, paths: list[Pathway]) -> list[str]:
    """What is not zero, as constants: of the flow, of its exponential, of what a constant adds to it, of the watched
    function (threshold, or expression whose maximum is taken), of what arrives."""
    jac, every = group.functions.jacobians, range(len(group.functions.jacobians.x))
    flows = [[jac.flow_x[j, k] != 0 for k in every] for j in every]
    reach = [[j == k or flows[j][k] for k in every] for j in every]
    for k, j, i in itertools.product(every, repeat=3):
        reach[j][i] |= reach[j][k] and reach[k][i]
    rest = [sympy.expand(f) != 0 for f in jac.flow - jac.flow_x * sympy.Matrix(jac.x)]
    affine = [any(reach[j][k] and rest[k] for k in every) for j in every]
    top = sum((t.expression for t in _of(group, MAX)), sympy.Integer(0))
    watched = [e != 0 for e in jac.margin_x] if jac.margin is not None else [top.diff(x) != 0 for x in jac.x]
    seen = [any(watched[j] and reach[j][k] for j in every) for k in every]
    jumps = [jump_jacobians(p.text, group.neuron, group.wrt, r).jump_w for p in paths for r in (False, True)]
    jumped = [any(e != 0 for jump in jumps for e in jump[j, :]) for j in every]
    tables = {"FLOWS": flows, "REACH": reach}
    lists = {"AFFINE": affine, "WATCHED": watched, "SEEN": seen, "JUMPED": jumped}
    text = [f"static constexpr bool {n}[NX] = {_braces(v)};" for n, v in lists.items()]
    return text + [
        f"static constexpr bool {n}[NX][NX] = {{{', '.join(map(_braces, rows))}}};" for n, rows in tables.items()
    ]


def _braces(values) -> str:
    return "{" + ", ".join("true" if v else "false" for v in values) + "}"


def _lower(network: HybridNetwork, group: Group) -> GroupCode:
    jac = group.functions.jacobians
    n, q = len(jac.x), len(jac.q)
    p = [symbol(f"adjoint_{k}") for k in range(n)]
    theta = [*group.theta, "i", "N"]
    names = {GATE: "gate", "t": "t", "adjoint_l": "pl", "adjoint_s": "s"}
    names |= {x.name: f"x[{k}]" for k, x in enumerate(jac.x)}
    names |= {name: f"th[{k}]" for k, name in enumerate(theta)}
    names |= {held.name: f"held[{k}]" for k, (held, _) in enumerate(group.inputs)}
    names |= {s.name: f"p[{k}]" for k, s in enumerate(p)}
    w, linear = _Writer(group.name, names), is_linear(group)
    back = ", const double* p, double* px, double* pq"
    homogeneous = list(jac.flow_x * sympy.Matrix(jac.x)) if linear else [sympy.Integer(0)] * n
    out = [
        w.function(f"void flow({_AT}, double* out)", _places("out", jac.flow, "=")),
        _running(w, group, p),
        w.function(f"void homogeneous({_AT}, double* out)", _places("out", homogeneous, "=")),
        w.function(
            f"void homogeneous_back({_AT}{back})",
            [
                *_places("px", _adjoint(homogeneous, p, jac.x, group.name)),
                *_places("pq", _adjoint(homogeneous, p, jac.q, group.name)),
            ],
        ),
        w.value("margin", jac.margin if jac.margin is not None else -1),
        w.value("slope", jac.slope if jac.margin is not None else 0),
        w.function(
            f"void margin_back({_AT}, double s, double* px, double* pq)",
            [
                *_places("px", [symbol("adjoint_s") * e for e in jac.margin_x]),
                *_places("pq", [symbol("adjoint_s") * e for e in jac.margin_q]),
            ],
        ),
        w.function(f"void reset({_AT}, double* out)", _places("out", jac.reset, "=")),
        w.value("reset_rate", _dot(p, jac.reset_x * jac.flow + jac.reset_t), ", const double* p"),
        w.function(
            f"void reset_back({_AT}{back})",
            [*_places("px", jac.reset_x.T * sympy.Matrix(p)), *_places("pq", jac.reset_q.T * sympy.Matrix(p))],
        ),
        w.value("period", 0 if jac.period is None else jac.period),
        w.function(
            f"void period_back({_AT}, double s, double* pq)",
            _places("pq", [symbol("adjoint_s") * e for e in jac.period_q]),
        ),
        *_losses(w, group),
    ]
    paths = [path for path in network.pathways if path.target == group.name]
    out += _jumps(w, group, paths, p)
    sizes = {
        "NX": n,
        "NT": len(theta),
        "NQ": q,
        "NH": len(group.inputs),
        "NW": max([sum(map(len, _synaptic(path))) for path in paths], default=0),
        "NS": max([len(path.text.states) for path in paths], default=0),
    }
    flags = {
        "LINEAR": linear,
        "SPIKES": jac.margin is not None,
        "GATES": group.gates,
        "REARMS": group.neuron.rearms,
        "FLAT": linear and _flat(jac),
        "UNIFORM": linear and _uniform(group, paths),
        "RUNNING": any(t.kind == INTEGRAL for t in group.terms),
        "EXTREME": any(t.kind == MAX for t in group.terms),
    }
    if flags["UNIFORM"]:
        out += _patterns(group, paths)
    return GroupCode(group.name, sizes, flags, out)


def _by_term(w: _Writer, terms, outputs) -> str:
    """Bodies of loss terms, each for its own range of neurons."""
    text = ""
    for term in terms:
        index = w.names["i"]
        text += f"    if ({index} >= {term.start} && {index} < {term.stop}) {{\n{w.body(outputs(term))}    }}\n"
    return text


def _of(group, kind):
    return [t for t in group.terms if t.kind == kind]


def _running(w, group, p) -> str:
    """Flow's adjoint together with the running loss, whose own adjoint is `pl`; and the running loss itself."""
    jac, name, terms = group.functions.jacobians, group.name, _of(group, INTEGRAL)
    flow = w.body(
        [
            *_places("px", _adjoint(jac.flow, p, jac.x, name)),
            *_places("pq", _adjoint(jac.flow, p, jac.q, name)),
        ]
    )
    pl = symbol("adjoint_l")
    loss = _by_term(
        w,
        terms,
        lambda t: [
            *_places("px", [pl * differentiate(t.expression, x, name) for x in jac.x]),
            *_places("pq", [pl * differentiate(t.expression, s, name) for s in jac.q]),
        ],
    )
    value = _by_term(w, terms, lambda t: [("value +=", t.expression)])
    return (
        f"static void flow_back({_AT}, const double* p, double pl, double* px, double* pq) {{\n"
        f"    {{\n{flow}    }}\n{loss}}}\n"
        f"static double running({_AT}) {{\n    double value = 0;\n{value}    return value;\n}}"
    )


def _losses(w, group) -> list[str]:
    """Losses at spikes (with the derivative along the flow), at the end, and the expression whose maximum is taken."""
    jac, name, s = group.functions.jacobians, group.name, symbol("adjoint_s")
    found = []
    for kind, label in ((SPIKE, "at_spike"), (FINAL, "at_end"), (MAX, "extreme")):
        terms = _of(group, kind)

        def rate(term):
            by_state = [differentiate(term.expression, x, name) for x in jac.x]
            return _dot(by_state, jac.flow) + differentiate(term.expression, symbol("t"), name)

        value = _by_term(w, terms, lambda t: [("value +=", t.expression)])
        slope = _by_term(w, terms, lambda t: [("value +=", rate(t))]) if kind != FINAL else ""
        back = _by_term(
            w,
            terms,
            lambda t: [
                *_places("px", [s * differentiate(t.expression, x, name) for x in jac.x]),
                *_places("pq", [s * differentiate(t.expression, a, name) for a in jac.q]),
            ],
        )
        found += [
            f"static double {label}({_AT}) {{\n    double value = 0;\n{value}    return value;\n}}",
            f"static double {label}_rate({_AT}) {{\n    double value = 0;\n{slope}    return value;\n}}",
            f"static void {label}_back({_AT}, double s, double* px, double* pq) {{\n{back}}}",
        ]
    return found


def _synaptic(path: Pathway) -> tuple[list[str], list[str]]:
    """Symbols that a synapse gives values to: parameters, then its own states."""
    return [*path.text.parameters, *path.text.constants], [*path.text.states]


def _jumps(w: _Writer, group: Group, paths: list[Pathway], p) -> list[str]:
    """Jumps of all pathways that end in a group, chosen by their number there, for active and refractory neurons."""
    jac, name = group.functions.jacobians, group.name
    jump, rate, back = "", "", ""
    for k, path in enumerate(paths):
        symbols, states = _synaptic(path)
        own = [symbol(f"adjoint_{len(p) + m}") for m in range(len(states))]
        places = {s.name: f"p[{len(p) + m}]" for m, s in enumerate(own)}
        places |= {s: f"w[{m}]" for m, s in enumerate([*symbols, *states])}
        inner = _Writer(f"{name} ({path.name})", w.names | places)
        for refractory in (False, True):
            found = jump_jacobians(path.text, group.neuron, group.wrt, refractory)
            head = f"    if (path == {k} && {'!' if refractory else ''}(gate > 0)) {{\n"
            product = sympy.Matrix([*p, *own])
            jump += head + inner.body(_places("out", found.jump, "=")) + "    return;\n    }\n"
            along = _dot(product, found.rate(jac.flow))
            rate += head + inner.body([("return", along)]) + "    }\n"
            outputs = [
                *_places("px", found.jump_x.T * product),
                *_places("pw", found.jump_w.T * product, "="),
                *_places("pq", found.jump_q.T * product),
            ]
            back += head + inner.body(outputs) + "    return;\n    }\n"
    at = f"int path, {_AT}, const double* w"
    return [
        f"static void jump({at}, double* out) {{\n{jump}}}",
        f"static double jump_rate({at}, const double* p) {{\n{rate}    return 0;\n}}",
        f"static void jump_back({at}, const double* p, double* px, double* pw, double* pq) {{\n{back}}}",
    ]
