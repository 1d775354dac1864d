"""Asynchronous networks in Brian 2, event-driven: continuous time, one tick of the clock is one event.

Brian 2's clock is a grid, and it rounds delays to it. A grid so fine that all times lie on it would need a tick per
picosecond, one that does not would move spikes. Here the clock only counts events, and the time of the event is a
variable, ``now``, in whole picoseconds, which double precision adds without error (for two hours)::

    control    time of the next event: an input, or what arrives first      run_regularly, user functions
    arrive     what arrives now, summed per neuron                          run_regularly, user functions
    leak       v decays since the neuron's last arrival; v += I             custom event 'arrival'
    test       threshold and reset                                          threshold and reset
    send       w and delay join what travels                                Synapses, ``on_pre``

The spikes that travel wait in a heap behind the user functions, which have C++ implementations, so C++ standalone
does the same. The semantics are those of ``engine/timed.py``: arrivals at one neuron at exactly one time are summed
and tested once, spikes without delay arrive in a further round, that is in the next tick, at the same time.
"""

from __future__ import annotations

import numpy as np
import sympy
from brian2 import (
    Clock,
    Equations,
    EventMonitor,
    Network,
    NeuronGroup,
    SpikeMonitor,
    Synapses,
    TimedArray,
    linked_var,
)
from brian2.parsing.sympytools import sympy_to_str
from scipy import sparse

from ....equations.hybrid import HybridSystem
from ...errors import NetworkError
from ...order.schedulers import TimedScheduler
from ...order.stopping import as_stop
from ...order.tape import TimedResult
from ..timed.engine import PICOSECONDS, WINDOW, runaway, spikes_allowed, ticks_of, to_ticks
from ..timed.run import checked_continuous
from .common import TICK, BrianObjects, execute, jump_of, state_of, without_dynamics
from .functions import Travel, functions

NEVER = 2.0**62  # picoseconds
EXACT = 2.0**53

CONTROL = """
now : 1
event : integer
unit : integer
spikes : 1
outputs : 1
arrived : 1
stop_output : integer (shared)
stop_spikes : 1 (shared)
window : 1
before : 1
allowed : 1
runaway : 1
"""

# An input goes on its way before what arrives at the same time is received, as it may arrive without delay.
CONTROL_CODE = """
runaway = int(spikes - before > allowed)
stopped = int((stop_output > 0 and outputs > 0) or spikes >= stop_spikes or runaway > 0)
due = input_time(event*tick)
arriving = async_next(never)
from_input = int(due <= arriving and due < never and stopped == 0)
now = from_input*due + (1 - from_input)*((1 - stopped)*arriving + stopped*never)
current = int(due < never)*(1 - stopped)*(floor(now/width) + 1) - 1
opens = (1 - from_input)*int(current != window)
before = opens*spikes + (1 - opens)*before
allowed += opens*int(current < 0)*spikes
window = opens*current + (1 - opens)*window
unit = int(from_input*(input_unit(event*tick) + 1)) - 1
event += from_input
received = async_arrive((1 - from_input)*now - from_input)
arrived += received
finished = async_finish(int(now >= never))
"""

NEURONS = """
now : 1 (linked)
I : 1
reached : 1
updated : 1
ready : 1
departure : 1
spike_time : 1
axonal : second (constant)
core : integer (constant)
is_output : integer (constant)
rest : 1 (shared)
service : 1 (shared)
"""


