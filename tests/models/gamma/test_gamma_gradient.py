"""The filter gradient: against differences on the analog network, and against a dense NumPy transcription."""

import itertools

import numpy as np
import pytest
from brian2 import ms, second
from gamma_dense import Dense, assert_gradient_is_differences

from brian2grad.models import NetworkError
from brian2grad.models.gamma.tables import sent_down

# Every combination is one compilation of the engine; the default run has each option in both values.
DEFAULT = {("paper", "neuron", "fixed"), ("continuous", "synapse", "adaptive")}
KINDS = [
    pytest.param(
        {"memory": memory, "buckets": buckets, "adaptation": 0.2 if threshold == "adaptive" else 0.0},
        id=f"{memory}-{buckets}-{threshold}",
        marks=() if (memory, buckets, threshold) in DEFAULT else pytest.mark.long,
    )
    for memory, buckets, threshold in itertools.product(
        ("paper", "continuous"), ("neuron", "synapse"), ("fixed", "adaptive")
    )
]
GRADED = [
    pytest.param({"multiple": True, "signed": True, "memory": "continuous", "adaptation": 0.2}, id="multiple-signed"),
    pytest.param({"multiple": True, "adaptation": 0.2}, id="multiple", marks=pytest.mark.long),
    pytest.param({"signed": True, "buckets": "synapse"}, id="signed", marks=pytest.mark.long),
]
SIZES = [pytest.param((6, 5, 3), id="1-hidden"), pytest.param((6, 5, 4, 3), id="2-hidden")]
TAU = [20, 35, 27] * ms  # unequal: nothing may depend on equal rates


def make(random_network, sizes, **options):
    return random_network(sizes, **({"tau": TAU, "train_tau": True, "gain": 3.0} | options))


def labels_of(events, n_out=3, seed=0):
    return np.random.default_rng(seed).integers(0, n_out, events.n_samples)


def step_labels(events, n_out=3):
    rng = np.random.default_rng(1)
    labels = rng.integers(-1, n_out, (events.n_samples, events.n_steps))
    labels[0, :5] = -1
    return labels


def options_of(loss, events):
    """Arguments of `loss_and_grad` for each kind of loss."""
    rng = np.random.default_rng(2)
    targets = rng.normal(size=(events.n_samples, events.n_steps, 3))
    weight = rng.uniform(0, 2, (events.n_samples, events.n_steps)) * (
        rng.random((events.n_samples, events.n_steps)) > 0.3
    )
    return {
        "classes": {"labels": labels_of(events)},
        "step classes": {"labels": step_labels(events)},
        "weighted classes": {"labels": step_labels(events), "weight": weight},
        "squared error": {"targets": targets, "loss": "squared_error"},
        "weighted squared error": {"targets": targets, "weight": weight, "loss": "squared_error"},
    }[loss]


LOSSES = ("classes", "step classes", "weighted classes", "squared error", "weighted squared error")


# -- differences on the analog network ------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_class_against_differences(kind, sizes, random_network, random_events):
    events = random_events(n_samples=2, n_steps=12)
    network = make(random_network, sizes, **kind)
    classes = {name.split(".")[1] for name in network.parameters}
    assert classes == {"w", "b", "tau"} | ({"v"} if kind["buckets"] == "neuron" else set())
    assert_gradient_is_differences(network, events, labels=step_labels(events))


@pytest.mark.parametrize("kind", GRADED)
def test_graded_and_signed_codes_against_differences(kind, random_network, random_events):
    events = random_events(n_samples=2, n_steps=12)
    assert_gradient_is_differences(make(random_network, (6, 5, 4, 3), **kind), events, labels=labels_of(events))


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_against_differences(loss, random_network, random_events):
    events = random_events(n_samples=3, n_steps=12)
    network = make(random_network, (6, 5, 3), read_from=30 * ms)
    assert_gradient_is_differences(network, events, **options_of(loss, events))


