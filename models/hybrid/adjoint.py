"""Exact gradient of a run of the oracle: the adjoint integrated backward from event to event.

``p`` is dL/dx of every neuron, ``q`` dL/dtheta; ``kappa`` of an event is dL/d(its time). An induced spike has the time
of the event that caused it, so its kappa goes there and not through the threshold.
"""

from __future__ import annotations

import numpy as np
import sympy
from numpy.polynomial.legendre import leggauss
from scipy.integrate import DOP853

from ..errors import NetworkError
from .flight import EMPTY
from .maxima import AFTER, BEFORE, INSIDE, find_maxima
from .network import DELAY, TIMES
from .oracle import ARRIVAL, INDUCED, OPEN, SPIKE, Tape

RTOL = 1e-12
_NODES, _WEIGHTS = leggauss(10)


def loss_value(tape: Tape) -> float:
    """Loss of a run in SI units.

    Raises
    ------
    NetworkError
        If it is not finite.
    """
    total = 0.0
    for event in tape.events:
        cell = tape.cells[event.group.name][event.index]
        if event.kind in (SPIKE, INDUCED):
            for term in event.group.at_spikes(event.index):
                total += _value(event.group, term)(event.t, 1, event.before, event.flight.held, cell.theta)[0]
        total += _running(tape, event.group, event.index, event.flight)
    for name, cells in tape.cells.items():
        group = tape.network.groups[name]
        for cell in cells:
            total += _running(tape, group, cell.index, cell.flight)
            for term in group.at_end(cell.index):
                total += _value(group, term)(tape.duration, cell.gate, cell.flight.last, cell.held, cell.theta)[0]
    if not np.isfinite(total):
        raise NetworkError(f"The loss is {total}; one of its expressions is not finite on this run.")
    return float(total)


def _value(group, term):
    return _cached(group, ("value", term.kind, term.text, term.start), lambda: group.functions.value(term.expression))


def _cached(group, key, make):
    table = group.__dict__.setdefault("_compiled", {})
    if key not in table:
        table[key] = make()
    return table[key]


def _running(tape, group, index, flight) -> float:
    """Integral of the running loss over a flight, by Gauss's rule on every step of its integrator."""
    terms, total = group.running(index), 0.0
    theta = tape.cells[group.name][index].theta
    for term in terms:
        value = _value(group, term)
        for a, b, piece in zip(flight.times, flight.times[1:], flight.pieces, strict=False):
            half = 0.5 * (b - a)
            for node, weight in zip(_NODES, _WEIGHTS, strict=True):
                t = a + half * (1 + node)
                total += weight * half * value(t, flight.gate, piece(t), flight.held, theta)[0]
    return total


