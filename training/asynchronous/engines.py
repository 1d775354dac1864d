"""Asynchronous networks evaluated in Brian 2, clock-driven, and in continuous time."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np

from ...models.order.schedulers import TimedScheduler
from ...models.order.tape import SpikeList
from ..tasks import Task
from .evaluation import AsyncEvaluation, joined, part_of, stop_rule


def evaluate_async_brian2(network, task: Task, stop, device, seed, on_sample) -> tuple[AsyncEvaluation, int]:
    """Evaluate in Brian 2, one tick per forward step; the groups are those of the compiled engine."""
    run = network.brian2(
        task.events, device=device, stop=stop_rule(stop), progress=on_sample,
        **({} if seed is None else {"seed": seed}),
    )  # fmt: skip
    part = part_of(network, AsSeen(run, network), task.labels)
    return joined(network, task, [part], run.seconds), run.compilations


class AsSeen:
    """Outcome of a Brian 2 run with what `part_of` reads of an `AsynchronousResult`."""

    def __init__(self, run, network):
        self.spikes: SpikeList = run.spikes
        self.outputs, self.dt = run.outputs, float(network.dt)
        self._steps, self._network = run.forward_steps, network
        n_samples, n_steps = self._steps.shape
        row = self.spikes.sample * n_steps + self.spikes.timestep
        self.counters = {
            "spikes": np.bincount(row, minlength=n_samples * n_steps).reshape(n_samples, n_steps),
            "forward_steps": self._steps,
            "synaptic_operations": run.synaptic_operations,
        }
        for name in ("threshold_tests", "delivered", "queue_max"):
            self.counters[name] = np.full((n_samples, n_steps), np.nan)  # not counted there

    def latency(self, labels=None):
        """As in `AsynchronousResult`, from the spikes in processing order."""
        s, n = self.spikes, len(self._steps)
        output = s.neuron - (self._network.n_neurons - self._network.connectivity.n_outputs)
        hit = output >= 0 if labels is None else output == np.asarray(labels)[s.sample]
        found, at = np.unique(s.sample[hit], return_index=True)
        at = np.flatnonzero(hit)[at]
        ends = np.cumsum(self._steps, axis=1)
        step = (ends - self._steps)[s.sample, s.timestep] + s.step
        values = np.full((3, n), np.inf)
        place = s.sample * (ends.max(initial=0) + 1) + step  # ascending: spikes of the same forward step count too
        values[0, found] = np.searchsorted(place, place[at], "right") - np.searchsorted(s.sample, found)
        values[1, found] = step[at] + 1
        values[2, found] = (s.timestep[at] + 1) * self.dt * 1e3
        return SimpleNamespace(spikes=values[0], forward_steps=values[1], ms=values[2])


def continuous(network, archive, task: Task, scheduler: TimedScheduler, stop, engine="native", device="runtime"):
    """Evaluate the first samples of an archive in continuous time.

    Parameters
    ----------
    network : AsynchronousNetwork
    archive : EventArchive
        What `task` was made of.
    task : Task
    scheduler : TimedScheduler
    stop : {'drained', 'first-output'}
    engine : {'native', 'brian2'}
    device : str
        Of Brian 2.

    Returns
    -------
    AsyncEvaluation
    """
    archive = cropped(archive[: len(task)], task.events.n_steps * task.events.dt)
    began = time.perf_counter()
    if engine == "brian2":
        result = network.brian2(archive, mode="event", device=device, scheduler=scheduler, stop=stop)
    else:
        result = network.run(archive, scheduler=scheduler, stop=stop)
    n = len(task)
    seen = SimpleNamespace(
        spikes=SimpleNamespace(sample=result.samples, neuron=result.neurons), outputs=result.outputs,
        latency=result.latency,
        counters={
            "spikes": np.diff(result.offsets)[:, None], "synaptic_operations": result.synaptic_operations[:, None],
            "threshold_tests": result.threshold_tests[:, None],
            **{name: np.full((n, 1), np.nan) for name in ("forward_steps", "delivered", "queue_max")},
        },
    )  # fmt: skip
    return joined(network, task, [part_of(network, seen, task.labels)], time.perf_counter() - began)


def cropped(archive, duration: float) -> SimpleNamespace:
    """Events of an archive before `duration` seconds, with what a continuous run reads."""
    kept = np.asarray(archive.times) * (archive.time_unit_us * 1e-6) < duration - 1e-12
    offsets = np.concatenate([[0], np.cumsum(kept)])[np.asarray(archive.offsets)]
    return SimpleNamespace(
        units=archive.units[kept], times=archive.times[kept], offsets=offsets, n_units=archive.n_units,
        time_unit_us=archive.time_unit_us, labels=archive.labels,
    )  # fmt: skip