class EventDriven(BrianObjects):
    """The Brian 2 objects of an `AsynchronousNetwork` in continuous time.

    Parameters
    ----------
    network : AsynchronousNetwork
        Gives sizes, who is connected to whom, and equations; all else is a value, see `values`.
    scheduler : TimedScheduler
    n_events : int
        Most input events of a sample.

    Attributes
    ----------
    network : brian2.Network
    control, inputs, neurons, input_synapses, synapses, spikes
        Its objects.
    input_time, input_unit : TimedArray
        Time in picoseconds and unit of every input event.
    """

    def __init__(self, network, scheduler, n_events: int):
        net, model = network.connectivity, network.model
        self.n_inputs, self.n_neurons, self.n_events = net.n_inputs, net.n_neurons, n_events
        self.state = Travel(net.n_neurons, scheduler.cores)
        self.clock = Clock(dt=TICK, name="events")
        self.input_time = TimedArray(np.full(n_events + 1, NEVER), dt=TICK)
        self.input_unit = TimedArray(np.full(n_events + 1, -1.0), dt=TICK)
        self.names = {**functions(self.state), "never": NEVER, "tick": TICK, "width": float(WINDOW)}
        self.names |= {"input_time": self.input_time, "input_unit": self.input_unit}
        self.control = self._group(1, CONTROL, "control")
        decide = self.control.run_regularly(CONTROL_CODE, name="decide")
        self.inputs = self._group(
            net.n_inputs,
            "now : 1 (linked)\nunit : integer (linked)\ndeparture : 1",
            "inputs",
            threshold="i == unit",
            reset="departure = now",
        )
        self.neurons, arrive = self._neurons(model)
        for group, name in ((self.inputs, "now"), (self.inputs, "unit"), (self.neurons, "now")):
            setattr(group, name, linked_var(self.control, name))
        self._latest = (None, None, None)
        table = self._table(net, scheduler)
        inner = table["source"] >= net.n_inputs
        self.input_synapses = self._send(self.inputs, "departure_pre, 0*second", table, ~inner, 0, "input_weights")
        self.synapses = self._send(self.neurons, "departure_pre, axonal_pre", table, inner, net.n_inputs, "weights")
        self.watch = Synapses(
            self.neurons,
            self.control,
            on_pre="spikes_post += 1\noutputs_post += is_output_pre",
            clock=self.clock,
            name="watch",
        )
        self.watch.connect()
        self.spikes = SpikeMonitor(self.neurons, "spike_time", name="spikes")
        self.tests = EventMonitor(self.neurons, "arrival", record=False, name="tests")
        senders = [s for s in (self.input_synapses, self.synapses) if s is not None]
        steps = [decide, self.inputs.thresholder["spike"], self.inputs.resetter["spike"]]
        steps += [arrive, self.neurons.thresholder["arrival"]]
        steps += [self.neurons.resetter["arrival"], self.tests]
        steps += [self.neurons.thresholder["spike"], self.neurons.resetter["spike"], self.spikes]
        for order, step in enumerate([*steps, *(s.pre for s in senders), self.watch.pre]):
            step.when, step.order = "groups", order
        objects = [self.control, self.inputs, self.neurons, *senders, self.watch, self.spikes, self.tests]
        self.network = Network(*objects, *(o for group in objects for o in group.contained_objects))

    def _group(self, n, equations, name, **arguments) -> NeuronGroup:
        return NeuronGroup(n, equations, clock=self.clock, namespace=self.names, name=name, **arguments)

    def _neurons(self, model):
        state = state_of(model)
        leak = HybridSystem.of(model).step(sympy.Symbol("elapsed", real=True)).next[state]
        group = self._group(
            self.n_neurons,
            without_dynamics(model) + Equations(NEURONS),
            "neurons",
            threshold=f"reached > 0 and now >= ready and I != 0 and {model.threshold}",
            reset=f"{model.reset}\nready = now + rest\nspike_time = now\ndeparture = async_depart(now, core, service)",
            events={"arrival": "reached > 0 and now >= ready"},
        )
        received = f"elapsed = (now - updated)*psecond\n{state} = {sympy_to_str(leak)}\nupdated = now"
        group.run_on_event("arrival", f"{received}\n{jump_of(model.on_pre)}")
        return group, group.run_regularly("reached = async_reached(i)\nI = async_current(i)", name="arrive")

    def _send(self, group, departure, table, chosen, first, name) -> Synapses | None:
        if not chosen.any():
            return None
        synapses = Synapses(
            group,
            self.neurons,
            "w : 1\ntravel : second\nplace : integer\narrival : 1",
            on_pre=f"arrival = async_send({departure}, travel, w, j, place)",
            clock=self.clock,
            namespace=self.names,
            name=name,
        )
        synapses.connect(i=table["source"][chosen] - first, j=table["target"][chosen])
        return synapses

    def _table(self, net, scheduler) -> dict:
        """Synapses of the latest network, sorted once for all of its samples."""
        if self._latest[0] is not net or self._latest[1] is not scheduler:
            self._latest = (net, scheduler, delayed_synapses(net, scheduler))
            self.check_places(self._latest[2]["source"], self._latest[2]["target"])
        return self._latest[2]

    def values(self, network, *, scheduler, times, units, stop="drained") -> dict:
        """Values of one sample.

        Parameters
        ----------
        network : AsynchronousNetwork
            The one this was built for, or another one with the same connections.
        scheduler : TimedScheduler
        times : (n,) array of int
            Picoseconds, ascending.
        units : (n,) array of int
        stop : Stop or str

        Returns
        -------
        dict
            As `BrianObjects.assign` takes it.
        """
        n, stop = self.n_neurons, as_stop(stop)
        axonal = np.asarray(scheduler.axonal, dtype=float)
        if axonal.shape not in ((), (n,)):
            raise NetworkError(f"axonal has {len(axonal)} delays for {n} neurons.")
        neurons = {
            **{name: np.broadcast_to(np.asarray(v, float), (n,)) for name, v in network.model.constants.items()},
            "axonal": np.broadcast_to(axonal, (n,)),
            "core": np.arange(n) * scheduler.cores // n,
            "is_output": (np.arange(n) >= n - network.connectivity.n_outputs).astype(int),
            "ready": -1.0,
            "rest": float(to_ticks(scheduler.refractory, "refractory")),
            "service": float(to_ticks(scheduler.service, "service")),
        }
        budget = float(stop.value) if stop.rule == "spike_budget" else NEVER
        control = {
            "stop_output": int(stop.rule == "after_output"),
            "stop_spikes": budget,
            "allowed": NEVER if budget < NEVER else float(spikes_allowed(float(network.max_rate), n)),
        }
        values = {("neurons", name): value for name, value in neurons.items()}
        values |= {("control", name): value for name, value in control.items()}
        table = self._table(network.connectivity, scheduler)
        inner = table["source"] >= self.n_inputs
        for name, chosen in (("input_synapses", ~inner), ("synapses", inner)):
            if chosen.any():
                values |= {(name, part): table[part][chosen] for part in ("w", "travel", "place")}
        padding = self.n_events + 1 - len(times)
        values["input_time"] = np.concatenate([np.asarray(times, float), np.full(padding, NEVER)])
        values["input_unit"] = np.concatenate([np.asarray(units, float), np.full(padding, -1.0)])
        return values

    def collect(self, parts: list, network) -> None:
        """Append what the monitors hold to `parts`: spike times, neurons, synaptic operations, threshold tests.

        Raises
        ------
        NetworkError
            If the excitation ran away, or the run outlasts what double precision can count.
        """
        times, neurons = np.array(self.spikes.spike_time), np.array(self.spikes.i)
        if np.array(self.control.runaway)[0] > 0:
            raise runaway(len(parts), times.max() / PICOSECONDS, float(network.max_rate))
        if times.max(initial=0) >= EXACT:
            raise NetworkError(f"Sample {len(parts)} is longer than 2.5 hours, where picoseconds are no longer exact.")
        tests = int(np.sum(np.array(self.tests.count)))
        parts.append((times.astype(np.int64), neurons.astype(int), int(np.array(self.control.arrived)[0]), tests))


