"""Networks of any structure: engine, gradients and Brian 2 against the same network written densely."""

import copy
import pickle

import numpy as np
import pytest
from brian2 import ms
from gamma_brian import assert_same_run, assert_same_spikes
from gamma_dense import assert_gradient_is_differences

from brian2grad.models import NetworkError, SpikingGammaNetwork
from brian2grad.models.asynchronous_gamma.network import AsynchronousSpikingGamma
from brian2grad.models.events import StepEvents, bin_events
from brian2grad.models.gamma.stream import GammaStream
from brian2grad.models.topology.layers import Conv2d, Dense, Pool2d

TAU = [20, 35, 27] * ms
INPUT, STEPS = (2, 7, 8), 14
CONVOLVED = "5c3p1-p2-19c2-6-3"  # channels below and above a vector of lanes; windows that leave a row out
SKIPPING = ["a:4c3p1", "b:3c3p1<a,input", "p2", "c:5", "4<input,c", "3"]
RECURRENT = ["a:5r", "b:4r<a,input", "3"]
KINDS = [
    pytest.param({}, id="neuron"),
    pytest.param(
        {"buckets": "synapse", "memory": "continuous", "adaptation": 0.2}, id="synapse", marks=pytest.mark.long
    ),
]
STRUCTURES = [
    pytest.param(CONVOLVED, id="convolved"),
    pytest.param(SKIPPING, id="skipping"),
    pytest.param(RECURRENT, id="recurrent"),
]
LABELS = np.array([0, 1, 2])


@pytest.fixture
def events():
    rng = np.random.default_rng(0)
    hit = rng.random((3, STEPS, int(np.prod(INPUT)))) < 0.15
    return StepEvents.from_dense(hit * rng.integers(1, 3, hit.shape), 1e-3)


def make(layers, **options):
    """Network with strong weights and biases that differ from zero."""
    usual = {"K": 3, "tau": TAU, "theta": 0.5, "dt": 1 * ms, "dtype": "float64", "train_tau": True, "seed": 1}
    gain, options = (6 if layers is RECURRENT else 3), usual | options
    network, rng = SpikingGammaNetwork(input=INPUT, layers=layers, **options), np.random.default_rng(1)
    for name, value in network.parameters.items():
        if name.endswith(".b"):
            value += rng.normal(scale=0.2, size=value.shape)
        elif ".w" in name:
            value *= 0.6 if name.endswith("_own") else gain
    return network


def dense(network):
    """The same network, its kernels written out as matrices; a layer that several act on takes them side by side."""
    assert all(len(layer.connections) == 1 for layer in network.plan.layers)
    config = network.config() | {"sizes": list(network.sizes)}
    made = SpikingGammaNetwork.from_config(
        {n: v for n, v in config.items() if n not in ("input", "layers")}, train_tau=True
    )
    for name, value in network.parameters.items():
        made.parameters[name] = written_out(network, name, value)
    return made


def places(network, name):
    return network.plan.layers[int(name.split(".")[0][5:]) - 1].places


def synapses(network, name):
    index = int(name.split(".")[0][5:])
    connection = network.plan.layers[index - 1].connections[0]
    return connection, connection.synapses(network.sizes[connection.source]), network.sizes[index - 1 : index + 1]