class Backward:
    """One backward pass; `gradients` has an array for every (object name, variable) after `run`.

    Parameters
    ----------
    tape : Tape
    spike_times, final, maxima : dict, optional
        Further derivatives of the loss by what the run gave, by object name: by the times of the object's spikes in
        their order, by the (n, n_states) final states, by the (n,) maxima.

    Attributes
    ----------
    gradients : dict
        In the shape of the network's values: states (initial values), parameters in `Group.wrt`, synaptic parameters,
        delays, input spike times.
    """

    def __init__(self, tape: Tape, spike_times=None, final=None, maxima=None):
        self.tape, self.network = tape, tape.network
        self.gradients = {key: np.zeros_like(value) for key, value in tape.values.items()}
        self.p = {name: np.zeros((g.n, len(g.states))) for name, g in self.network.groups.items()}
        self.q = {name: np.zeros((g.n, len(g.wrt))) for name, g in self.network.groups.items()}
        self.synaptic = {name: np.zeros_like(own) for name, own in tape.synaptic.items()}
        self.kappa = np.zeros(len(tape.spikes))
        self.caused: dict[int, float] = {}  # kappa of induced spikes, by the event that caused them
        for name, partials in (spike_times or {}).items():
            self.kappa[[k for k, spike in enumerate(tape.spikes) if spike[1] == name]] += partials
        for name, partials in (final or {}).items():
            self.p[name] += partials
        self.tops: dict = {}  # what maxima add: by flight inside it, by event and side else
        self._place_maxima(maxima or {})

    def _place_maxima(self, partials):
        found = find_maxima(self.tape) if any(np.any(value) for value in partials.values()) else {}
        for name, factors in partials.items():
            for top, factor in zip(found.get(name, ()), factors, strict=False):
                if top.flight is not None and factor != 0:
                    beside = top.event if top.event is not None else top.flight
                    entry = (top.t, factor * top.partials)
                    self.tops.setdefault((id(beside), top.place), []).append(entry)

    def _top(self, group, index, beside, place) -> float:
        """Enter the maximum at one end of a course; returns its derivative by the time of the event there."""
        found, n = 0.0, len(group.states)
        for _, partials in self.tops.pop((id(beside), place), ()):
            found += partials[0]
            self.p[group.name][index] += partials[1 : n + 1]
            self.q[group.name][index] += partials[n + 1 :]
        return found

    def run(self) -> dict:
        for name, group in self.network.groups.items():
            for cell in self.tape.cells[name]:
                self._end(group, cell)
                self._fly(group, cell.index, cell.flight)
        for event in reversed(self.tape.events):
            late = self._top(event.group, event.index, event, AFTER)
            late += sum(partials[0] for _, partials in self.tops.get((id(event), BEFORE), ()))
            if event.kind in (SPIKE, INDUCED):
                self._spike(event, late)
            elif event.kind == ARRIVAL:
                self._arrival(event, late)
            elif event.kind == OPEN:
                self._open(event, late)
            self._top(event.group, event.index, event, BEFORE)
            self._fly(event.group, event.index, event.flight)
        self._collect()
        return self.gradients

    def _theta(self, event):
        return self.tape.cells[event.group.name][event.index].theta

    def _end(self, group, cell):
        for term in group.at_end(cell.index):
            key = ("end", term.text, term.start)
            function = _cached(group, key, lambda t=term: group.functions.loss_at_end(t.expression, t.text))
            found = function(self.tape.duration, cell.gate, cell.flight.last, cell.held, cell.theta)[1:]
            n = len(group.states)
            self.p[group.name][cell.index] += found[:n]
            self.q[group.name][cell.index] += found[n:]

    def _fly(self, group, index, flight):
        """Integrate p and q backward over a flight, whose states come from its interpolant."""
        self._top(group, index, flight, BEFORE)
        end, n = flight.end, len(group.states)
        for t, partials in sorted(self.tops.get((id(flight), INSIDE), ()), key=lambda top: -top[0]):
            self._follow(group, index, flight, t, end)
            self.p[group.name][index] += partials[1 : n + 1]
            self.q[group.name][index] += partials[n + 1 :]
            end = t
        self._follow(group, index, flight, flight.start, end)
        self._top(group, index, flight, AFTER)

    def _follow(self, group, index, flight, start, end):
        if end <= start:
            return
        p, q = self.p[group.name], self.q[group.name]
        n, theta, terms = len(group.states), self.tape.cells[group.name][index].theta, group.running(index)
        if not terms and not p[index].any():
            return
        key = ("backward", tuple((t.text, t.start, t.stop) for t in terms))
        rates = _cached(
            group,
            key,
            lambda: group.functions.backward(sum((t.expression for t in terms), sympy.Integer(0)), group.name),
        )

        def rate(s, y):
            t = end - s
            return np.asarray(rates(t, flight.gate, flight(t).tolist(), flight.held, theta, y[:n].tolist()), float)

        y = np.concatenate([p[index], np.zeros(q.shape[1])])
        length = end - start
        size = np.maximum(np.abs(y), np.abs(rate(0.0, y)) * length)
        size = np.maximum(size, np.abs(rate(length, y)) * length)
        solver = DOP853(rate, 0.0, y, length, rtol=RTOL, atol=np.maximum(size * RTOL, EMPTY))
        while solver.status == "running":
            solver.step()
        if solver.status == "failed" or not np.isfinite(solver.y).all():
            raise NetworkError(f"The adjoint of '{group.name}', neuron {index}, is not finite before t = {end:.9g} s.")
        p[index] = solver.y[:n]
        q[index] += solver.y[n:]

    def _lost(self, event, gate_before, gate_after) -> float:
        """Running loss just before an event minus that just after it."""
        group, theta, found = event.group, self._theta(event), 0.0
        for term in group.running(event.index):
            value = _value(group, term)
            found += value(event.t, gate_before, event.before, event.flight.held, theta)[0]
            found -= value(event.t, gate_after, event.after, event.held, theta)[0]
        return found

    def _arrival(self, event, late):
        group, theta, p = event.group, self._theta(event), self.p[event.group.name][event.index]
        pathway, gate = self.network.pathways[event.pathway], event.gate
        functions = pathway.active if gate else pathway.refractory
        names = [*pathway.text.parameters.values(), *pathway.text.constants]
        w = [_entry(self.tape.values[pathway.synapses, name], event.synapse) for name in names]
        before = (event.t, gate, event.before, event.held, theta, w, event.synaptic)
        after = np.asarray(group.functions.flow(event.t, gate, event.after, event.held, theta))
        own = self.synaptic[pathway.synapses][event.synapse]
        every, n = np.concatenate([p, own]), len(p) + len(own)
        kappa = every @ np.asarray(functions.rate(*before)) - p @ after + self._lost(event, gate, gate)
        kappa += self._passed(event) + late
        for name, value in zip(names, every @ _matrix(functions.jump_w(*before), n), strict=True):
            _add(self.gradients[pathway.synapses, name], event.synapse, value)
        self.q[group.name][event.index] += every @ _matrix(functions.jump_q(*before), n)
        found = every @ _matrix(functions.jump_x(*before), n)
        self.p[group.name][event.index], own[:] = found[: len(p)], found[len(p) :]
        _add(self.gradients[pathway.name, DELAY], event.synapse, kappa)
        self.kappa[event.spike] += kappa

    def _open(self, event, late):
        group, theta, p = event.group, self._theta(event), self.p[event.group.name][event.index]
        refractory, active = (
            np.asarray(group.functions.flow(event.t, gate, event.before, event.held, theta)) for gate in (0, 1)
        )
        kappa = p @ (refractory - active) + self._lost(event, 0, 1) + self._passed(event) + late
        period_q = group.functions.period_q(event.t, 1, event.before, event.held, theta)
        self.q[group.name][event.index] += kappa * np.asarray(period_q)
        self.kappa[event.spike] += kappa

    def _spike(self, event, late):
        group, f, theta = event.group, event.group.functions, self._theta(event)
        n, p = len(group.states), self.p[group.name][event.index]
        before = (event.t, 1, event.before, event.held, theta)
        after = np.asarray(f.flow(event.t, event.gate, event.after, event.held, theta))
        kappa = self.kappa[event.spike] + self._lost(event, 1, event.gate) + late
        kappa += p @ (np.asarray(f.reset_rate(*before)) - after)
        direct = np.zeros(n + len(group.wrt))
        for term in group.at_spikes(event.index):
            key = ("spike", term.text, term.start)
            function = _cached(group, key, lambda t=term: f.loss_at_spike(t.expression, t.text))
            found = function(*before)
            kappa += found[1]
            direct += found[2:]
        state = p @ _matrix(f.reset_x(*before), n) + direct[:n]
        gradient = p @ _matrix(f.reset_q(*before), n) + direct[n:]
        if event.kind == INDUCED:
            if event.cause is not None:
                self.caused[id(event.cause)] = self.caused.get(id(event.cause), 0.0) + kappa
        else:
            share = kappa / f.slope(*before)[0]
            margin = np.asarray(f.margin_gradient(*before))
            state, gradient = state - share * margin[:n], gradient - share * margin[n:]
        self.kappa[event.spike] = kappa
        self.p[group.name][event.index] = state
        self.q[group.name][event.index] += gradient

    def _passed(self, event) -> float:
        return self.caused.pop(id(event), 0.0)

    def _collect(self):
        for name, group in self.network.groups.items():
            for k, state in enumerate(group.states):
                self.gradients[name, state][:] = self.p[name][:, k]
            for k, parameter in enumerate(group.wrt):
                target = self.gradients[name, parameter]
                target[:] = self.q[name][:, k] if target.size > 1 else self.q[name][:, k].sum()
        for pathway in self.network.pathways:
            for k, state in enumerate(pathway.text.states.values()):
                self.gradients[pathway.synapses, state][:] = self.synaptic[pathway.synapses][:, k]
        for number, (name, k) in self.tape.input_spikes.items():
            self.gradients[name, TIMES][k] += self.kappa[number]


def _matrix(entries, rows) -> np.ndarray:
    return np.asarray(entries, float).reshape(rows, -1) if entries else np.zeros((rows, 0))


def _entry(values, k) -> float:
    return float(values[k] if values.size > 1 else values[0])


def _add(target, k, value):
    target[k if target.size > 1 else 0] += value
