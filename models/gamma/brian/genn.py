"""A SpikingGamma network for Brian2GeNN: its equations rewritten by code around what GeNN leaves out.

GeNN has one fixed order within a step (synapses, groups, thresholds, resets), no TimedArray in equations, no access to
the sender's variables in ``on_pre``, and one build serves one run. So

- a spike is delivered in the next step, before the neuron's update: it goes to a staged variable, and the update adds
  it to its bucket *after* the bucket's own decay. Layer l then does in step t + l exactly what it did in step t;
- the spikes of a fixed threshold carry a number. Graded spikes (adaptive threshold, several or signed spikes) are kept
  in a variable of the sender, which the receiver sums with its weights;
- several events of an input unit in a step are sent by copies of the unit that count one, two, four ...;
- samples follow one another in one run; a counter in every neuron empties all its states between them.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from brian2 import (
    Network,
    NeuronGroup,
    Quantity,
    SpikeGeneratorGroup,
    SpikeMonitor,
    StateMonitor,
    Synapses,
    defaultclock,
    second,
)
from brian2.parsing.statements import parse_statement
from brian2.stateupdaters.base import StateUpdateMethod
from brian2.utils.stringtools import word_substitute

from ....equations.statements import numeric, substituted
from ...errors import EngineError, NetworkError
from ...events import StepEvents
from .outcome import BrianRun

# The order within a step, and the only one: GeNN ignores any other.
GENN_SCHEDULE = ["start", "synapses", "groups", "thresholds", "resets", "end"]


class StagedUpdate:
    """State updater: the model's own, then the staged input, then the change of samples.

    Parameters
    ----------
    method : str or callable
        The model's state updater.
    staged : dict of str to str
        Bucket to the variable that holds its input.
    period : int
        Steps of a sample.
    graded : tuple of str
        Variables of a spike that has been delivered.
    """

    __name__ = "staged_update"
    __hash__ = None  # never cached by Brian 2: the code depends on the group's dt

    def __init__(self, method, staged: dict[str, str], period: int, graded: tuple[str, ...]):
        self.method, self.staged, self.period, self.graded = method, staged, period, graded

    def __call__(self, equations, variables, method_options=None) -> str:
        """Return the abstract code of one step."""
        code = [StateUpdateMethod.apply_stateupdater(equations, variables, self.method, {})]
        code += [f"tick = (tick + 1)*int(tick + 1.5 < {self.period})", "_running = int(tick > 0.5)"]
        for name in sorted(equations.diff_eq_names):
            value = f"({name} + {self.staged[name]})" if name in self.staged else name
            code.append(f"{name} = {value}*_running")
        code += [f"{name} = 0" for name in (*self.staged.values(), *self.graded)]
        return "\n".join(code)


def jump_value(model) -> float | None:
    """What every spike of a model carries; ``None`` if spikes are graded."""
    try:
        return numeric(substituted(model, model.jump))
    except TypeError:
        return None


def staged_model(model, layer: int, period: int):
    """Equations of a layer in GeNN's order.

    Parameters
    ----------
    model : SpikingGammaModel
    layer : int
        Counted from 1: the steps by which it is late.
    period : int
        Steps of a sample.

    Returns
    -------
    SpikingGammaModel
    """
    staged = {name.removesuffix("_post"): f"staged_{name.removesuffix('_post')}" for name, _ in _deliveries(model)}
    graded = ()
    if model.threshold and jump_value(model) is None:
        graded = ("sent", "sent_count")
    lines = [f"{name} : 1" for name in ("tick", *staged.values(), *graded)]
    result = model + "\n".join(lines)
    result.method = StagedUpdate(model.method, staged, period, graded)
    if model.threshold:
        result.threshold = f"({model.threshold}) and (tick > {layer - 0.5})"
    if graded:
        result.reset = f"sent = {model.jump}\nsent_count = {model.count or 1}\n{model.reset}"
    return result


def _deliveries(model) -> list[tuple[str, str]]:
    """Targets and expressions of the ``on_pre`` statements, each an addition to one bucket."""
    statements = [parse_statement(line) for line in model.on_pre.splitlines()]
    wrong = [variable for variable, operator, _, _ in statements if operator != "+="]
    if wrong:
        raise EngineError(f"GeNN only adds to variables of the receiver; on_pre sets '{wrong[0]}':\n{model.on_pre}")
    return [(variable, expression) for variable, _, expression, _ in statements]


class StagedGamma:
    """The Brian 2 objects of a `SpikingGammaNetwork` in the form that GeNN runs.

    Parameters
    ----------
    network : SpikingGammaNetwork
    events : StepEvents
        All samples; they follow one another with ``period`` steps each.
    record : bool

    Attributes
    ----------
    network : brian2.Network
    period : int
        Steps of a sample: its own, and one for each layer that the last ones need to arrive.
    """

    def __init__(self, network, events: StepEvents, record: bool = False):
        self.source, self.events = network, events
        self.period = events.n_steps + len(network.sizes) - 1
        defaultclock.dt = network.dt
        self.copies = max(1, int(events.values.max(initial=1)).bit_length())
        self.models = network.models()
        self.input = self._input()
        self.layers = [self._group(index, model) for index, model in enumerate(self.models, start=1)]
        self.synapses = [s for index in range(1, len(network.sizes)) for s in self._connect(index)]
        self.spike_monitors = [SpikeMonitor(g, name=f"spikes{i}") for i, g in enumerate(self.layers[:-1], 1)]
        self.count_monitors = [
            StateMonitor(g, "sent_count", record=True, when="end", name=f"counts{i}") if m.count else None
            for i, (g, m) in enumerate(zip(self.layers[:-1], self.models[:-1], strict=True), 1)
        ]
        self.readout_monitor = StateMonitor(self.layers[-1], "x", record=True, when="end", name="readout")
        self.trace_monitors = self._trace_monitors() if record else []
        counts = [monitor for monitor in self.count_monitors if monitor is not None]
        monitors = [*self.spike_monitors, *counts, self.readout_monitor, *self.trace_monitors]
        self.network = Network(self.input, *self.layers, *self.synapses, *monitors)
        self.network.schedule = GENN_SCHEDULE

    def _input(self) -> SpikeGeneratorGroup:
        """Copy b of a unit fires where bit b of its number of events is set."""
        events, n_units = self.events, self.events.n_units
        rows = np.repeat(np.arange(events.n_samples * events.n_steps), np.diff(events.ptr))
        step = rows // events.n_steps * self.period + rows % events.n_steps
        counts = events.values.astype(np.int64)
        bits = [np.flatnonzero(counts >> b & 1) for b in range(self.copies)]
        units = np.concatenate([events.units[chosen].astype(int) + b * n_units for b, chosen in enumerate(bits)])
        steps = np.concatenate([step[chosen] for chosen in bits])
        # half a step away from the grid: rounding must not decide in which step an event falls
        times = (steps + 0.5) * float(self.source.dt) * second
        return SpikeGeneratorGroup(self.copies * n_units, units, times, name="input")

    def _group(self, index, model) -> NeuronGroup:
        staged = staged_model(model, index, self.period)
        group = NeuronGroup(self.source.sizes[index], staged, **staged.arguments, name=f"layer{index}")
        group.tick = -1
        get = self.source.parameters.get
        if self.source.buckets == "neuron":
            for k, v in enumerate(get(f"layer{index}.v")):
                setattr(group, f"v{k}", np.asarray(v, float))
        if self.source.bias:
            group.b = np.asarray(get(f"layer{index}.b"), float)
        return group

    def _connect(self, index) -> list[Synapses]:
        """One `Synapses` for each bucket that input enters."""
        model, post = self.models[index - 1], self.layers[index - 1]
        pre = self.layers[index - 2] if index > 1 else self.input
        jump = jump_value(self.models[index - 2]) if index > 1 else 1.0
        w = np.asarray(self.source.parameters[f"layer{index}.w"], float)
        made = []
        deliveries = zip(model.weight_names, _deliveries(model), w if w.ndim == 3 else [w], strict=True)
        for weight, (target, expression), values in deliveries:
            sent = word_substitute(expression, {"jump_pre": "sent_pre" if jump is None else repr(jump)})
            name = f"weights{index}_{weight}"
            if jump is None:
                text = f"{weight} : 1\nstaged_{target} = {sent} : 1 (summed)"
                synapses = Synapses(pre, post, text, name=name)
            else:
                synapses = Synapses(pre, post, f"{weight} : 1", on_pre=f"staged_{target} += {sent}", name=name)
            synapses.connect()
            if index == 1:
                values = np.concatenate([values * 2.0**b for b in range(self.copies)])
            setattr(synapses, weight, values.ravel())
            made.append(synapses)
        return made

    def _trace_monitors(self) -> list[StateMonitor]:
        monitors = []
        for index, (group, model) in enumerate(zip(self.layers, self.models, strict=True), start=1):
            names = [*model.memory_names, *([model.signal, model.estimate] if model.estimate else [])]
            monitors.append(StateMonitor(group, names, record=True, when="end", name=f"traces{index}"))
        return monitors

    def run(self) -> BrianRun:
        """Run all samples and shift every layer back to the step in which the native engine does the same."""
        dt, n_samples = float(self.source.dt), self.events.n_samples
        result = BrianRun("genn")
        began = time.perf_counter()
        self.network.run(Quantity(n_samples * self.period * dt, dim=second.dim), namespace={})
        result.seconds = time.perf_counter() - began
        last = len(self.layers)
        result.readout = self._shifted(self.readout_monitor.x, last)
        spikes, counts = [], []
        for layer, (monitor, graded) in enumerate(zip(self.spike_monitors, self.count_monitors, strict=True), 1):
            spikes.append(self._samples_of(monitor, layer))
            if graded is not None:
                counts.append(self._shifted(graded.sent_count, layer).sum(axis=(1, 2)).astype(int))
            else:
                counts.append([len(steps) for steps, _ in spikes[-1]])
        result.spikes = [[layer[sample] for layer in spikes] for sample in range(n_samples)]
        result.counts = [[int(layer[sample]) for layer in counts] for sample in range(n_samples)]
        if self.trace_monitors:
            self._collect_traces(result)
        return result

    def _shifted(self, trace, layer: int) -> np.ndarray:
        """Recorded values (n, steps) as (n_samples, n_steps, n)."""
        values = np.asarray(trace).T.reshape(self.events.n_samples, self.period, -1)
        return values[:, layer : layer + self.events.n_steps]

    def _samples_of(self, monitor, layer: int) -> list:
        """Spikes of every sample as (steps, units)."""
        step = np.rint(np.asarray(monitor.t) / float(self.source.dt)).astype(int)
        sample, local, units = step // self.period, step % self.period - layer, np.array(monitor.i)
        inside = (local >= 0) & (local < self.events.n_steps)
        found = []
        for index in range(self.events.n_samples):
            chosen = inside & (sample == index)
            found.append((local[chosen], units[chosen]))
        return found

    def _collect_traces(self, result: BrianRun) -> None:
        result.signals, result.estimates, result.buckets = [], [], []
        for layer, (monitor, model) in enumerate(zip(self.trace_monitors, self.models, strict=True), start=1):
            buckets = [self._shifted(getattr(monitor, name), layer) for name in model.memory_names]
            result.buckets.append(np.stack(buckets, axis=2))
            if model.estimate:
                result.signals.append(self._shifted(getattr(monitor, model.signal), layer))
                result.estimates.append(self._shifted(getattr(monitor, model.estimate), layer))


def run_genn(network, events: StepEvents, record: bool = False, progress=None) -> BrianRun:
    """Run a SpikingGamma network through Brian2GeNN, on a GPU where there is one.

    GeNN's device changes preferences of Brian 2 and serves one run, so a process of its own does it.

    Parameters
    ----------
    network : SpikingGammaNetwork
    events : StepEvents
    record : bool
        Also return buckets, signals and estimates.
    progress : callable, optional
        Called with the number of samples when all are done.

    Returns
    -------
    BrianRun

    Raises
    ------
    EngineError
        If GeNN does not build or run the network.
    NetworkError
        If the input is negative or no whole number of events.
    """
    if not (events.values == np.abs(np.rint(events.values))).all():
        raise NetworkError("GeNN runs whole, positive numbers of input events; run others with device='runtime'.")
    with tempfile.TemporaryDirectory(prefix="brian2grad-genn-") as name:
        folder = Path(name)
        network.save(folder / "network.h5")
        (folder / "task.pickle").write_bytes(pickle.dumps((events, record)))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-m", f"{__package__}.genn_process", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
        if done.returncode:
            last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise EngineError(f"GeNN could not run the network; the end of what it said:\n{last}")
        result = pickle.loads((folder / "result.pickle").read_bytes())
    if progress is not None:
        progress(events.n_samples)
    return result
