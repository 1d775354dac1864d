"""Gradient through the spikes of Brian 2's own clock-driven run, with the error that its time step makes."""

from __future__ import annotations

import warnings

import numpy as np
from brian2 import Network, NeuronGroup, SpikeMonitor, second

from ...models.hybrid.oracle import Tape, simulate
from ..errors import TrainingError


def brian2_spikes(network, duration: float, namespace: dict, finer: int = 1) -> dict:
    """Spikes of every group in a run of Brian 2, which leaves the objects as they were.

    Parameters
    ----------
    network : Network or list
    duration : float
        Seconds.
    namespace : dict
    finer : int
        Divides every time step.

    Returns
    -------
    dict of str to (neurons, times)
    """
    own = isinstance(network, Network)
    objects = list(network.objects if own else network)
    groups = [o for o in objects if isinstance(o, NeuronGroup) and "spike" in o.events]
    monitors = {group.name: SpikeMonitor(group) for group in groups}
    runner = Network(*objects, *monitors.values())
    inside = [o for item in runner.objects for o in (item, *item.contained_objects)]
    before = [(o, o._network) for o in inside]
    for item in inside:
        item._network = None
    runner.store("before the replay")
    try:
        for clock in {id(o.clock): o.clock for o in inside if getattr(o, "clock", None) is not None}.values():
            clock.dt = clock.dt / finer
        runner.run(duration * second, namespace=namespace)
        return {name: (np.array(m.i, int), np.array(m.t / second)) for name, m in monitors.items()}
    finally:
        runner.restore("before the replay")
        for item, was in before:
            item._network = was


def replay(problem, spikes: dict) -> tuple[Tape, dict]:
    """Tape and gradients of a run whose spikes are given."""
    tape = simulate(problem.network, problem.duration, spikes=spikes)
    return tape, problem.backward(tape)


def replayed(problem, network, namespace: dict) -> tuple[float, list[np.ndarray], float]:
    """Loss and gradient through the spikes that Brian 2 finds on its time grid, and their expected error.

    The error is first order in the time step; it is estimated from a second run at half of it.

    Returns
    -------
    value : float
    gradients : list of array
    error : float
        Expected relative error of the gradient; ``inf`` if the spikes at half the step are others.
    """
    found = []
    for finer in (1, 2):
        spikes = brian2_spikes(network, problem.duration, namespace, finer)
        tape, gradients = replay(problem, spikes)
        found.append((tape, [gradients[key] for key in problem.keys]))
    (tape, coarse), (other, fine) = found
    if sorted(tape.pattern()) != sorted(other.pattern()):
        return problem.value_of(tape), coarse, np.inf
    errors = [2 * np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(coarse, fine, strict=True) if b.any()]
    return problem.value_of(tape), coarse, max(errors, default=0.0)


def warn_of(error: float) -> None:
    """Say what the time step costs."""
    text = f"about {error:.0%}" if np.isfinite(error) else "unknown, as other spikes come at half the time step"
    warnings.warn(f"Gradient through spikes on Brian 2's time grid: expected error {text}.", stacklevel=3)


def checked_located(located) -> None:
    """Refuse anything but a truth value."""
    if not isinstance(located, bool):
        raise TrainingError(f"located = {located!r}; give True, or False to replay Brian 2's clock-driven spikes.")
