"""The adjoint as a Brian 2 network that runs backward: equations and event rules of `derive_adjoint`, nothing else.

A run on Brian 2's time grid is recorded; then one group per group of the model runs from the end to the beginning. Its
equations are the adjoint's, read with s = T - t; forward variables that occur in them come from the record. The
spikes of the run, arrivals and ends of refractory periods are its events, and their rules its statements: an arrival
leaves its timing cotangent with the neuron that sent the spike, where it waits for the spike itself. What
Brian 2 detects in step k holds from the time (k + 1) dt on and is undone in step n - 2 - k of the n reversed ones.
"""

from __future__ import annotations

import time

import numpy as np
from brian2 import Equations, Network, NeuronGroup, Quantity, Synapses, TimedArray, second
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER, SUBEXPRESSION, Expression, SingleEquation
from brian2.parsing.sympytools import str_to_sympy
from brian2.utils.stringtools import get_identifiers

from ....equations.brian.adjoint import OPEN, Adjoint
from ....equations.brian.derivatives import differentiate
from ....equations.brian.extraction import GATE
from ....equations.statements import symbol
from ...devices import StandaloneProject, check_device
from ...errors import NetworkError
from ..losses import FINAL, INTEGRAL, SPIKE
from ..network import DELAY, TIMES, HybridNetwork
from .copies import values_of
from .record import Record, read, record
from .statements import BEFORE, END, SLOT, WAITING, arrived, loss_of, opened, replayed, reversed_rate


def reversed_gradients(items, network: HybridNetwork, adjoints: dict, duration, dt, device, namespace) -> dict:
    """Gradients by every parameter, synaptic parameter, delay and initial value, from a network that runs backward.

    Parameters
    ----------
    items : list
        The user's objects.
    network : HybridNetwork
        Made of them, with the loss.
    adjoints : dict of str to Adjoint
        Of every group, with all its pathways.
    duration, dt : Quantity, second
    device : {'runtime', 'cpp_standalone'}
    namespace : dict

    Returns
    -------
    dict
        By (object name, variable), in SI units.
    """
    check_device(device)
    _refuse(network)
    n_steps, step = round(float(duration / dt)), float(dt)
    if device == "runtime":
        recorded = read(record(items, network, n_steps, dt, namespace), step)
        backward = ReversedNetwork(network, adjoints, recorded, n_steps, dt)
        backward.network.run(n_steps * dt, namespace={})
        return backward.gradients()
    values = [values_of(item) for item in items]
    with StandaloneProject(repr(("forward", time.time_ns()))) as project:
        running = record(items, network, n_steps, dt, namespace, values)
        project.build()
        project.run()
        recorded = read(running, step)
    with StandaloneProject(repr(("backward", time.time_ns()))) as project:
        backward = ReversedNetwork(network, adjoints, recorded, n_steps, dt)
        backward.network.run(n_steps * dt, namespace={})
        project.build()
        project.run()
        return backward.gradients()


def _refuse(network) -> None:
    otherwise = "does not run backward in Brian 2; take value_and_grad."
    for pathway in network.pathways:
        if pathway.text.states:
            raise NetworkError(f"'{pathway.name}' with variables of the synapses' own {otherwise}")
        if np.ptp(network.values[pathway.name, DELAY]) > 0:
            raise NetworkError(f"'{pathway.name}' with different delays {otherwise}")
        if pathway.text.jump != pathway.text.jump_refractory:
            raise NetworkError(f"'{pathway.name}' onto a variable that is held while refractory {otherwise}")
    for name, group in network.groups.items():
        if group.inputs or group.neuron.rearms:
            raise NetworkError(f"'{name}' with a TimedArray in the equations, or a refractory condition, {otherwise}")
        for term in group.terms:
            if term.kind not in (SPIKE, INTEGRAL, FINAL) or (term.start, term.stop) != (0, group.n):
                raise NetworkError(f"The loss '{term.text}' of a maximum, or of a part of a group, {otherwise}")


