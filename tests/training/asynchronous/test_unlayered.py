"""The reverse pass over the tape is the exact derivative of the surrogate computation."""

import itertools
import math

import numpy as np
import pytest
import smoothed
import unlayered_cases as cases
import unlayered_dense
from brian2 import ms
from scipy import sparse
from surrogates import primitive, slope

from brian2grad.models import AsynchronousNetwork, StepEvents
from brian2grad.models.asynchronous.connectivity import Connectivity
from brian2grad.models.gradients import Unlayered
from brian2grad.models.order.tape import EMITTED

Case = cases.Case

VARIANTS = {
    "v1": {},
    "v2": {"variant": "v2"},
    "v1-cut": {"state": "cut"},
    "v2-cut": {"variant": "v2", "state": "cut"},
    "v1-detached": {"reset": "detached"},
    "v2-detached": {"variant": "v2", "reset": "detached"},
    "filler-all": {"filler": "all"},
    "fast_sigmoid": {"surrogate": "fast_sigmoid", "steepness": 5.0},
    "sigmoid": {"surrogate": "sigmoid", "steepness": 3.0, "scale": 0.7},
}
OPTIONS = {
    "plain": {},
    "no-refractory": {"refractory": False},
    "refractory-dropout": {"refractory_dropout": 0.6},
    "membrane": {"kind": "membrane"},
    "latency": {"kind": "latency"},
    "recurrent": {"recurrent": True},
    "spike-dropout": {"spike_dropout": 0.2},
    "sigma": {"sigma": 1.5},  # no whole number: the slope of the fast sigmoid has a kink at threshold
}
POLICIES = {"RS-1": ("RS", 1), "MS-4": ("MS", 4), "FIFO-8": ("FIFO", 8), "RS-all": ("RS", None)}
SYNCHRONISED = [name for name in VARIANTS if VARIANTS[name].get("variant") != "v2"]  # v2 has no such threshold
PAIRS = [  # every variant with every option, under the policies in turn
    (variant, option, list(POLICIES)[(i + k) % len(POLICIES)])
    for (i, variant), (k, option) in itertools.product(enumerate(VARIANTS), enumerate(OPTIONS))
    if option != "sigma" or variant in SYNCHRONISED
]


@pytest.mark.parametrize(("variant", "option", "policy"), PAIRS, ids=map("-".join, PAIRS))
def test_finite_differences_of_the_smoothed_network(variant, option, policy):
    unlayered, seed = Unlayered(**VARIANTS[variant]), list(VARIANTS).index(variant) + 20 * (option == "sigma")
    case = Case(seed, *POLICIES[policy], unlayered=unlayered, n_samples=1, **OPTIONS[option])
    found = case.gradient()
    assert found.outcome.counters["spikes"].sum() > 10
    assert bool(case.sigma) == ("neurons.sigma" in found.gradients)
    assert not case.sigma or np.any(found.gradients["neurons.sigma"])
    assert bool(case.spike_dropout) == bool(np.any((found.outcome.tape.flags & EMITTED) == 0))
    smooth, rng = smoothed.Smoothed(case, found.outcome.tape), np.random.default_rng(0)
    assert smooth.loss(smooth.start) == pytest.approx(found.loss, rel=1e-12)
    for name, gradient in found.gradients.items():
        scale = max(float(np.abs(gradient).max()), 1e-3)
        for place in rng.choice(gradient.size, 4, replace=False):
            assert difference(smooth, name, place) == pytest.approx(gradient.flat[place], abs=2e-7 * scale), name


def difference(smooth, name, index):
    """Central difference of the smoothed loss, fourth order."""
    h = 1e-4 * max(abs(smooth.start[name].flat[index]), 1e-1 if name.endswith("w") else 0)
    value = 0.0
    for weight, k in ((8, 1), (-8, -1), (-1, 2), (1, -2)):
        parameters = {n: v.copy() for n, v in smooth.start.items()}
        parameters[name].flat[index] += k * h
        value += weight * smooth.loss(parameters)
    return value / (12 * h)


# -- against plain automatic differentiation ------------------------------------------------------------------


