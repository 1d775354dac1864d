"""Asynchronous SpikingGamma networks in Brian 2: one clock tick per forward step, the scheduler in Python.

Brian 2 computes what neurons and synapses do: the memory's step, deliveries, threshold tests, resets and the readout,
all from the text of the equations. The queue is kept by network operations, which C++ standalone lacks: there
`compiled.py` keeps it in C++.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

import numpy as np
from brian2 import Clock, Network, NetworkOperation, NeuronGroup

from ..asynchronous.brian.common import LONGEST_RUN, TICK
from ..asynchronous.connectivity import Connectivity
from ..devices import check_device, exact_arithmetic
from ..errors import NetworkError
from ..events import bin_events
from ..gamma.brian.objects import parameter_values
from ..gamma.brian.outcome import BrianRun
from ..order.draws import field_of, uniform
from ..order.keys import QueueView
from ..order.loop import check_queued
from ..order.tape import SpikeList
from .compiled import run_compiled
from .engine import AsynchronousGammaEngine
from .groups import layer_group, layer_synapses


@dataclass(repr=False)
class BrianAsyncGammaRun(BrianRun):
    """A `BrianRun` and its order; it has no traces.

    Attributes
    ----------
    order : SpikeList
        Spikes in processing order; neurons count over the hidden layers.
    forward_steps : (n_samples, T) array of int
    """

    order: SpikeList | None = None
    forward_steps: np.ndarray | None = None


def run_async_gamma_brian2(
    network, events, device="runtime", *, n_steps=None, progress=None, processes=None
) -> BrianAsyncGammaRun:
    """Run an `AsynchronousSpikingGamma` network in Brian 2, in its own order, one sample after another.

    Parameters
    ----------
    network : AsynchronousSpikingGamma
    events : EventArchive or StepEvents
    device : {'runtime', 'cpp_standalone'}
        In C++ standalone the scheduler needs a key, and a sample that runs away is in ``failed`` of the result.
    n_steps : int, optional
    progress : callable, optional
        Called after each sample with the number done.
    processes : int, optional
        Of C++ standalone; by default one per core.
    """
    check_device(device)
    events = bin_events(events, network.dt, n_steps)
    check_queued(events.values, network.prioritised)
    if device == "cpp_standalone":
        run = BrianAsyncGammaRun(device)
        run_compiled(network, events, run, processes=processes, progress=progress)
        return run
    run, spikes, readout, steps = BrianAsyncGammaRun("runtime"), [], [], []
    first = np.cumsum((0, *network.sizes[1:-1]))
    with exact_arithmetic():
        objects = Objects(network)
        objects.network.store()
        for sample in range(events.n_samples):
            objects.network.restore()
            objects.begin_sample(sample, events.dense(sample))
            began = time.perf_counter()
            objects.network.run(LONGEST_RUN * TICK)
            run.seconds += time.perf_counter() - began
            if objects.runaway:
                raise NetworkError(
                    f"Runaway excitation: sample {sample} passed {network.max_spikes} spikes in timestep "
                    f"{objects.timestep}. {AsynchronousGammaEngine.remedy}"
                )
            readout.append(objects.readout)
            steps.append(objects.steps)
            _, timestep, _, neuron = own = np.array(objects.spikes, int).reshape(-1, 4).T
            spikes.append(own)
            inside = [(neuron >= a) & (neuron < b) for a, b in itertools.pairwise(first)]
            run.spikes.append([(timestep[k], neuron[k] - a) for k, a in zip(inside, first, strict=False)])
            run.counts.append([int(k.sum()) for k in inside])
            if progress:
                progress(sample + 1)
    run.order = SpikeList(*np.concatenate(spikes, axis=1))
    run.readout, run.forward_steps = np.array(readout), np.array(steps)
    return run


class Objects:
    """The Brian 2 objects, and the queue.

    Attributes
    ----------
    network : brian2.Network
    spikes : list of (sample, timestep, forward step, neuron)
    readout : list of (n_out,) arrays
    steps : list of int
    """

    def __init__(self, network):
        self.source, self.clock = network, Clock(TICK)
        self.layer_of = Connectivity(network.sizes[:-1]).layer_of()
        self.starts = np.cumsum((0, *network.sizes[:-1]))  # first source of every layer
        self.relay = NeuronGroup(
            len(self.layer_of), "jump : 1", events={"deliver": "jump != 0"}, clock=self.clock, name="relay"
        )
        models = network.models()
        self.groups = [self._group(index, model) for index, model in enumerate(models, start=1)]
        self.synapses = [self._synapses(index, model) for index, model in enumerate(models, start=1)]
        values, made = parameter_values(network), {g.name: g for g in (*self.groups, *self.synapses)}
        for (name, variable), value in values.items():
            setattr(made[name], variable, value)
        slots = [NetworkOperation(f, clock=self.clock) for f in (self._before, self._collect, self._after)]
        self._order(slots)
        self.network = Network(self.relay, *self.groups, *self.synapses, *slots)

    def _group(self, index, model):
        spiking = {}
        if model.threshold:
            spiking = {"threshold": f"testing and ({model.threshold})", "reset": model.reset}
        return layer_group(self.source, index, model, self.clock, {"begin": "starting"}, **spiking)

    def _synapses(self, index, model):
        return layer_synapses(self.source, index, model, self.relay, self.groups[index - 1])

    def _order(self, slots):
        """One slot: choose, hop, deliver, test, look at the spikes, reset, join the queue."""
        before, collect, after = slots
        steps = [before]
        for group in self.groups:
            steps += [group.thresholder["begin"], group.resetter["begin"]]
        steps += [self.relay.thresholder["deliver"], *(s.pre for s in self.synapses)]
        steps += [*(g.thresholder["spike"] for g in self.groups[:-1]), collect]
        steps += [*(g.resetter["spike"] for g in self.groups[:-1]), after]
        for order, step in enumerate(steps):
            step.when, step.order = "groups", order

    # -- the queue ---------------------------------------------------------------------------------------------

    def begin_sample(self, sample: int, counts: np.ndarray) -> None:
        """Prepare a sample; counts (n_steps, n_inputs)."""
        self.sample, self.counts, self.timestep, self.step = sample, counts, -1, 0
        self.queue, self.arrivals = {}, 0  # source: [spikes, sum of jumps, P, arrival]
        self.spikes, self.readout, self.steps = [], [], []
        self.fresh, self.runaway, self.before = True, False, 0

    def _join(self, source, copies, jump, P):
        entry = self.queue.setdefault(source, [0, 0.0, 0.0, self.arrivals])
        self.arrivals += entry[0] == 0
        entry[0], entry[1], entry[2] = entry[0] + copies, entry[1] + jump, P

    def _before(self):
        """Start a timestep if one is due, pass on the chosen group, and say who is tested."""
        hidden, jumps = self.groups[:-1], np.zeros(len(self.layer_of))
        if self.fresh:
            self.timestep, self.step, self.chosen, self.before = self.timestep + 1, 0, {}, len(self.spikes)
            self.tested = [False] * len(hidden)
            self.reached = [self.source.idle == "start"] * len(hidden)
            self.rests = [np.zeros(len(g), bool) for g in hidden]
            self.again = [np.zeros(len(g), bool) for g in hidden]
            for unit in np.flatnonzero(self.counts[self.timestep]):
                value = self.counts[self.timestep, unit]
                if self.source.prioritised:
                    self.chosen[int(unit)] = value
                else:
                    self._join(int(unit), value, value, 0.0)
            if not self.source.prioritised:
                self.step, self.chosen = -1, self._taken()
                self.step = 0
        for group in self.groups:
            group.starting = self.fresh
        self.fresh = False
        for source, value in self.chosen.items():
            jumps[source] = value
            if self.layer_of[source] < len(hidden):
                self.reached[self.layer_of[source]] = True
        self.relay.jump = jumps
        if not self.queue and not any(self.reached) and not any(a.any() for a in self.again):
            for layer in [k for k, tested in enumerate(self.tested) if not tested][:1]:
                self.reached[layer] = True
        for k, group in enumerate(hidden):
            group.testing = (self.reached[k] | self.again[k]) & ~self.rests[k]
            self.tested[k] |= self.reached[k]
            self.reached[k] = False

    def _margin(self, group):
        gap = group.y[:] - group.yhat[:]
        return (np.abs(gap) if self.source.signed else gap) - group.theta[:]

    def _collect(self):
        """Neurons above threshold, before their reset: what their spikes carry, and their keys."""
        self.fired = [np.array(group.spikes, int) for group in self.groups[:-1]]
        for k, (group, fired) in enumerate(zip(self.groups[:-1], self.fired, strict=True)):
            if len(fired):
                jump, margin = np.broadcast_to(group.jump[:], len(group)), self._margin(group)
                for j in fired:
                    source = int(self.starts[k + 1] + j)
                    self.spikes.append((self.sample, self.timestep, self.step, source - self.source.sizes[0]))
                    self._join(source, 1, jump[j], margin[j])

    def _after(self):
        """Who may spike again, and which group is next."""
        for k, (group, fired) in enumerate(zip(self.groups[:-1], self.fired, strict=True)):
            self.again[k][:] = False
            if self.source.once_per_timestep:
                self.rests[k][fired] = True
            elif len(fired):
                self.again[k][fired] = self._margin(group)[fired] > 0
        self.chosen = self._taken()
        self.step += 1
        self.runaway = len(self.spikes) - self.before > self.source.max_spikes
        if self.runaway:
            self.network.stop()
            return
        if self.chosen or self.queue or not all(self.tested) or any(a.any() for a in self.again):
            return
        self.steps.append(self.step)
        self.readout.append(np.array(self.groups[-1].x[:]))
        self.fresh = True
        if len(self.steps) == len(self.counts):
            self.network.stop()

    def _taken(self) -> dict[int, float]:
        return {source: self.queue.pop(source)[1] for source in self._select()}

    def _select(self) -> list[int]:
        if not self.queue:
            return []
        waiting = np.array(sorted(self.queue))
        copies, _, P, arrival = (np.array(column) for column in zip(*(self.queue[s] for s in waiting), strict=True))
        field = field_of(self.source.seed, self.sample, self.timestep, self.step, "key")
        view = QueueView(
            waiting, P, arrival, self.layer_of[waiting], copies, uniform(field, waiting), self.sample, self.timestep,
            self.step,
        )  # fmt: skip
        group = self.source.forward_group
        chosen = self.source.scheduler.select(view, len(waiting) if group in (None, "all") else int(group))
        return sorted(int(source) for source in chosen)
