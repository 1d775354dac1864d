"""An asynchronous network in continuous time as plain Brian 2 objects: a group, its inputs, synapses with delays.

Between arrivals the membrane decays, an arrival that lifts it over the threshold makes it spike there and then, and
the spike travels for its delay: a hybrid system like any other, whose event-located run has the spikes of the special
engine, and whose gradient is exact. As every spike is an arrival that was the last straw, its time moves with delays
and input times alone; weights have a gradient through membranes, and choose which spikes there are.
"""

from __future__ import annotations

import numpy as np
from brian2 import Equations, NeuronGroup, Quantity, SpikeGeneratorGroup, Synapses, second
from brian2.equations.equations import DIFFERENTIAL_EQUATION, SingleEquation

from ...errors import NetworkError
from ...events import checked_timed
from ...order.schedulers import TimedScheduler
from ..timed.engine import PICOSECONDS, ticks_of
from .event import delayed_synapses

_BOUNDARY = {"P", "resting", "received", "queued"}  # of timesteps, which continuous time has not


def continuous_objects(network, events, sample: int = 0, *, scheduler: TimedScheduler | None = None) -> list:
    """Brian 2 objects of a network and one sample, as `value_and_grad` and Brian 2 take them.

    Parameters
    ----------
    network : AsynchronousNetwork
    events : EventArchive
    sample : int
    scheduler : TimedScheduler, optional
        The network's own by default; it must not keep spikes waiting for a core.

    Returns
    -------
    list
        The group of all neurons (the last ``n_outputs`` are the outputs), the `SpikeGeneratorGroup` of the sample, and
        its `Synapses`: from the inputs, and between neurons, each with ``w`` and ``delay``, if there are any.

    Raises
    ------
    NetworkError
        Without a `TimedScheduler`, or with a service time: cores that are busy are no events of a neuron.
    """
    scheduler = network.scheduler if scheduler is None else scheduler
    if not isinstance(scheduler, TimedScheduler):
        raise NetworkError(f"{type(scheduler).__name__} knows no time; give scheduler=TimedScheduler(...).")
    if np.any(np.asarray(scheduler.service) > 0):
        raise NetworkError(
            "Spikes that wait for their core have no time of their own; give a scheduler without service."
        )
    events, model = checked_timed(events), network.model
    own = np.arange(events.offsets[sample], events.offsets[sample + 1])
    times = ticks_of(events)[own] / PICOSECONDS
    inputs = SpikeGeneratorGroup(network.n_inputs, np.asarray(events.units)[own], times * second, sorted=False)
    kept = [equation for equation in model.values() if equation.varname not in _BOUNDARY]
    rest = float(scheduler.refractory)
    if rest > 0:
        kept = [_held(e) if e.type == DIFFERENTIAL_EQUATION else e for e in kept]
    neurons = NeuronGroup(
        network.n_neurons, Equations(kept), threshold=model.threshold, reset=model.reset, method="exact",
        refractory=rest * second if rest > 0 else False,
    )  # fmt: skip
    for name, value in model.constants.items():
        setattr(neurons, name, value)
    table = delayed_synapses(network.connectivity, scheduler)
    from_input = table["source"] < network.n_inputs
    objects = [neurons, inputs]
    for source, chosen, first in ((inputs, from_input, 0), (neurons, ~from_input, network.n_inputs)):
        if chosen.any():
            synapses = Synapses(source, neurons, "w : 1", on_pre=model.on_pre)
            before = table["source"][chosen] - first
            synapses.connect(i=before, j=table["target"][chosen])
            axonal = np.broadcast_to(np.asarray(scheduler.axonal, float), network.n_neurons)
            away = axonal[before] if source is neurons else 0.0
            synapses.w, synapses.delay = table["w"][chosen], Quantity(table["travel"][chosen] + away, dim=second.dim)
            objects.append(synapses)
    return objects


def _held(equation) -> SingleEquation:
    """The equation with arrivals lost, and its variable at rest, while the neuron is refractory."""
    return SingleEquation(
        equation.type, equation.varname, equation.dim, expr=equation.expr, flags=["unless refractory"]
    )
