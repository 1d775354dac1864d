"""The gamma memory against its kernel, its published recursion and its identities; what it refuses."""

import math

import mpmath
import numpy as np
import pytest
from brian2 import Equations, Network, NeuronGroup, StateMonitor, defaultclock, ms, mV, second, volt
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm_frechet

from brian2grad.equations import ModelError, exact_memory, gamma_memory, spiking_gamma
from brian2grad.equations.propagator import propagator, propagator_slope

K = 5
TAUS = {
    "equal": (20 * ms, 1.0),
    "geometric": (8 * ms, 1.7),
    "arbitrary": ([31, 12, 45, 7.3, 22] * ms, 1.0),
    "coincident": ([20, 20, 35, 35, 20] * ms, 1.0),
}


def seconds(tau, ratio):
    values = np.asarray(tau, float)
    return values * ratio ** np.arange(K) if values.ndim == 0 else values


def rates(taus, transposed=False):
    """Matrix of the chain's equations, written down independently of the library."""
    A = np.diag(-1 / taus)
    for k in range(1, len(taus)):
        A[(k - 1, k) if transposed else (k, k - 1)] = 1 / taus[k - 1 if transposed else k]
    return A


def high_precision_exponential(A, t):
    """Entries of exp(A t) with 40 digits."""
    with mpmath.workdps(60):
        result = mpmath.expm(mpmath.matrix((A).tolist()) * mpmath.mpf(t), method="taylor")
        return np.array([[float(result[i, j]) for j in range(len(A))] for i in range(len(A))])


def impulse_response(model, dt, n_steps, start="z0", n=1, **values):
    """Buckets (n_steps + 1, K, n) of a Brian 2 run that starts with one bucket at one."""
    defaultclock.dt = dt
    group = NeuronGroup(n, model, **model.arguments)
    for name, value in ({start: 1.0} | values).items():
        setattr(group, name, value)
    monitor = StateMonitor(group, [f"z{k}" for k in range(K)], record=True, when="start")
    Network(group, monitor).run((n_steps + 1) * dt, namespace={})
    return np.stack([getattr(monitor, f"z{k}") for k in range(K)], axis=1).transpose(2, 1, 0)


# -- the continuous kernel ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dt", [1 * ms, 7 * ms], ids=str)
@pytest.mark.parametrize("kind", TAUS)
def test_exact_memory_is_the_gamma_kernel(kind, dt):
    tau, ratio = TAUS[kind]
    found = impulse_response(gamma_memory(K, tau, ratio=ratio, memory="continuous"), dt, 40)[:, :, 0]
    A = rates(seconds(tau, ratio))
    for n in (1, 2, 3, 10, 39):
        wanted = high_precision_exponential(A, n * float(dt))[:, 0]
        np.testing.assert_allclose(found[n], wanted, rtol=1e-12, atol=0)


