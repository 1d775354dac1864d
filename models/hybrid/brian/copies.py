"""Many samples of the user's own objects in one Brian 2 run: copies side by side, each driven by its own sample.

The copies are made of what the user's objects say (equations, threshold, reset, refractory period, synapses, values)
and know nothing of each other, so that one run, or one C++ project, answers for all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from brian2 import (
    Equations,
    Network,
    NeuronGroup,
    Quantity,
    SpikeGeneratorGroup,
    SpikeMonitor,
    Synapses,
    second,
)
from brian2.equations.equations import PARAMETER, SingleEquation
from brian2.parsing.expressions import parse_expression_dimensions
from brian2.utils.stringtools import get_identifiers

from ...errors import NetworkError
from ..losses import whole_group
from ..samples import SampleSpikes

PEAK = "largest_so_far"


@dataclass
class BrianOutcome:
    """What Brian 2 gave, in the form of the compiled engine's outcome.

    Attributes
    ----------
    spikes : dict of str to SampleSpikes
        Of every group with a threshold, in the order of time.
    maxima : dict of str to (n_samples, n) array
        Largest value of the readout, at the end of a time step.
    seconds : float
    compilations : int or None
        Of C++ standalone.
    failed : dict of int to str
        Samples without a result in C++ standalone, and why; they have no spikes, their maxima are NaN.
    """

    spikes: dict
    maxima: dict
    seconds: float
    compilations: int | None = None
    failed: dict = field(default_factory=dict)


def values_of(item) -> dict:
    """Values of an object, to be written into its copies."""
    if isinstance(item, SpikeGeneratorGroup):
        return {
            "neurons": np.array(item.variables["neuron_index"].get_value(), int),
            "times": np.array(item.variables["spike_time"].get_value(), float),
        }
    if isinstance(item, NeuronGroup):
        names = [*item.user_equations.diff_eq_names, *item.user_equations.parameter_names]
        for name in names:
            if "linked" in item.user_equations[name].flags:
                raise NetworkError(f"'{item.name}': '{name}' is linked; copies of linked variables are not made.")
        return {name: np.array(item.variables[name].get_value(), float) for name in names}
    names = [*item.equations.parameter_names, *(item.event_driven.diff_eq_names if item.event_driven else ())]
    values = {name: np.array(item.variables[name].get_value()) for name in names}
    found = {"values": values, "i": np.array(item.i[:], int), "j": np.array(item.j[:], int)}
    found["delays"] = [np.array(p.variables["delay"].get_value(), float) for p in item._pathways]
    return found


class Copies:
    """`n` copies of every object in one network.

    Parameters
    ----------
    items : list
        The user's objects.
    inputs : dict of str to SampleSpikes
    n : int
    dt : Quantity, second
    readout : (NeuronGroup, str), optional
    namespace : dict
    recipes : list of dict, optional
        What `values_of` found of every item, where the items belong to another device.

    Attributes
    ----------
    network : brian2.Network
    made : dict of str to object
        Copy of every object.
    monitors : dict of str to SpikeMonitor
    """

    def __init__(self, items, inputs, n, dt, readout, namespace, recipes=None):
        self.n, self.dt, self.namespace = n, dt, namespace
        recipes = recipes or [values_of(item) for item in items]
        self.made, self.sizes, self.monitors, self.readout = {}, {}, {}, readout
        for item, values in zip(items, recipes, strict=True):
            if isinstance(item, SpikeGeneratorGroup):
                self.made[item.name] = self._generator(item, values, inputs.get(item.name))
            elif isinstance(item, NeuronGroup):
                self.made[item.name] = self._group(item, values)
        for item, values in zip(items, recipes, strict=True):
            if isinstance(item, Synapses):
                self.made[item.name] = self._synapses(item, values)
        self.network = Network(*self.made.values(), *self.monitors.values())

    def _generator(self, item, own, given):
        size = self.sizes[item.name] = len(item)
        if given is None:
            sample = np.repeat(np.arange(self.n), len(own["neurons"]))
            neurons, times = np.tile(own["neurons"], self.n), np.tile(own["times"], self.n)
        else:
            sample = np.repeat(np.arange(self.n), np.diff(given.offsets))
            neurons, times = given.neurons, given.times
        return SpikeGeneratorGroup(
            size * self.n, sample * size + neurons, Quantity(times, dim=second.dim), dt=self.dt, sorted=False
        )

    def _group(self, item, values):
        size = self.sizes[item.name] = len(item)
        texts = [str(item.user_equations), *item.events.values(), *item.event_codes.values()]
        if any("i" in get_identifiers(text) for text in texts if isinstance(text, str)):
            raise NetworkError(f"'{item.name}' reads the index 'i', which copies number anew; use a parameter instead.")
        equations, whole = Equations(list(item.user_equations.values())), self.readout
        is_readout = whole is not None and whole[0] is item
        if is_readout:
            names = item.resolve_all(get_identifiers(whole[1]), self.namespace)
            dim = parse_expression_dimensions(whole[1], names)
            equations += Equations([SingleEquation(PARAMETER, PEAK, dim)])
        group = NeuronGroup(
            size * self.n, equations, threshold=item.events.get("spike"), reset=item.event_codes.get("spike"),
            refractory=item._refractory, method=item.method_choice or "exponential_euler",
            namespace={**self._constants(item), **item.namespace}, dt=self.dt,
        )  # fmt: skip
        for name, value in values.items():
            target = group.variables[name]
            copied = value if target.scalar else np.tile(np.broadcast_to(value, (size,)), self.n)
            setattr(group, name, Quantity(copied, dim=target.dim))
        if is_readout:
            setattr(group, PEAK, Quantity(-1e300, dim=dim))
            larger = f"int({whole[1]} > {PEAK})"
            for when in ("start", "end"):  # the value at t = 0 counts, and so does the last
                group.run_regularly(f"{PEAK} = ({whole[1]})*{larger} + {PEAK}*(1 - {larger})", when=when, dt=self.dt)
        if group.thresholder:
            self.monitors[item.name] = SpikeMonitor(group)
        return group

    def _constants(self, item) -> dict:
        """Names that the object leaves to its surroundings."""
        if isinstance(item, NeuronGroup):
            texts = [e.expr.code for e in item.user_equations.values() if e.expr is not None]
            texts += [*item.events.values(), *item.event_codes.values(), item._refractory]
        else:
            written = [*item.equations.values(), *(item.event_driven or {}).values()]
            texts = [p.code for p in item._pathways] + [e.expr.code for e in written if e.expr is not None]
        names = set().union(*(get_identifiers(text) for text in texts if isinstance(text, str)))
        return {name: self.namespace[name] for name in names if name in self.namespace and name not in item.variables}

    def _synapses(self, item, values):
        (source, first, _), (target, first_target, _) = whole_group(item.source), whole_group(item.target)
        sizes = self.sizes[source.name], self.sizes[target.name]
        equations = Equations(list({**(item.event_driven or {}), **item.equations}.values()))
        synapses = Synapses(
            self.made[source.name], self.made[target.name], equations,
            on_pre={p.objname: p.code for p in item._pathways if p.prepost == "pre"},
            on_post={p.objname: p.code for p in item._pathways if p.prepost == "post"},
            namespace={**self._constants(item), **item.namespace}, dt=self.dt,
        )  # fmt: skip
        sample = np.repeat(np.arange(self.n), len(values["i"]))
        synapses.connect(
            i=sample * sizes[0] + np.tile(values["i"] + first, self.n),
            j=sample * sizes[1] + np.tile(values["j"] + first_target, self.n),
        )
        for name, value in values["values"].items():
            variable = synapses.variables[name]
            copied = value if variable.scalar else np.tile(value, self.n)
            setattr(synapses, name, Quantity(copied, dim=variable.dim))
        for pathway, delay in zip(item._pathways, values["delays"], strict=True):
            each = np.tile(np.broadcast_to(delay, values["i"].shape), self.n)
            getattr(synapses, pathway.objname).delay = Quantity(each, dim=second.dim)
        return synapses

    def outcome(self, seconds, compilations=None) -> BrianOutcome:
        spikes = {name: self._spikes(name, monitor) for name, monitor in self.monitors.items()}
        maxima = {}
        if self.readout is not None:
            item = self.readout[0]
            found = np.asarray(getattr(self.made[item.name], PEAK)[:])
            maxima[item.name] = found.reshape(self.n, self.sizes[item.name])
        return BrianOutcome(spikes, maxima, seconds, compilations)

    def _spikes(self, name, monitor) -> SampleSpikes:
        neurons, times = np.array(monitor.i[:], int), np.array(monitor.t[:], float)
        sample, neuron = np.divmod(neurons, self.sizes[name])
        order = np.lexsort((times, sample))
        offsets = np.concatenate([[0], np.cumsum(np.bincount(sample, minlength=self.n))])
        return SampleSpikes(neuron[order], times[order], offsets.astype(np.int64))
