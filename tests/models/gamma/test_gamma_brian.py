"""A SpikingGamma network gives the same spikes in the compiled engine and in Brian 2."""

import itertools

import numpy as np
import pytest
from brian2 import defaultclock, ms
from gamma_brian import assert_same_run, assert_same_spikes

from brian2grad.models import EngineError, NetworkError, SpikingGammaNetwork, bin_events
from brian2grad.models.gamma.brian.run import BrianGamma

OPTIONS = list(itertools.product(("paper", "continuous"), ("neuron", "synapse"), (0.0, 0.2), (1, 2)))
# Kinds that the default run of other tests compiles too.
DEFAULT = {("paper", "neuron", 0.0), ("continuous", "synapse", 0.2)}
COMBINATIONS = [
    pytest.param(
        {"memory": memory, "buckets": buckets, "adaptation": adaptation},
        (6, *[5, 4][:hidden], 3),
        id=f"{memory}-{buckets}-{'adaptive' if adaptation else 'fixed'}-{hidden}",
        marks=() if (memory, buckets, adaptation) in DEFAULT else pytest.mark.long,
    )
    for memory, buckets, adaptation, hidden in OPTIONS
]
GRADED = [
    pytest.param({"multiple": True, "signed": True, "memory": "continuous", "adaptation": 0.2}, id="multiple-signed"),
    pytest.param({"multiple": True, "adaptation": 0.2}, id="multiple", marks=pytest.mark.long),
    pytest.param({"signed": True, "buckets": "synapse"}, id="signed", marks=pytest.mark.long),
]
TAU = [20, 35, 27] * ms


# -- runtime mode ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "sizes"), COMBINATIONS)
def test_runtime_equals_native(options, sizes, random_network, random_events):
    network = random_network(sizes, tau=TAU, gain=3.0, **options)
    events = random_events(n_samples=3, n_steps=25)
    assert events.values.max() > 1  # several events of a unit in one step
    run = network.brian2(events, record=True)
    assert run.device == "runtime"
    assert_same_run(network, events, run)


@pytest.mark.parametrize("options", GRADED)
def test_graded_and_signed_spikes(options, random_network, random_events):
    network = random_network((6, 5, 4, 3), tau=TAU, gain=4.0, **options)
    events = random_events(n_samples=2, n_steps=25)
    native = assert_same_run(network, events, network.brian2(events, record=True))
    values = np.concatenate([layer[2] for sample in native.recorded for layer in sample])
    if options.get("signed"):
        assert (values < 0).any()
    if options.get("multiple"):
        assert len(np.unique(np.round(np.abs(values), 9))) > 2


def test_trained_time_constants(random_network, random_events):
    network = random_network((6, 5, 4, 3), tau=TAU, gain=3.0, train_tau=True)
    assert not np.array_equal(network.parameters["layer1.tau"], network.parameters["layer2.tau"])
    events = random_events(n_samples=2)
    assert_same_run(network, events, network.brian2(events))


def test_buckets_follow_the_recursion(random_network, random_events):
    """The recorded buckets of the first layer, recomputed from the input."""
    network, events = random_network((6, 5, 3), tau=TAU, gain=3.0), random_events(n_samples=2)
    run = network.brian2(events, record=True)
    alpha = np.exp(-10e-3 / np.array(TAU))
    for sample in range(2):
        z = np.zeros((3, 5))
        for t, counts in enumerate(events.dense(sample)):
            z = alpha[:, None] * z + (1 - alpha[:, None]) * np.vstack([z[:1] * 0, z[:-1]])
            z[0] += counts @ network.parameters["layer1.w"]
            np.testing.assert_allclose(run.buckets[0][sample, t], z, rtol=1e-12, atol=1e-14)
    assert run.buckets[1].shape == (2, 20, 3, 3)


def test_layers_follow_each_other_within_a_step(random_events):
    """An input event passes all layers in the step in which it arrives."""
    network = SpikingGammaNetwork((1, 1, 1, 1), K=3, theta=0.5, dtype="float64", threads=1)
    for name, value in network.parameters.items():
        value[:] = 4 if name.endswith("w") else 1 if name.endswith("v") else 0
    events = random_events(n_samples=1, n_units=1, n_steps=6, density=0.4, seed=3)
    first = int(np.flatnonzero(events.dense(0)[:, 0])[0])
    assert first > 0
    run = network.brian2(events)
    assert [layer[0][0] for layer in run.spikes[0]] == [first, first]
    assert run.readout[0, first, 0] > 0
    assert (run.readout[0, :first] == 0).all()


def test_samples_do_not_influence_each_other(random_network, random_events):
    network, events = random_network(gain=3.0), random_events(n_samples=4)
    whole = network.brian2(events)
    alone = network.brian2(events.take([2]))
    np.testing.assert_array_equal(whole.readout[2], alone.readout[0])


def test_archive_is_binned_and_time_steps_may_change(random_network):
    from types import SimpleNamespace

    rng = np.random.default_rng(0)
    archive = SimpleNamespace(
        units=rng.integers(0, 6, 120).astype(np.uint16),
        times=np.concatenate([np.sort(rng.integers(0, 180, 60)) for _ in range(2)]),
        offsets=np.array([0, 60, 120]),
        n_units=6,
        time_unit_us=1000,
    )
    network = random_network(gain=3.0, memory="continuous", buckets="synapse", adaptation=0.2)
    for dt in (10 * ms, 4 * ms):
        network.dt = dt
        done = []
        run = network.brian2(archive, n_steps=round(180 * ms / dt), progress=done.append)
        assert done == [1, 2]
        assert_same_run(network, bin_events(archive, dt, round(180 * ms / dt)), run, fewest=20)