@pytest.mark.long
def test_without_bias_and_without_hidden_layer(random_network, random_events):
    events = random_events(n_samples=2, n_steps=12)
    network = make(random_network, (6, 3), bias=False)
    assert set(network.parameters) == {"layer1.w", "layer1.v", "layer1.tau"}
    assert_gradient_is_differences(network, events, labels=labels_of(events))


@pytest.mark.parametrize("options", [{}, {"rule": "online", "window": 12}], ids=["filter", "online"])
def test_activity_is_the_mean_hidden_signal_in_loss_and_gradient(options, random_network, random_events):
    events = random_events(n_samples=3, n_steps=12)
    network = make(random_network, (6, 5, 4, 3))
    labels = labels_of(events)
    signals = np.concatenate([s.reshape(-1, s.shape[-1]).T for s in network.forward(events, traces=True).signals])
    plain = network.loss_and_grad(events, labels, **options)[0]
    penalised = network.loss_and_grad(events, labels, activity=0.7, **options)[0]
    assert penalised - plain == pytest.approx(0.7 * signals.mean(), rel=1e-10)
    if not options:
        assert_gradient_is_differences(network, events, labels=labels, activity=0.7)


@pytest.mark.parametrize("kind", KINDS)
def test_taylor_remainder_falls_quadratically(kind, random_network, random_events):
    events = random_events(n_samples=2)
    network = make(random_network, (6, 5, 4, 3), **kind)
    labels, rng = labels_of(events), np.random.default_rng(3)
    start = {name: value.copy() for name, value in network.parameters.items()}
    loss, gradient = network.loss_and_grad(events, labels, analog=True)
    direction = {name: rng.normal(size=value.shape) * np.abs(value).mean() for name, value in start.items()}
    for name, value in direction.items():
        if name.endswith(".tau"):
            value[0] = 0
    slope = sum(np.vdot(gradient[name], direction[name]) for name in start)
    steps, remainders = 1e-4 * 0.5 ** np.arange(4), []  # so short that no rectifier switches
    for h in steps:
        for name in start:
            network.parameters[name][:] = start[name] + h * direction[name]
        remainders.append(abs(network.loss_and_grad(events, labels, analog=True)[0] - loss - h * slope))
    orders = np.diff(np.log(remainders)) / np.diff(np.log(steps))
    np.testing.assert_allclose(orders, 2, atol=0.1)


# -- a dense transcription in NumPy ---------------------------------------------------------------------------------


def spiking_code(network, index, x):
    """Sigma-delta code of pre-activations (T, n): signal, jumps and estimates at every step."""
    dt, alpha = float(network.dt), np.exp(-float(network.dt / network.taus(index)[0]))
    y = x if network.signed else np.maximum(x, 0)
    theta_0, m = network.theta[index - 1], network.adaptation
    yhat, raised = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    jumps, estimates = np.zeros(x.shape), np.zeros(x.shape)
    for t in range(len(x)):
        yhat, raised = alpha * yhat, raised * np.exp(-dt / float(network.tau_theta))
        theta = theta_0 + raised
        gap = np.abs(y[t] - yhat) if network.signed else y[t] - yhat
        n = np.where(gap > theta, np.floor((gap - theta) / (2 * theta)) + 1 if network.multiple else 1, 0)
        jumps[t] = 2 * theta * n * (np.sign(y[t] - yhat) if network.signed else 1)
        yhat, raised = yhat + jumps[t], raised + m * theta * n
        estimates[t] = yhat
    return y, jumps, estimates