def delayed_synapses(net, scheduler) -> dict[str, np.ndarray]:
    """All synapses by source and target; ``place`` is their order by (source, delay), in which simultaneous arrivals
    are summed.
    """
    synaptic, parts = scheduler.synaptic, []
    shared = not isinstance(synaptic, list | tuple) and np.ndim(synaptic) == 0
    if not shared and len(synaptic) != len(net.projections):
        raise NetworkError(f"synaptic has {len(synaptic)} entries for {len(net.projections)} projections.")
    for k, p in enumerate(net.projections):
        delay = np.asarray(synaptic if shared else synaptic[k], dtype=float)
        if sparse.issparse(p.weights):
            coo = p.weights.tocoo()
            rows, columns, weights = coo.row, coo.col, coo.data
            expected = weights.shape
        else:
            rows, columns = np.nonzero(p.weights)
            weights, expected = p.weights[rows, columns], p.weights.shape
        if delay.shape not in ((), expected):
            raise NetworkError(f"synaptic[{k}] has shape {delay.shape}; give one delay or shape {expected}.")
        delay = np.broadcast_to(delay, expected)
        delay = delay if delay.ndim == 1 else delay[rows, columns]
        first = int(net.starts[p.target]) - net.n_inputs
        parts.append((rows + int(net.starts[p.source]), columns + first, weights.astype(float), delay))
    source, target, w, travel = (np.concatenate(c) for c in zip(*parts, strict=True))
    place = np.empty(len(source), int)
    place[np.lexsort((np.arange(len(source)), to_ticks(travel, "synaptic"), source))] = np.arange(len(source))
    order = np.lexsort((target, source))
    table = {"source": source, "target": target, "w": w, "travel": travel, "place": place}
    return {name: values[order] for name, values in table.items()}


