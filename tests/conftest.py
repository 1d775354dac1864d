"""Shared fixtures: a fresh Brian 2 for every test, small random events and networks, and real recordings."""

import gc
import logging
import os
from pathlib import Path

import brian2
import numpy as np
import pytest
from brian2 import defaultclock, ms
from brian2.devices.device import get_device, reset_device, runtime_device

from brian2grad.models import SpikingGammaNetwork, StepEvents

logging.getLogger("brian2").setLevel(logging.WARNING)  # else a failure report shows all generated code


def pytest_configure(config):
    """Half of the default suite is compiling, half of which is optimising; long tests are of what users run."""
    if config.option.markexpr in config.getini("addopts"):
        os.environ.setdefault("BRIAN2GRAD_OPTIMISE", "g")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Workers of ``-n auto``: the cores that this process may use, which are fewer than the machine's under taskset."""
    return min(len(os.sched_getaffinity(0)), 8)


@pytest.fixture(autouse=True, scope="module")
def short_collections():
    """Brian 2 collects garbage in every run: what is there when a file begins is not looked at again each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def fresh_brian2():
    """NumPy code generation, the runtime device, the default clock's own step, a fixed seed: before and after."""

    def reset():
        if get_device() is not runtime_device:
            reset_device()
        brian2.prefs["codegen.target"] = "numpy"
        defaultclock.dt = 0.1 * ms
        brian2.start_scope()
        brian2.seed(1)

    reset()
    yield
    reset()


@pytest.fixture
def random_events():
    """Return a function that makes small random `StepEvents`, with several events of a unit in some steps."""

    def make(n_samples=3, n_steps=20, n_units=6, dt=10e-3, density=0.25, most=3, seed=0):
        rng = np.random.default_rng(seed)
        shape = (n_samples, n_steps, n_units)
        return StepEvents.from_dense(rng.integers(1, most + 1, shape) * (rng.random(shape) < density), dt)

    return make


@pytest.fixture
def random_network():
    """Return a function that makes a small double-precision network which spikes on `random_events`."""

    def make(sizes=(6, 5, 3), *, gain=2.0, threads=1, **options):
        options = {"K": 3, "tau": 30 * ms, "theta": 0.3, "dt": 10 * ms, "dtype": "float64", "seed": 4} | options
        network = SpikingGammaNetwork(sizes, threads=threads, **options)
        rng = np.random.default_rng(11)
        for layer in range(1, len(sizes)):
            own = {name: network.parameters.get(f"layer{layer}.{name}") for name in ("w", "b", "tau")}
            own["w"] *= gain
            if own["b"] is not None:
                own["b"][:] = rng.normal(scale=0.2, size=own["b"].shape)
            if own["tau"] is not None:
                own["tau"][1:] *= rng.uniform(0.8, 1.3, size=own["tau"].shape)[1:]  # tau_0 is shared by all layers
        return network

    return make


@pytest.fixture(scope="session")
def recordings():
    """Folder of the real recordings, from the variable BRIAN2GRAD_DATA."""
    folder = os.environ.get("BRIAN2GRAD_DATA")
    if not folder:
        pytest.skip("BRIAN2GRAD_DATA is not set: it names the folder of the real recordings (*.npz)")
    if not Path(folder).is_dir():
        pytest.skip(f"BRIAN2GRAD_DATA={folder} is no folder")
    return Path(folder)
