"""Largest value over time of an expression on a run of the oracle, and where it is taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from .flight import SAMPLES, Flight
from .losses import MAX
from .oracle import Event, Tape

INSIDE, BEFORE, AFTER = "inside", "before", "after"  # a course; just before or after the event at one of its ends


@dataclass
class Maximum:
    """Where a neuron's expression is largest.

    Attributes
    ----------
    value, t : float
    flight : Flight or None
        ``None`` if the neuron has no such expression.
    place : {'inside', 'before', 'after'}
        Inside a course, or at its end just before or just after `event`; without an event at one end of the run.
    event : Event or None
    partials : numpy.ndarray
        Derivative along the course, by the states and by the trained parameters there.
    """

    value: float = 0.0
    t: float = 0.0
    flight: Flight | None = None
    place: str = INSIDE
    event: Event | None = None
    partials: np.ndarray | None = None


def find_maxima(tape: Tape) -> dict[str, list[Maximum]]:
    """Maximum of every neuron of the groups that have an expression for it."""
    found = {}
    for name, group in tape.network.groups.items():
        terms = [t for t in group.terms if t.kind == MAX]
        if terms:
            courses = {k: [] for k in range(group.n)}
            for event in tape.events:
                if event.group is group:
                    courses[event.index].append((event.flight, event))
            found[name] = []
            for cell in tape.cells[name]:
                own = [t for t in terms if t.start <= cell.index < t.stop]
                functions = [group.functions.loss_at_spike(t.expression, t.text) for t in own]
                every = [*courses[cell.index], (cell.flight, None)]
                found[name].append(_largest(every, functions, cell.theta))
    return found


def _largest(courses, functions, theta) -> Maximum:
    """Of several terms on one neuron the sum is taken, as of all losses."""
    best = Maximum()
    if not functions:
        return best
    last_event = None
    for flight, event in courses:
        gate, held = flight.gate, flight.held

        def at(t, x, gate=gate, held=held):
            return np.sum([f(t, gate, x, held, theta) for f in functions], axis=0)

        for t, x, place, beside in _candidates(flight, event, last_event, at):
            value, *partials = at(t, x)
            if best.flight is None or value > best.value:
                best = Maximum(float(value), t, flight, place, beside, np.array(partials))
        last_event = event
    return best


def _candidates(flight, event, last_event, at):
    """Both ends of a course and the tops between samples of it."""
    yield flight.start, flight.first, AFTER, last_event
    for a, b in zip(flight.times, flight.times[1:], strict=False):
        times = np.linspace(a, b, SAMPLES + 1)
        slopes = [at(t, flight(t))[1] for t in times]
        for k in range(SAMPLES):
            if slopes[k] > 0 >= slopes[k + 1]:
                top = brentq(lambda t: at(t, flight(t))[1], times[k], times[k + 1], xtol=1e-18)
                yield top, flight(top), INSIDE, None
    yield flight.end, flight.last, BEFORE, event
