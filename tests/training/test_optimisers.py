"""Optimisers against their published formulas, and schedules."""

import numpy as np
import pytest
from brian2 import second

from brian2grad.models.parameters import ParameterInfo
from brian2grad.training.errors import TrainingError
from brian2grad.training.optimisers import SGD, Adam, Averaged, make_optimiser, ramp, schedule_factor


@pytest.mark.parametrize("shape", [(3, 2), (), (0,), (37,)])
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 1e-4)])
def test_adam_is_the_published_algorithm(dtype, rtol, shape):
    rng = np.random.default_rng(0)
    value = {"w": np.asarray(rng.normal(size=shape), dtype)}
    expected, m, v = value["w"].astype(float), 0.0, 0.0
    optimiser = Adam(0.01)
    for step in range(1, 8):
        g = np.asarray(rng.normal(size=shape), dtype)
        optimiser.step(value, {"w": g})
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        expected -= 0.01 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    np.testing.assert_allclose(value["w"], expected, rtol=rtol, atol=1e-3 * rtol)


def test_adam_moves_parts_of_larger_arrays_and_nothing_beside_them():
    whole, rng = np.ones((4, 6)), np.random.default_rng(1)
    g, alone = rng.normal(size=(4, 3)), np.ones((4, 3))
    Adam(0.1).step({"w": whole[:, ::2]}, {"w": g})
    Adam(0.1).step({"w": alone}, {"w": np.asfortranarray(g)})
    np.testing.assert_array_equal(whole[:, ::2], alone)
    np.testing.assert_array_equal(whole[:, 1::2], 1)


@pytest.mark.parametrize(
    ("value", "gradient", "wrong"),
    [
        (np.ones(5), np.ones(4), r"w: the gradient is float64 of shape \(4,\); expected floats of shape \(5,\)"),
        (np.ones(5), np.ones(5, int), "the gradient is int64"),
        (np.ones(5, int), np.ones(5), "the parameter is int64"),
    ],
)
def test_adam_reads_and_writes_no_foreign_memory(value, gradient, wrong):
    with pytest.raises(TrainingError, match=wrong):
        Adam().step({"w": value}, {"w": gradient})


def test_adam_changes_no_array_that_is_read_only():
    value = np.ones(3)
    value.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        Adam().step({"w": value}, {"w": np.ones(3)})
    np.testing.assert_array_equal(value, 1)


def test_sgd_with_momentum():
    value, optimiser = {"w": np.zeros(2)}, SGD(0.5, momentum=0.9)
    optimiser.step(value, {"w": np.array([1.0, -1.0])})
    optimiser.step(value, {"w": np.array([1.0, -1.0])}, factor=0.1)
    np.testing.assert_allclose(value["w"], [-0.5 - 0.05 * 1.9, 0.5 + 0.05 * 1.9])


def test_time_constants_move_by_a_relative_amount():
    value = {"layer1.tau": np.array([0.03, 0.03])}
    info = {"layer1.tau": ParameterInfo(unit=second, scale="relative")}
    Adam(0.01).step(value, {"layer1.tau": np.array([0.0, 5.0])}, info=info)
    np.testing.assert_allclose(value["layer1.tau"], [0.03, 0.03 * 0.99], rtol=1e-6)


@pytest.mark.parametrize("optimiser", [SGD(0.3), Adam(0.1)], ids=lambda value: value.name)
def test_an_average_weighs_later_parameters_more_and_forgets_the_first(optimiser):
    rng, value, seen = np.random.default_rng(1), {"w": np.full(3, 1e3), "still": np.ones(2)}, []
    averaged = Averaged(optimiser, 0.8)
    for _ in range(6):
        averaged.step(value, {"w": rng.normal(size=3)})
        seen.append(value["w"].copy())
    weights = 0.8 ** np.arange(5, -1, -1)
    averaged.exchange(value)
    np.testing.assert_allclose(value["w"], weights @ np.array(seen) / weights.sum(), rtol=1e-12)
    np.testing.assert_array_equal(value["still"], 1)
    averaged.exchange(value)
    np.testing.assert_array_equal(value["w"], seen[-1])


@pytest.mark.parametrize("decay", [-0.1, 0.0, 1.0, float("nan")])
def test_an_average_that_keeps_all_or_nothing_is_refused(decay):
    with pytest.raises(TrainingError, match=f"decay = {decay} of an average must lie between 0 and 1"):
        Averaged(Adam(), decay)


@pytest.mark.parametrize("name", ["constant", "cosine"])
def test_schedules_start_at_one_after_the_warmup(name):
    assert schedule_factor(name, 0, 100) == 1.0
    assert schedule_factor(name, 0, 100, warmup=4) == 0.25
    assert schedule_factor(name, 4, 100, warmup=4) == 1.0


def test_cosine_ends_at_zero():
    assert schedule_factor("cosine", 50, 100) == pytest.approx(0.5)
    assert schedule_factor("cosine", 100, 100) == pytest.approx(0.0)


@pytest.mark.parametrize(("name", "quarter"), [("linear", 0.4), ("cosine", 0.2 + 0.8 * (0.5 - 0.5 * 2**-0.5))])
def test_ramps_end_at_one_and_stay(name, quarter):
    assert [ramp(name, 0.2, p) for p in (0, 1, 3)] == pytest.approx([0.2, 1, 1])
    assert ramp(name, 0.2, 0.25) == pytest.approx(quarter)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: Adam(0.0), "learning_rate = 0.0 must be positive"),
        (lambda: SGD(float("nan")), "must be positive"),
        (lambda: make_optimiser("lion", 0.1), "use one of adam, sgd"),
        (lambda: schedule_factor("step", 0, 1), "use 'constant' or 'cosine'"),
    ],
)
def test_refusals(call, text):
    with pytest.raises(TrainingError, match=text):
        call()


def test_schedules_have_the_published_values():
    warm = [schedule_factor("constant", step, 10, warmup=4) for step in range(6)]
    assert warm == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    cosine = [schedule_factor("cosine", step, 12, warmup=4) for step in (4, 6, 8, 12, 20)]
    np.testing.assert_allclose(cosine, [1, 0.5 * (1 + np.sqrt(0.5)), 0.5, 0, 0], atol=1e-15)
    assert [ramp("linear", 3, p) for p in (-1, 0, 0.25, 1, 2)] == [3, 3, 2.5, 1, 1]
    np.testing.assert_allclose(ramp("cosine", 3, 0.25), 3 - 2 * 0.5 * (1 - np.sqrt(0.5)))
    np.testing.assert_allclose(ramp("cosine", 0.5, 0.5), 0.75)


def test_adam_is_the_published_one_where_gradients_are_tiny():
    """Kingma & Ba 2015, algorithm 1, with gradients of the size of epsilon, where its place matters."""
    gradients = [1e-8, -3e-8, 2e-8, 0.0]
    parameters, optimiser, m, v, theta = {"w": np.zeros(1)}, Adam(0.1), 0.0, 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        optimiser.step(parameters, {"w": np.array([g])})
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        theta -= 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(parameters["w"], theta, rtol=1e-9)
