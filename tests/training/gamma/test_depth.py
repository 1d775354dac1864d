"""Six spiking layers train from scratch, because `calibrate` gives every layer a signal that its code can carry."""

import numpy as np
import pytest
from brian2 import ms

from brian2grad import SpikingGammaNetwork, StepEvents, Task, TrainingOptions, train
from brian2grad.training.evaluation import evaluate_native

N_UNITS, N_STEPS = 12, 40


class Uncalibrated(SpikingGammaNetwork):
    """Weights as they are drawn."""

    def initialise(self, draw):
        pass


def which_half_first(n, seed):
    """Samples whose first or second half of the units spikes first: counts say nothing, order does."""
    rng, labels = np.random.default_rng(seed), np.arange(n) % 2
    dense = np.zeros((n, N_STEPS, N_UNITS))
    for sample, label in enumerate(labels):
        for part, (begin, end) in enumerate(((2, 14), (16, 28))):
            units = rng.integers(0, N_UNITS // 2, 12) + ((part + label) % 2) * N_UNITS // 2
            dense[sample, rng.integers(begin, end, 12), units] = 1
    return Task(StepEvents.from_dense(dense, 2e-3), labels, 24.0)


def made(depth, kind=SpikingGammaNetwork, seed=0, **options):
    sizes = [N_UNITS, *[16] * depth, 2]
    return kind(sizes, K=4, tau=10 * ms, dt=2 * ms, read_from=56 * ms, seed=seed, threads=1, **options)


def learned(network):
    options = TrainingOptions(epochs=12, batch_size=16, learning_rate=0.01)
    list(train(network, which_half_first(96, 0), options))
    return evaluate_native(network, which_half_first(64, 1), dtype="float32")


@pytest.mark.parametrize("depth", [1, 6, pytest.param(10, marks=pytest.mark.long)])
def test_deep_networks_learn_what_shallow_ones_do(depth):
    assert learned(made(depth)).accuracy > 0.9


def test_thresholds_of_every_layer_may_differ():
    assert learned(made(6, theta=[0.4 * 1.4**k for k in range(6)])).accuracy > 0.9


def test_without_calibration_deep_layers_are_silent():
    found = learned(made(6, Uncalibrated))
    assert found.accuracy == 0.5
    assert (found.spikes[:, -1] == 0).all()


def test_the_code_changes_a_deep_gradient_little():
    network, task = made(6, dtype="float64"), which_half_first(96, 0)
    network.calibrate(task.events)
    spiking, analog = (network.loss_and_grad(task.events, task.labels, analog=a)[1] for a in (False, True))
    for layer in range(1, 8):
        a, b = (g[f"layer{layer}.w"].ravel() for g in (spiking, analog))
        assert 0.5 < np.linalg.norm(a) / np.linalg.norm(b) < 2
        assert a @ b > 0.8 * np.linalg.norm(a) * np.linalg.norm(b)