def run_event_driven(network, events, device="runtime", *, scheduler=None, stop="drained", progress=None):
    """Run samples in continuous time; `run_async_brian2` with ``mode='event'`` does the same.

    Parameters
    ----------
    network : AsynchronousNetwork
    events : EventArchive
    device : {'runtime', 'cpp_standalone'}
    scheduler : TimedScheduler, optional
        The network's own by default.
    stop : Stop or str
        Drained, first output, or a spike budget, per sample.
    progress : callable, optional

    Returns
    -------
    TimedResult

    Raises
    ------
    NetworkError
        If the network has something that continuous time does not know, or the excitation runs away.
    """
    scheduler = network.scheduler if scheduler is None else scheduler
    if not isinstance(scheduler, TimedScheduler):
        raise NetworkError(f"mode='event' needs the delays of a TimedScheduler, not {scheduler.name}.")
    events, rule = checked_continuous(network, events, stop)
    ticks = ticks_of(events)
    if ticks.max(initial=0) >= EXACT:
        raise NetworkError(
            f"The events reach {ticks.max() / PICOSECONDS:g} s; in Brian 2 picoseconds are exact for 2.5 hours."
        )
    bounds = list(zip(events.offsets[:-1], events.offsets[1:], strict=True))
    for begin, end in bounds:
        if (np.diff(ticks[begin:end]) < 0).any():
            raise NetworkError("The events of a sample are not in the order of their times; sort each sample.")
    samples = [
        (network, {"scheduler": scheduler, "times": ticks[a:b], "units": events.units[a:b], "stop": rule})
        for a, b in bounds
    ]
    parts = run_timed_samples(samples, device, progress)
    sizes = [len(part[0]) for part in parts]
    columns = [np.concatenate([part[k] for part in parts]) for k in range(2)]
    counters = [np.array([part[k] for part in parts]) for k in (2, 3)]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return TimedResult(*columns, offsets, *counters, network.n_neurons, network.connectivity.n_outputs)


def run_timed_samples(samples, device="runtime", progress=None) -> list:
    """Run samples that may each have a network of their own, with one set of Brian 2 objects.

    Parameters
    ----------
    samples : list of (AsynchronousNetwork, dict)
        The networks share their connections; the dictionary holds arguments of `EventDriven.values`.
    device, progress
        As in `run_event_driven`.

    Returns
    -------
    list
        See `EventDriven.collect`.
    """
    network, arguments = samples[0]
    n_events = max(len(a["times"]) for _, a in samples)
    identity = f"event-driven {network.connectivity.sizes} {network.connectivity.n_synapses} {network.model.model}"
    return execute(lambda: EventDriven(network, arguments["scheduler"], n_events), samples, device, identity, progress)[
        0
    ]
