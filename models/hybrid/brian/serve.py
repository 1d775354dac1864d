"""The user's own objects in C++ standalone: one build for all values and samples, many samples per process."""

from __future__ import annotations

import functools
import hashlib
import time

import numpy as np
from brian2 import NeuronGroup, Quantity, SpikeGeneratorGroup, Synapses

from ...errors import NetworkError
from ...service.program import Served, program_of
from ...service.workers import Failed, serve, warn_failed
from ..samples import SampleSpikes
from .copies import PEAK, BrianOutcome, Copies, values_of


def serve_objects(items, inputs, duration, dt, readout, namespace, processes=None, progress=None) -> BrianOutcome:
    """Run samples of the user's objects in processes of one program.

    Parameters
    ----------
    items : list
    inputs, duration, dt, readout, namespace, processes, progress
        As in `run_brian2`.

    Returns
    -------
    BrianOutcome

    Raises
    ------
    EngineError
        If the program cannot be built, or no sample could be run.
    """
    began, n = time.perf_counter(), next(iter(inputs.values())).n_samples
    items = sorted(items, key=_age)  # a Network gives its objects in any order
    recipes = [values_of(item) for item in items]  # values of runtime objects, before the device is changed
    once = {name: SampleSpikes.of([((), ())]) for name in inputs}

    def build() -> Served:
        copies = Copies(items, once, 1, dt, readout, namespace, recipes)
        return _served(copies, items, recipes, readout, lambda: copies.network.run(duration, namespace={}))

    program = program_of(_identity(items, recipes, duration, dt, readout, namespace), build)
    parameters = {name: value for name, (_, value) in _parameters(items, recipes).items()}
    generators = [
        (index, len(item), inputs.get(item.name) or SampleSpikes.of([(recipe["neurons"], recipe["times"])] * n))
        for index, (item, recipe) in enumerate(zip(items, recipes, strict=True))
        if isinstance(item, SpikeGeneratorGroup)
    ]
    samples = [functools.partial(_input, generators, float(dt), sample) for sample in range(n)]
    answers = serve(program, parameters, samples, processes=processes, progress=progress).samples
    failed = {k: answer.reason for k, answer in enumerate(answers) if isinstance(answer, Failed)}
    warn_failed(failed, n)
    spikes, maxima = {}, {}
    for index, item in enumerate(items):
        if f"{index}.i" in program.outputs:
            none = {f"{index}.i": (), f"{index}.t": ()}
            found = [none if k in failed else answer for k, answer in enumerate(answers)]
            spikes[item.name] = SampleSpikes.of([(a[f"{index}.i"], a[f"{index}.t"]) for a in found])
        if readout is not None and item is readout[0]:
            nothing = np.full(len(item), np.nan)
            maxima[item.name] = np.array(
                [nothing if k in failed else answer[f"{index}.{PEAK}"] for k, answer in enumerate(answers)]
            )
    return BrianOutcome(spikes, maxima, time.perf_counter() - began, program.compilations, failed)


def _age(item) -> tuple[str, int]:
    """Name without the number that Brian 2 adds to it, and the number, which grows."""
    name, _, number = item.name.rpartition("_")
    return (name, int(number)) if number.isdigit() else (item.name, 0)


def _parameters(items, recipes) -> dict[str, tuple[tuple, np.ndarray]]:
    """Name in the program of every value that may change: where it is, and the value."""
    found = {}
    for index, (item, recipe) in enumerate(zip(items, recipes, strict=True)):
        if isinstance(item, NeuronGroup):
            for name, value in recipe.items():
                found[f"{index}.{name}"] = (item.name, name), np.broadcast_to(value, item.variables[name].size)
        elif isinstance(item, Synapses):
            for name, value in recipe["values"].items():
                found[f"{index}.{name}"] = (item.name, name), value
            for pathway, delay in zip(item._pathways, recipe["delays"], strict=True):
                each = np.broadcast_to(delay, recipe["i"].shape)
                found[f"{index}.{pathway.objname}.delay"] = (item.name, pathway.objname, "delay"), each
    return found


def _served(copies: Copies, items, recipes, readout, run) -> Served:
    def at(place):
        owner = copies.made[place[0]]
        return (getattr(owner, place[1]) if len(place) == 3 else owner), place[-1]

    parameters = {name: at(place) for name, (place, _) in _parameters(items, recipes).items()}
    inputs, outputs, pathways = {}, {}, []
    for index, item in enumerate(items):
        made = copies.made[item.name]
        if isinstance(item, SpikeGeneratorGroup):
            inputs |= {f"{index}.{name}": (made, name) for name in ("neuron_index", "_timebins")}
        elif isinstance(item, Synapses):
            pathways += made._pathways
        if item.name in copies.monitors:
            outputs |= {f"{index}.{name}": (copies.monitors[item.name], name) for name in ("i", "t")}
        if readout is not None and item is readout[0]:
            outputs[f"{index}.{PEAK}"] = (made, PEAK)
    return Served(run, pathways, parameters, inputs, outputs)


def _input(generators, dt: float, sample: int) -> dict:
    """Spikes of every generator on the grid, as Brian 2 bins them; of one neuron at most one a step."""
    found = {}
    for index, size, spikes in generators:
        neurons, times = spikes[sample]
        bins = ((times + 1e-3 * dt) / dt).astype(np.int32)  # a time on the grid stays in its step
        order = np.lexsort((neurons, bins))
        place = bins[order].astype(np.int64) * size + neurons[order]
        if (place[1:] == place[:-1]).any():
            twice = int(neurons[order][np.argmax(place[1:] == place[:-1])])
            raise NetworkError(
                f"Neuron {twice} of the input spikes twice within a step of {dt:g} s; take a smaller dt."
            )
        found |= {f"{index}.neuron_index": neurons[order], f"{index}._timebins": bins[order]}
    return found


def _identity(items, recipes, duration, dt, readout, namespace) -> str:
    """Text on which the generated code and its connections depend."""
    parts = [repr((float(duration), float(dt), readout and (items.index(readout[0]), readout[1])))]
    parts += [f"{name} = {_text(value)}" for name, value in sorted(namespace.items())]
    numbers = {item.name: index for index, item in enumerate(items)}
    for item, recipe in zip(items, recipes, strict=True):
        parts.append(f"{type(item).__name__} {len(item)}")
        parts += [f"{name} = {_text(value)}" for name, value in sorted(item.namespace.items())]
        if isinstance(item, NeuronGroup):
            parts += [str(item.user_equations), repr(item.events), repr(item.event_codes), repr(item._refractory)]
            parts += [repr(item.method_choice)]
        elif isinstance(item, Synapses):
            ends = (end.name if end.name in numbers else end.source.name for end in (item.source, item.target))
            parts += [str(item.equations), repr([(p.objname, p.code) for p in item._pathways])]
            parts += [repr([numbers[end] for end in ends]), repr((item.source.start, item.target.start))]
            parts += [hashlib.sha256(recipe[end].tobytes()).hexdigest() for end in ("i", "j")]
    return "\n".join(parts)


def _text(value) -> str:
    """A number as text; what is none makes the program's identity its own, and the program is built anew."""
    if isinstance(value, int | float | np.number | Quantity) and np.ndim(value) == 0:
        return repr(float(value))
    return f"{type(value).__name__} {time.time_ns()}" if not isinstance(value, str) else value