def test_users_clock_and_preferences_are_kept(random_network, random_events):
    from brian2 import prefs

    defaultclock.dt = 0.25 * ms
    flags = prefs["codegen.cpp.extra_compile_args_gcc"]
    random_network().brian2(random_events(n_samples=1))
    assert float(defaultclock.dt) == 0.25e-3
    assert prefs["codegen.cpp.extra_compile_args_gcc"] == flags


def test_the_network_is_made_of_ordinary_brian2_objects(random_network):
    built = BrianGamma(random_network((6, 5, 4, 3)), n_steps=5, record=True)
    kinds = sorted({type(obj).__name__ for obj in built.network.objects})
    assert {"NeuronGroup", "Synapses", "SpikeMonitor", "StateMonitor"} <= set(kinds)
    assert [len(synapses) for synapses in built.synapses] == [30, 20, 12]
    assert "dz1/dt" in str(built.layers[0].equations)


def test_unknown_devices_and_wrong_events_are_refused(random_network, random_events):
    with pytest.raises(NetworkError, match="device='abacus' is unknown; use one of runtime, cpp_standalone, genn"):
        random_network().brian2(random_events(), device="abacus")
    with pytest.raises(NetworkError, match="The events have 7 units, the network 6 inputs"):
        random_network().brian2(random_events(n_units=7))


def test_a_missing_compiler_is_one_clear_line(random_network, random_events, monkeypatch):
    from brian2grad.models.native import build

    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CXX", raising=False)
    build.compiler.cache_clear()
    try:
        with pytest.raises(EngineError, match=r"No C\+\+ compiler found .*Install one") as caught:
            random_network().brian2(random_events(), device="cpp_standalone")
        assert "\n" not in str(caught.value)
    finally:
        build.compiler.cache_clear()


# -- C++ standalone -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def standalone_run():
    """One compiled project for all tests of this session: network, events and its C++ run."""
    from brian2.devices.device import reset_device

    network = SpikingGammaNetwork(
        (6, 5, 4, 3), K=3, tau=TAU, theta=0.3, memory="continuous", adaptation=0.2, dtype="float64", threads=1, seed=4
    )
    rng = np.random.default_rng(6)
    for name in ("layer1.w", "layer2.w"):
        network.parameters[name] *= 3
    counts = rng.integers(1, 4, (5 * 25, 6)) * (rng.random((5 * 25, 6)) < 0.25)
    from brian2grad.models import StepEvents

    ptr = np.concatenate([[0], np.cumsum((counts > 0).sum(axis=1))])
    units, values = np.nonzero(counts)[1].astype(np.uint16), counts[counts > 0].astype(np.uint8)
    events = StepEvents(ptr, units, values, 6, 25, 5, 10e-3)
    try:
        return network, events, network.brian2(events, device="cpp_standalone", record=True)
    finally:
        reset_device()


@pytest.mark.long
@pytest.mark.standalone
def test_standalone_equals_native(standalone_run):
    network, events, run = standalone_run
    assert run.device == "cpp_standalone"
    assert run.compilations <= 1  # none where an earlier run has left the program
    assert_same_run(network, events, run)


@pytest.mark.long
@pytest.mark.standalone
def test_standalone_equals_runtime(standalone_run):
    network, events, run = standalone_run
    runtime = network.brian2(events, record=True)
    np.testing.assert_allclose(run.readout, runtime.readout, rtol=1e-13, atol=1e-14)
    for layer in range(3):
        np.testing.assert_allclose(run.buckets[layer], runtime.buckets[layer], rtol=1e-12, atol=1e-14)


@pytest.mark.long
@pytest.mark.standalone
def test_standalone_leaves_brian2_as_it_was(standalone_run):
    from brian2.devices.device import get_device, runtime_device

    assert standalone_run is not None
    assert get_device() is runtime_device


# -- real recordings ------------------------------------------------------------------------------------------------

N_RECORDINGS, N_STEPS = 200, 32
REAL = [
    pytest.param(
        memory, adaptation, hidden, id=f"{memory}-{'adaptive' if adaptation else 'fixed'}-{len(hidden)}-hidden"
    )
    for memory, adaptation, hidden in itertools.product(("paper", "continuous"), (0.0, 0.1), ((64,), (48, 32)))
]


@pytest.mark.long
@pytest.mark.data
@pytest.mark.standalone
@pytest.mark.parametrize(("memory", "adaptation", "hidden"), REAL)
def test_all_spikes_of_real_recordings(memory, adaptation, hidden, recordings):
    """200 recordings of an event camera, 32 steps of 10 ms, through Brian 2's generated C++."""
    from brian2grad.training.data import read_archive

    archive = read_archive(recordings / "nmnist8_validation.npz")
    events = bin_events(archive, 10 * ms, N_STEPS)
    events = events.take(np.linspace(0, len(events) - 1, N_RECORDINGS).astype(int))
    network = SpikingGammaNetwork(
        (events.n_units, *hidden, 8), memory=memory, adaptation=adaptation, dtype="float64", seed=1
    )
    network.calibrate(events.take(slice(0, 32)))
    run = network.brian2(events, device="cpp_standalone")
    assert run.compilations <= 1  # none where an earlier run has left the program
    native = network.forward(events, record=True)
    total = assert_same_spikes(native, run)
    assert total > N_RECORDINGS * sum(hidden) / 2
    np.testing.assert_allclose(run.readout, native.readout, rtol=1e-9, atol=1e-10)
    np.testing.assert_array_equal(network.scores(run.readout).argmax(axis=1), network.predict(events))
