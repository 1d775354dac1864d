"""A Brian 2 project of the user's own that is under way is not touched by the networks' Brian 2 runs."""

import brian2
import numpy as np
import pytest
from brian2 import Network, NeuronGroup, StateMonitor, defaultclock, ms, set_device
from brian2.devices.device import get_device, reset_device

from brian2grad.models import (
    AsynchronousNetwork,
    AsynchronousSpikingGamma,
    NetworkError,
    SpikingGammaNetwork,
    StepEvents,
)

EVENTS = StepEvents.from_dense(np.ones((1, 3, 2)), 1e-3)


def runs():
    """Every way into Brian 2, by device."""
    gamma, mixed = (kind([2, 3, 2], dt=1 * ms, K=2) for kind in (SpikingGammaNetwork, AsynchronousSpikingGamma))
    chain = AsynchronousNetwork([2, 3, 2], dt=1 * ms)
    yield "runtime", lambda: mixed.brian2(EVENTS)
    for device in ("runtime", "cpp_standalone"):
        yield device, lambda device=device: gamma.brian2(EVENTS, device=device)
        for mode in ("clock", "event"):
            yield device, lambda device=device, mode=mode: chain.brian2(EVENTS, mode=mode, device=device)


def project():
    group = NeuronGroup(3, "dv/dt = -v/(10*ms) : 1", method="exact", name="mine")
    group.v = "i + 1"
    monitor = StateMonitor(group, "v", record=True)
    return group, monitor, Network(group, monitor)


def assert_refused(run):
    with pytest.raises(
        NetworkError, match=r"one device per process and .*, which this run would destroy: .*reinit\(\)"
    ):
        run()


@pytest.mark.standalone
@pytest.mark.parametrize("built", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_standalone_project_under_way_is_refused_and_stays_whole(tmp_path, built):
    set_device("cpp_standalone", directory=str(tmp_path / "mine"), build_on_run=False)
    active = get_device()
    defaultclock.dt = 0.5 * ms
    group, monitor, network = project()
    for _, run in runs():
        assert_refused(run)
    network.run(5 * ms)
    queue = list(active.main_queue)
    for _, run in runs():
        assert_refused(run)
    assert get_device() is active
    assert active.main_queue == queue
    if built:
        active.build(directory=str(tmp_path / "mine"), compile=True, run=True)
        for _, run in runs():  # its results are read from the device
            assert_refused(run)
        expected = np.arange(1, 4)[:, None] * np.exp(-np.arange(10) * 0.05)
        np.testing.assert_allclose(monitor.v[:], expected, rtol=1e-12)
    active.reinit()
    reset_device()
    assert len(SpikingGammaNetwork([2, 3, 2], dt=1 * ms, K=2).brian2(EVENTS).spikes) == 1


def test_a_project_put_aside_is_refused_only_where_it_would_be_lost():
    """The user went back to the runtime device; the project still waits in the other one."""
    set_device("cpp_standalone", build_on_run=False)
    waiting = get_device()
    group, monitor, network = project()
    network.run(1 * ms)
    reset_device()
    queue = list(waiting.main_queue)
    try:
        for device, run in runs():
            if device == "cpp_standalone":
                assert_refused(run)
        SpikingGammaNetwork([2, 3, 2], dt=1 * ms, K=2).brian2(EVENTS)
        assert waiting.main_queue == queue
        assert network in waiting.networks
    finally:
        waiting.reinit()


def test_a_device_that_was_only_chosen_is_named():
    set_device("cpp_standalone", build_on_run=False)
    try:
        assert_refused(next(runs())[1])
    finally:
        brian2.device.reinit()
        reset_device()
