"""The rules that the resolution study compares with, against their definitions and against other packages."""

import sys
from pathlib import Path

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import value_and_grad
from autograd.extend import defvjp, primitive

from brian2grad.training.optimisers import SGD

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import resolution_peers as peers  # noqa: E402

SIZES, TAU_TRACE = (6, 5, 3), 0.018


def network(spike=peers.heaviside, read_from=0.0, **options):
    net = peers.LifNetwork(SIZES, seed=3, dtype=np.float64, spike=spike, read_from=read_from, **options)
    net.parameters["w_in"] *= 2.0
    net.parameters["w_out"] *= 2.0
    return net


def dense_run(net, events):
    """Inputs, membranes minus threshold, spikes and readouts, (n_steps, n_samples, n) each, from the equations."""
    x = np.stack([events.dense(i) for i in range(len(events))], axis=1)
    v = s = np.zeros((x.shape[1], SIZES[1]))
    u, records = np.zeros((x.shape[1], SIZES[2])), []
    for x_t in x:
        v = net.decay * (v - s) + x_t @ net.parameters["w_in"]
        s = net.spike(v - 1)
        u = net.decay * u + s @ net.parameters["w_out"]
        records.append((x_t, v - 1, s, u))
    return [np.stack(r) for r in zip(*records, strict=True)]


def dense_error(net, u, labels):
    first = net.first_step
    p = np.exp(u) / np.exp(u).sum(axis=2, keepdims=True)
    error = (p - np.eye(SIZES[2])[labels]) / (u.shape[1] * (len(u) - first))
    error[:first] = 0
    return error


@pytest.fixture
def case(random_events):
    return random_events(n_samples=4, n_steps=17), np.array([0, 2, 1, 0])


def assert_close(found, expected):
    for name, value in expected.items():
        assert np.abs(value).max() > 1e-4, f"{name}: the test would pass without a gradient"
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_bptt_is_the_gradient_of_the_smooth_network(case):
    net = network(spike=peers.fast_sigmoid, read_from=0.03)
    loss, gradients = peers.gradient(net, *case, "bptt")
    rng = np.random.default_rng(0)
    for name, value in net.parameters.items():
        for index in zip(*(rng.integers(0, n, 6) for n in value.shape), strict=True):
            before, step = value[index], 1e-5
            value[index] = before + step
            up = peers.gradient(net, *case, "bptt")[0]
            value[index] = before - step
            down = peers.gradient(net, *case, "bptt")[0]
            value[index] = before
            assert gradients[name][index] == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-8)
    assert np.isfinite(loss)


def test_ottt_is_traces_times_the_error_of_the_step(case):
    net, (events, labels) = network(read_from=0.03), case
    x, z, s, u = dense_run(net, events)
    assert 0.02 < s.mean() < 0.6
    error = dense_error(net, u, labels)
    x_trace, s_trace = np.zeros_like(x[0]), np.zeros_like(s[0])
    expected = {name: np.zeros_like(value) for name, value in net.parameters.items()}
    for t in range(len(x)):
        x_trace, s_trace = net.decay * x_trace + x[t], net.decay * s_trace + s[t]
        expected["w_in"] += x_trace.T @ (error[t] @ net.parameters["w_out"].T * peers.surrogate(z[t]))
        expected["w_out"] += s_trace.T @ error[t]
    for window in (1, 5, 64):
        assert_close(peers.gradient(net, events, labels, "ottt", window=window)[1], expected)


def dense_es_d_rtrl(net, events, labels):
    x, z, s, u = dense_run(net, events)
    error, a = dense_error(net, u, labels), np.exp(-net.dt / TAU_TRACE)
    x_trace, s_trace = np.zeros_like(x[0]), np.zeros_like(s[0])
    f, f_out, slope = np.zeros_like(z[0]), np.zeros_like(u[0]), np.zeros_like(z[0])
    expected = {name: np.zeros_like(value) for name, value in net.parameters.items()}
    for t in range(len(x)):
        x_trace, s_trace = a * x_trace + x[t], a * s_trace + s[t]
        f = a * net.decay * (1 - slope) * f + (1 - a)  # D_t = dv_t/dv_{t-1}, through the reset too
        f_out = a * net.decay * f_out + (1 - a)
        slope, correction = peers.surrogate(z[t]), 1 - a ** (t + 1)
        expected["w_in"] += x_trace.T @ (error[t] @ net.parameters["w_out"].T * slope * f / correction)
        expected["w_out"] += s_trace.T @ (error[t] * f_out / correction)
    return expected


