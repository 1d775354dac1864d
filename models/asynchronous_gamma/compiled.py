"""Asynchronous SpikingGamma networks in C++ standalone: the groups and synapses of `brian.py`, the queue in C++.

The order within a tick, one forward step, each place taken by one object of the network::

    begin, input    does a timestep begin? its input               run_regularly
    offer, take     the group, by the scheduler's key              run_regularly, user functions
    who             is tested, and does the memory take its step?  run_regularly
    begin           the memory's step                              custom event 'begin'
    deliver         what was taken, to the next layer              Synapses on the custom event 'deliver'
    test            threshold, then reset; a spike joins           threshold and reset
    again, end      who may spike again? is the timestep over?     run_regularly
    read            the readout at the end of a timestep           custom event 'read'
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import numpy as np
from brian2 import Clock, EventMonitor, Function, Network, NeuronGroup, SpikeMonitor, StateMonitor, TimedArray

from ..asynchronous.brian.common import LONGEST_RUN, TICK
from ..asynchronous.brian.functions import HEADER, RANDOM, Choice, functions
from ..asynchronous.connectivity import Connectivity
from ..errors import NetworkError
from ..events import StepEvents
from ..gamma.brian.objects import parameter_values
from ..gamma.brian.serve import input_of
from ..order.draws import PURPOSES
from ..order.keys import checked_key
from ..order.tape import SpikeList
from ..service.program import Served, program_of
from ..service.workers import Failed, serve, warn_failed
from .groups import layer_group, layer_synapses

QUEUE = Path(__file__).with_name("queue.hpp")
_ARGUMENTS = {
    "begin": 3, "fresh": 1, "done": 1, "input": 3, "waits": 2, "copies": 1, "P": 1, "arrival": 1, "choice": 1,
    "jump": 3, "timestep": 1, "settle": 1, "testing": 2, "fired": 3, "again": 3, "end": 2,
}  # fmt: skip
_NUMBERS = ("idle_at_start", "prioritised", "seed_high", "seed_low", "sample", "group", "ties")


class CompiledObjects:
    """The Brian 2 objects.

    Parameters
    ----------
    network : AsynchronousSpikingGamma
    n_steps : int

    Attributes
    ----------
    network : brian2.Network
    relay, control : NeuronGroup
        Sources, and what decides about the next tick.
    groups, synapses, spikes : list
        By layer.
    ticks : StateMonitor
        Timestep of every tick.
    readout : EventMonitor
    counts : TimedArray
    """

    def __init__(self, network, n_steps: int):
        self.source, self.clock = network, Clock(TICK)
        self.counts = TimedArray(np.zeros((n_steps, network.sizes[0])), dt=TICK)
        self.names = {**_functions(sum(network.sizes[:-1])), "counts": self.counts, "tick": TICK}
        shared = "".join(f"{name} : 1 (shared)\n" for name in (*sorted(network.scheduler.numbers()), *_NUMBERS))
        self.relay = NeuronGroup(
            sum(network.sizes[:-1]), f"jump : 1\nframe : 1\nlayer : integer (constant)\n{shared}",
            events={"deliver": "jump != 0"}, clock=self.clock, namespace=self.names, name="relay",
        )  # fmt: skip
        self.relay.layer = Connectivity(network.sizes[:-1]).layer_of()
        control = "frame : 1\nrunaway : 1\n" + "".join(f"{x} : 1\n" for x in ("n_steps", "max_spikes"))
        self.control = NeuronGroup(1, control, clock=self.clock, namespace=self.names, name="control")
        models = network.models()
        self.who, self.again = [], []
        self.groups = [self._group(index, model) for index, model in enumerate(models, start=1)]
        self.synapses = [
            layer_synapses(network, index, model, self.relay, self.groups[index - 1])
            for index, model in enumerate(models, start=1)
        ]
        self.spikes = [SpikeMonitor(group, name=f"spikes{k}") for k, group in enumerate(self.groups[:-1], start=1)]
        self.ticks = StateMonitor(self.control, "frame", record=True, name="ticks")
        self.readout = EventMonitor(self.groups[-1], "read", "x", name="readout")
        steps = self._steps()
        for order, step in enumerate(steps):
            step.when, step.order = "groups", order
        items = (self.relay, self.control, *self.groups, *self.synapses, *self.spikes, self.ticks, self.readout)
        self.network = Network(*items, *(i for item in items[: 2 + len(models)] for i in item.contained_objects))

    def _group(self, index, model) -> NeuronGroup:
        begin, place = {"begin": "starting"}, f"i + {sum(self.source.sizes[:index])}"
        if not model.threshold:
            events = begin | {"read": "gamma_done(i) > 0"}
            group = layer_group(self.source, index, model, self.clock, events, namespace=self.names)
            self.who.append(group.run_regularly("starting = gamma_fresh(i) > 0"))
            return group
        margin = f"{'abs(y - yhat)' if self.source.signed else '(y - yhat)'} - theta"
        group = layer_group(
            self.source, index, model, self.clock, begin, namespace=self.names,
            threshold=f"testing and ({model.threshold})",
            reset=f"joined = gamma_fired({place}, jump, {margin})\n{model.reset}",
        )  # fmt: skip
        who = f"starting = gamma_fresh(i) > 0\ntesting = gamma_testing({place}, {index}) > 0"
        self.who.append(group.run_regularly(who))
        once = int(self.source.once_per_timestep)
        self.again.append(group.run_regularly(f"again = gamma_again({place}, {margin}, {once})"))
        return group

    def _steps(self) -> list:
        """What happens in a tick, in order."""
        relay, hidden, last = self.relay, self.groups[:-1], self.groups[-1]
        number = f"async_uniform(seed_high, seed_low, sample, frame, gamma_choice(i), {PURPOSES['key']}, i)"
        key = re.sub(r"\brand\s*\(\s*\)", "drawn", self.source.scheduler.key)
        steps = [
            relay.run_regularly(code)
            for code in (
                "frame = gamma_begin(i, layer, idle_at_start)",
                "joined = gamma_input(i, counts(frame*tick, i*int(layer == 0))*int(layer == 0), prioritised)",
                f"P = gamma_P(i)\narrival = gamma_arrival(i)\nmultiplicity = gamma_copies(i)\ndrawn = {number}\n"
                f"offered = async_offer(i, {key}, 0, gamma_waits(i, prioritised))",
                "jump = gamma_jump(i, layer, async_taken(i, group, ties))",
            )
        ]
        steps += [self.control.run_regularly("settled = gamma_settle(i)"), *self.who]
        for group in self.groups:
            steps += [group.thresholder["begin"], group.resetter["begin"]]
        steps += [relay.thresholder["deliver"], *(s.pre for s in self.synapses)]
        steps += [*(g.thresholder["spike"] for g in hidden), *self.spikes, *(g.resetter["spike"] for g in hidden)]
        steps += [*self.again, self.control.run_regularly("frame = gamma_timestep(i)"), self.ticks]
        steps += [self.control.run_regularly("runaway = gamma_end(n_steps, max_spikes)")]
        return [*steps, last.thresholder["read"], self.readout]

    def served(self) -> Served:
        """What is told and asked."""
        made = {item.name: item for item in self.network.objects}
        parameters = {".".join(at): (made[at[0]], at[1]) for at in parameter_values(self.source)}
        parameters |= {name: (self.relay, name) for name in _numbers(self.source)}
        parameters |= {name: (self.control, name) for name in ("n_steps", "max_spikes")}
        outputs = {"timestep": (self.ticks, "frame"), "x": (self.readout, "x"), "runaway": (self.control, "runaway")}
        for k, monitor in enumerate(self.spikes):
            outputs |= {f"{k}.{name}": (monitor, name) for name in ("i", "t")}
        inputs = {"counts": self.counts, "sample": (self.relay, "sample")}
        run = functools.partial(self.network.run, LONGEST_RUN * TICK)
        pathways = [synapses.pre for synapses in self.synapses]
        return Served(run, pathways, parameters, inputs, outputs, True, ("gamma_restart",), (str(QUEUE),))


def run_compiled(network, events: StepEvents, run, *, processes=None, progress=None) -> None:
    """Fill `run` from processes of the network's program, as `run_async_gamma_brian2` does at run time.

    Parameters
    ----------
    network : AsynchronousSpikingGamma
        Its scheduler has a key: what is chosen in Python does not run in C++.
    events : StepEvents
    run : BrianAsyncGammaRun
    processes : int, optional
    progress : callable, optional

    Raises
    ------
    EngineError
        If the program cannot be built, or no sample could be run.
    NetworkError
        If the scheduler has no key.
    """
    if network.scheduler.key is None:
        raise NetworkError(f"{network.scheduler.name} chooses in Python; C++ standalone needs its key as text.")
    checked_key(network.scheduler)
    n, T = events.n_samples, events.n_steps
    program = program_of(_identity(network, T), lambda: CompiledObjects(network, T).served())
    parameters = {".".join(at): value for at, value in parameter_values(network).items()} | _numbers(network)
    parameters |= {"n_steps": T, "max_spikes": network.max_spikes}
    samples = [functools.partial(_input, events, sample) for sample in range(n)]
    answers = serve(program, parameters, samples, processes=processes, progress=progress)
    run.seconds, run.compilations = answers.seconds, program.compilations
    run.readout = np.full((n, T, network.sizes[-1]), np.nan)
    run.forward_steps, order = np.zeros((n, T), int), []
    for sample, answer in enumerate(answers.samples):
        if not isinstance(answer, Failed) and answer["runaway"][0]:
            step = int(answer["timestep"][-1, 0])
            answer = Failed(f"Runaway excitation: it passed {network.max_spikes} spikes in timestep {step}.")
        if isinstance(answer, Failed):
            run.failed[sample] = answer.reason
            run.spikes.append([(np.zeros(0, int), np.zeros(0, int))] * (len(network.sizes) - 2))
        else:
            order.append(_order(network, answer, sample))
            run.spikes.append(order[-1][1])
            run.readout[sample] = answer["x"].reshape(T, -1)
            run.forward_steps[sample] = np.bincount(answer["timestep"][:, 0].astype(int), minlength=T)
        run.counts.append([len(units) for _, units in run.spikes[-1]])
    warn_failed(run.failed, n)
    run.order = SpikeList(*np.concatenate([columns for columns, _ in order], axis=1))


def _order(network, answer, sample: int) -> tuple[np.ndarray, list]:
    """Columns of the spike list of a sample, and its spikes by layer."""
    timestep = answer["timestep"][:, 0].astype(int)
    began = np.flatnonzero(np.diff(timestep, prepend=-1))  # first tick of every timestep
    parts, layers, first = [], [], 0
    for k, n in enumerate(network.sizes[1:-1]):
        tick = np.rint(answer[f"{k}.t"] / float(TICK)).astype(int)
        neuron = answer[f"{k}.i"].astype(int)
        parts.append(np.stack([tick, neuron + first]))
        layers.append((timestep[tick], neuron))
        first += n
    tick, neuron = np.concatenate(parts, axis=1)
    place = np.argsort(tick, kind="stable")  # within a forward step layer after layer
    tick, neuron = tick[place], neuron[place]
    step = tick - began[timestep[tick]]
    return np.stack([np.full(len(tick), sample), timestep[tick], step, neuron]), layers


def _input(events: StepEvents, sample: int) -> dict:
    return {"counts": input_of(events, sample)["counts"], "sample": float(sample)}


def _numbers(network) -> dict[str, float]:
    """Values of the relay that no spike changes."""
    seed, group = network.seed % 2**64, network.forward_group
    return network.scheduler.numbers() | {
        "idle_at_start": network.idle == "start", "prioritised": network.prioritised,
        "seed_high": float(seed >> 32), "seed_low": float(seed & 0xFFFFFFFF),
        "group": 2.0**31 if group in (None, "all") else group, "ties": network.scheduler.ties,
    }  # fmt: skip


def _functions(n_sources: int) -> dict[str, Function]:
    """What the C++ of the queue is called by, beside the choice that all asynchronous networks share."""
    table = functions(Choice(n_sources))
    include = [str(Path(__file__).resolve().parents[1])]
    for name, n in _ARGUMENTS.items():
        function = Function(lambda *x: x[0], arg_units=[1] * n, arg_names=None, return_unit=1, stateless=False)
        where = {"headers": [f'"{QUEUE}"'], "include_dirs": include}
        function.implementations.add_implementation("cpp", "", name=f"gamma_{name}", compiler_kwds=where)
        table[f"gamma_{name}"] = function
    return table


def _identity(network, n_steps: int) -> str:
    """Text on which the generated code and its connections depend."""
    parts = [n_steps, float(network.dt), network.sizes, network.scheduler.key, sorted(network.scheduler.numbers())]
    parts += [network.once_per_timestep, network.signed, *(path.read_text() for path in (QUEUE, HEADER, RANDOM))]
    parts += [f"{model} {model.arguments} {model.on_pre}" for model in network.models()]
    return "asynchronous " + "\n".join(map(str, parts))