def dense_run(network, events, labels):
    """Spiking forward pass and filter gradient of one sample, dense over time."""
    T, n_layers = len(events), len(network.sizes) - 1
    layers = [Dense(network, index, T) for index in range(1, n_layers + 1)]
    inputs, signals, estimates = [events], [], []
    for index, layer in enumerate(layers[:-1], start=1):
        x = layer.signal(inputs[-1])
        y, jumps, estimate = spiking_code(network, index, x)
        inputs.append(jumps)
        signals.append(x)
        estimates.append(estimate)
    readout = layers[-1].signal(inputs[-1])
    shifted = np.exp(readout - readout.max(axis=1, keepdims=True))
    p = shifted / shifted.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(T), labels]).sum()
    g = p - np.eye(p.shape[1])[labels]
    gradients = {}
    for index in range(n_layers, 0, -1):
        gradient, by_event = layers[index - 1].reverse(inputs[index - 1], g)
        gradients |= {f"layer{index}.{kind}": value for kind, value in gradient.items()}
        if index > 1:  # the code is transparent: an event is what the estimate lacks, y(t) - alpha y(t - dt)
            alpha = np.exp(-float(network.dt / network.taus(index - 1)[0]))
            g = by_event - alpha * np.vstack([by_event[1:], np.zeros(by_event.shape[1])])
            if not network.signed:
                g = g * (signals[index - 2] > 0)
    return loss, gradients, readout, inputs[1:], estimates


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kind", [*KINDS, *GRADED])
def test_spiking_gradient_equals_the_dense_transcription(kind, sizes, random_network, random_events):
    events = random_events(n_samples=3, n_steps=25)
    network = make(random_network, sizes, **kind)
    labels = labels_of(events)
    loss, gradients = network.loss_and_grad(events, labels)
    run = network.forward(events, record=True, traces=True)
    samples = [dense_run(network, events.dense(s), np.repeat(labels[s], 25)) for s in range(3)]
    assert loss == pytest.approx(sum(sample[0] for sample in samples) / 75, rel=1e-12)
    for s, (_, _, readout, jumps, estimates) in enumerate(samples):
        np.testing.assert_allclose(run.readout[s], readout, rtol=1e-12, atol=1e-13)
        for layer, wanted in enumerate(jumps):
            steps, units, values = run.recorded[s][layer]
            assert len(steps) > 10  # there is something to compare
            dense = np.zeros_like(wanted)
            dense[steps, units] = values
            np.testing.assert_allclose(dense, wanted, rtol=1e-12, atol=0)
            np.testing.assert_allclose(run.estimates[layer][s], estimates[layer], rtol=1e-12, atol=1e-13)
    for name, found in gradients.items():
        wanted = sum(sample[1][name] for sample in samples) / 75
        tolerance = 1e-11 if name.endswith("tau") else 1e-12
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * np.abs(wanted).max(), err_msg=name)


@pytest.mark.parametrize("kind", KINDS[:1] + KINDS[4:5], ids=["paper", "continuous"])
def test_direct_sends_what_buckets_hold_of_a_constant_signal(kind, random_network):
    network = make(random_network, (6, 5, 3), memory=kind["memory"])
    numbers = network.numbers()[0]
    z = np.zeros(len(numbers.A))
    for _ in range(4000):
        z = numbers.A @ z
        z[0] += 1 - numbers.estimate_decay  # an event is what the estimate of a signal of one has lost
    np.testing.assert_allclose(sent_down((0,), numbers, numbers, "direct")[0], z, rtol=1e-10)
    ones = np.allclose(z, 1, rtol=1e-10)
    assert ones == (kind["memory"] == "paper")
    assert z[0] == pytest.approx(1)


# -- numbers and threads --------------------------------------------------------------------------------------------


