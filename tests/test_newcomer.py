"""What a newcomer wants to do first, each in less than thirty lines and with what the pages say alone."""

import inspect

import numpy as np
import pytest
from brian2 import (
    Network,
    NeuronGroup,
    PoissonGroup,
    SpikeGeneratorGroup,
    SpikeMonitor,
    Synapses,
    defaultclock,
    ms,
    second,
    seed,
)


def own_data():
    """Train on what an own simulation recorded."""
    from brian2grad import EventArchive, SpikingGammaClassifier

    seed(1)
    defaultclock.dt = 1 * ms
    source = PoissonGroup(12, "20*Hz + 80*Hz*(int(t/(100*ms)) % 2 == i//6)")
    monitor = SpikeMonitor(source)
    Network(source, monitor).run(8 * second)
    archive = EventArchive.from_monitor(monitor, labels=np.arange(80) % 2, duration=100 * ms)
    classifier = SpikingGammaClassifier(hidden=(16,), K=2, theta=0.3, dt=5 * ms, epochs=5, batch_size=10)
    return classifier.fit(archive[:60]).score(archive[60:])


def own_topology():
    """Train a map with a skip connection around a layer."""
    from brian2grad import SpikingGammaNetwork, StepEvents, Task, TrainingOptions, train

    rng = np.random.default_rng(0)
    labels = np.arange(240) % 2
    frames = np.zeros((240, 10, 1, 6, 6), int)
    for sample, label in enumerate(labels):  # a bar, upright or lying
        place = rng.integers(1, 5)
        frames[(sample, slice(2, 6), 0, place) if label else (sample, slice(2, 6), 0, slice(None), place)] = 1
    events = StepEvents.from_dense(frames.reshape(240, 10, 36), 5e-3)
    learned, new = (Task(events.take(part), labels[part], 24.0) for part in (np.arange(180), np.arange(180, 240)))
    network = SpikingGammaNetwork(
        input=(1, 6, 6), layers="map:4c3-hidden:12-2<hidden,map", K=2, theta=0.3,
        tau=10 * ms, dt=5 * ms,
    )  # fmt: skip
    options = TrainingOptions(epochs=4, batch_size=10, learning_rate=1e-2)
    return list(train(network, learned, options, validation=new))[-1]["validation_accuracy"]


def online_stream():
    """Follow an endless stream and learn from every step of it."""
    from brian2grad import SpikingGammaNetwork
    from brian2grad.training import Adam, OnlineLearner

    rng = np.random.default_rng(3)
    network = SpikingGammaNetwork([4, 12, 2], K=3, tau=10 * ms, theta=0.2, dt=5 * ms)
    learner = OnlineLearner(network, Adam(1e-2), window=12)
    right = []
    for step in range(1500):
        label = (step // 50) % 2  # the busy half changes every 250 ms
        events = np.flatnonzero(rng.random(4) < np.where(np.arange(4) // 2 == label, 0.5, 0.05))
        right.append(learner.step(list(events), target=label).argmax() == label)
    return np.mean(right[-500:])


def own_scheduler():
    """Serve waiting spikes from two ends of the address space, and see that the order was obeyed."""
    from brian2grad import AsynchronousNetwork, StepEvents
    from brian2grad.models.asynchronous.schedulers import KeyScheduler

    outermost = KeyScheduler("-abs(i - 20)")
    network = AsynchronousNetwork([40, 8, 2], V_th=0.3, dt=10 * ms, scheduler=outermost, forward_group=1, seed=1)
    frame = np.ones((1, 1, 40), int)
    run = network.run(StepEvents.from_dense(frame, 10e-3), record=True)
    in_brian = network.brian2(StepEvents.from_dense(frame, 10e-3), mode="clock")
    return float(np.array_equal(run.spikes.neuron, in_brian.spikes.neuron) and len(run.spikes.neuron) >= 3)


def own_neuron():
    """Move the spike of a resonate-and-fire neuron to 7 ms by its delay alone."""
    from scipy.optimize import minimize

    from brian2grad import Objective, SpikeTimes

    neuron = NeuronGroup(
        1, "dx/dt = -x/(8*ms) - 0.6*y/ms : 1\ndy/dt = -y/(8*ms) + 0.6*x/ms : 1", threshold="y > 1", reset="x = 0; y = 0"
    )
    inputs = SpikeGeneratorGroup(1, [0], [1] * ms)
    synapse = Synapses(inputs, neuron, "w : 1", on_pre="x_post += w")
    synapse.connect()
    synapse.w, synapse.delay = 2.0, 1 * ms
    objective = Objective([neuron, inputs, synapse], SpikeTimes(neuron, [0], [7] * ms), [(synapse, "delay")], 20 * ms)
    result = minimize(objective, objective.start, jac=True, bounds=objective.bounds)
    objective.assign(result.x)
    return float(result.fun < 1e-8 and abs(synapse.delay[0] - 5 * ms) < 0.1 * ms)


TASKS = {own_data: 0.9, own_topology: 0.9, online_stream: 0.85, own_scheduler: 1.0, own_neuron: 1.0}


SLOW = {own_neuron}  # whose page is run as it is, by tests/test_docs.py


@pytest.mark.parametrize(
    "task", [pytest.param(t, marks=[pytest.mark.long] * (t in SLOW)) for t in TASKS], ids=lambda task: task.__name__
)
def test_a_newcomer_gets_there(task):
    assert task() >= TASKS[task]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_it_takes_less_than_thirty_lines(task):
    assert len(inspect.getsource(task).splitlines()) < 30
