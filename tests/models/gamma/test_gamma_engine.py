"""Blocks, spans and shards of the compiled gamma engine: whatever the shape, the numbers are those of plain loops."""

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models.errors import NetworkError
from brian2grad.models.events import StepEvents
from brian2grad.models.gamma.network import SpikingGammaNetwork

THETA = 0.5


def random_events(n_samples, n_steps, n_units, seed=0, density=0.2, unit_type=np.uint16, value_type=np.uint8):
    """Events with one to three counts."""
    rng = np.random.default_rng(seed)
    hit = rng.random((n_samples * n_steps, n_units)) < density
    units = np.nonzero(hit)[1].astype(unit_type)
    ptr = np.concatenate([[0], np.cumsum(hit.sum(axis=1))]).astype(np.int64)
    values = rng.integers(1, 4, len(units)).astype(value_type)
    return StepEvents(ptr, units, values, n_units, n_steps, n_samples, 1e-3)


def network(sizes, K, **options):
    """Network with biases that differ from zero."""
    made = SpikingGammaNetwork(sizes, K=K, tau=8 * ms, dt=1 * ms, theta=THETA, dtype="float64", **options)
    rng = np.random.default_rng(1)
    for name, value in made.parameters.items():
        if name.endswith(".b"):
            value += rng.normal(scale=0.2, size=value.shape)
    return made


def loops(net, events, labels):
    """Readout, spikes and filter gradient of the published recursion, sample by sample, step by step."""
    alpha, K, n_layers = np.exp(-1 / 8), net.K, len(net.sizes) - 1
    T, B = events.n_steps, events.n_samples
    p = net.parameters
    A = alpha * np.eye(K) + (1 - alpha) * np.eye(K, k=-1)
    gradients = {name: np.zeros_like(value) for name, value in p.items()}
    readouts, spikes = [], []
    for sample in range(B):
        x, inputs, buckets, signals = events.dense(sample), [], [], []
        for layer in range(1, n_layers + 1):
            w, v, b = (p[f"layer{layer}.{kind}"] for kind in "wvb")
            z, estimate, out = np.zeros((K, w.shape[1])), np.zeros(w.shape[1]), np.zeros((T, w.shape[1]))
            inputs.append(x)
            buckets.append(np.zeros((T, *z.shape)))
            signals.append(np.zeros((T, w.shape[1])))
            for t in range(T):
                z = A @ z
                z[0] += x[t] @ w
                buckets[-1][t], signals[-1][t] = z, (v * z).sum(axis=0) + b
                if layer < n_layers:
                    estimate = alpha * estimate
                    out[t] = 2 * THETA * (np.maximum(signals[-1][t], 0) - estimate > THETA)
                    estimate = estimate + out[t]
            x = out
            if layer < n_layers:
                spikes.append((sample, layer - 1, *np.nonzero(out)))
        readouts.append(signals[-1])
        d = np.exp(readouts[-1] - readouts[-1].max(axis=1, keepdims=True))
        d /= d.sum(axis=1, keepdims=True)
        d[:, labels[sample]] -= 1
        d /= B * T
        for layer in range(n_layers, 0, -1):
            w, v = p[f"layer{layer}.w"], p[f"layer{layer}.v"]
            gate = 1.0 if layer == n_layers else signals[layer - 1] > 0
            q, received = np.zeros((K, w.shape[1])), np.zeros((T + 1, w.shape[1]))
            for t in range(T - 1, -1, -1):
                delta = (d * gate)[t]
                q = A.T @ q + v * delta
                received[t] = q[0]
                gradients[f"layer{layer}.w"] += np.outer(inputs[layer - 1][t], q[0])
                gradients[f"layer{layer}.v"] += delta * buckets[layer - 1][t]
                gradients[f"layer{layer}.b"] += delta
            d = (received[:-1] - alpha * received[1:]) @ w.T
    return np.array(readouts), spikes, gradients


# Around the width of a vector (4, 8, 16) and of a block of four (16, 32, 64), around a span of 64 steps.
SHAPES = [
    pytest.param((3, 1, 2), 5, 3, 1, id="one-neuron"),
    pytest.param((3, 7, 9, 2), 64, 3, 4, id="one-span"),
    pytest.param((5, 8, 17, 3), 65, 2, 3, id="span-and-a-step"),
    pytest.param((4, 33, 65, 17), 63, 2, 4, id="above-a-block"),
    pytest.param((70, 64, 31, 16), 130, 2, 4, id="whole-blocks"),
    pytest.param((9, 130, 5), 20, 9, 9, id="many-buckets-many-shards"),
]