def test_equal_time_constants_give_the_closed_form():
    tau, dt, n = 20 * ms, 3 * ms, np.arange(1, 40)
    found = impulse_response(gamma_memory(K, tau, memory="continuous"), dt, 40)[1:40, :, 0]
    u = n * float(dt / tau)
    wanted = np.stack([u**k * np.exp(-u) / math.factorial(k) for k in range(K)], axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_old_word_for_the_continuous_memory():
    old, new = (spiking_gamma(2, 10 * ms, memory=word) for word in ("exact", "continuous"))
    assert old.memory == new.memory == "continuous"
    assert old.method is new.method is exact_memory


def test_exact_memory_follows_a_change_of_dt_between_runs():
    tau, ratio = TAUS["arbitrary"]
    model = gamma_memory(K, tau, ratio=ratio, memory="continuous")
    group = NeuronGroup(1, model, **model.arguments)
    group.z0 = 1
    network, A, elapsed = Network(group), rates(seconds(tau, ratio)), 0.0
    for dt in (1 * ms, 4 * ms, 0.5 * ms):
        defaultclock.dt = dt
        network.run(12 * ms, namespace={})
        elapsed += 12e-3
        found = [float(getattr(group, f"z{k}")[0]) for k in range(K)]
        np.testing.assert_allclose(found, high_precision_exponential(A, elapsed)[:, 0], rtol=1e-12)


@given(
    taus=st.lists(st.floats(1e-3, 0.2), min_size=1, max_size=6),
    h=st.floats(1e-5, 0.05),
    transposed=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_propagator_is_the_matrix_exponential_entry_by_entry(taus, h, transposed):
    A = rates(np.array(taus), transposed)
    np.testing.assert_allclose(propagator(A, h), high_precision_exponential(A, h), rtol=2e-13, atol=0)


@given(taus=st.lists(st.floats(2e-3, 0.2), min_size=1, max_size=6), h=st.floats(1e-5, 0.02), g=st.floats(1e-5, 0.02))
@settings(max_examples=50, deadline=None)
def test_propagator_is_a_semigroup(taus, h, g):
    A = rates(np.array(taus))
    np.testing.assert_allclose(propagator(A, h) @ propagator(A, g), propagator(A, h + g), rtol=1e-12, atol=0)


@given(taus=st.lists(st.floats(2e-3, 0.2), min_size=1, max_size=6), h=st.floats(1e-5, 0.02), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_slope_of_the_propagator_is_the_frechet_derivative(taus, h, seed):
    A = rates(np.array(taus))
    slope = np.random.default_rng(seed).normal(size=A.shape) * np.abs(A).max()
    wanted = expm_frechet(A * h, slope * h, compute_expm=False)
    np.testing.assert_allclose(propagator_slope(A, slope, h), wanted, rtol=1e-10, atol=1e-13 * np.abs(wanted).max())


def test_propagator_of_rates_with_negative_couplings():
    A = np.array([[-10.0, -50.0], [50.0, -10.0]])
    rotation = np.exp(-0.2) * np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])
    np.testing.assert_allclose(propagator(A, 0.02), rotation, rtol=1e-13)


# -- the published recursion ----------------------------------------------------------------------------------------


def recursion(taus, dt, n_steps):
    """The recursion of the paper, term for term, from a spike of size one in bucket 0."""
    alpha = np.exp(-dt / taus)
    z = np.zeros((n_steps + 1, len(taus)))
    z[0, 0] = 1
    for n in range(n_steps):
        z[n + 1, 0] = alpha[0] * z[n, 0]
        for k in range(1, len(taus)):
            z[n + 1, k] = alpha[k] * z[n, k] + (1 - alpha[k]) * z[n, k - 1]
    return z


@pytest.mark.parametrize("dt", [1 * ms, 10 * ms], ids=str)
@pytest.mark.parametrize("kind", TAUS)
def test_paper_memory_is_the_published_recursion(kind, dt):
    tau, ratio = TAUS[kind]
    found = impulse_response(gamma_memory(K, tau, ratio=ratio, memory="paper"), dt, 60)[:, :, 0]
    np.testing.assert_allclose(found, recursion(seconds(tau, ratio), float(dt), 60), rtol=0, atol=1e-15)


def test_bucket_identities_of_the_recursion():
    tau, dt = 20 * ms, 10 * ms
    z = impulse_response(gamma_memory(K, tau), dt, 400)[:, :, 0]
    a, n = np.exp(-0.5), np.arange(401)
    binomial = np.array([[math.comb(int(m), k) * (1 - a) ** k * a ** (m - k) for k in range(K)] for m in n[:50]])
    np.testing.assert_allclose(z[:50], binomial, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(z[:K].sum(axis=1), 1, rtol=1e-14)  # nothing is lost until the last bucket spills
    np.testing.assert_allclose(z.sum(axis=0), 1 / (1 - a), rtol=1e-12)  # areas of all buckets are equal


@pytest.mark.parametrize("kind", TAUS)
def test_areas_and_mean_delays_of_the_recursion(kind):
    tau, ratio = TAUS[kind]
    z = impulse_response(gamma_memory(K, tau, ratio=ratio), 10 * ms, 900)[:, :, 0]
    a = np.exp(-10e-3 / seconds(tau, ratio))
    np.testing.assert_allclose(z.sum(axis=0), 1 / (1 - a[0]), rtol=1e-10)
    delays = (np.arange(901)[:, None] * z).sum(axis=0) / z.sum(axis=0)
    wanted = a[0] / (1 - a[0]) + np.concatenate([[0], np.cumsum(1 / (1 - a[1:]))])
    np.testing.assert_allclose(delays, wanted, rtol=1e-9)


@pytest.mark.parametrize("kind", TAUS)
def test_areas_and_mean_delays_of_the_kernel(kind):
    """In continuous time bucket k is delayed by the sum of the time constants; all areas are tau_0."""
    tau, ratio = TAUS[kind]
    taus = seconds(tau, ratio)
    dt = 0.25 * ms
    z = impulse_response(gamma_memory(K, tau, ratio=ratio, memory="continuous"), dt, 6000)[:, :, 0]
    t = np.arange(len(z)) * float(dt)
    area = np.trapezoid(z, t, axis=0)
    np.testing.assert_allclose(area, taus[0], rtol=2e-4)
    np.testing.assert_allclose(np.trapezoid(t[:, None] * z, t, axis=0) / area, np.cumsum(taus), rtol=2e-3)


@pytest.mark.parametrize("memory", ["paper", "continuous"])
def test_driven_chain_has_gain_one_and_delays_the_drive(memory):
    dt, tau = 1 * ms, 6 * ms
    model = gamma_memory(3, tau, drive="slope*t + 1", memory=memory) + "slope : hertz (constant)"
    defaultclock.dt = dt
    group = NeuronGroup(2, model, **model.arguments)
    group.slope = [0, 20] / second
    Network(group).run(300 * ms, namespace={})
    buckets = np.array([group.z0, group.z1, group.z2])
    np.testing.assert_allclose(buckets[:, 0], 1, rtol=1e-12)  # a constant passes unchanged
    lag = (1 + 20 * 0.3 - buckets[:, 1]) / 20
    if memory == "paper":
        each = 1e-3 / (1 - np.exp(-1 / 6))
        wanted = each * np.arange(1, 4)
    else:  # the drive is held over a step, so it is half a step late on its way into the first bucket
        wanted = 6e-3 * np.arange(1, 4) + 0.5e-3
    np.testing.assert_allclose(lag, wanted, rtol=3e-3)


# -- variants of the chain ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", ["paper", "continuous"])
@pytest.mark.parametrize("kind", TAUS)
def test_transposed_chain_equals_the_forward_chain(kind, memory):
    """What enters bucket k of the reversed chain leaves bucket 0 through kernel k."""
    tau, ratio = TAUS[kind]
    dt, taus = 5 * ms, seconds(tau, ratio)
    forward = impulse_response(gamma_memory(K, tau, ratio=ratio, memory=memory), dt, 40)[:, :, 0]
    rate = 1 / taus if memory == "continuous" else 1 - np.exp(-float(dt) / taus)
    for k in range(K):
        model = gamma_memory(K, tau, ratio=ratio, memory=memory, transposed=True)
        found = impulse_response(model, dt, 40, start=f"z{k}")[:, 0, 0]
        np.testing.assert_allclose(found, forward[:, k] * rate[0] / rate[k], rtol=1e-11, atol=1e-16)


def test_named_time_constants_are_per_neuron_variables():
    taus = np.array([10e-3, 25e-3])
    model = gamma_memory(K, "tau") + "tau : second (constant)"
    found = impulse_response(model, 10 * ms, 30, n=2, tau=taus * second)
    for i, tau in enumerate(taus):
        np.testing.assert_allclose(found[:, :, i], recursion(np.full(K, tau), 10e-3, 30), rtol=0, atol=1e-15)
    names = [f"tau_{k}" for k in range(K)]
    model = gamma_memory(K, names) + "".join(f"{name} : second (constant)\n" for name in names)
    values = dict(zip(names, [10, 20, 30, 40, 50] * ms, strict=True))
    found = impulse_response(model, 10 * ms, 30, **values)
    np.testing.assert_allclose(found[:, :, 0], recursion(np.arange(1, 6) * 10e-3, 10e-3, 30), rtol=0, atol=1e-15)


def test_exact_memory_with_a_named_constant_is_exact_and_with_a_variable_refused():
    """Exponential Euler in its place would be another memory than the one asked for."""
    defaultclock.dt = 10 * ms
    model = gamma_memory(3, "tau_memory", memory="continuous")
    group = NeuronGroup(1, model, **model.arguments)
    group.z0 = 1
    Network(group).run(30 * ms, namespace={"tau_memory": 20 * ms})
    np.testing.assert_allclose([group.z1[0], group.z2[0]], np.array([1.5, 1.125]) * np.exp(-1.5), rtol=1e-12)
    variable = model + "tau_memory : second (constant)"
    group = NeuronGroup(1, variable, **variable.arguments)
    group.tau_memory = 20 * ms
    with pytest.raises(Exception, match="object") as caught:
        Network(group).run(10 * ms, namespace={})
    assert "'paper'" in str(caught.value.__cause__)
    assert isinstance(caught.value.__cause__, ModelError)


def test_buckets_may_have_a_unit_and_another_name():
    model = gamma_memory(2, 10 * ms, name="u", unit="volt", drive="E", memory="continuous") + "E : volt"
    defaultclock.dt = 1 * ms
    group = NeuronGroup(1, model, **model.arguments)
    group.E = 3 * mV
    Network(group).run(400 * ms, namespace={})
    assert group.u1[0] / volt == pytest.approx(3e-3, rel=1e-12)
    assert model.K == 2
    np.testing.assert_allclose(np.asarray(model.tau), [10e-3, 10e-3])


def test_user_equations_beside_the_exact_memory():
    """What is linear with numeric rates joins the exact block; the rest is integrated beside it."""
    model = gamma_memory(2, 10 * ms, memory="continuous") + Equations(
        """dv/dt = (z1 - v)/(20*ms) : 1
           du/dt = -u**3/second : 1"""
    )
    defaultclock.dt = 5 * ms
    group = NeuronGroup(1, model, **model.arguments)
    group.z0, group.u = 1, 1
    Network(group).run(50 * ms, namespace={})
    A = np.array([[-100.0, 0, 0], [100, -100, 0], [0, 50, -50]])
    wanted = high_precision_exponential(A, 0.05)[:, 0]
    np.testing.assert_allclose([group.z0[0], group.z1[0], group.v[0]], wanted, rtol=1e-12)
    assert group.u[0] == pytest.approx((1 + 2 * 0.05) ** -0.5, rel=5e-3)


def test_plus_keeps_events_and_method():
    neuron = spiking_gamma(2, 10 * ms, memory="continuous")
    extra = Equations("I : 1")
    for total in (neuron + "I : 1", neuron + extra, "I : 1" + neuron, extra + neuron):
        assert total.threshold == neuron.threshold
        assert total.reset == neuron.reset
        assert total.method is exact_memory
        assert total.arguments == neuron.arguments
        assert set(total) == set(neuron) | {"I"}
        assert total.weight_names == ("w",)
        group = NeuronGroup(1, total, **total.arguments)
        group.b = 5
        Network(group).run(1 * ms, namespace={})
        assert group.yhat[0] > 0  # it spiked, and the reset raised the estimate
    chain = gamma_memory(2, 10 * ms, name="q")
    for total in (chain + neuron, neuron + chain):
        assert total.threshold == neuron.threshold
    with pytest.raises(ModelError, match=r"define a threshold .*\.model"):
        neuron + spiking_gamma(2, 10 * ms)


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        ((0, 10 * ms), {}, r"K = 0 buckets: a gamma memory needs a whole number K >= 1"),
        ((2.5, 10 * ms), {}, r"K = 2.5 buckets"),
        ((True, 10 * ms), {}, r"K = True buckets"),
        ((2, 10), {}, r"tau = 10 must be a time; write for example tau=30\*ms"),
        ((2, 10 * mV), {}, r"tau = .* must be a time"),
        ((2, -10 * ms), {}, r"tau\[0\] = -0.01 s: a time constant must be positive"),
        ((3, [10, 20, 0] * ms), {}, r"tau\[2\] = 0 s: a time constant must be positive"),
        ((3, [10, np.nan, 5] * ms), {}, r"tau\[1\] = nan s"),
        ((2, np.inf * ms), {}, r"tau\[0\] = inf s"),
        ((3, [10, 20] * ms), {}, r"tau has shape \(2,\); give one value or 3"),
        ((2, 10 * ms), {"ratio": 0}, r"ratio = 0 between time constants must be positive"),
        ((2, 10 * ms), {"ratio": -1}, r"ratio = -1"),
        ((2, 10 * ms), {"memory": "euler"}, r"memory='euler' is unknown; use one of paper, continuous"),
        ((3, ["a", "b"]), {}, r"Named time constants: give one name or 3"),
        ((3, "a"), {"ratio": 2.0}, r"Named time constants"),
    ],
    ids=str,
)
def test_bad_memories_are_refused(arguments, options, text):
    with pytest.raises(ModelError, match=text):
        gamma_memory(*arguments, **options)
    if not isinstance(arguments[1], str | list):
        with pytest.raises(ModelError, match=text):
            spiking_gamma(*arguments, **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"theta": 0}, r"theta = 0 must be a positive number"),
        ({"theta": -1.0}, r"theta = -1.0 must be a positive number"),
        ({"theta": np.nan}, r"theta = nan"),
        ({"theta": "high"}, r"theta = high must be a positive number"),
        ({"buckets": "axon"}, r"buckets='axon' is unknown; use 'neuron' .* or 'synapse'"),
        ({"adaptation": -0.1}, r"adaptation = -0.1 must be a number >= 0"),
        ({"adaptation": "some"}, r"adaptation = some must be a number"),
        ({"adaptation": 0.1, "tau_theta": 0 * ms}, r"tau_theta\[0\] = 0 s: a time constant must be positive"),
        ({"adaptation": 0.1, "tau_theta": 15}, r"tau_theta = 15 must be a time"),
    ],
    ids=str,
)
def test_bad_neurons_are_refused(options, text):
    with pytest.raises(ModelError, match=text):
        spiking_gamma(2, 10 * ms, **options)
