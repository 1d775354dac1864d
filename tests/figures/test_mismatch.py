"""Stop rules read off a drained run are those of the engine; the study keeps what an interrupted run has computed."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, StepEvents
from brian2grad.models.order.schedulers import (
    FifoScheduler,
    LayerSynchronous,
    LifoScheduler,
    MomentumScheduler,
    PerCoreScheduler,
    RandomScheduler,
    TimedScheduler,
)
from brian2grad.models.order.stopping import drained, first_output, further_steps, spike_budget

FIGURES = Path(__file__).resolve().parents[2] / "figures"
N, T, N_IN, N_OUT = 12, 6, 20, 4


@pytest.fixture
def stops(monkeypatch):
    """The module that reads stop rules off a run."""
    monkeypatch.syspath_prepend(str(FIGURES))
    yield importlib.import_module("_stops")
    del sys.modules["_stops"]


@pytest.fixture(scope="module")
def network():
    return AsynchronousNetwork(
        [N_IN, 15, 12, N_OUT], tau_m=10 * ms, V_th=0.35, dt=5 * ms, forward_group=2, seed=2, dtype="float64"
    )


def binned():
    frames = np.random.default_rng(5).poisson(0.25, (N, T, N_IN)).astype(float)
    frames[3] = 0  # a sample without any spike
    return StepEvents.from_dense(frames, 5 * ms)


def archive():
    rng = np.random.default_rng(5)
    sizes = np.where(np.arange(N) == 3, 0, rng.integers(10, 60, N))
    times = np.concatenate([np.sort(rng.integers(0, 30000, n)) for n in sizes])
    units = rng.integers(0, N_IN, len(times))
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return SimpleNamespace(units=units, times=times, offsets=offsets, n_units=N_IN, time_unit_us=1)


def answers(outputs):
    total = outputs.sum(axis=1)
    return np.where(total.any(axis=1), total.argmax(axis=1), -1)


@pytest.mark.parametrize(
    "scheduler",
    [
        RandomScheduler(),
        MomentumScheduler(noise=0.2),
        FifoScheduler(),
        LifoScheduler(),
        LayerSynchronous(),
        PerCoreScheduler(3),
    ],
    ids=lambda s: s.name,
)
def test_a_stopped_run_is_the_beginning_of_the_drained_one(scheduler, stops, network):
    events = binned()
    spikes = stops.Spikes.of(network.run(events, scheduler=scheduler, record=True), N_OUT)
    first, n_decided = spikes.first_output(), 0
    cases = [(drained(), np.full(N, stops.NEVER)), (first_output(scope="sample"), first)]
    cases += [(further_steps(m, scope="sample"), stops.further(first, m)) for m in (1, 4, 1000)]
    cases += [(spike_budget(n, scope="sample"), spikes.spent(n)) for n in (1, 7, 30, 10**6)]
    for rule, stop in cases:
        run, found = network.run(events, scheduler=scheduler, stop=rule), spikes.stopped(stop)
        np.testing.assert_array_equal(found["predictions"], answers(run.outputs))
        np.testing.assert_array_equal(found["spikes"], run.counters["spikes"].sum(axis=1))
        np.testing.assert_array_equal(found["forward_steps"], run.counters["forward_steps"].sum(axis=1))
        n_decided += (found["predictions"] >= 0).sum()
    assert n_decided > 3 * N
    run, labels = network.run(events, scheduler=scheduler), np.arange(N) % N_OUT
    for stop, latency in ((first, run.latency()), (spikes.first_output(labels), run.latency(labels))):
        found, decided = spikes.stopped(stop), stop < stops.NEVER
        for name in ("spikes", "forward_steps", "ms"):
            np.testing.assert_allclose(found[name][decided], getattr(latency, name)[decided])
        assert np.isinf(latency.ms[~decided]).all()


def test_continuous_time(stops, network):
    events, scheduler = archive(), TimedScheduler(axonal=0.1 * ms, refractory=1 * ms)
    result = network.run(events, scheduler=scheduler)
    spikes = stops.Spikes.of(result, N_OUT)
    cases = [("drained", np.full(N, stops.NEVER)), ("first-output", spikes.first_output())]
    cases += [(spike_budget(n), spikes.spent(n)) for n in (1, 9, 40)]
    for rule, stop in cases:
        run, found = network.run(events, scheduler=scheduler, stop=rule), spikes.stopped(stop)
        np.testing.assert_array_equal(found["predictions"], answers(run.outputs))
        np.testing.assert_array_equal(found["spikes"], np.diff(run.offsets))
    decided = np.isfinite(result.latency().ms)
    assert 3 < decided.sum() < N
    found = spikes.stopped(spikes.first_output())
    np.testing.assert_allclose(found["ms"][decided], result.latency().ms[decided])


def test_answers_at_hand_after_some_time(stops, network):
    result = network.run(binned(), record=True)
    spikes = stops.Spikes.of(result, N_OUT)
    for steps in range(T + 1):
        found = spikes.stopped(spikes.until(5.0 * steps + 1))
        np.testing.assert_array_equal(found["predictions"], answers(result.outputs[:, :steps]))
        np.testing.assert_array_equal(found["spikes"], result.counters["spikes"][:, :steps].sum(axis=1))