class ReversedNetwork:
    """Groups, events and synapses that undo a recorded run.

    Attributes
    ----------
    network : brian2.Network
        Ready to run for as long as the recorded one.
    groups : dict of str to NeuronGroup
        The adjoint of every group; of a source of input spikes only what its spikes wait with.
    """

    def __init__(self, network: HybridNetwork, adjoints: dict[str, Adjoint], recorded: Record, n_steps: int, dt):
        self.hybrid, self.adjoints, self.recorded, self.n, self.dt = network, adjoints, recorded, n_steps, dt
        self.slots, self.waiting = self._slots()
        self.groups, self.synapses, self.pairs = {}, {}, []
        for name in recorded.spikes.keys() | network.groups.keys():
            self.groups[name] = self._group(name)
        for k, pathway in enumerate(network.pathways):
            self._synapses(k, pathway)
        self.network = Network(*self.groups.values(), *self.pairs)

    def _slots(self):
        """Places in which cotangents wait: as many as spikes of a neuron may be under way at once."""
        steps = [self._steps(p) for p in self.hybrid.pathways]
        steps += [self._refractory(g).max() for g in self.hybrid.groups.values() if g.gates]
        longest, slots, most = max(steps, default=0), {}, 1
        for name, (when, who) in self.recorded.spikes.items():
            slots[name] = np.zeros(len(when), int)
            for n in np.unique(who):
                own = np.flatnonzero(who == n)
                own = own[np.argsort(when[own], kind="stable")]
                slots[name][own] = np.arange(len(own))
                ahead = np.searchsorted(when[own], when[own] + longest, side="right")
                most = max(most, int((ahead - np.arange(len(own))).max()))
        return {name: s % most for name, s in slots.items()}, most

    def _steps(self, pathway) -> int:
        return int(np.rint(self.hybrid.values[pathway.name, DELAY][0] / float(self.dt)))

    def _refractory(self, group) -> np.ndarray:
        theta = [np.broadcast_to(self.hybrid.values[group.name, p], group.n) for p in group.theta]
        periods = [group.functions.period(0, 1, [0.0] * len(group.states), [], [*(v[n] for v in theta), n, group.n])[0]
                   for n in range(group.n)]  # fmt: skip
        return np.rint(np.array(periods) / float(self.dt)).astype(int)

    def _raster(self, name, late=0) -> TimedArray:
        """Slot of the spike whose event is undone, counted from one; zero in steps without any."""
        when, who = self.recorded.spikes[name]
        size = self.hybrid.groups[name].n if name in self.hybrid.groups else self.hybrid.n_inputs[name]
        found = np.zeros((self.n, size))
        at = self.n - 2 - when - (late[who] if np.ndim(late) else late)
        inside = at >= 0
        found[at[inside], who[inside]] = self.slots[name][inside] + 1
        return TimedArray(found, dt=self.dt)

    def _group(self, name) -> NeuronGroup:
        inner = self.hybrid.groups.get(name)
        equations, names, events = {}, {END: self.n * self.dt}, {}
        loss = self.hybrid.loss_dim
        if inner is not None:
            equations |= self._flow(inner, names)
        for m in range(self.waiting):
            equations[f"{WAITING}_{m}"] = SingleEquation(PARAMETER, f"{WAITING}_{m}", loss / second.dim)

        def event(label, late=0):
            names[f"{SLOT}_{label}_at"] = self._raster(name, late)
            code = Expression(f"{SLOT}_{label}_at(t, i)")
            equations[f"{SLOT}_{label}"] = SingleEquation(SUBEXPRESSION, f"{SLOT}_{label}", second.dim**0, expr=code)
            events[label] = f"{SLOT}_{label} > 0"

        if name in self.recorded.spikes:
            event("replayed")
            for k, pathway in enumerate(self.hybrid.pathways):
                if pathway.source == name:
                    event(f"arrival_{k}", self._steps(pathway))
        opens = inner is not None and any(rule.name == "refractory end" for rule in self.adjoints[name].rules)
        if opens:
            event("opened", self._refractory(inner) - 1)  # Brian 2 counts the period from the beginning of step k
        rates = [e.expr.code for e in equations.values() if e.type == DIFFERENTIAL_EQUATION]
        forward = {"t", *(n for n, e in equations.items() if e.type == SUBEXPRESSION)}
        moving = any(get_identifiers(code) & forward for code in rates)
        size = inner.n if inner else self.hybrid.n_inputs[name]
        group = NeuronGroup(size, Equations(list(equations.values())), events=events, namespace=names, dt=self.dt,
                            method="euler" if moving else "exact", name=f"adjoint_of_{name}")  # fmt: skip
        if inner is not None:
            self._fill(group, inner)
            if opens:
                group.run_on_event("opened", opened(inner, self.adjoints[name], self.waiting), when="synapses", order=1)
        if name in self.recorded.spikes:
            group.run_on_event("replayed", replayed(inner, self.adjoints.get(name), self.waiting), when="resets")
        return group

    def _flow(self, group, names) -> dict:
        """Adjoint equations with the running loss; forward variables read from the record, parameters declared."""
        dims, name = self.hybrid.dimensions, group.name
        found, running = {}, loss_of(group, INTEGRAL)
        for label, equation in self.adjoints[name].equations.items():
            if equation.type == DIFFERENTIAL_EQUATION:
                rate = str_to_sympy(equation.expr.code) + differentiate(running, symbol(label[2:]), name)
                code = Expression(equation.expr.code if rate == 0 else reversed_rate(rate))
                found[label] = SingleEquation(DIFFERENTIAL_EQUATION, label, equation.dim, expr=code)
        for parameter in group.wrt:  # some matter at events alone
            dim = self.hybrid.loss_dim / dims[name, parameter]
            found.setdefault(f"q_{parameter}", SingleEquation(PARAMETER, f"q_{parameter}", dim))
        for state in (*group.states, *([OPEN] if group.gates else [])):
            now = self.recorded.states[name][GATE if state == OPEN else state][::-1]
            dim = second.dim**0 if state == OPEN else dims[name, state]
            for label, values in ((state, now), (state + BEFORE, np.concatenate([now[1:], now[-1:]]))):
                names[f"{label}_at"] = TimedArray(Quantity(values, dim=dim), dt=self.dt)
                code = Expression(f"{label}_at(t, i)")
                found[label] = SingleEquation(SUBEXPRESSION, label, dim, expr=code)
        if not group.gates:
            names[OPEN] = names[OPEN + BEFORE] = 1
        for parameter in group.theta:
            found[parameter] = SingleEquation(PARAMETER, parameter, dims[name, parameter], flags=["constant"])
        return found

    def _fill(self, group, inner) -> None:
        for name in inner.theta:
            if name in group.variables:
                value = Quantity(self.hybrid.values[inner.name, name], dim=self.hybrid.dimensions[inner.name, name])
                setattr(group, name, value if len(value) > 1 else value[0])
        last = [self.recorded.states[inner.name][s][-1] for s in inner.states]
        theta = [np.broadcast_to(self.hybrid.values[inner.name, p], inner.n) for p in inner.theta]
        end, totals = float(self.n * self.dt), {}
        for term in (term for term in inner.terms if term.kind == FINAL):
            function = inner.functions.loss_at_end(term.expression, term.text)
            each = [function(end, 1, [x[n] for x in last], [], [*(v[n] for v in theta), n, inner.n])[1:]
                    for n in range(inner.n)]  # fmt: skip
            for label, values in zip([*inner.states, *inner.wrt], np.transpose(each), strict=True):
                name = f"{'p' if label in inner.states else 'q'}_{label}"
                totals[name] = totals.get(name, 0.0) + values
        for name, values in totals.items():
            setattr(group, name, Quantity(values, dim=group.variables[name].dim))

    def _synapses(self, k, pathway) -> None:
        """The pathway backward: gradients by its values, and the cotangents of its arrivals for the source."""
        group = self.hybrid.groups[pathway.target]
        loss, dims, values = self.hybrid.loss_dim, self.hybrid.dimensions, self.hybrid.values
        names = pathway.text.variables
        equations = [SingleEquation(PARAMETER, f"q_{DELAY}", loss / second.dim)]
        for s, variable in names.items():
            dim = dims[pathway.synapses, variable]
            equations += [SingleEquation(PARAMETER, s, dim), SingleEquation(PARAMETER, f"q_{s}", loss / dim)]
        source, slot = self.groups[pathway.source], f"{SLOT}_arrival_{k}_at"
        names_there = {**self.groups[pathway.target].namespace, slot: source.namespace[slot]}
        code = arrived(k, pathway, group, self.adjoints[group.name], self.waiting)
        synapses = Synapses(
            self.groups[pathway.source], self.groups[pathway.target], Equations(equations),
            on_pre={"undone": code}, on_event={"undone": f"arrival_{k}"},
            namespace=names_there, dt=self.dt, name=f"adjoint_of_{pathway.name}",
        )  # fmt: skip
        synapses.connect(i=pathway.i, j=pathway.j)
        for s, variable in names.items():
            value = Quantity(values[pathway.synapses, variable], dim=dims[pathway.synapses, variable])
            setattr(synapses, s, value if len(value) > 1 else value[0])
        self.synapses[pathway.name] = synapses
        self.pairs.append(synapses)

    def gradients(self) -> dict:
        """What the run backward has added up, by (object name, variable)."""
        found = {key: np.zeros_like(v) for key, v in self.hybrid.values.items() if key[1] != TIMES}
        for name, group in self.hybrid.groups.items():
            for label, values in (("p", group.states), ("q", group.wrt)):
                for n in values:
                    _add(found, (name, n), np.asarray(getattr(self.groups[name], f"{label}_{n}")[:]))
        for pathway in self.hybrid.pathways:
            synapses = self.synapses[pathway.name]
            for s, variable in pathway.text.variables.items():
                _add(found, (pathway.synapses, variable), np.asarray(getattr(synapses, f"q_{s}")[:]))
            _add(found, (pathway.name, DELAY), np.asarray(getattr(synapses, f"q_{DELAY}")[:]))
        return found


def _add(found, key, values) -> None:
    found[key] += values if found[key].size == values.size else values.sum()
