"""C++ standalone as a service: one build for any weights, samples one after another in a process, nothing left over."""

import numpy as np
import pytest
from brian2 import Network, NeuronGroup, SpikeGeneratorGroup, Synapses, ms, prefs
from gamma_brian import assert_same_run

from brian2grad.models import AsynchronousSpikingGamma, SpikingGammaNetwork, StepEvents
from brian2grad.models.gamma.brian import serve as gamma_serve
from brian2grad.models.hybrid.brian.run import run_brian2
from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.models.order.schedulers import FifoScheduler, MomentumScheduler, RandomScheduler
from brian2grad.models.service.workers import SamplesFailed

pytestmark = [pytest.mark.standalone, pytest.mark.long]


def gamma(seed, theta=0.2):
    return SpikingGammaNetwork((12, 9, 3), K=3, tau=8 * ms, dt=1 * ms, theta=theta, dtype="float64", seed=seed)


def events(n_samples=20, seed=0):
    return StepEvents.from_dense(np.random.default_rng(seed).random((n_samples, 40, 12)) < 0.2, 1e-3)


def test_one_build_for_any_weights_and_samples(monkeypatch):
    first = gamma(2).brian2(events(), device="cpp_standalone", record=True, processes=1)
    assert_same_run(gamma(2), events(), first)
    other = gamma(3).brian2(events(30, 1), device="cpp_standalone", record=True, processes=3)
    assert other.compilations == 0
    assert_same_run(gamma(3), events(30, 1), other)
    whole = gamma_serve.input_of
    wrong = lambda e, k: whole(e, k) if k != 4 else {"counts": ([10**6], [1.0])}  # noqa: E731
    monkeypatch.setattr(gamma_serve, "input_of", wrong)
    with pytest.warns(SamplesFailed, match="1 of 20 samples failed, sample 4: an event lies outside the input"):
        found = gamma(2).brian2(events(), device="cpp_standalone")
    assert list(found.failed) == [4]
    assert np.isnan(found.readout[4]).all()
    np.testing.assert_array_equal(np.delete(found.readout, 4, axis=0), np.delete(first.readout, 4, axis=0))


def objects(rng):
    generator = SpikeGeneratorGroup(4, [], [] * ms)
    hidden = NeuronGroup(
        5, "dv/dt = -v/tau : 1\ntau : second (constant)", threshold="v > 1", reset="v = 0", method="exact"
    )
    hidden.tau = rng.uniform(5, 15) * ms
    output = NeuronGroup(3, "dv/dt = -v/(20*ms) : 1", method="exact")
    into, out = (
        Synapses(generator, hidden, "w : 1", on_pre="v += w"),
        Synapses(hidden, output, "w : 1", on_pre="v += w"),
    )
    into.connect(), out.connect()
    into.w, out.w = rng.random(20), rng.normal(size=15)
    into.delay = rng.uniform(0, 8, 20) * ms
    return Network(generator, hidden, output, into, out), generator, hidden, output


def test_own_objects_with_other_weights_delays_and_time_constants():
    target, prefs.codegen.target = prefs.codegen.target, "numpy"
    try:
        compilations, rng = [], np.random.default_rng(0)
        for _ in range(2):
            network, generator, hidden, output = objects(rng)
            spikes = [(rng.integers(0, 4, 12), np.sort(rng.random(12)) * 0.05) for _ in range(6)]
            given = network, {generator.name: SampleSpikes.of(spikes)}, 60 * ms, 0.1 * ms
            runtime = run_brian2(*given, readout=(output, "v"))
            served = run_brian2(*given, readout=(output, "v"), device="cpp_standalone", processes=2)
            compilations.append(served.compilations)
            assert len(runtime.spikes[hidden.name].times) > 30
            for name in ("neurons", "times", "offsets"):
                ours, theirs = (getattr(run.spikes[hidden.name], name) for run in (served, runtime))
                np.testing.assert_array_equal(ours, theirs)
            np.testing.assert_array_equal(served.maxima[output.name], runtime.maxima[output.name])
    finally:
        prefs.codegen.target = target
    assert compilations[-1] == 0


CASES = {
    "RS": ({"scheduler": RandomScheduler(keyed=True), "forward_group": 1}, {}),
    "MS": ({"scheduler": MomentumScheduler(), "forward_group": 2, "once_per_timestep": False}, {"signed": True}),
    "FIFO": (
        {"scheduler": FifoScheduler(), "forward_group": 3, "idle": "start", "prioritised": False},
        {"buckets": "synapse", "memory": "continuous", "adaptation": 0.2},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_asynchronous_gamma_in_the_engines_order(case, random_network, random_events):
    order, form = CASES[case]
    samples = random_events(n_samples=4, n_steps=12)
    network = AsynchronousSpikingGamma.of(random_network((6, 5, 6, 3), gain=3.0, **form), **order)
    brian, native = network.brian2(samples, device="cpp_standalone"), network.run(samples)
    for name in ("sample", "timestep", "step", "neuron"):
        np.testing.assert_array_equal(getattr(brian.order, name), getattr(native.order, name))
    assert len(native.order) > 60
    np.testing.assert_array_equal(brian.forward_steps, native.counters["forward_steps"])
    np.testing.assert_array_equal(brian.spike_counts, native.spikes)
    np.testing.assert_allclose(brian.readout, network.forward(samples).readout, rtol=1e-11, atol=1e-12)
    counts = native.spikes.sum(axis=1)
    network.max_spikes = int(np.sort(native.counters["spikes"].max(axis=1))[1])  # some samples run away, some do not
    with pytest.warns(SamplesFailed, match="Runaway excitation"):
        cut = network.brian2(samples, device="cpp_standalone")
    assert cut.compilations == 0
    assert 0 < len(cut.failed) < 4
    kept = [k for k in range(4) if k not in cut.failed]
    np.testing.assert_array_equal(cut.spike_counts.sum(axis=1)[kept], counts[kept])
