"""What a training says when it goes nowhere, and that one that learns is left alone."""

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, SpikingGammaNetwork, StepEvents
from brian2grad.training import Task, TrainingOptions, train
from brian2grad.training.watching.diagnosis import NothingLearned, trouble

LABELS = np.arange(100) % 4


def records(*accuracies, spikes=1.0, falling=1.0):
    return [
        {"epoch": k + 1, "train_accuracy": a, "spikes_per_neuron": spikes, "loss": falling**k}
        for k, a in enumerate(accuracies)
    ]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (records(0.25, 0.26, 0.24, 0.2, 0.25), "5 epochs at chance level .25%"),
        (records(0.25, 0.26, 0.24, 0.2), None),  # patience
        (records(0.25, 0.26, 0.5, 0.2, 0.25), None),
        (records(0.9, 0.25, 0.26, 0.24, 0.2, 0.25), "chance level"),
        (records(0.25, 0.26, 0.24, 0.2, 0.25, falling=0.99), None),  # the loss says that it is on its way
        (records(0.3, spikes=0), "no neuron spikes after epoch 1"),
        ([], None),
    ],
)
def test_what_is_said(found, said):
    text = trouble(found, LABELS, 4, spiking=3)
    assert (text is None) == (said is None)
    if said:
        assert said.split(" .")[0] in text


def test_a_network_that_cannot_spike_is_not_blamed():
    assert trouble(records(0.9, spikes=0), LABELS, 4, spiking=0) is None


def trained(network, epochs=6):
    labels = np.arange(40) % 2
    rng = np.random.default_rng(0)
    frames = (rng.random((40, 10, 5)) < 0.1 + 0.5 * labels[:, None, None]).astype(int)
    task = Task(StepEvents.from_dense(frames, 10e-3), labels, 1.0)
    return list(train(network, task, TrainingOptions(epochs=epochs, batch_size=20, learning_rate=1e-2)))


def test_silence_is_said_once():
    with pytest.warns(NothingLearned, match="no neuron spikes after epoch 1") as caught:
        trained(AsynchronousNetwork([5, 6, 2], V_th=1e6, dt=10 * ms, threads=1))
    told = [w for w in caught if w.category is NothingLearned]
    assert len(told) == 1
    assert told[0].filename == __file__  # the caller's line, not one of the library


def test_one_that_learns_is_left_alone(recwarn):
    network = SpikingGammaNetwork([5, 8, 2], K=2, tau=20 * ms, theta=0.3, dt=10 * ms, threads=1)
    assert trained(network, epochs=80)[-1]["train_accuracy"] > 0.8
    assert not [w for w in recwarn if w.category is NothingLearned]
