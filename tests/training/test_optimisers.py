"""Optimisers against their published formulas, and schedules."""

import numpy as np
import pytest
from brian2 import second

from brian2grad.models.parameters import ParameterInfo
from brian2grad.training.errors import TrainingError
from brian2grad.training.optimisers import SGD, Adam, make_optimiser, ramp, schedule_factor


def test_adam_is_the_published_algorithm():
    rng = np.random.default_rng(0)
    value = {"w": rng.normal(size=(3, 2))}
    expected, m, v = value["w"].copy(), 0.0, 0.0
    optimiser = Adam(0.01)
    for step in range(1, 8):
        g = rng.normal(size=(3, 2))
        optimiser.step(value, {"w": g})
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        expected -= 0.01 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    np.testing.assert_allclose(value["w"], expected, rtol=1e-10)


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
