"""What the compiled SpikingGamma engine is given is checked: every fault is one line with argument, found, expected."""

import copy
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import NetworkError, SpikingGammaNetwork, StepEvents
from brian2grad.models.asynchronous_gamma.network import AsynchronousSpikingGamma
from brian2grad.models.errors import EngineError
from brian2grad.models.gamma.stream import GammaStream
from brian2grad.training import Adam, TrainingError
from brian2grad.training.gamma.online import OnlineLearner

N, T, UNITS, OUT = 3, 20, 6, 3  # samples, steps, inputs, outputs


def refuses(error, text, call, *arguments, **options):
    """Check that a call raises `error` with `text` in its one line."""
    with pytest.raises(error, match=re.escape(text)) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)


@pytest.fixture
def network(random_network):
    return random_network()


@pytest.fixture
def events(random_events):
    return random_events()


LABELS = np.arange(N) % OUT


def changed(array, index, value, dtype=None):
    array = array.astype(dtype or array.dtype)
    array[index] = value
    return array


EVENT_FAULTS = [
    pytest.param("units", lambda e: changed(e.units, 5, UNITS), "events.units[5] = 6; expected", id="unit-6-of-6"),
    pytest.param("units", lambda e: changed(e.units, 2, 60000), "events.units[2] = 60000; expected", id="unit-60000"),
    pytest.param("units", lambda e: changed(e.units, 4, -1, np.int64), "events.units[4] = -1; expected", id="unit--1"),
    pytest.param("units", lambda e: e.units.astype(float), "events.units has type float64, expected", id="float-units"),
    pytest.param("units", lambda e: e.units[:-1], "events.values has shape", id="units-too-short"),
    pytest.param("values", lambda e: changed(e.values, 3, np.nan, float), "events.values[3] = nan", id="nan-amount"),
    pytest.param(
        "values", lambda e: changed(e.values, 3, np.inf, np.float32), "events.values[3] = inf", id="inf-amount"
    ),
    pytest.param("values", lambda e: e.values[:-1], "events.values has shape", id="values-too-short"),
    pytest.param("ptr", lambda e: e.ptr[:-1], "events.ptr has shape (60,), expected (61,)", id="ptr-too-short"),
    pytest.param("ptr", lambda e: changed(e.ptr, 7, 90), "events.ptr falls from 90 to", id="ptr-falls"),
    pytest.param("ptr", lambda e: changed(e.ptr, -1, 10**6), "events.ptr runs from 0 to 1000000", id="ptr-too-far"),
    pytest.param("ptr", lambda e: changed(e.ptr, 0, -4), "events.ptr runs from -4 to", id="ptr-from-minus-4"),
    pytest.param("ptr", lambda e: e.ptr.astype(float), "events.ptr has type float64, expected int64", id="float-ptr"),
]


@pytest.mark.parametrize(("field", "fault", "text"), EVENT_FAULTS)
def test_events_are_checked_by_every_call(network, events, field, fault, text):
    bad = replace(events, **{field: fault(events)})
    refuses(NetworkError, text, network.forward, bad)
    refuses(NetworkError, text, network.gradient, bad, LABELS)
    layers = network.layer_parameters()
    with GammaStream(network.engine(), layers, N, T) as stream:
        refuses(NetworkError, text, stream.advance, layers, bad)


def test_given_spikes_are_checked(network, events, random_events):
    given = random_events(n_units=5, seed=1)
    network.forward(events, given=[given])
    bad = replace(given, units=changed(given.units, 1, 5))
    refuses(NetworkError, "given[0].units[1] = 5; expected", network.forward, events, given=[bad])
    bad = replace(given, ptr=changed(given.ptr, 3, 80))
    refuses(NetworkError, "given[0].ptr falls from 80", network.forward, events, given=[bad])
    refuses(NetworkError, "The given spikes have (samples, steps, units)", network.forward, events, given=[events])


