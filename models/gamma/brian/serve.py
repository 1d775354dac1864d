"""A SpikingGamma network in C++ standalone: one build per architecture, many samples and weights per process."""

from __future__ import annotations

import functools

from brian2 import defaultclock

from ...errors import EngineError, NetworkError
from ...events import StepEvents
from ...service.program import Served, program_of
from ...service.rows import deliver_at_once
from ...service.workers import Failed, serve, warn_failed
from .objects import BrianGamma, collect, entries_of, outputs_of, parameter_values
from .outcome import BrianRun


def serve_gamma(network, events: StepEvents, run: BrianRun, record: bool, processes=None, progress=None) -> None:
    """Fill `run` from processes of the network's program.

    Parameters
    ----------
    network : SpikingGammaNetwork
    events : StepEvents
    run : BrianRun
    record : bool
    processes : int, optional
    progress : callable, optional

    Raises
    ------
    EngineError
        If the program cannot be built, or no sample could be run.
    """
    n_steps = events.n_steps
    program = program_of(_identity(network, n_steps, record), lambda: _served(network, n_steps, record))
    run.compilations = program.compilations
    parameters = {".".join(name): value for name, value in parameter_values(network).items()}
    samples = [functools.partial(input_of, events, sample) for sample in range(events.n_samples)]
    answers = serve(program, parameters, samples, processes=processes, progress=progress)
    run.seconds, models = answers.seconds, network.models()
    for sample, answer in enumerate(answers.samples):
        try:
            if isinstance(answer, Failed):
                raise EngineError(answer.reason)
            collect(network, models, lambda *name, a=answer: a[".".join(name)], run, sample, record)
        except (EngineError, NetworkError) as error:
            run.failed[sample] = str(error)
    warn_failed(run.failed, events.n_samples)


def input_of(events: StepEvents, sample: int) -> dict:
    """Input of one sample: which units spike when, and what the spikes carry."""
    steps, units, values = entries_of(events, sample)
    return {"neuron_index": units, "_timebins": steps, "counts": (steps * events.n_units + units, values)}


def _served(network, n_steps: int, record: bool) -> Served:
    defaultclock.dt = network.dt
    built = BrianGamma(network, n_steps, record)
    objects = {item.name: item for item in built.network.objects}
    parameters = {".".join(at): (objects[at[0]], at[1]) for at in parameter_values(network)}
    outputs = {".".join(at): (objects[at[0]], at[1]) for at in outputs_of(network, built.models, record)}
    for synapses in built.synapses:
        deliver_at_once(synapses.pre)
    inputs = {name: (built.input, name) for name in ("neuron_index", "_timebins")} | {"counts": built.counts}
    return Served(built.run, [], parameters, inputs, outputs, fixed=True)


def _identity(network, n_steps: int, record: bool) -> str:
    """Text on which the generated code and its connections depend."""
    text = [f"{n_steps} {float(network.dt)!r} {network.plan.input} {[*map(str, network.plan.values)]} {record}"]
    text += [f"{model} {model.arguments} {model.on_pre}" for model in network.models()]
    return "\n".join(text)
