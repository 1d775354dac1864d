"""A SpikingGamma network as a real Brian 2 network, in runtime mode and as generated C++."""

from __future__ import annotations

import contextlib
import time

import numpy as np
from brian2 import defaultclock, second

from ...devices import check_device, exact_arithmetic
from ...errors import NetworkError
from ...events import StepEvents, bin_events
from .genn import run_genn
from .objects import BrianGamma, collect
from .outcome import BrianRun
from .serve import serve_gamma


def run_brian2(
    network, events, device="runtime", *, n_steps=None, record=False, progress=None, processes=None
) -> BrianRun:
    """Run a SpikingGamma network in Brian 2, one sample after another.

    Parameters
    ----------
    network : SpikingGammaNetwork
    events : EventArchive or StepEvents
    device : {'runtime', 'cpp_standalone', 'genn'}
        ``'cpp_standalone'`` compiles once per architecture and runs many samples per process; ``'genn'`` needs
        Brian2GeNN and GeNN.
    n_steps : int, optional
    record : bool
        Also return buckets, signals and estimates of every step.
    progress : callable, optional
        Called after each sample with the number done.
    processes : int, optional
        Of C++ standalone; by default one per core.

    Returns
    -------
    BrianRun
        In C++ standalone a sample that fails is in its ``failed``, and not fatal for the others.

    Raises
    ------
    EngineError
        If the device is not available here, or every sample failed.
    NetworkError
        If the device is unknown or the events do not fit the network.
    """
    if device == "genn" and not network.plan.chain:
        raise NetworkError("GeNN runs chains of dense layers; take device='runtime' or 'cpp_standalone'.")
    check_device(device)
    events = bin_events(events, network.dt, n_steps)
    if events.n_units != network.sizes[0]:
        raise NetworkError(
            f"The events have {events.n_units} units, the network {network.sizes[0]} inputs; they must agree."
        )
    if device == "genn":
        return run_genn(network, events, record=record, progress=progress)
    run = _empty(network, events, device, record)
    with kept_clock():
        if device == "runtime":
            _runtime(network, events, run, record, progress or (lambda done: None))
        else:
            serve_gamma(network, events, run, record, processes, progress)
    return run


def _empty(network, events: StepEvents, device: str, record: bool) -> BrianRun:
    """A run whose samples are still to be filled in."""
    n, T, hidden = events.n_samples, events.n_steps, len(network.sizes) - 2
    run = BrianRun(device, readout=np.full((n, T, network.sizes[-1]), np.nan))
    nothing = (np.zeros(0, int), np.zeros(0, int))
    run.spikes, run.counts = [[nothing] * hidden for _ in range(n)], [[0] * hidden for _ in range(n)]
    if record:
        run.buckets = [np.full((n, T, network.K, size), np.nan) for size in network.sizes[1:]]
        run.signals, run.estimates = (
            [np.full((n, T, size), np.nan) for size in network.sizes[1:-1]] for _ in ("signals", "estimates")
        )
    return run


def _runtime(network, events: StepEvents, run: BrianRun, record, progress) -> None:
    with exact_arithmetic():
        built = BrianGamma(network, events.n_steps, record)
        built.network.store()
        for sample in range(events.n_samples):
            built.network.restore()
            built.set_input(events, sample)
            began = time.perf_counter()
            built.run()
            run.seconds += time.perf_counter() - began
            collect(network, built.models, built.recorded, run, sample, record)
            progress(sample + 1)


@contextlib.contextmanager
def kept_clock():
    """Give the user's default clock its step back."""
    old = float(defaultclock.dt)
    try:
        yield
    finally:
        defaultclock.dt = old * second
