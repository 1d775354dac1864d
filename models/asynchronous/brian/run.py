"""Asynchronous networks natively in Brian 2: clock-driven (one tick per forward step) and event-driven.

Either runs with Brian 2's runtime targets and as generated C++ (``device='cpp_standalone'``), compiled once for all
samples. Arithmetic is double precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...devices import check_device
from ...errors import NetworkError
from ...events import bin_events
from ...order.keys import checked_key, checked_scheduler
from ...order.outcome import Outcome, SpikeList
from ...order.schedulers import TimedScheduler
from .clock import ClockDriven
from .common import execute, synapse_table

KEYS = ("shared", "rand")
MODES = ("clock", "event")


@dataclass(frozen=True, repr=False)
class BrianOutcome(Outcome):
    """What Brian 2 computed.

    Attributes
    ----------
    outputs, spike_list, counters, dt, n_neurons
        As of `Outcome`.
    device : str
    compilations : int
        C++ compilations (C++ standalone).
    seconds : float
        Time of the runs without building.
    """

    outputs: np.ndarray
    spike_list: SpikeList
    counters: dict[str, np.ndarray]
    dt: float
    n_neurons: int
    device: str
    compilations: int
    seconds: float

    @property
    def synaptic_operations(self) -> np.ndarray:
        """Weights that are not zero, once per delivered source, (n_samples, T)."""
        return self.counters["synaptic_operations"]

    @classmethod
    def of(cls, parts: list, n_steps: int, networks: list, **run) -> BrianOutcome:
        """Join samples, which ran in these networks; `parts` as of `ClockDriven.collect`."""
        n_neurons, n_outputs = networks[0].n_neurons, networks[0].connectivity.n_outputs
        columns = [np.concatenate([part[k] for part in parts]) for k in range(3)]
        sample = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
        counts = np.zeros((len(parts), n_steps, n_neurons), int)
        np.add.at(counts, (sample, columns[0], columns[2]), 1)
        fan_outs = {id(network): network.connectivity.fan_out() for network in networks}
        counters = {
            "spikes": counts.sum(axis=2),
            "forward_steps": np.array([part[3] for part in parts]),
            "synaptic_operations": np.array(
                [np.bincount(part[4][0], fan_outs[id(network)][part[4][1]], n_steps).astype(int)
                 for part, network in zip(parts, networks, strict=True)]
            ),
        }  # fmt: skip
        outputs = counts[..., n_neurons - n_outputs :]
        return cls(outputs, SpikeList(sample, *columns), counters, float(networks[0].dt), n_neurons, **run)


def run_async_brian2(
    network,
    events,
    mode="clock",
    device="runtime",
    *,
    keys="shared",
    scheduler=None,
    n_steps=None,
    sample_ids=None,
    progress=None,
    **options,
):
    """Run an asynchronous network in Brian 2, one sample after another.

    Parameters
    ----------
    network : AsynchronousNetwork
    events : EventArchive or StepEvents
        ``mode='event'`` needs the times of an archive.
    mode : {'clock', 'event'}
        Forward steps of a scheduler with a key, or the continuous time of a `TimedScheduler`.
    device : {'runtime', 'cpp_standalone'}
    keys : {'shared', 'rand'}
        ``'shared'`` draws the random numbers of the compiled engine, so that both choose the same groups in double
        precision (of a `RandomScheduler` only with ``keyed=True``: otherwise the engine draws the same distribution
        in another way). ``'rand'`` takes Brian 2's own.
    scheduler : Scheduler, optional
        Instead of the network's own.
    n_steps : int, optional
    sample_ids : (n_samples,) array of int, optional
    progress : callable, optional
        Called after each sample with the number done.
    **options
        ``stop``, ``forward_group``, ``training``, ``seed``, ``iteration`` as in `AsynchronousNetwork.run`
        (``mode='event'``: only ``stop``).

    Returns
    -------
    BrianOutcome or TimedResult

    Raises
    ------
    NetworkError
        If the network has something that Brian 2 does not run, or the excitation runs away.
    """
    if mode not in MODES:
        raise NetworkError(f"mode = '{mode}'; it is 'clock' or 'event'.")
    if device == "genn":
        raise NetworkError("Brian2GeNN knows no custom events: run asynchronous networks as 'cpp_standalone'.")
    check_device(device)
    scheduler = network.scheduler if scheduler is None else checked_scheduler(scheduler)
    if mode == "event":
        from .event import run_event_driven

        return run_event_driven(network, events, device, scheduler=scheduler, progress=progress, **options)
    check_supported(network, scheduler, keys)
    steps = bin_events(events, network.dt, n_steps)
    if steps.n_units != network.n_inputs:
        raise NetworkError(f"The events have {steps.n_units} units, the network {network.n_inputs} input units.")
    ids = np.arange(steps.n_samples) if sample_ids is None else np.asarray(sample_ids)
    samples = [
        (network, {"sample": int(ids[k]), "frame": steps.dense(k), "scheduler": scheduler, **options})
        for k in range(steps.n_samples)
    ]
    return run_samples(samples, steps.n_steps, device, scheduler=scheduler, keys=keys, progress=progress)


def run_samples(samples, n_steps, device="runtime", *, scheduler=None, keys="shared", progress=None) -> BrianOutcome:
    """Run samples that may each have a network of their own, with one set of Brian 2 objects (one compilation).

    Parameters
    ----------
    samples : list of (AsynchronousNetwork, dict)
        The networks share connections, equations and the kind of scheduler; the dictionary holds arguments of
        `ClockDriven.values`.
    n_steps : int
    device, scheduler, keys, progress
        As in `run_async_brian2`.
    """
    first = samples[0][0]
    scheduler = first.scheduler if scheduler is None else scheduler
    parts, seconds, compilations = execute(
        lambda: ClockDriven(first, n_steps, scheduler, keys),
        samples,
        device,
        _identity(first, scheduler, n_steps, keys),
        progress,
    )
    run = {"device": device, "seconds": seconds, "compilations": compilations}
    return BrianOutcome.of(parts, n_steps, [network for network, _ in samples], **run)


def check_supported(network, scheduler, keys) -> None:
    """Refuse what has no counterpart in Brian 2 code, in one line."""
    if isinstance(scheduler, TimedScheduler):
        raise NetworkError("A TimedScheduler runs in continuous time: use mode='event'.")
    if scheduler.key is None:
        raise NetworkError(f"{scheduler.name} chooses in Python; Brian 2 code needs its key as text, see KeyScheduler.")
    checked_key(scheduler)
    if network.compat is not None:
        raise NetworkError("compat='asynctorch' couples the samples of a batch; Brian 2 runs one by one: compat=None.")
    if keys not in KEYS:
        raise NetworkError(f"keys = '{keys}'; they are 'shared' with the compiled engine or 'rand'.")


def _identity(network, scheduler, n_steps, keys) -> str:
    """Text on which the generated code depends."""
    model = network.model
    parts = [
        n_steps,
        keys,
        scheduler.key,
        sorted(scheduler.numbers()),
        network.prioritised,
        bool(np.any(network.sigma)),
    ]
    parts += [network.connectivity.sizes, len(synapse_table(network.connectivity)[0])]
    parts += [str(model.model), model.threshold, model.reset, model.on_pre, model.boundary]
    return "clock-driven " + " ".join(map(repr, parts))