def assert_equal_to_dense(case):
    found = case.gradient()
    loss, grads, counts = unlayered_dense.gradient(case)
    np.testing.assert_array_equal(found.outputs, counts)
    assert found.loss == pytest.approx(loss, rel=1e-12)
    for name, own in found.gradients.items():
        scale = np.abs(grads[name]).max()
        np.testing.assert_allclose(own, grads[name], rtol=1e-9, atol=1e-12 * max(scale, 1.0), err_msg=name)


GRID = list(itertools.product(("RS", "MS", "layered"), (1, 4, 8, None), ("v1", "v2"), ("full", "cut"), OPTIONS))


def case_of(index):
    policy, F, variant, state, option = GRID[index]
    options = OPTIONS[option]
    if options.get("sigma"):
        variant = "v1"
    reset = "detached" if index % 3 == 0 else "attached"
    return Case(index, policy, F, unlayered=Unlayered(variant=variant, state=state, reset=reset), **options)


@pytest.mark.parametrize("index", range(0, len(GRID), 17))
def test_equal_to_dense_autograd(index):
    assert_equal_to_dense(case_of(index))


@pytest.mark.parametrize("seed", range(3))
def test_a_whole_synchronisation_threshold_is_not_passed_by_as_many_spikes(seed):
    assert_equal_to_dense(Case(seed, "RS", 4, sigma=1.0))


@pytest.mark.long
@pytest.mark.parametrize("index", range(len(GRID)))
def test_equal_to_dense_autograd_on_the_whole_grid(index):
    assert_equal_to_dense(case_of(index))


# -- what must not matter -------------------------------------------------------------------------------------


@pytest.mark.threads
def test_threads_do_not_change_the_gradient():
    one, three = (Case(3, n_samples=20, threads=n).gradient() for n in (1, 3))
    assert one.loss == three.loss
    for name in one.gradients:
        np.testing.assert_array_equal(one.gradients[name], three.gradients[name])


def test_gradient_of_a_batch_is_the_mean_over_its_samples():
    case = Case(4, "FIFO", 2, n_samples=20, recurrent=True)  # more than one sample for each of the sums
    batch, singles = case.gradient(), []
    for s in range(20):
        alone = Case(4, "FIFO", 2, recurrent=True)
        alone.connectivity, alone.tau, alone.theta = case.connectivity, case.tau, case.theta
        alone.frames, alone.labels = case.frames[[s]], case.labels[[s]]
        singles.append(alone.gradient())
    assert np.mean([single.loss for single in singles]) == pytest.approx(batch.loss, rel=1e-12)
    for name, gradient in batch.gradients.items():
        mean = np.mean([single.gradients[name] for single in singles], axis=0)
        np.testing.assert_allclose(gradient, mean, rtol=1e-10, atol=1e-12 * np.abs(mean).max(), err_msg=name)


def test_sparse_weights_have_the_gradient_of_dense_ones():
    dense = Case(5)
    chosen = Case(5)
    chosen.connectivity = dense.connectivity.with_weights(
        [sparse.csr_array(p.weights) for p in dense.connectivity.projections]
    )
    for name, own in chosen.gradient().gradients.items():
        np.testing.assert_allclose(own, dense.gradient().gradients[name].reshape(own.shape), rtol=1e-12, atol=1e-15)


