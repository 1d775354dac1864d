"""A SpikingGamma network as a real Brian 2 network, in runtime mode and as generated C++."""

from __future__ import annotations

import contextlib
import time

import numpy as np
from brian2 import (
    Network,
    NeuronGroup,
    Quantity,
    SpikeMonitor,
    StateMonitor,
    Synapses,
    TimedArray,
    defaultclock,
    second,
)

from ...devices import StandaloneProject, check_device, exact_arithmetic
from ...errors import NetworkError
from ...events import StepEvents, bin_events
from .genn import run_genn
from .outcome import BrianRun


class BrianGamma:
    """The Brian 2 objects of a `SpikingGammaNetwork`.

    Within one time step, layers follow one another as in the paper's recursion: all neurons decay, then for every
    layer threshold test, delivery to the next layer, reset. Brian 2's default schedule would add one step per layer.

    Parameters
    ----------
    network : SpikingGammaNetwork
    n_steps : int
    record : bool
        Also record buckets, signals and estimates.

    Attributes
    ----------
    network : brian2.Network
    input, layers, synapses, spike_monitors, readout_monitor
        Its objects.
    counts : TimedArray
        Input: how many events of each unit fall into each step.
    """

    def __init__(self, network, n_steps: int, record: bool = False):
        self.source, self.n_steps, self.record = network, n_steps, record
        defaultclock.dt = network.dt
        self.counts = TimedArray(np.zeros((n_steps, network.sizes[0])), dt=network.dt)
        self.input = NeuronGroup(
            network.sizes[0],
            "jump = counts(t, i) : 1",
            threshold="jump > 0",
            reset="",
            name="input",
        )
        self.models = models = network.models()
        self.layers = [self._group(index, model) for index, model in enumerate(models, start=1)]
        groups = [self.input, *self.layers]
        self.synapses = [
            self._connect(index, pre, post, model)
            for index, (pre, post, model) in enumerate(zip(groups[:-1], groups[1:], models, strict=True), start=1)
        ]
        self.spike_monitors = [
            SpikeMonitor(group, variables=[model.count] if model.count else None, name=f"spikes{index}")
            for index, (group, model) in enumerate(zip(self.layers[:-1], models[:-1], strict=True), start=1)
        ]
        self.readout_monitor = StateMonitor(self.layers[-1], "x", record=True, when="end", name="readout")
        self.trace_monitors = self._trace_monitors(models) if record else []
        self.network = Network(
            self.input,
            *self.layers,
            *self.synapses,
            *self.spike_monitors,
            self.readout_monitor,
            *self.trace_monitors,
        )
        self._order()
        self.set_parameters()

    def _group(self, index, model):
        return NeuronGroup(self.source.sizes[index], model, **model.arguments, name=f"layer{index}")

    def _connect(self, index, pre, post, model):
        declared = "\n".join(f"{w} : 1" for w in model.weight_names)
        synapses = Synapses(pre, post, declared, on_pre=model.on_pre, name=f"weights{index}")
        synapses.connect()
        return synapses

    def _trace_monitors(self, models):
        monitors = []
        for index, (group, model) in enumerate(zip(self.layers, models, strict=True), start=1):
            names = list(model.memory_names)
            if model.estimate:
                names += [model.signal, model.estimate]
            monitors.append(StateMonitor(group, names, record=True, when="end", name=f"traces{index}"))
        return monitors

    def _order(self):
        """Give threshold, delivery and reset of each layer their place within the slot 'thresholds'."""
        place = 0
        monitors = dict(zip(self.layers[:-1], self.spike_monitors, strict=True))
        for group, synapses in zip([self.input, *self.layers[:-1]], self.synapses, strict=True):
            steps = [group.thresholder["spike"]]
            if group in monitors:
                steps.append(monitors[group])  # right after the test: what it records is not yet reset
            steps.append(synapses.pre)
            if group is not self.input:
                steps.append(group.resetter["spike"])
            for step in steps:
                step.when, step.order = "thresholds", place
                place += 1

    def set_parameters(self) -> None:
        """Copy weights, bucket weights and biases from the trained network."""
        for index, (group, synapses) in enumerate(zip(self.layers, self.synapses, strict=True), start=1):
            get = self.source.parameters.get
            w = np.asarray(get(f"layer{index}.w"), float)
            if w.ndim == 3:
                for k, weights in enumerate(w):
                    setattr(synapses, f"w{k}", weights.ravel())
            else:
                synapses.w = w.ravel()  # connect() makes synapses with the postsynaptic index running fastest
                for k, v in enumerate(get(f"layer{index}.v")):
                    setattr(group, f"v{k}", np.asarray(v, float))
            if self.source.bias:
                group.b = np.asarray(get(f"layer{index}.b"), float)

    def run(self) -> None:
        """Run one sample (in C++ standalone: write down that one is to be run)."""
        duration = Quantity(self.n_steps * float(self.source.dt), dim=second.dim)
        self.network.run(duration, namespace={"counts": self.counts})

    def collect(self, run: BrianRun) -> None:
        """Append what the monitors hold to `run`."""
        dt = float(self.source.dt)
        run.spikes.append([(np.rint(np.asarray(m.t) / dt).astype(int), np.array(m.i)) for m in self.spike_monitors])
        run.counts.append(
            [
                int(np.sum(getattr(m, model.count))) if model.count else len(m.i)
                for m, model in zip(self.spike_monitors, self.models[:-1], strict=True)
            ]
        )
        run.readout.append(np.array(self.readout_monitor.x).T)
        for index, monitor in enumerate(self.trace_monitors):
            names = [f"z{k}" for k in range(self.source.K)]
            run.buckets[index].append(np.stack([np.array(getattr(monitor, n)).T for n in names], axis=1))
            if index < len(self.layers) - 1:
                run.signals[index].append(np.array(monitor.y).T)
                run.estimates[index].append(np.array(monitor.yhat).T)


