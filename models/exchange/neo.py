"""Spikes of a run as `neo.SpikeTrain` objects, which elephant and others work on."""

from __future__ import annotations

import importlib.util

import numpy as np

from ..errors import NetworkError
from ..hybrid.samples import SampleSpikes
from ..order.tape import SpikeList


def to_neo(spikes, n_neurons: int, dt=None, *, duration, sample: int = 0, name: str = "spikes") -> list:
    """Spike trains of the neurons of one sample.

    Parameters
    ----------
    spikes : SpikeList, SampleSpikes, (steps, units) or SpikeMonitor
        Of an asynchronous run; of a network of your own objects; of a hidden layer in a recorded run, such as
        ``network.brian2(events).spikes[sample][layer]`` or ``forward(events, record=True).recorded[sample][layer]``;
        or of any Brian 2 run.
    n_neurons : int
    dt : Quantity, second, optional
        Time step, where spikes are given by steps: a spike is at the beginning of its step.
    duration : Quantity, second
        Of the sample.
    sample : int
        Of a run that holds several.
    name : str
        Of the trains; neuron and sample are in their ``annotations``.

    Returns
    -------
    list of neo.SpikeTrain
        One per neuron, silent ones included, in seconds.

    Raises
    ------
    NetworkError
        If neo is missing, steps come without `dt`, or a neuron or a time lies outside.
    """
    if importlib.util.find_spec("neo") is None:
        raise NetworkError("The package neo is not installed: pip install 'brian2grad[neo]'.")
    from neo import SpikeTrain

    neurons, times = _flat(spikes, dt, sample)
    end = float(duration)
    wrong = (neurons < 0) | (neurons >= n_neurons) | ~((times >= 0) & (times <= end))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise NetworkError(
            f"Spike {at} is of neuron {neurons[at]} at {times[at]:g} s; expected neurons 0 to {n_neurons - 1} and "
            f"times from 0 to {end:g} s."
        )
    order = np.lexsort((times, neurons))
    ends = np.searchsorted(neurons[order], np.arange(n_neurons + 1))
    return [
        SpikeTrain(times[order[a:b]], units="s", t_start=0.0, t_stop=end, name=f"{name} {k}", neuron=k, sample=sample)
        for k, (a, b) in enumerate(zip(ends[:-1], ends[1:], strict=True))
    ]


def _flat(spikes, dt, sample: int) -> tuple[np.ndarray, np.ndarray]:
    """Neurons and times in seconds."""
    if isinstance(spikes, SampleSpikes):
        return spikes[sample]
    if hasattr(spikes, "t") and hasattr(spikes, "i"):  # a monitor of Brian 2
        return np.array(spikes.i[:], int), np.array(spikes.t[:], float)
    if dt is None:
        raise NetworkError("These spikes are given by time steps: pass dt, such as dt=network.dt.")
    if isinstance(spikes, SpikeList):
        own = np.flatnonzero(spikes.sample == sample)
        steps, neurons = spikes.timestep[own], spikes.neuron[own]
    else:
        steps, neurons = spikes[0], spikes[1]
    return np.asarray(neurons, int), np.asarray(steps) * float(dt)