@pytest.mark.threads
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-11), ("float32", 2e-4)])
@pytest.mark.parametrize("prioritised", [True, False])
@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_wide_layers_with_two_ways_from_the_input_have_the_gradient_of_sparse_ones(variant, prioritised, dtype, rtol):
    rng = np.random.default_rng(0)
    sizes, found = [40, 150, 37, 9], []
    pairs = [(0, 1), (0, 2), (1, 2), (2, 3), (1, 3), (0, 3), (2, 1)]
    weights = [rng.normal(0.02, 0.15, (sizes[i], sizes[j])).astype(dtype) for i, j in pairs]
    events = StepEvents.from_dense(rng.integers(0, 2, (5, 3, 40)), 1 * ms)
    for threads, forms in ((1, "ddddddd"), (3, "ddddddd"), (2, "dsdddsd"), (1, "sssssss")):
        connectivity = Connectivity(sizes)
        for (i, j), w, form in zip(pairs, weights, forms, strict=True):
            connectivity = connectivity.connect(i, j, sparse.csr_array(w) if form == "s" else w)
        network = AsynchronousNetwork(
            connectivity, V_th=0.5, dt=1 * ms, dtype=dtype, threads=threads, forward_group=8, prioritised=prioritised
        )
        found.append(network.gradient(events, np.arange(5), rule=Unlayered(variant=variant, clip=None)))
    one, three, mixed, thin = found
    assert one.n_spikes == three.n_spikes == mixed.n_spikes == thin.n_spikes > 500
    for name, gradient in one.gradients.items():
        np.testing.assert_array_equal(gradient, three.gradients[name])
        scale = float(np.abs(gradient).max())
        assert scale > 0
        for other in (mixed, thin):
            own = other.gradients[name].reshape(gradient.shape)
            np.testing.assert_allclose(own, gradient, rtol=rtol, atol=rtol * scale, err_msg=name)


def test_every_silent_neuron_learns_with_layers_and_few_with_a_small_group():
    blamed = {}
    for F in (1, None):
        case = Case(8, "MS", F, unlayered=Unlayered(filler="first"))
        blamed[F] = np.count_nonzero(case.gradient().gradients["neurons.V_th"])
    assert blamed[1] <= blamed[None]
    none = Case(8, "MS", None, unlayered=Unlayered(filler="none")).gradient().gradients["projection0.w"]
    full = Case(8, "MS", None).gradient().gradients["projection0.w"]
    assert np.abs(none).sum() != np.abs(full).sum()


def test_truncation_cuts_what_is_further_back():
    full = Case(2).gradient()
    cut = Case(2, unlayered=Unlayered(cut_timesteps=True)).gradient()
    longer = Case(2, unlayered=Unlayered(truncate=10**6)).gradient()
    np.testing.assert_array_equal(full.gradients["projection0.w"], longer.gradients["projection0.w"])
    assert not np.any(cut.gradients["neurons.tau_m"])  # leak acts between timesteps only
    assert np.any(full.gradients["neurons.tau_m"])


def test_windows_of_truncation_begin_with_the_sample():
    cut = 0
    for seed in range(12):
        full = Case(seed, n_samples=1).gradient()
        n = int(full.outcome.tape.steps.sum())
        whole, shorter = (Case(seed, n_samples=1, unlayered=Unlayered(truncate=k)).gradient() for k in (n, n - 1))
        for name, gradient in full.gradients.items():
            np.testing.assert_array_equal(gradient, whole.gradients[name])
        cut += any(np.any(full.gradients[name] != shorter.gradients[name]) for name in full.gradients)
    assert cut > 2, "a last step that nothing comes back from is cut off without a trace"


@pytest.mark.parametrize("filler", ["random", "all"])
def test_fillers_are_equal_where_there_is_room_for_every_silent_neuron(filler):
    for seed in range(4):
        first, other = (
            Case(seed, "MS", None, recurrent=True, unlayered=Unlayered(filler=f)) for f in ("first", filler)
        )
        for (name, one), two in zip(
            first.gradient().gradients.items(), other.gradient().gradients.values(), strict=True
        ):
            np.testing.assert_array_equal(one, two, err_msg=name)


@pytest.mark.parametrize("kind", ["arctan", "fast_sigmoid", "sigmoid"])
@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_slope_is_the_derivative_of_the_primitive(kind, variant):
    spec = Unlayered(variant=variant, surrogate=kind, scale=0.5)
    x, h = np.linspace(-1, 1, 40), 1e-6  # not at the kink of the fast sigmoid's slope
    np.testing.assert_allclose((primitive(spec, x + h) - primitive(spec, x - h)) / (2 * h), slope(spec, x), rtol=1e-4)
    if kind == "arctan":
        assert slope(spec, 0.0) == pytest.approx(0.5 if variant == "v1" else 0.5 / math.pi)