def written_out(network, name, value):
    if not name.endswith(".w"):
        return value if name.endswith(".tau") else np.tile(value, places(network, name))
    connection, (pre, post, at), size = synapses(network, name)
    matrices = np.zeros((value.size // int(np.prod(connection.shape)), *size))
    for matrix, w in zip(matrices, value.reshape(len(matrices), -1), strict=True):
        np.add.at(matrix, (pre, post), w[at])
    return matrices if value.ndim > len(connection.shape) else matrices[0]


def gathered(network, name, gradient):
    """Gradient of shared parameters from that of the written-out ones."""
    shape = network.parameters[name].shape
    if not name.endswith(".w"):
        return (
            gradient
            if name.endswith(".tau")
            else gradient.reshape(-1, places(network, name), shape[-1]).sum(1).reshape(shape)
        )
    connection, (pre, post, at), size = synapses(network, name)
    n = int(np.prod(connection.shape))
    parts = [np.bincount(at, matrix[pre, post], minlength=n) for matrix in gradient.reshape(-1, *size)]
    return np.array(parts).reshape(shape)


# -- forward and gradient -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", KINDS)
def test_shared_weights_equal_the_network_written_densely(options, events):
    shared = make(CONVOLVED, **options)
    full = dense(shared)
    assert shared.sizes == (112, 280, 114, 6, 3)
    runs = [network.forward(events, record=True, traces=True) for network in (shared, full)]
    assert runs[0].spikes.min() > 10
    np.testing.assert_array_equal(*(run.spikes for run in runs))
    np.testing.assert_allclose(*(run.readout for run in runs), rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(*(run.signals for run in runs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    for rule in ({"rule": "filter"}, {"rule": "direct"}, {"rule": "detached"}, {"rule": "online", "window": 5}):
        (loss, ours), (expected, theirs) = (network.loss_and_grad(events, LABELS, **rule) for network in (shared, full))
        assert loss == pytest.approx(expected, rel=1e-12)
        for name, found in ours.items():
            wanted = gathered(shared, name, theirs[name])
            np.testing.assert_allclose(
                found, wanted, rtol=1e-9, atol=1e-11 * np.abs(wanted).max(), err_msg=f"{rule} {name}"
            )


@pytest.mark.parametrize("layers", STRUCTURES)
@pytest.mark.parametrize("options", KINDS)
def test_every_parameter_class_against_differences(layers, options, events):
    assert_gradient_is_differences(make(layers, **options), events, labels=LABELS)


def test_single_precision_and_any_number_of_threads(events):
    network = make(CONVOLVED)
    single = make(CONVOLVED, dtype="float32", threads=1)
    single.set_parameters(network.parameters)
    gradients = [n.loss_and_grad(events, LABELS, analog=True)[1] for n in (network, single)]
    for name, wanted in gradients[0].items():
        assert np.linalg.norm(gradients[1][name] - wanted) < 1e-4 * np.linalg.norm(wanted), name
    single.threads = 3
    single._engines.clear()
    for name, value in single.loss_and_grad(events, LABELS, analog=True)[1].items():
        np.testing.assert_array_equal(value, gradients[1][name])


def test_long_recordings_run_in_spans():
    rng = np.random.default_rng(3)
    events = StepEvents.from_dense((rng.random((2, 150, int(np.prod(INPUT)))) < 0.05) * 1, 1e-3)
    shared = make(CONVOLVED)
    (loss, ours), (expected, theirs) = (n.loss_and_grad(events, LABELS[:2]) for n in (shared, dense(shared)))
    assert loss == pytest.approx(expected, rel=1e-12)
    for name, found in ours.items():
        wanted = gathered(shared, name, theirs[name])
        np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-10 * np.abs(wanted).max(), err_msg=name)


def test_a_recurrent_layer_hears_itself_a_step_late():
    """One neuron that excites itself: its bucket and its spikes are those of the recursion, step by step."""
    network = SpikingGammaNetwork(input=1, layers=["1r", "1"], K=1, tau=10 * ms, dt=1 * ms, theta=0.5, dtype="float64")
    network.parameters |= {name: np.ones_like(value) for name, value in network.parameters.items() if name[-1] in "wv"}
    network.parameters["layer1.w_own"][:] = 0.9
    hit = np.zeros((1, 40, 1))
    hit[0, 3] = 2
    steps, units, _ = network.forward(StepEvents.from_dense(hit, 1e-3), record=True).recorded[0][0]
    decay, z, estimate, before, spikes = np.exp(-0.1), 0.0, 0.0, 0.0, []
    for t in range(40):
        z, estimate = decay * z + hit[0, t, 0] + 0.9 * before, decay * estimate
        before = 1.0 if z - estimate > 0.5 else 0.0
        estimate += before
        spikes += [t] * int(before)
    assert len(spikes) > 5
    assert steps.tolist() == spikes


@pytest.mark.parametrize("rule", [{}, {"rule": "online", "window": 75}], ids=["filter", "windows"])
def test_errors_of_recurrent_layers_pass_spans_and_windows(rule):
    hit = np.random.default_rng(0).random((2, 150, int(np.prod(INPUT)))) < 0.01
    events, network = StepEvents.from_dense(hit * 1, 1e-3), make(RECURRENT)
    if not rule:
        assert_gradient_is_differences(network, events, labels=LABELS[:2])
    whole, parts = (network.loss_and_grad(events, LABELS[:2], **options)[1] for options in ({}, rule))
    for name, wanted in whole.items():
        np.testing.assert_allclose(parts[name], wanted, rtol=1e-10, atol=1e-12, err_msg=name)


def test_streams_in_pieces_are_the_whole_and_end_empty():
    """Spikes of a window's last step reach their own layer in the next one; what gave a gradient gives it once."""
    hit = np.random.default_rng(3).random((2, 40, int(np.prod(INPUT)))) < 0.1
    events, network = StepEvents.from_dense(hit * 1, 1e-3), make(RECURRENT)
    for name in ("layer1.w_own", "layer2.w_own"):
        network.parameters[name] *= 20
    layers, whole = network.layer_parameters(), network.forward(events)
    with GammaStream(network.engine(), layers, 2, 4) as stream:
        at, readout = 0, []
        for length in (1, 2, 1, 4, 3, 1) * 3 + (4,):
            targets = np.ones((2, length, 3))
            piece = stream.advance(layers, events.steps(at, at + length), loss="squared_error", targets=targets)
            readout, at = [*readout, piece.readout], at + length
            if stream.filled == stream.window and at < 40:
                stream.reverse(layers, train_tau=True)
        np.testing.assert_array_equal(np.concatenate(readout, axis=1), whole.readout)
        first, again = (network.named_gradients(stream.reverse(layers, flush=True, train_tau=True)) for _ in range(2))
    for name, gradient in again.items():
        assert not np.any(gradient), name
    assert all(np.any(first[name]) for name in ("layer1.w", "layer2.w_own", "layer3.v"))


# -- Brian 2 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", STRUCTURES)
@pytest.mark.parametrize("options", KINDS)
def test_brian2_has_the_same_spikes(layers, options, events):
    network = make(layers, train_tau=False, **options)
    assert_same_run(network, events, network.brian2(events, record=True), fewest=40)


@pytest.mark.long
@pytest.mark.standalone
def test_standalone_has_the_same_spikes(events):
    network = make(CONVOLVED, train_tau=False)
    run = network.brian2(events, device="cpp_standalone")
    assert_same_run(network, events, run)
    assert run.compilations <= 1


# -- storage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", STRUCTURES)
def test_saved_copied_and_pickled_networks_run_alike(layers, events, tmp_path):
    network = make(layers)
    network.save(tmp_path / "network.h5")
    expected = network.forward(events).readout
    for other in (
        SpikingGammaNetwork.load(tmp_path / "network.h5"),
        copy.deepcopy(network),
        pickle.loads(pickle.dumps(network)),
    ):
        assert other.plan.values == network.plan.values
        np.testing.assert_array_equal(other.forward(events).readout, expected)


def test_layers_may_be_given_as_values_or_text():
    values = [Conv2d(5, 3, padding=1), Pool2d(2), Conv2d(19, 2), Dense(6), Dense(3)]
    assert SpikingGammaNetwork(input=INPUT, layers=values).config()["layers"] == ["5c3p1", "p2", "19c2", "6", "3"]
    assert SpikingGammaNetwork(input=112, layers="6-3").config()["sizes"] == [112, 6, 3]


def test_calibration_gives_every_layer_the_wanted_power(events):
    network = make(CONVOLVED, bias=False)
    network.calibrate(events, rms=3.0)
    run = network.forward(events, traces=True, analog=True)
    *maps, row = run.signals
    assert 2 * np.square(row).mean() == pytest.approx((3.0 * 0.5) ** 2, rel=1e-6)
    for signal in maps:  # where they are active
        assert np.square(signal[signal > 0]).mean() == pytest.approx((3.0 * 0.5) ** 2, rel=1e-6)
    assert np.square(run.readout).mean() == pytest.approx((3.0 / 4) ** 2, rel=1e-6)


def test_calibration_takes_all_of_a_signed_signal(events):
    network = make("6-3", bias=False, signed=True)
    network.calibrate(events, rms=3.0)
    run = network.forward(events, traces=True, analog=True)
    assert np.square(run.signals[0]).mean() == pytest.approx((3.0 * 0.5) ** 2, rel=1e-6)


# -- refusals -------------------------------------------------------------------------------------------------------


def test_orders_without_barrier_and_genn_take_chains_only(events):
    with pytest.raises(NetworkError, match="only chains of dense layers run; give sizes"):
        AsynchronousSpikingGamma(input=INPUT, layers=CONVOLVED)
    network = make(CONVOLVED)
    with pytest.raises(NetworkError, match="GeNN runs chains of dense layers"):
        network.brian2(events, device="genn")
    network.parameters["layer1.w"] = np.zeros((25, 5))
    with pytest.raises(NetworkError, match=r"layer1.w has shape \(25, 5\), expected \(18, 5\)"):
        network.forward(events)


# -- real recordings ------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.data
@pytest.mark.standalone
@pytest.mark.parametrize("device", ["runtime", "cpp_standalone"])
def test_all_spikes_of_real_recordings(device, recordings):
    """200 recordings of an event camera, 16 steps of 20 ms, through 20 000 neurons and 5 million synapses."""
    from brian2grad.training.data import read_archive

    events = bin_events(read_archive(recordings / "nmnist8_validation.npz"), 20 * ms, 16)
    events = events.take(np.linspace(0, len(events) - 1, 200).astype(int))
    options = {"K": 3, "dt": 20 * ms, "multiple": True, "dtype": "float64", "seed": 1}
    network = SpikingGammaNetwork(input=(2, 34, 34), layers="16c5-p2-32c3-p2-128-8", **options)
    network.calibrate(events.take(slice(0, 32)), rms=1.0)
    run = network.brian2(events, device=device)
    native = network.forward(events, record=True)
    assert assert_same_spikes(native, run) > 200 * 1000
    np.testing.assert_allclose(run.readout, native.readout, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(run.spike_counts, native.spikes)
