"""An asynchronous network as Brian 2 objects, clock-driven: one tick of the clock is one forward step.

The order within a tick is that of the semantics, each place taken by one object of the network::

    control      has the last timestep ended?              run_regularly of one `control` neuron
    choose       the group, by the scheduler's key         run_regularly, user functions
    begin        leak, flags, input of a new timestep      custom event 'begin' (before `choose`, if input queues)
    deliver      I += w, without delay                     Synapses on the custom event 'deliver'
    busy         is anything queued or received?           (summed) variable of the control neuron
    receive      v += I                                    run_regularly
    test         threshold, reset, queue                   threshold and reset

Nothing of it is Python that runs beside the network, so C++ standalone does the same. A timestep takes as many ticks
as its spikes need, therefore time on Brian 2's clock has no meaning here; monitors record timestep and forward step.
"""

from __future__ import annotations

import re

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

from ....equations.hybrid import HybridSystem
from ...checks import OWN
from ...errors import NetworkError
from ...order.draws import PURPOSES
from ...order.loop import check_queued
from ...order.stopping import as_stop, drained
from ..engine import STOP_RULES
from .common import TICK, BrianObjects, jump_of, state_of, synapse_table, without_dynamics
from .functions import Choice, functions

CONTROL = """
frame_index : integer
step : integer
starting : boolean
flush : boolean
busy : 1
spikes : integer
budget : integer
outputs : integer
steps_done : integer
since_output : integer
n_steps : integer (shared)
stop_rule : integer (shared)
stop_value : integer (shared)
per_sample : integer (shared)
carry : integer (shared)
max_spikes : integer (shared)
"""

# Reads what the tick before has left. A tick in which nothing was queued or received ends the timestep and is no
# forward step of it. Nothing happens in the last tick, which ends the run.
CONTROL_CODE = """
counted = int(starting or busy > 0)
steps_done += counted
since_output = counted*(int(since_output >= 0)*(since_output + 1) + int(since_output < 0)*(int(outputs > 0) - 1)) + (1 - counted)*since_output
stopped = counted*int((stop_rule == 1 and since_output >= stop_value) or (stop_rule == 2 and budget >= stop_value) or (stop_rule == 3 and steps_done >= stop_value))
runaway = int(spikes > max_spikes)
starting = busy == 0 or stopped > 0
flush = stopped > 0 and carry == 0
frame_index += int(starting)
step = int(not starting)*(step + 1)
spikes = int(not starting)*spikes
rearmed = int(starting and per_sample == 0)
budget = (1 - rearmed)*budget
outputs = (1 - rearmed)*outputs
steps_done = (1 - rearmed)*steps_done
since_output = (1 - rearmed)*since_output - rearmed
finished = async_finish(int(frame_index >= n_steps or stopped*per_sample > 0 or runaway > 0))
frame_index = int(finished <= 0)*frame_index + int(finished > 0)*n_steps
starting = starting and finished <= 0
flush = flush or finished > 0
"""  # noqa: E501 - Brian 2 has no continuation lines

SOURCES = """
frame_index : integer (linked)
step : integer (linked)
starting : boolean (linked)
flush : boolean (linked)
I : 1
copies : 1
emitted : integer
arrival : integer
layer : integer (constant)
core : integer (constant)
is_output : integer (constant)
sigma : 1 (constant)
multiplicity = queued : 1
length : second (shared)
forward_group : integer (shared)
ties : integer (shared)
once : integer (shared)
refractory_dropout : 1 (shared)
spike_dropout : 1 (shared)
input_dropout : 1 (shared)
seed_high : 1 (shared)
seed_low : 1 (shared)
sample : 1 (shared)
"""


