"""The Brian 2 objects of a SpikingGamma network, and what their monitors say."""

from __future__ import annotations

import numpy as np
from brian2 import (
    Network,
    NeuronGroup,
    Quantity,
    SpikeGeneratorGroup,
    SpikeMonitor,
    StateMonitor,
    Synapses,
    TimedArray,
    defaultclock,
    second,
)

from ...errors import NetworkError
from ..call import too_many_spikes
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
        Its objects; `synapses` of every connection in the order of the layers, kernels one synapse each.
    counts : TimedArray
        How many events of each unit fall into each step; `input` spikes where there are any.
    """

    def __init__(self, network, n_steps: int, record: bool = False):
        self.source, self.n_steps, self.record = network, n_steps, record
        defaultclock.dt = network.dt
        self.counts = TimedArray(np.zeros((n_steps, network.sizes[0])), dt=network.dt)
        self.input = SpikeGeneratorGroup(network.sizes[0], [], [] * second, name="input")
        self.input.variables.add_subexpression("jump", "counts(t, i)")
        self.connections = [(index, c) for index, layer in enumerate(network.plan.layers, 1) for c in layer.connections]
        self.models = models = network.models()
        for index in (index for index, c in self.connections if c.source == index):
            models[index - 1] = remembering(models[index - 1])
        self.layers = [self._group(index, model) for index, model in enumerate(models, start=1)]
        self.synapses = [self._connect(*connection) for connection in self.connections]
        self.spike_monitors = [
            SpikeMonitor(
                group,
                variables=[model.count, model.signal, model.estimate] if model.count else None,
                name=f"spikes{index}",
            )
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

    def _connect(self, index, connection):
        """Synapses of a connection to layer `index`."""
        pre, post, model = [self.input, *self.layers][connection.source], self.layers[index - 1], self.models[index - 1]
        declared = "\n".join(f"{w} : 1" for w in model.weight_names)
        name = synapses_name(index, connection)
        on_pre = model.on_pre
        if connection.source == index:  # delivered before the next test, when the jump itself is another one
            on_pre = on_pre.replace("jump_pre", "sent_pre")
        synapses = Synapses(pre, post, declared, on_pre=on_pre, name=name)
        i, j, _ = connection.synapses(self.source.sizes[connection.source])
        synapses.connect(i=i, j=j)
        return synapses

    def _trace_monitors(self, models):
        return [
            StateMonitor(group, traced(model), record=True, when="end", name=f"traces{index}")
            for index, (group, model) in enumerate(zip(self.layers, models, strict=True), start=1)
        ]

    def _order(self):
        """Give threshold, delivery and reset of each layer their place within the slot 'thresholds'."""
        place = 0
        monitors = dict(zip(self.layers[:-1], self.spike_monitors, strict=True))
        for source, group in enumerate([self.input, *self.layers[:-1]]):
            leaving = [
                (s.pre, index == source)
                for s, (index, c) in zip(self.synapses, self.connections, strict=True)
                if c.source == source
            ]
            steps = [pathway for pathway, own in leaving if own]  # before the test: the spikes of the step before
            steps.append(group if group is self.input else group.thresholder["spike"])
            if group in monitors:
                steps.append(monitors[group])  # right after the test: what it records is not yet reset
            steps += [pathway for pathway, own in leaving if not own]
            if group is not self.input:
                steps.append(group.resetter["spike"])
            for step in steps:
                step.when, step.order = "thresholds", place
                place += 1

    def set_parameters(self) -> None:
        """Copy weights, bucket weights and biases from the trained network."""
        groups = {group.name: group for group in (*self.layers, *self.synapses)}
        for (name, variable), value in parameter_values(self.source).items():
            setattr(groups[name], variable, value)

    def set_input(self, events, sample: int) -> None:
        """Take the events of a sample as input."""
        steps, units, _ = entries_of(events, sample)
        self.counts.values[:] = events.dense(sample)
        self.input.set_spikes(units, steps * float(self.source.dt) * second, sorted=True)

    def run(self) -> None:
        """Run one sample (in C++ standalone: write down that one is to be run)."""
        duration = Quantity(self.n_steps * float(self.source.dt), dim=second.dim)
        self.network.run(duration, namespace={"counts": self.counts})

    def recorded(self, name: str, variable: str) -> np.ndarray:
        """What a monitor recorded; over time (steps, neurons)."""
        monitors = (*self.spike_monitors, self.readout_monitor, *self.trace_monitors)
        monitor = next(monitor for monitor in monitors if monitor.name == name)
        return np.asarray(getattr(monitor, variable)).T


def entries_of(events, sample: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, units and values of the events of one sample."""
    ptr = events.ptr[sample * events.n_steps : (sample + 1) * events.n_steps + 1]
    part = slice(ptr[0], ptr[-1])
    units = events.units[part]
    if units.size and units.max() >= events.n_units:
        raise NetworkError(f"Sample {sample} has events of unit {units.max()}; there are {events.n_units}.")
    return np.repeat(np.arange(events.n_steps), np.diff(ptr)), units, events.values[part]