def test_es_d_rtrl_is_its_definition(case):
    net = network(read_from=0.03)
    expected = dense_es_d_rtrl(net, *case)
    for window in (1, 5, 64):
        assert_close(peers.gradient(net, *case, "es_d_rtrl", TAU_TRACE, window=window)[1], expected)


@pytest.mark.parametrize("rule", ["ottt", "es_d_rtrl"])
def test_one_step_equals_bptt(rule, random_events):
    events, labels = random_events(n_samples=4, n_steps=1, density=0.8), np.array([0, 2, 1, 0])
    net = network(spike=peers.fast_sigmoid)
    assert_close(
        peers.gradient(net, events, labels, rule, TAU_TRACE)[1], peers.gradient(net, events, labels, "bptt")[1]
    )


def test_online_rules_differ_from_bptt(case):
    net = network()
    bptt = peers.gradient(net, *case, "bptt")[1]["w_in"]
    for rule in ("ottt", "es_d_rtrl"):
        found = peers.gradient(net, *case, rule, TAU_TRACE)[1]["w_in"]
        assert np.linalg.norm(found - bptt) > 0.05 * np.linalg.norm(bptt)


def test_fptt_with_one_part_starts_with_the_gradient_of_bptt(case):
    net = network()
    _, gradients = peers.gradient(net, *case, "bptt")
    expected = {name: value - 0.1 * gradients[name] for name, value in net.parameters.items()}
    peers.Fptt(net, SGD(0.1, momentum=0.0), part=17, alpha=0.5).batch(*case)
    assert_close(net.parameters, expected)


