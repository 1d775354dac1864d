"""Event-located reference: every event of a hybrid network at its own time, one after the other.

Between two events a neuron is integrated by DOP853 with a relative tolerance of 1e-13; spikes are the roots of its
threshold function. Events are taken in the order of (time, kind, index). This is what Brian 2's clock-driven
simulation tends to as dt -> 0. Nothing here is fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np

from ..errors import NetworkError
from .flight import Flight
from .network import DELAY, TIMES, Group, HybridNetwork, breaks, input_values

SPIKE, OPEN, INPUT, ARRIVAL, INDUCED = range(5)  # the order of simultaneous events: reset first, then what arrives


@dataclass
class Event:
    """One event of one neuron with what the adjoint needs of it.

    Attributes
    ----------
    kind : int
        A spike at a crossing, end of the refractory period, next value of an input, arrival, or a spike *induced* by
        another event, which lifts the neuron over its threshold at once.
    before, after : numpy.ndarray
        State.
    flight : Flight
        Course of the neuron that ends here.
    gate, held
        Of the course that begins here (`flight` has those before).
    spike : int
        Number of the spike that this is, that arrives, or that the refractory period followed.
    pathway, synapse : int
        Of an arrival.
    cause : Event or None
        What induced a spike.
    synaptic : tuple of float
        The synapse's own variables just before an arrival.
    """

    kind: int
    t: float
    group: Group
    index: int
    before: np.ndarray
    after: np.ndarray
    flight: Flight
    gate: int
    held: list
    spike: int = -1
    pathway: int = -1
    synapse: int = -1
    cause: Event | None = None
    synaptic: tuple = ()


@dataclass
class Cell:
    """A neuron while it runs."""

    group: Group
    index: int
    theta: list
    gate: int = 1
    armed: bool = True
    held: list = field(default_factory=list)
    flight: Flight | None = None
    scheduled: list = field(default_factory=list)
    last_event: Event | None = None
    last_spike: int = -1
    spiked_at: float = -np.inf
    version: int = 0


@dataclass
class Tape:
    """Outcome of a run.

    Attributes
    ----------
    spikes : list of (float, str, int)
        Time, object name and neuron, in order; input spikes included.
    events : list of Event
    cells : dict of str to list of Cell
        ``flight.last`` of a cell is its final state.
    duration : float
    least_slope : float
        Smallest slope of a threshold function at a crossing, per second in units of its threshold.
    nearest_grazing : float
        Largest maximum of a threshold function that stayed below zero.
    synaptic : dict of str to (n_synapses, n) array
        Variables of their own that the synapses of an object have at the end, as its last event left them.
    """

    network: HybridNetwork
    values: dict
    duration: float
    spikes: list = field(default_factory=list)
    events: list = field(default_factory=list)
    cells: dict = field(default_factory=dict)
    input_spikes: dict = field(default_factory=dict)
    least_slope: float = np.inf
    nearest_grazing: float = -np.inf
    synaptic: dict = field(default_factory=dict)

    def arrivals(self) -> list[tuple[float, str, int]]:
        """Time, pathway and synapse of every arrival."""
        return [(e.t, self.network.pathways[e.pathway].name, e.synapse) for e in self.events if e.kind == ARRIVAL]

    def final(self, name: str) -> np.ndarray:
        """Final state of a group, neurons by states."""
        return np.array([cell.flight.last for cell in self.cells[name]])

    def pattern(self) -> tuple:
        """Which neurons spike in which order; a gradient is exact as long as it stays the same."""
        return tuple((name, index) for _, name, index in self.spikes)


def simulate(network: HybridNetwork, duration: float, values: dict | None = None, spikes: dict | None = None) -> Tape:
    """Run a hybrid network and keep the tape.

    Parameters
    ----------
    network : HybridNetwork
    duration : float
        Seconds.
    values : dict, optional
        Replacements of some of the network's values.
    spikes : dict of str to (neurons, times), optional
        Spikes of every group as another simulation found them, on a time grid for instance: they are replayed, and no
        threshold is looked for.

    Raises
    ------
    NetworkError
        If a neuron's reset leaves it above its threshold, a neuron spikes twice at the same time, or a state is not
        finite.
    """
    return _Run(network, duration, network.replaced(values), spikes).run()


class _Run:
    def __init__(self, network, duration, values, replayed=None):
        self.replayed = replayed
        self.tape = Tape(network, values, duration)
        self.network, self.values, self.duration = network, values, duration
        self.queue: list = []
        self.count = 0
        self.scale = {name: np.zeros(len(g.states)) for name, g in network.groups.items()}
        self.order = {name: k for k, name in enumerate(network.groups)}
        self.weights = [self._weights(p) for p in network.pathways]
        for p in network.pathways:
            states = [self.values[p.synapses, n] for n in p.text.states.values()]
            self.tape.synaptic[p.synapses] = np.array(states).T.reshape(len(p.i), -1)

    def _weights(self, pathway):
        names = [*pathway.text.parameters.values(), *pathway.text.constants]
        return [np.broadcast_to(self.values[pathway.synapses, n], pathway.i.shape) for n in names]

    def run(self) -> Tape:
        for pathway in self.network.pathways:
            delays = self.values[pathway.name, DELAY]
            if not (np.isfinite(delays).all() and (delays >= 0).all()):
                raise NetworkError(
                    f"'{pathway.name}': delays must be finite and not negative; found {delays.min()!r} s."
                )
        for name, group in self.network.groups.items():
            self.tape.cells[name] = [self._cell(group, n) for n in range(group.n)]
        for name, neurons in self.network.generators.items():
            times = self.values[name, TIMES]
            for k in np.lexsort((neurons, times)):
                if times[k] <= self.duration:
                    self._push(times[k], SPIKE, (-1, int(k)), ("input", name, int(k)))
        for name, (neurons, at) in (self.replayed or {}).items():
            for n, t in zip(neurons, at, strict=True):
                cell = self.tape.cells[name][int(n)]
                self._push(float(t), SPIKE, (self.order[name], int(n)), ("replayed", cell), cell)
        for cells in self.tape.cells.values():
            for cell in cells:
                self._check_threshold(cell, 0.0)
                self._fly(cell, 0.0, cell.flight.last)
        while self.queue:
            t, kind, _, _, what = heappop(self.queue)
            self._take(t, kind, what)
        return self.tape

    def _push(self, t, kind, index, what, cell=None):
        if t <= self.duration:
            self.count += 1
            heappush(self.queue, (t, kind, index, self.count, what))
            if cell is not None:
                heappush(cell.scheduled, t)

    def _cell(self, group, n) -> Cell:
        theta = [float(v[n] if v.size > 1 else v[0]) for v in (self.values[group.name, p] for p in group.theta)]
        cell = Cell(group, n, [*theta, n, group.n])
        x = np.array([self.values[group.name, s][n] for s in group.states])
        if not (np.isfinite(x).all() and np.isfinite(cell.theta).all()):
            raise NetworkError(f"'{group.name}', neuron {n}: initial values {x} and parameters {theta} must be finite.")
        times = breaks(group.inputs, self.duration)
        cell.held = input_values(group.inputs, 0.5 * (times[0] if times else self.duration), n)
        for k, t in enumerate(times):
            middle = 0.5 * (t + (times[k + 1] if k + 1 < len(times) else self.duration))
            self._push(t, INPUT, (self.order[group.name], n), (cell, middle), cell)
        cell.flight = Flight(None, 0.0, x, 0.0, self.scale[group.name])
        return cell

    def _fly(self, cell, t, x):
        """Follow a neuron from t until its next event that is known, or a spike before."""
        group, functions = cell.group, cell.group.functions
        end = min(cell.scheduled[0] if cell.scheduled else self.duration, self.duration)
        gate, held, theta = cell.gate, cell.held, cell.theta

        def rate(s, y):
            try:
                return functions.flow(s, gate, y.tolist(), held, theta)
            except (OverflowError, ZeroDivisionError, ValueError):
                return np.full(len(y), np.nan)

        scale = self.scale[group.name]
        first = np.asarray(rate(t, x), float)
        speed = np.abs(first) * (end - t)
        if not np.isfinite(speed).all():
            raise NetworkError(f"'{group.name}', neuron {cell.index}: not finite at t = {t:.9g} s in state {x}.")
        np.maximum(scale, np.abs(x), out=scale)
        still = (scale == 0) & (speed == 0)
        if still.any() and end > t:  # rest at zero says nothing of a variable's size; its second derivative does
            ahead = np.asarray(rate(t, x + first * 1e-6 * (end - t)), float) * 0.5e6 * (end - t)
            speed = np.where(still & np.isfinite(ahead), np.abs(ahead), speed)
        margin = slope = None
        if functions.spikes and gate and self.replayed is None:
            margin = lambda s, y: functions.margin(s, 1, y, held, theta)[0]  # noqa: E731
            slope = lambda s, y: functions.slope(s, 1, y, held, theta)[0]  # noqa: E731
        cell.flight = Flight(rate, t, x, end, np.maximum(scale, speed), margin, slope, cell.armed)
        cell.flight.gate, cell.flight.held = gate, held
        cell.version += 1
        self.tape.nearest_grazing = max(self.tape.nearest_grazing, cell.flight.nearest)
        if cell.flight.crossing is not None:
            index = (self.order[group.name], cell.index)
            self._push(cell.flight.crossing, SPIKE, index, (cell, cell.version))

    def _take(self, t, kind, what):
        if kind == SPIKE and what[0] == "input":
            _, name, k = what
            self._emit(t, name, int(self.network.generators[name][k]), input_spike=k)
            return
        if kind == SPIKE and what[0] == "replayed":
            cell = what[1]
            heappop(cell.scheduled)
            cell.flight.cut(t)
            self._spike(cell, t, SPIKE)
            return
        if kind == SPIKE:
            cell, version = what
            if version == cell.version:
                self._spike(cell, t, SPIKE)
            return
        cell = self._target(what[0]) if kind == ARRIVAL else what[0]
        heappop(cell.scheduled)
        before = cell.flight.cut(t)
        if kind == INDUCED:
            if self._above(cell, t, before):
                self._spike(cell, t, INDUCED)
            else:
                self._fly(cell, t, before)
            return
        flight, after, event = (
            cell.flight,
            before,
            Event(kind, t, cell.group, cell.index, before, before, cell.flight, 1, []),
        )
        cell.armed = flight.armed_since <= t
        if kind == OPEN:
            cell.gate, event.spike = 1, what[1]
        elif kind == INPUT:
            cell.held = input_values(cell.group.inputs, what[1], cell.index)
        else:
            (event.pathway, event.synapse), event.spike = what
            pathway = self.network.pathways[event.pathway]
            functions = pathway.active if cell.gate else pathway.refractory
            w = [float(v[event.synapse]) for v in self.weights[event.pathway]]
            own = self.tape.synaptic[pathway.synapses][event.synapse]
            event.synaptic = tuple(own.tolist())
            found = functions.jump(t, cell.gate, before, cell.held, cell.theta, w, event.synaptic)
            after, own[:] = np.array(found[: len(before)], float), found[len(before) :]
        event.after, event.gate, event.held = after, cell.gate, cell.held
        cell.last_event = event
        self.tape.events.append(event)
        self._check_threshold(cell, t, after)
        self._fly(cell, t, after)

    def _target(self, place) -> Cell:
        pathway = self.network.pathways[place[0]]
        return self.tape.cells[pathway.target][pathway.j[place[1]]]

    def _above(self, cell, t, x) -> bool:
        return cell.group.functions.margin(t, 1, x, cell.held, cell.theta)[0] > 0

    def _check_threshold(self, cell, t, x=None):
        """An event that lifts a neuron over its threshold induces a spike, after all events of the same time."""
        x = cell.flight.last if x is None else x
        if not cell.group.functions.spikes or not cell.gate or self.replayed is not None:
            return
        above = self._above(cell, t, x)
        if not above:
            cell.armed = True
        elif cell.armed:
            self._push(t, INDUCED, (self.order[cell.group.name], cell.index), (cell,), cell)

    def _spike(self, cell, t, kind):
        group, functions, flight = cell.group, cell.group.functions, cell.flight
        before = flight.last
        if cell.spiked_at == t:
            raise NetworkError(
                f"'{group.name}', neuron {cell.index} spikes twice at t = {t:.9g} s; give the loop that excites it a "
                "delay, or the neuron a refractory period."
            )
        after = np.array(functions.reset(t, 1, before, cell.held, cell.theta), float)
        if kind == SPIKE:
            slope = functions.slope(t, 1, before, cell.held, cell.theta)[0]
            if not slope > 0:
                raise NetworkError(
                    f"'{group.name}', neuron {cell.index} touches its threshold at t = {t:.9g} s with slope {slope}: "
                    "the time of this spike has no derivative."
                )
            self.tape.least_slope = min(self.tape.least_slope, slope)
        number = len(self.tape.spikes)
        event = Event(
            kind, t, group, cell.index, before, after, flight, 0 if group.gates else 1, cell.held, spike=number
        )
        event.cause = cell.last_event if kind == INDUCED else None
        self.tape.events.append(event)
        cell.last_event, cell.last_spike, cell.spiked_at = event, number, t
        if group.neuron.rearms:
            cell.armed = False
        elif group.gates:
            period = functions.period(t, 1, before, cell.held, cell.theta)[0]
            if not (np.isfinite(period) and period >= 0):
                raise NetworkError(f"'{group.name}', neuron {cell.index}: the refractory period is {period} s.")
            cell.gate = 0
            self._push(t + period, OPEN, (self.order[group.name], cell.index), (cell, number), cell)
        elif self.replayed is None:
            margins = [functions.margin(t, 1, x, cell.held, cell.theta)[0] for x in (after, before)]
            if margins[0] > 0 or margins[0] >= margins[1]:
                raise NetworkError(
                    f"'{group.name}', neuron {cell.index} is still above its threshold after its reset at "
                    f"t = {t:.9g} s; give it a reset below the threshold, or a refractory period."
                )
        self._emit(t, group.name, cell.index)
        self._fly(cell, t, after)

    def _emit(self, t, name, index, input_spike=-1):
        number = len(self.tape.spikes)
        self.tape.spikes.append((t, name, index))
        if input_spike >= 0:
            self.tape.input_spikes[number] = (name, input_spike)
        for k, pathway in enumerate(self.network.pathways):
            if pathway.source != name:
                continue
            delays = self.values[pathway.name, DELAY]
            for s in pathway.leaving.get(index, ()):
                delay = float(delays[s] if delays.size > 1 else delays[0])
                cell = self.tape.cells[pathway.target][pathway.j[s]]
                self._push(t + delay, ARRIVAL, (k, int(s)), ((k, int(s)), number), cell)