def outputs_of(network, models, record: bool) -> list[tuple[str, str]]:
    """Monitors and their variables that `collect` reads."""
    found = [("readout", "x")]
    for index, model in enumerate(models[:-1], start=1):
        names = ["t", "i", *((model.count, model.signal, model.estimate) if model.count else ())]
        found += [(f"spikes{index}", name) for name in names]
    for index, model in enumerate(models if record else (), start=1):
        found += [(f"traces{index}", name) for name in traced(model)]
    return found


def traced(model) -> list[str]:
    """Variables that are recorded of a layer."""
    return [*model.memory_names, *((model.signal, model.estimate) if model.estimate else ())]


def collect(network, models, recorded, run: BrianRun, sample: int, record: bool) -> None:
    """Put what the monitors hold at a sample's place of `run`.

    Parameters
    ----------
    network : SpikingGammaNetwork
    models : list of SpikingGammaModel
    recorded : callable
        (monitor, variable) to array, as `BrianGamma.recorded`.
    run : BrianRun
    sample : int
    record : bool

    Raises
    ------
    NetworkError
        If a neuron had more spikes in a step than Brian 2's integers hold.
    """
    dt, spikes, counts = float(network.dt), [], []
    for index, model in enumerate(models[:-1]):
        monitor = f"spikes{index + 1}"
        steps = np.rint(recorded(monitor, "t") / dt).astype(int)
        units = np.array(recorded(monitor, "i"))
        spikes.append((steps, units))
        if not model.count:
            counts.append(len(units))
            continue
        count, y, yhat = (recorded(monitor, name) for name in (model.count, model.signal, model.estimate))
        wrong = (count <= 0) | (np.abs(y - yhat) > 2.0**32 * network.theta[index])  # a spike stands for 2 theta
        if wrong.any():
            at = int(np.argmax(wrong))
            raise too_many_spikes(index, int(units[at]), sample, int(steps[at]), y[at])
        counts.append(int(np.sum(count)))
    run.spikes[sample], run.counts[sample] = spikes, counts
    run.readout[sample] = recorded("readout", "x")
    for index, model in enumerate(models if record else ()):
        traces = f"traces{index + 1}"
        run.buckets[index][sample] = np.stack([recorded(traces, name) for name in model.memory_names], axis=1)
        if model.estimate:
            run.signals[index][sample] = recorded(traces, model.signal)
            run.estimates[index][sample] = recorded(traces, model.estimate)


def parameter_values(network) -> dict[tuple[str, str], np.ndarray]:
    """Values of the trained parameters: (group or synapses, variable) to array, one entry per neuron or synapse."""
    found, models = {}, network.models()
    for index, layer in enumerate(network.plan.layers, start=1):
        for connection in layer.connections:
            w = np.asarray(network.parameters[f"layer{index}.{connection.name}"], float)
            names = models[index - 1].weight_names
            _, _, chosen = connection.synapses(network.sizes[connection.source])
            for name, values in zip(names, w.reshape(len(names), -1), strict=True):
                found[synapses_name(index, connection), name] = values[chosen]
        values = {f"v{k}": v for k, v in enumerate(network.parameters.get(f"layer{index}.v", ()))}
        if network.bias:
            values["b"] = network.parameters[f"layer{index}.b"]
        for name, value in values.items():  # by channel; the channels of a place lie side by side
            found[f"layer{index}", name] = np.tile(np.asarray(value, float), layer.places)
    return found


def synapses_name(index: int, connection) -> str:
    """Name of the synapses of a connection to layer `index`."""
    return f"weights{index}{connection.name.removeprefix('w')}"


def remembering(model):
    """A model of which a spike leaves behind what it carried, ``sent``: a layer's own spikes reach it a step late."""
    made = model + "sent : 1"
    made.reset = f"sent = {model.jump}\n{model.reset}"
    return made