LOSS_FAULTS = [
    pytest.param({}, "loss='cross_entropy' needs labels of shape (3, 20), got none", id="no-labels"),
    pytest.param({"loss": "squared_error"}, "needs targets of shape (3, 20, 3), got none", id="no-targets"),
    pytest.param({"loss": "squared_error", "labels": LABELS}, "needs targets of shape", id="labels-alone"),
    pytest.param({"loss": "mse", "labels": LABELS}, "loss='mse' is unknown; available: none, cross_entropy", id="mse"),
    pytest.param({"loss": "crossentropy", "labels": LABELS}, "loss='crossentropy' is unknown", id="crossentropy"),
    *[
        pytest.param({"loss": "squared_error", "targets": np.zeros(s)}, f"targets have shape {s}; ", id=f"targets-{s}")
        for s in ((N, T, OUT + 1), (N, OUT), (N, T, 1), (N, T), (N - 1, T, OUT))
    ],
    pytest.param(
        {"loss": "external", "targets": changed(np.zeros((N, T, OUT)), (1, 2, 0), np.nan)},
        "targets[1, 2, 0] = nan",
        id="nan",
    ),
]


@pytest.mark.parametrize(("options", "text"), LOSS_FAULTS)
def test_a_loss_says_what_it_needs(network, events, options, text):
    refuses(NetworkError, text, network.gradient, events, **options)
    refuses(NetworkError, text, network.loss_and_grad, events, **options)
    text = text.replace("[1, 2, 0]", "")  # a window counts its own steps
    with pytest.raises(NetworkError, match=re.escape(text.split(" = ")[0])):
        network.gradient(events, rule="online", window=7, **options)