@pytest.mark.parametrize(("sizes", "n_steps", "n_samples", "K"), SHAPES)
def test_every_shape_equals_plain_loops(sizes, n_steps, n_samples, K):
    net = network(sizes, K)
    events = random_events(n_samples, n_steps, sizes[0])
    net.calibrate(events)
    labels = np.arange(n_samples) % sizes[-1]
    readout, spikes, gradients = loops(net, events, labels)
    result = net.forward(events, record=True)
    np.testing.assert_allclose(result.readout, readout, rtol=0, atol=1e-11)
    assert sum(len(steps) for _, _, steps, _ in spikes) > 0
    for sample, layer, steps, units in spikes:
        np.testing.assert_array_equal(result.recorded[sample][layer][0], steps)
        np.testing.assert_array_equal(result.recorded[sample][layer][1], units)
    for name, gradient in net.gradient(events, labels).gradients.items():
        np.testing.assert_allclose(gradient, gradients[name], rtol=0, atol=1e-11 * np.abs(gradients[name]).max())


@pytest.mark.parametrize("unit_type", [np.uint16, np.int32, np.int64])
@pytest.mark.parametrize("value_type", [np.uint8, np.float32, np.float64])
def test_types_of_events_do_not_matter(unit_type, value_type):
    net = network((6, 5, 3), 3)
    plain, typed = (
        random_events(2, 30, 6, unit_type=u, value_type=v) for u, v in ((np.uint16, np.uint8), (unit_type, value_type))
    )
    np.testing.assert_array_equal(net.forward(plain).readout, net.forward(typed).readout)


def test_silent_samples_and_empty_steps():
    net = network((6, 5, 3), 3)
    silent = StepEvents(np.zeros(2 * 70 + 1, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.uint8), 6, 70, 2, 1e-3)
    result = net.forward(silent)
    readout, spikes, _ = loops(net, silent, np.zeros(2, int))
    np.testing.assert_allclose(result.readout, readout, rtol=0, atol=1e-13)
    assert result.spikes.sum() == sum(len(steps) for _, _, steps, _ in spikes)


def test_softmax_of_single_precision_is_that_of_double_precision():
    """The vectorised exponential, from differences of nothing to differences beyond the range."""
    rng = np.random.default_rng(2)
    for scale in (1e-3, 1.0, 30.0, 300.0):
        single = SpikingGammaNetwork((6, 5, 19), K=2, tau=8 * ms, dt=1 * ms, dtype="float32")
        double = SpikingGammaNetwork((6, 5, 19), K=2, tau=8 * ms, dt=1 * ms, dtype="float64")
        single.parameters["layer2.b"][:] = rng.normal(scale=scale, size=19)
        double.parameters = {name: value.astype(np.float64) for name, value in single.parameters.items()}
        events, labels = random_events(2, 10, 6, density=0.0), np.array([0, 18])
        (loss_1, grad_1), (loss_2, grad_2) = (net.loss_and_grad(events, labels) for net in (single, double))
        assert loss_1 == pytest.approx(loss_2, rel=1e-5)
        np.testing.assert_allclose(grad_1["layer2.b"], grad_2["layer2.b"], rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("options", [{}, {"multiple": True, "adaptation": 0.1}, {"train_tau": True, "signed": True}])
def test_thresholds_are_numbers_of_the_compiled_engine(options):
    """A changed theta gives the network made with it, from the same library, and back."""
    events = random_events(2, 40, 9)
    changed = network([9, 8, 7, 2], 3, **options)
    first = changed.forward(events)
    library = changed.engine().library
    changed.theta = (0.2, 0.7)
    fresh = SpikingGammaNetwork(
        **(changed.config() | {"tau": 8 * ms, "dt": 1 * ms, "tau_theta": 15 * ms, "read_from": 0 * ms})
    )
    fresh.parameters = changed.parameters
    expected, found = fresh.forward(events), changed.forward(events)
    assert changed.engine().library is library is fresh.engine().library
    np.testing.assert_array_equal(found.readout, expected.readout)
    np.testing.assert_array_equal(found.spikes, expected.spikes)
    assert (found.spikes != first.spikes).any()
    changed.theta = (THETA, THETA)
    np.testing.assert_array_equal(changed.forward(events).readout, first.readout)
    with pytest.raises(NetworkError, match=r"layer1.v and b together has shape \(5, 8\), expected \(4, 8\)"):
        changed.engine().run(network([9, 8, 7, 2], 4).layer_parameters(), events)