def run_brian2(
    network, events, device="runtime", *, n_steps=None, record=False, progress=None, project=None
) -> BrianRun:
    """Run a SpikingGamma network in Brian 2, one sample after another.

    Parameters
    ----------
    network : SpikingGammaNetwork
    events : EventArchive or StepEvents
    device : {'runtime', 'cpp_standalone', 'genn'}
        ``'cpp_standalone'`` compiles once and runs every sample with its own input array; ``'genn'`` needs
        Brian2GeNN and GeNN.
    n_steps : int, optional
    record : bool
        Also return buckets, signals and estimates of every step.
    progress : callable, optional
        Called after each sample with the number done.

    Returns
    -------
    BrianRun

    Raises
    ------
    EngineError
        If the device is not available here.
    NetworkError
        If the device is unknown or the events do not fit the network.
    """
    check_device(device)
    events = bin_events(events, network.dt, n_steps)
    if events.n_units != network.sizes[0]:
        raise NetworkError(
            f"The events have {events.n_units} units, the network {network.sizes[0]} inputs; they must agree."
        )
    if device == "genn":
        return run_genn(network, events, record=record, progress=progress)
    run = BrianRun(device, readout=[])
    if record:
        hidden = len(network.sizes) - 2
        run.signals, run.estimates = [[] for _ in range(hidden)], [[] for _ in range(hidden)]
        run.buckets = [[] for _ in range(hidden + 1)]
    with _kept_clock():
        runner = _standalone if device == "cpp_standalone" else _runtime
        runner(network, events, run, record, progress or (lambda done: None))
    run.readout = np.array(run.readout)
    for name in ("signals", "estimates", "buckets"):
        if getattr(run, name) is not None:
            setattr(run, name, [np.array(layer) for layer in getattr(run, name)])
    return run


def _runtime(network, events: StepEvents, run: BrianRun, record, progress) -> None:
    with exact_arithmetic():
        built = BrianGamma(network, events.n_steps, record)
        built.network.store()
        for sample in range(events.n_samples):
            built.network.restore()
            built.counts.values[:] = events.dense(sample)
            began = time.perf_counter()
            built.run()
            run.seconds += time.perf_counter() - began
            built.collect(run)
            progress(sample + 1)


def _standalone(network, events: StepEvents, run: BrianRun, record, progress) -> None:
    with StandaloneProject(_identity(network, events.n_steps, record)) as project:
        defaultclock.dt = network.dt
        built = BrianGamma(network, events.n_steps, record)
        built.run()
        project.build()
        for sample in range(events.n_samples):
            began = time.perf_counter()
            project.run({built.counts: events.dense(sample)})
            run.seconds += time.perf_counter() - began
            built.collect(run)
            progress(sample + 1)
        run.compilations = project.compilations


def _identity(network, n_steps: int, record: bool) -> str:
    """Text on which the generated code depends."""
    text = [f"{n_steps} {float(network.dt)!r} {network.sizes} {record}"]
    text += [f"{model} {model.arguments} {model.on_pre}" for model in network.models()]
    return "\n".join(text)


@contextlib.contextmanager
def _kept_clock():
    """Give the user's default clock its step back."""
    old = float(defaultclock.dt)
    try:
        yield
    finally:
        defaultclock.dt = old * second