def test_single_precision_agrees_with_double(random_network, random_events):
    events = random_events(n_samples=4, n_steps=30)
    single, double = (make(random_network, (6, 5, 4, 3), dtype=dtype) for dtype in ("float32", "float64"))
    double.set_parameters(single.parameters)
    labels = labels_of(events)
    results = [network.loss_and_grad(events, labels, analog=True) for network in (single, double)]
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    for name, wanted in results[1][1].items():
        error = np.linalg.norm(results[0][1][name] - wanted) / np.linalg.norm(wanted)
        assert error < 1e-4, f"{name}: {error:.2g}"
    spikes = [network.forward(events).spikes for network in (single, double)]
    assert spikes[1].min() > 10
    np.testing.assert_allclose(*spikes, atol=2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.threads
def test_result_does_not_depend_on_the_number_of_threads(dtype, random_network, random_events):
    events = random_events(n_samples=11, n_steps=30)
    labels = labels_of(events)
    runs = [
        make(random_network, (6, 5, 4, 3), threads=threads, dtype=dtype).gradient(events, labels)
        for threads in (1, 2, 3, 7)
    ]
    for other in runs[1:]:
        assert other.loss == runs[0].loss
        np.testing.assert_array_equal(other.outputs, runs[0].outputs)
        for name, value in runs[0].gradients.items():
            np.testing.assert_array_equal(other.gradients[name], value)


def test_gradient_of_a_batch_is_the_mean_over_its_samples(random_network, random_events):
    events = random_events(n_samples=5)
    network, labels = make(random_network, (6, 5, 3)), labels_of(events)
    loss, whole = network.loss_and_grad(events, labels)
    parts = [network.loss_and_grad(events.take([s]), labels[s : s + 1]) for s in range(5)]
    assert loss == pytest.approx(np.mean([part[0] for part in parts]), rel=1e-13)
    for name, value in whole.items():
        mean = np.mean([part[1][name] for part in parts], axis=0)
        np.testing.assert_allclose(value, mean, rtol=1e-11, atol=1e-14)


def test_repeated_calls_do_not_remember(random_network, random_events):
    events = random_events()
    network, labels = make(random_network, (6, 5, 3)), labels_of(events)
    first = network.loss_and_grad(events, labels)
    network.loss_and_grad(random_events(seed=9, n_samples=7), labels_of(random_events(n_samples=7)), analog=True)
    second_time = network.loss_and_grad(events, labels)
    assert first[0] == second_time[0]
    for name, value in first[1].items():
        np.testing.assert_array_equal(second_time[1][name], value)


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"rule": "backwards"}, "rule='backwards' is unknown"),
        ({"labels": np.array([0, 1])}, r"labels have shape \(2,"),
        ({"labels": np.array([0, 1, 3])}, "maximum 3; expected 3 samples .* classes below 3"),
        ({"labels": np.full((3, 20), -1)}, "No step is left for the loss"),
        ({"weight": np.zeros((3, 20))}, "No step is left for the loss"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(change, text, random_network, random_events):
    arguments = {"labels": np.zeros(3, int)} | change
    with pytest.raises(NetworkError, match=text):
        random_network().loss_and_grad(random_events(), **arguments)


def test_wrong_number_of_units_and_a_late_window_are_refused(random_network, random_events):
    with pytest.raises(NetworkError, match="The events have 7 units, the network 6 inputs"):
        random_network().loss_and_grad(random_events(n_units=7), np.zeros(3, int))
    late = random_network(read_from=1 * second)
    with pytest.raises(NetworkError, match="read_from = .* starts after the last of the 20 steps"):
        late.loss_and_grad(random_events(), np.zeros(3, int))


@pytest.mark.parametrize(("read_from", "first"), [(0, 0), (1, 1), (10, 1), (25, 3), (30, 3), (30.1, 4)])
def test_reading_starts_with_the_first_step_that_begins_late_enough(random_network, random_events, read_from, first):
    """Steps of 10 ms begin at 0, 10, 20 ... ms; one that begins before `read_from` enters neither loss nor answer."""
    network, events, labels = random_network(read_from=read_from * ms), random_events(), np.arange(3)
    readout = network.forward(events).readout
    weight = np.zeros((3, 20))
    weight[:, first:] = 1
    everything = random_network()
    expected = everything.gradient(events, labels, weight=weight)
    found = network.gradient(events, labels)
    assert found.loss == pytest.approx(expected.loss, rel=1e-12)
    np.testing.assert_allclose(found.gradients["layer1.w"], expected.gradients["layer1.w"], rtol=1e-12)
    np.testing.assert_allclose(network.scores(readout), everything.scores(readout[:, first:]), rtol=1e-12)
    decided = network.decisions(readout)
    assert (decided[:, :first] == -1).all()
    assert (decided[:, first:] >= 0).all()
    per_step = np.zeros((3, 20), int)
    assert network.hits(readout, per_step)[1] == 3 * (20 - first)