def test_weights_are_checked(network, events):
    for name, array, text in (
        ("layer1.w", np.zeros((5, 5)), "layer1.w has shape (5, 5), expected (6, 5)"),
        ("layer2.w", np.zeros((5, 2)), "layer2.w has shape (5, 2), expected (5, 3)"),
        ("layer1.w", np.zeros((2, 6, 5)), "layer1.w has 2 matrices; expected 1"),
    ):
        broken = copy.copy(network)
        broken.parameters = network.parameters | {name: array}
        refuses(NetworkError, text, broken.forward, events)
        refuses(NetworkError, text, broken.gradient, events, LABELS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_spikes_beyond_counting_are_refused(random_network, events, dtype):
    """A theta of almost zero, for which the count of spikes in a step overflowed to -140603875516."""
    network = random_network(theta=1e-12, multiple=True, dtype=dtype, threads=2)
    text = r"Layer 1, neuron \d+ \(sample \d+, step \d+\): its signal [\d.]+ stands for [\d.e+]+ spikes in one step"
    for call in (
        lambda: network.forward(events),
        lambda: network.gradient(events, LABELS),
        lambda: network.gradient(events, LABELS, rule="online", window=5),
    ):
        with pytest.raises(NetworkError, match=text):
            call()
    network.theta = (0.3,)
    assert network.forward(events).spikes.min() >= 0


@pytest.mark.parametrize("signed", [False, True])
def test_brian2_refuses_spikes_beyond_counting_too(random_network, events, signed):
    """Its 32-bit integers wrapped around: -21474836470 spikes."""
    network = random_network(theta=1e-12, multiple=True, signed=signed)
    text = (
        r"Layer 1, neuron (\d+) \(sample 0, step (\d+)\): its signal (-?[\d.]+) stands for too many spikes in one step"
    )
    with pytest.raises(NetworkError, match=text) as caught:
        network.brian2(events)
    neuron, step, signal = re.search(text, str(caught.value)).groups()
    traced = network.forward(events, traces=True, analog=True).signals[0]
    assert traced[0, int(step), int(neuron)] == pytest.approx(float(signal), rel=1e-4)


def test_endless_spikes_without_a_barrier_are_refused_by_both(random_network, events):
    network = AsynchronousSpikingGamma.of(random_network(theta=1e-9), once_per_timestep=False, max_spikes=200)
    for run in (network.run, network.brian2):
        with pytest.raises(NetworkError, match="Runaway excitation: sample 0 passed 200 spikes in timestep 0"):
            run(events)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(random_network, events, value):
    """NaN silenced a layer: a readout of zeros and a loss of log 3."""
    for name in ("layer1.w", "layer2.v", "layer1.b"):
        network = random_network()
        network.parameters[name].flat[2] = value
        for call in (network.forward, AsynchronousSpikingGamma.of(network).forward):
            with pytest.raises(
                NetworkError, match=r"^(layer\d\.[\w ]+|weights|parameters)\[\d, \d\] = -?(nan|inf); expected finite"
            ):
                call(events)
        with pytest.raises(NetworkError, match="expected finite numbers"):
            network.gradient(events, LABELS)


def test_numbers_beyond_single_precision_are_refused(random_network):
    events = StepEvents.from_dense(np.full((1, 2, UNITS), 1e39), 10e-3)
    assert random_network(dtype="float64").forward(events).readout.shape == (1, 2, OUT)
    refuses(NetworkError, "events.values[0] = inf; expected finite", random_network(dtype="float32").forward, events)


OPTION_FAULTS = [
    ({"seed": -1}, "seed = -1; expected a whole number at least 0."),
    ({"seed": 1.5}, "seed = 1.5; expected a whole number"),
    ({"seed": None}, "seed = None; expected a whole number"),
    ({"threads": 0}, "threads = 0; expected a whole number at least 1"),
    ({"threads": -4}, "threads = -4; expected"),
    ({"threads": 2.0}, "threads = 2.0; expected"),
    ({"read_from": -1 * ms}, "read_from = -1. * msecond must be a time"),
    ({"read_from": np.nan * ms}, "must be a time such as"),
    ({"read_from": np.inf * ms}, "must be a time such as"),
    ({"read_from": 5}, "read_from = 5 must be a time"),
    ({"adaptation": "much"}, "adaptation = 'much'; expected a number."),
]


@pytest.mark.parametrize(("options", "text"), OPTION_FAULTS)
def test_options_of_a_network_are_checked(options, text):
    refuses(NetworkError, text, SpikingGammaNetwork, [6, 5, 3], **options)


@pytest.mark.parametrize("labels", [[0.5, 1.0, 2.0], [True, False, True], ["a", "b", "c"]])
def test_labels_are_whole_numbers(network, events, labels):
    refuses(NetworkError, "; expected whole numbers, one class each", network.gradient, events, labels)


def test_streams_refuse_what_would_break_them(network, events):
    engine, layers = network.engine(), network.layer_parameters()
    refuses(EngineError, "window = 0", GammaStream, engine, layers, N, 0)
    stream = GammaStream(engine, layers, N, T, learn=False)
    refuses(NetworkError, "events have 2 samples, the stream 3", stream.advance, layers, events.take([0, 1]))
    first = stream.advance(layers, events, loss="cross_entropy", labels=np.zeros((N, T), int))  # nothing is kept of it
    assert first.losses.min() > 0
    refuses(EngineError, "20 steps do not fit: 20 of the window's 20 are taken", stream.advance, layers, events)
    refuses(EngineError, "opened with learn=False", stream.reverse, layers)
    stream.close()
    refuses(EngineError, "The stream is closed", stream.advance, layers, events.steps(0, 0))


def test_a_stream_runs_on_as_a_batch_does(network, events):
    """Traces and spikes per neuron come from the same code; steps without a loss have no error."""
    layers, whole = network.layer_parameters(), network.forward(events, traces=True, count_neurons=True)
    with GammaStream(network.engine(), layers, N, T) as stream:
        parts = [
            stream.advance(layers, events.steps(a, a + 5), traces=True, count_neurons=True) for a in range(0, T, 5)
        ]
        gradients = stream.reverse(layers, flush=True).gradients
    np.testing.assert_array_equal(np.concatenate([p.signals[0] for p in parts], axis=1), whole.signals[0])
    np.testing.assert_array_equal(sum(p.neuron_spikes for p in parts), whole.neuron_spikes)
    assert not any(g.neurons.any() or g.weights[0].any() for g in gradients)


STEP_FAULTS = [
    pytest.param(([1, 2, 3], [1, 1]), "3 units have 2 counts", id="unequal"),
    pytest.param((3, 5), "events = (3, 5): a tuple is (units, counts)", id="tuple-of-two"),
    pytest.param((1, 2, 3), "events = (1, 2, 3): a tuple is (units, counts)", id="tuple"),
    pytest.param(np.array([True, False] * 3), "units have type bool", id="mask"),
    pytest.param(np.zeros(UNITS), "units have type float64 and shape (6,)", id="dense"),
    pytest.param([[1, 2]], "units have type int64 and shape (1, 2)", id="two-dimensions"),
    pytest.param([1.5], "units have type float64", id="float"),
    pytest.param([-1, 2], "unit -1 lies outside the network's 6 inputs", id="negative"),
    pytest.param([1, 6], "unit 6 lies outside the network's 6 inputs", id="beyond"),
    pytest.param(([1, 2], [1, np.nan]), "counts = array([ 1., nan]); expected finite numbers", id="nan"),
]


@pytest.mark.parametrize(("step", "text"), STEP_FAULTS)
def test_steps_of_a_learner_are_checked(network, step, text):
    refuses(TrainingError, text, OnlineLearner(network, window=4).step, step, 1)


def test_targets_of_a_learner_are_checked(network):
    learner = OnlineLearner(network, window=4)
    for target in (1.7, 3, -2, "1"):
        refuses(TrainingError, f"target {target!r}: expected a class from 0 to 2", learner.step, [1], target)
    learner.step([1, 1, 3], np.int32(2))
    learner.step(([], []))
    learner.step([])
    refuses(
        NetworkError, "targets[0, 0, 1] = nan", OnlineLearner(network, loss="squared_error").step, [1], [0, np.nan, 0]
    )


# -- copies ------------------------------------------------------------------------------------------------------------

COPIES = [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))]


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_networks_and_results_are_copied_after_use(random_network, events, copied, asynchronous):
    network = random_network()
    if asynchronous:
        network = AsynchronousSpikingGamma.of(network, forward_group=2)
    result = network.gradient(events, LABELS)
    run = network.forward(events, traces=True, record=True)
    again, other = copied(network).gradient(events, LABELS), copied(result)
    for name, gradient in result.gradients.items():
        np.testing.assert_array_equal(again.gradients[name], gradient)
        np.testing.assert_array_equal(other.gradients[name], gradient)
    np.testing.assert_array_equal(copied(run).signals[0], run.signals[0])
    network.parameters["layer1.w"][:] = 0
    assert copied(network).forward(events).spikes.sum() == network.forward(events).spikes.sum() != run.spikes.sum()


