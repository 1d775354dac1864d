"""Losses of asynchronous networks: their derivatives are those of their values, with every factor away from one."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from brian2grad.models.asynchronous.losses import AsyncLoss, cross_entropy, first_spike_steps
from brian2grad.models.errors import NetworkError

FACTORS = {"gain": 1.3, "total": 0.7, "total_gain": 0.6, "smoothing": 0.1, "latency_scale": 2.5}
FACTORS |= {"first": 0.4, "haste": 0.2, "activity": 0.3}
LABELS = np.array([2, 0])


def outcome(outputs):
    """Two samples of three timesteps, three outputs."""
    return SimpleNamespace(
        outputs=outputs, n_neurons=5,
        counters={"forward_steps": np.array([[2, 3, 1], [4, 1, 2]]), "spikes": np.array([[3, 1, 2], [5, 0, 1]])},
        first=np.stack([np.zeros((2, 3, 3)), FIRST], axis=-1),
    )  # fmt: skip


FIRST = np.array([[[0, 2, 0], [1, 1, 0], [0, 1, 0]], [[3, 0, 0], [1, 0, 1], [2, 0, 1]]])  # step in its timestep, from 1


@pytest.mark.parametrize("kind", ["counts", "membrane", "latency"])
def test_derivatives_by_counts_and_membranes_are_those_of_the_loss(kind):
    rng, loss = np.random.default_rng(0), AsyncLoss(kind=kind, **FACTORS)
    outputs, membranes = rng.uniform(0, 3, (2, 3, 3)), rng.normal(size=(2, 3, 3))
    value = lambda out, mem: loss.evaluate(outcome(out), LABELS, mem).loss  # noqa: E731
    found = loss.evaluate(outcome(outputs), LABELS, membranes)
    for k, analytic in enumerate((found.by_count, found.by_membrane)):
        for at in np.ndindex(2, 3, 3):
            given = [outputs.copy(), membranes.copy()], [outputs.copy(), membranes.copy()]
            given[0][k][at] += 1e-5
            given[1][k][at] -= 1e-5
            slope = (value(*given[0]) - value(*given[1])) / 2e-5
            assert slope == pytest.approx(0.0 if analytic is None else analytic[at], abs=1e-8)


def test_first_spikes_are_counted_over_the_timesteps_of_a_sample():
    """Forward steps before it; of an output that never spikes, all of the sample."""
    np.testing.assert_array_equal(first_spike_steps(outcome(np.zeros((2, 3, 3)))), [[2, 1, 6], [2, 7, 4]])


def test_derivatives_by_latency_and_spike():
    found = AsyncLoss(kind="latency", **FACTORS).evaluate(outcome(np.zeros((2, 3, 3))), LABELS)
    latency = np.array([[2, 1, 6], [2, 7, 4]])
    rows = np.arange(2)

    def value(x):
        return cross_entropy(-x / 2.5, LABELS, 0.1)[0] + 0.2 * (x / 2.5)[rows, LABELS].mean()

    for at in np.ndindex(2, 3):
        moved = np.zeros((2, 3))
        moved[at] = 1e-5
        slope = (value(latency + moved) - value(latency - moved)) / 2e-5
        assert slope == pytest.approx(found.by_latency[at], abs=1e-8)
    assert found.by_spike == pytest.approx(0.3 / (2 * 5))
    without = AsyncLoss(kind="latency", **FACTORS | {"activity": 0.0}).evaluate(outcome(np.zeros((2, 3, 3))), LABELS)
    assert found.loss - without.loss == pytest.approx(0.3 * 12 / (2 * 5))


def test_smoothed_targets_are_distributions():
    """At equal logits the cross entropy is the logarithm of the number of classes, smoothed or not."""
    for smoothing in (0.0, 0.3):
        value, slope = cross_entropy(np.zeros((4, 3)), np.array([0, 1, 2, 0]), smoothing)
        assert value == pytest.approx(np.log(3))
        np.testing.assert_allclose(slope.sum(axis=1), 0, atol=1e-15)


@pytest.mark.parametrize("field", ["total", "first", "haste"])
def test_a_loss_of_whole_samples_is_none_for_a_stream(field):
    AsyncLoss().require_timesteps()
    with pytest.raises(NetworkError, match="Online learning"):
        replace(AsyncLoss(), **{field: 0.1}).require_timesteps()


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], [0], [[0, 1]]])
def test_labels_that_cannot_be_are_refused(labels):
    with pytest.raises(NetworkError, match="labels"):
        AsyncLoss().evaluate(outcome(np.zeros((2, 3, 3))), np.array(labels))