class ClockDriven(BrianObjects):
    """The Brian 2 objects of an `AsynchronousNetwork`.

    Sources are the input units, then the neurons; input units have no current and never spike by themselves.

    Parameters
    ----------
    network : AsynchronousNetwork
        Gives sizes, who is connected to whom, equations and kind of scheduler. Weights, time constants,
        thresholds, dropouts and seeds are values, which `values` returns and `assign` sets.
    n_steps : int
    scheduler : Scheduler, optional
        With a key; a `select` in Python cannot run in C++.
    keys : {'shared', 'rand'}
        Random numbers of the compiled engine, or Brian 2's own.

    Attributes
    ----------
    network : brian2.Network
    control, sources, synapses, spikes, steps, deliveries
        Its objects.
    frame : TimedArray
        Input of every timestep.
    """

    def __init__(self, network, n_steps: int, scheduler=None, keys: str = "shared"):
        self.scheduler = network.scheduler if scheduler is None else scheduler
        net = network.connectivity
        self.n_steps, self.n_inputs, self.n_neurons = n_steps, net.n_inputs, net.n_neurons
        self.n_outputs, self.keys, self.prioritised = net.n_outputs, keys, network.prioritised
        n_sources = net.n_inputs + net.n_neurons
        self.state = Choice(n_sources)
        self.frame = TimedArray(np.zeros((n_steps, n_sources)), dt=TICK)
        self.clock = Clock(dt=TICK, name="forward_steps")
        names = {**functions(self.state), "frame": self.frame, "tick": TICK}
        self.control = NeuronGroup(
            1,
            CONTROL,
            events={"forward_step": "starting or busy > 0"},
            clock=self.clock,
            namespace=names,
            name="control",
        )
        self.sources = self._sources(network.model, bool(np.any(network.sigma)), names, n_sources)
        self.synapses = self._deliver(net, names, bool(np.any(network.sigma)))
        self.watch = self._watch()
        self.spikes = SpikeMonitor(self.sources, "emitted", name="spikes")
        self.steps = EventMonitor(self.control, "forward_step", ["frame_index", "step", "spikes"], name="steps")
        self.deliveries = EventMonitor(self.sources, "deliver", name="deliveries")
        self._order()
        objects = (self.control, self.sources, self.synapses, self.watch, self.spikes, self.steps, self.deliveries)
        self.network = Network(*objects, *self.control.contained_objects, *self.sources.contained_objects)

    # -- the parts

    def _sources(self, model, synchronised, names, n_sources) -> NeuronGroup:
        key, numbers = self.scheduler.key, sorted(self.scheduler.numbers())
        draws_key, self.needs_arrival = "rand" in key, re.search(r"\barrival\b", key) is not None
        equations = without_dynamics(model) + Equations(SOURCES)
        equations += Equations("\n".join(f"{name} : 1 (shared)" for name in numbers))
        join = "number = async_arrival(fresh)\narrival = int(fresh > 0)*int(number) + int(fresh <= 0)*arrival\n"
        join = join if self.needs_arrival else ""
        tests = [model.threshold, "I != 0"] + ["received > sigma"] * synchronised
        spiked = (
            f"P = {state_of(model)}\n{model.reset}\n"
            f"u_rest = {self._draw('refractory dropout')}\nresting = once > 0 and u_rest >= refractory_dropout\n"
            f"u_emit = {self._draw('spike dropout')}\nemitted = int(u_emit >= spike_dropout)\n"
            f"fresh = int(emitted > 0 and queued == 0)\n{join}queued += emitted"
        )
        group = NeuronGroup(
            n_sources,
            equations,
            threshold=" and ".join(f"({test})" for test in tests),
            reset=spiked,
            events={"begin": "starting and i >= 0", "deliver": "copies != 0"},
            clock=self.clock,
            namespace=names,
            name="sources",
        )
        for name in ("frame_index", "step", "starting", "flush"):
            setattr(group, name, linked_var(self.control, name))
        own_key = re.sub(r"\brand\s*\(\s*\)", "own_number", key)
        number = f"own_number = {self._draw('key', 'step - 1')}\n" if draws_key else ""
        # Input that queues is there before the first group is chosen, other input takes the place of that group.
        waits = "not starting and not flush" if self.prioritised else "(starting or not flush)"
        self.offer = group.run_regularly(
            f"{number}offered = async_offer(i, {own_key}, core, int(queued > 0 and {waits}))",
            name="offer",
        )
        self.take = group.run_regularly(
            "I = 0\ntaken = async_taken(i, forward_group, ties)\ncopies = queued*taken\nqueued -= int(copies)",
            name="take",
        )
        group.run_on_event("begin", self._begin(model, join))
        current = f"I *= int(not resting)\n{jump_of(model.on_pre)}"
        self.receive = group.run_regularly(current, name="receive")
        self.decide = self.control.run_regularly(CONTROL_CODE, name="decide")
        return group

    def _begin(self, model, join: str) -> str:
        """Statements of a timestep boundary; the leak is Brian 2's own solution over its whole length."""
        state = state_of(model)
        leak = HybridSystem.of(model).step(sympy.Symbol("length", real=True)).next[state]
        value = "frame(frame_index*tick, i)"
        drawn = f"u_input = {self._draw('input dropout', '0')}\nx = {value}*int(u_input >= input_dropout)"
        taken = "copies = x" if self.prioritised else f"fresh = int(x > 0 and queued == 0)\n{join}queued += int(x)"
        return f"{state} = {sympy_to_str(leak)}\n{model.boundary}\nqueued *= int(not flush)\n{drawn}\n{taken}"

    def _draw(self, purpose: str, step: str = "step") -> str:
        if self.keys == "rand":
            return "rand()"
        return f"async_uniform(seed_high, seed_low, sample, frame_index, {step}, {PURPOSES[purpose]}, i)"

    def _deliver(self, net, names, synchronised) -> Synapses:
        source, target, _ = synapse_table(net)
        self.check_places(source, target)
        jump = "I_post += copies_pre*w" + "\nreceived_post += int(copies_pre)*int(w != 0)" * synchronised
        synapses = Synapses(
            self.sources, self.sources, "w : 1", on_pre=jump, on_event="deliver", clock=self.clock, name="weights"
        )
        synapses.connect(i=source, j=target + self.n_inputs)
        return synapses

    def _watch(self) -> Synapses:
        """From every source to the control neuron: what the decision about the next tick depends on."""
        watch = Synapses(
            self.sources,
            self.control,
            "busy_post = int(queued_pre > 0 or I_pre != 0) : 1 (summed)",
            on_pre="spikes_post += emitted_pre\nbudget_post += emitted_pre\noutputs_post += emitted_pre*is_output_pre",
            clock=self.clock,
            name="watch",
        )
        watch.connect()
        return watch

    def _order(self) -> None:
        group, watch = self.sources, self.watch
        choose, begin = [self.offer, self.take], [group.thresholder["begin"], group.resetter["begin"]]
        steps = [self.decide, *(choose + begin if self.prioritised else begin + choose)]
        steps += [group.thresholder["deliver"], self.synapses.pre]
        steps += [
            self.deliveries,
            watch.summed_updaters["busy_post"],
            self.receive,
            group.thresholder["spike"],
            group.resetter["spike"],
        ]
        for order, step in enumerate(
            [*steps, watch.pre, self.spikes, self.control.thresholder["forward_step"], self.steps]
        ):
            step.when, step.order = "groups", order  # one slot: the default schedule would spread them over several

    # -- values

    def values(self, network, *, sample=0, frame=None, **options) -> dict:
        """Values of one sample.

        Parameters
        ----------
        network : AsynchronousNetwork
            The one this was built for, or another one with the same connections and kind of scheduler.
        sample : int
            What the random numbers depend on besides the seed.
        frame : (n_steps, n_inputs) array
        **options
            ``stop``, ``scheduler``, ``forward_group``, ``training``, ``seed``, ``iteration`` as in
            `AsynchronousNetwork.run`.

        Returns
        -------
        dict
            (object name, variable name) to value; the input is under ``'frame'``.
        """
        net, model = network.connectivity, network.model
        scheduler = options.get("scheduler") or network.scheduler
        stop = as_stop(options.get("stop", drained()))
        group = options.get("forward_group", OWN)
        group = network.checked_group(network.forward_group if group is OWN else group)
        seed = (network.seed if options.get("seed") is None else int(options["seed"])) % 2**64
        p = network.dropout if options.get("training") else dict.fromkeys(network.dropout, 0.0)
        cores = scheduler.core_of(net)
        n_sources = net.n_inputs + net.n_neurons
        sources = {
            **{name: self._padded(value) for name, value in model.constants.items()},
            **scheduler.numbers(options.get("iteration", 0)),
            **{f"{name}_dropout": value for name, value in p.items()},
            "layer": net.layer_of(),
            "core": np.zeros(n_sources, int) if cores is None else np.asarray(cores),
            "is_output": (np.arange(n_sources) >= n_sources - net.n_outputs).astype(int),
            "sigma": self._padded(network.sigma),
            "length": float(network.dt),
            "forward_group": group,
            "ties": int(scheduler.ties),
            "once": int(model.once_per_timestep),
            "seed_high": float(seed >> 32),
            "seed_low": float(seed & 0xFFFFFFFF),
            "sample": float(sample),
        }
        control = {
            "frame_index": -1,
            "since_output": -1,
            "n_steps": self.n_steps,
            "stop_rule": STOP_RULES[stop.rule],
            "stop_value": stop.value,
            "per_sample": int(stop.scope == "sample"),
            "carry": int(stop.leftover == "carry"),
            "max_spikes": min(network.max_spikes, 2**31 - 1),
        }
        values = {("sources", name): value for name, value in sources.items()}
        values |= {("control", name): value for name, value in control.items()}
        source, target, values["synapses", "w"] = synapse_table(net)
        self.check_places(source, target)
        full = np.zeros((self.n_steps, n_sources))
        full[:, : self.n_inputs] = 0 if frame is None else frame
        check_queued(full[full != 0], self.prioritised)
        whole = not self.prioritised or np.any(network.sigma)
        if whole and not np.array_equal(full, np.rint(full)):
            raise NetworkError("Brian 2 counts spikes in whole numbers: queued input and sigma need whole events.")
        values["frame"] = full
        return values

    def _padded(self, value) -> np.ndarray:
        """One value per source; those of input units are not used."""
        value = np.broadcast_to(np.asarray(value, dtype=float), (self.n_neurons,))
        return np.concatenate([np.repeat(value[:1], self.n_inputs), value])

    # -- running

    def collect(self, parts: list, network) -> None:
        """Append what the monitors hold to `parts`.

        Raises
        ------
        NetworkError
            If the excitation ran away.
        """
        frame_index, step, spikes = (np.array(getattr(self.steps, n)) for n in ("frame_index", "step", "spikes"))
        max_spikes = network.max_spikes
        if (spikes > max_spikes).any():
            raise NetworkError(
                f"Runaway excitation: sample {len(parts)} passed {max_spikes} spikes in timestep "
                f"{frame_index[np.argmax(spikes > max_spikes)]}. Weaken the recurrent weights, raise V_th, keep "
                "refractory=True, or set a spike budget as stop rule."
            )
        emitted = np.array(self.spikes.emitted) > 0
        row = np.searchsorted(np.array(self.steps.t), np.array(self.spikes.t)[emitted])
        neuron = np.array(self.spikes.i)[emitted].astype(int) - self.n_inputs
        taken = np.bincount(frame_index[frame_index < self.n_steps], minlength=self.n_steps)
        # A tick whose deliveries changed nothing is no forward step; it belongs to the timestep before it.
        at = np.searchsorted(np.array(self.steps.t), np.array(self.deliveries.t), "right") - 1
        delivered = frame_index[at].astype(int), np.array(self.deliveries.i).astype(int)
        parts.append((frame_index[row].astype(int), step[row].astype(int), neuron, taken, delivered))