def test_fptt_updates_follow_the_published_recursion(case):
    """Three parts; a part's gradient by central differences, with the states at its start held."""
    events, labels = case
    net, alpha, rate = network(spike=peers.fast_sigmoid), 0.4, 0.2
    w = {name: value.copy() for name, value in net.parameters.items()}
    mean, dual = {n: v.copy() for n, v in w.items()}, {n: np.zeros_like(v) for n, v in w.items()}
    other = network(spike=peers.fast_sigmoid)
    state = other.start(4)
    for _, part in peers.windows(events, 6):
        other.parameters = w
        slope = {name: differences(other, part, labels, state, value) for name, value in w.items()}
        other.advance(part, state)
        for name, value in w.items():
            value -= rate * (slope[name] - dual[name] + alpha * (value - mean[name]))
            dual[name] -= alpha * (value - mean[name])
            mean[name] = (mean[name] + value) / 2 - dual[name] / (2 * alpha)
    learner = peers.Fptt(net, SGD(rate, momentum=0.0), part=6, alpha=alpha)
    learner.batch(events, labels)
    for name, value in w.items():
        assert np.abs(dual[name]).max() > 1e-3
        np.testing.assert_allclose(net.parameters[name], value, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(learner.average[name], mean[name], rtol=1e-6, atol=1e-8)
    learner.settle()
    np.testing.assert_array_equal(net.parameters["w_in"], learner.average["w_in"])


def differences(net, part, labels, state, value, step=1e-6):
    """Central differences of a part's mean loss by every entry of `value`."""

    def loss():
        run = net.advance(part, {name: array.copy() for name, array in state.items()})
        return net.error(run.u, labels, 1 / (len(labels) * part.n_steps), 0)[0]

    result = np.zeros_like(value)
    for index in np.ndindex(value.shape):
        before = value[index]
        value[index] = before + step
        up = loss()
        value[index] = before - step
        result[index] = (up - loss()) / (2 * step)
        value[index] = before
    return result


def test_prediction_in_windows_equals_the_whole_run(case):
    events, labels = case
    net = network(read_from=0.03)
    classes, spikes = net.predict(events, batch=3)
    _, _, s, u = dense_run(net, events)
    p = np.exp(u) / np.exp(u).sum(axis=2, keepdims=True)
    np.testing.assert_array_equal(classes, p[net.first_step :].sum(axis=0).argmax(axis=1))
    np.testing.assert_array_equal(spikes, s.sum(axis=(0, 2)))


@primitive
def spike(z):
    return (z > 0) * 1.0


defvjp(spike, lambda ans, z: lambda g: g / (1 + peers.SLOPE * np.abs(z)) ** 2)


def test_bptt_equals_automatic_differentiation(case):
    net, (events, labels) = network(read_from=0.03), case
    x = np.stack([events.dense(i) for i in range(len(events))], axis=1)

    def loss_of(w):
        v = s = np.zeros((4, SIZES[1]))
        u, total = np.zeros((4, SIZES[2])), 0.0
        for t, x_t in enumerate(x):
            v = net.decay * (v - s) + x_t @ w["w_in"]
            s = spike(v - 1)
            u = net.decay * u + s @ w["w_out"]
            if t >= net.first_step:
                total = total + anp.sum(anp.log(anp.sum(anp.exp(u), axis=1)) - u[np.arange(4), labels])
        return total / (4 * (len(x) - net.first_step))

    loss, expected = value_and_grad(loss_of)(net.parameters)
    found, gradients = peers.gradient(net, events, labels, "bptt")
    assert found == pytest.approx(loss, rel=1e-9)
    assert_close(gradients, expected)


def test_es_d_rtrl_equals_braintrace(case):
    braintrace = pytest.importorskip("braintrace", reason="braintrace is not installed: pp_prop is not compared")
    import brainstate
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    (events, labels), net = case, network()

    @jax.custom_vjp
    def spike(z):
        return (z > 0).astype(z.dtype)

    spike.defvjp(lambda z: (spike(z), z), lambda z, g: (g / (1 + peers.SLOPE * jnp.abs(z)) ** 2,))

    class Leaky(brainstate.nn.Module):
        def __init__(self, w, spiking):
            super().__init__()
            self.w, self.spiking = brainstate.ParamState(jnp.asarray(w)), spiking

        def init_state(self, batch_size=None, **_):
            self.v = brainstate.HiddenState(jnp.zeros((batch_size, self.w.value.shape[1]), jnp.float64))

        def update(self, x):
            before = self.v.value
            if self.spiking:
                before = before - spike(before - 1)
            self.v.value = net.decay * before + braintrace.matmul(x, self.w.value)
            return spike(self.v.value - 1) if self.spiking else self.v.value

    class Net(brainstate.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [Leaky(net.parameters["w_in"], True), Leaky(net.parameters["w_out"], False)]

        def update(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    xs = jnp.asarray(np.stack([events.dense(i) for i in range(len(events))], axis=1))
    decay = float(np.exp(-net.dt / TAU_TRACE))
    learner = braintrace.compile(Net(), braintrace.pp_prop, xs[0], batch_size=4, decay_or_rank=decay)

    def loss(x, _):
        return -jax.nn.log_softmax(learner(x))[jnp.arange(4), jnp.asarray(labels)].mean()

    gradients, _ = learner.etrace_grad(xs, jnp.zeros(len(xs)), step_fn=loss, return_value=True)
    found = peers.gradient(net, events, labels, "es_d_rtrl", TAU_TRACE)[1]
    assert len(gradients) == 2
    for value in gradients.values():  # theirs is the sum or the mean over steps
        name = "w_in" if value.shape == found["w_in"].shape else "w_out"
        scale = np.linalg.norm(value) / np.linalg.norm(found[name])
        assert scale == pytest.approx(17, rel=1e-5) or scale == pytest.approx(1, rel=1e-5)
        np.testing.assert_allclose(np.asarray(value) / scale, found[name], rtol=1e-4, atol=1e-7)
