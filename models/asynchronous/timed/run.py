"""Asynchronous networks in continuous time: events as they were recorded, spikes as long on their way as they
are."""

from __future__ import annotations

import numpy as np

from ...errors import NetworkError
from ...events import TimedEvents, checked_timed
from ...order.stopping import Stop, as_stop
from ...order.tape import TimedResult
from .engine import TimedEngine, ticks_of


def checked_continuous(network, events, stop) -> tuple[TimedEvents, Stop]:
    """Events and stop rule of a run in continuous time, or one error about what it does not know."""
    events = checked_timed(events)
    if events.n_units != network.n_inputs:
        raise NetworkError(f"The events have {events.n_units} units, the network {network.n_inputs} input units.")
    if np.any(network.sigma):
        raise NetworkError("A synchronisation threshold counts spikes per timestep; continuous time has none.")
    stop = as_stop(stop)
    if stop.rule == "step_budget" or (stop.rule == "after_output" and stop.value):
        raise NetworkError("Continuous time has no forward steps: stop at 'drained', 'first-output' or spike_budget.")
    return events, stop


def run_timed(network, events, scheduler, stop="drained", dtype=None) -> TimedResult:
    """Run samples in continuous time; `AsynchronousNetwork.run` with a `TimedScheduler` does the same.

    Parameters
    ----------
    network : AsynchronousNetwork
        Its timestep, forward group, dropouts and seed have no meaning here.
    events : TimedEvents
    scheduler : TimedScheduler
    stop : Stop or str
        Drained, first output, or a spike budget, per sample.
    dtype : {'float32', 'float64'}, optional

    Returns
    -------
    TimedResult
    """
    events, stop = checked_continuous(network, events, stop)
    dtype = dtype or network.dtype
    made_of, engine = network._engines.get("timed", ((), None))
    wanted = (scheduler, network.connectivity, dtype)
    if len(made_of) != 3 or any(a is not b for a, b in zip(made_of, wanted, strict=True)):
        engine = TimedEngine(network.connectivity, network.model, scheduler, dtype, network.threads)
        network._engines["timed"] = wanted, engine
    sizes, times, neurons, synaptic, tests = engine.run(
        events.offsets,
        events.units,
        _checked_order(ticks_of(events), events.offsets),
        float(network.max_rate),
        stop.rule == "after_output",
        stop.value if stop.rule == "spike_budget" else 0,
    )
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    n_outputs = network.connectivity.n_outputs
    return TimedResult(times, neurons, offsets, synaptic, tests, network.n_neurons, n_outputs)


def _checked_order(ticks: np.ndarray, offsets) -> np.ndarray:
    back = np.diff(ticks) < 0
    starts = np.asarray(offsets)[1:-1]
    back[starts[(starts > 0) & (starts < len(ticks))] - 1] = False  # from one sample to the next
    if back.any():
        raise NetworkError(
            f"Event {int(np.flatnonzero(back)[0]) + 1} is earlier than the one before; sort each sample."
        )
    return ticks