@pytest.mark.parametrize("copied", COPIES)
def test_a_copied_learner_starts_a_new_stream(network, copied):
    learner = OnlineLearner(network, Adam(0.01), window=3)
    for unit in (0, 1, 2, 3, 4):
        learner.step([unit], unit % OUT)
    other = copied(learner)
    weights = {name: value.copy() for name, value in network.parameters.items()}
    fresh = OnlineLearner(copied(network), copied(learner.optimiser), window=3)
    for unit in (5, 0, 1, 2, 3, 4, 5):
        np.testing.assert_array_equal(other.step([unit], 1), fresh.step([unit], 1))
    np.testing.assert_array_equal(other.network.parameters["layer1.w"], fresh.network.parameters["layer1.w"])
    np.testing.assert_array_equal(network.parameters["layer1.w"], weights["layer1.w"])
    assert (other.network.parameters["layer1.w"] != weights["layer1.w"]).any()


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_numbers_are_a_function_of_theta_tau_and_dt(random_network):
    """Asking for the engine changes nothing; one engine serves every threshold, time constant and time step."""
    network = random_network(train_tau=True)
    engine, before = network.engine(), network.numbers()
    network.theta, network.dt = (0.7,), 5 * ms
    network.parameters["layer1.tau"][1:] *= 2
    after = network.numbers()
    assert network.engine() is engine
    assert (before[0].constants != after[0].constants).any()
    assert (before[0].A != after[0].A).any()
    network.theta, network.dt = (0.3,), 10 * ms
    network.parameters["layer1.tau"][1:] /= 2
    for old, new in zip(before, network.numbers(), strict=True):
        np.testing.assert_array_equal(old.constants, new.constants)
        np.testing.assert_allclose(old.A, new.A, rtol=1e-14)


def test_an_engine_serves_networks_of_its_form(random_network, events):
    one, other = random_network(), SpikingGammaNetwork((6, 5, 3), K=3, theta=0.8, dt=10 * ms, dtype="float64")
    expected = other.forward(events).readout
    np.testing.assert_array_equal(one.engine().run(other.layer_parameters(), events).readout, expected)
