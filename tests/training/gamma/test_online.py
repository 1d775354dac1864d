"""Online learning: the streamed gradient is the filter gradient, memory is constant, Brian 2 learns along."""

import resource

import numpy as np
import pytest
from brian2 import ms, second
from scipy.sparse import random as sparse_random

from brian2grad.models import NetworkError, SpikingGammaNetwork, StepEvents
from brian2grad.models.gamma import windows
from brian2grad.models.gamma.brian.run import BrianGamma
from brian2grad.models.gamma.windows import default_window
from brian2grad.training import SGD, Adam, TrainingError
from brian2grad.training.gamma.online import LearningOperation, OnlineLearner


def random_events(n_samples, n_steps, n_units=20, density=0.1, seed=1):
    counts = sparse_random(n_samples * n_steps, n_units, density=density, format="csr", random_state=seed)
    counts.data = np.ceil(2 * counts.data)
    counts.sort_indices()
    ptr, units = counts.indptr.astype(np.int64), counts.indices.astype(np.uint16)
    return StepEvents(ptr, units, counts.data.astype(np.uint8), n_units, n_steps, n_samples, 0.01)


def make(events, **options):
    options = {"K": 3, "tau": 20 * ms, "theta": 0.2, "dtype": "float64", "threads": 1} | options
    network = SpikingGammaNetwork([events.n_units, 12, 9, 3], dt=events.dt * second, **options)
    network.calibrate(events)
    return network


KINDS = [
    {},
    {"buckets": "synapse", "ratio": 1.3, "train_tau": True},
    {"memory": "continuous", "adaptation": 0.1, "multiple": True},
    {"signed": True, "train_tau": True},
]


@pytest.mark.parametrize("options", KINDS)
def test_online_equals_filter_beyond_the_memory_and_approaches_it(options):
    events = random_events(3, 90)
    network = make(events, **options)
    labels = np.random.default_rng(0).integers(0, 3, (3, 90))
    full = network.gradient(events, labels, activity=0.3)
    for window, bound in ((90, 1e-13), (45, 1e-4), (15, 0.2)):
        online = network.gradient(events, labels, rule="online", window=window, activity=0.3)
        assert online.loss == pytest.approx(full.loss, rel=1e-12)
        np.testing.assert_array_equal(online.outcome.spikes, full.outcome.spikes)
        for name, gradient in full.gradients.items():
            error = np.linalg.norm(online.gradients[name] - gradient) / np.linalg.norm(gradient)
            assert error < bound, (name, window, error)


def test_groups_of_samples_give_what_the_whole_batch_gives(monkeypatch):
    """Their number follows from the memory alone, so that threads do not change the order of sums."""
    events = random_events(19, 40)
    network = make(events, train_tau=True)
    arguments = {"labels": np.random.default_rng(0).integers(0, 3, (19, 40)), "rule": "online", "window": 15}
    assert windows.samples_at_once(network.sizes, 15, "float64") > 19
    whole = network.gradient(events, **arguments)
    monkeypatch.setattr(windows, "STREAMS", 0)
    assert windows.samples_at_once(network.sizes, 15, "float64") == 8
    groups = network.gradient(events, **arguments)
    assert groups.loss == pytest.approx(whole.loss, rel=1e-14)
    np.testing.assert_array_equal(groups.outcome.readout, whole.outcome.readout)
    np.testing.assert_array_equal(groups.outcome.spikes, whole.outcome.spikes)
    for name, gradient in whole.gradients.items():
        np.testing.assert_allclose(groups.gradients[name], gradient, rtol=1e-10, atol=1e-12)
    network = make(events, train_tau=True, threads=3)
    for name, gradient in network.gradient(events, **arguments).gradients.items():
        np.testing.assert_array_equal(gradient, groups.gradients[name])


def test_default_window_covers_the_memory():
    events = random_events(2, 200)
    network = make(events)
    labels = np.random.default_rng(0).integers(0, 3, (2, 200))
    assert default_window(network) < 100
    full, online = (network.gradient(events, labels, rule=rule).gradients for rule in ("filter", "online"))
    for name, gradient in full.items():
        assert np.linalg.norm(online[name] - gradient) < 1e-5 * np.linalg.norm(gradient)


def test_direct_and_detached_formulas():
    """One hidden layer: what is sent down is the error at the same step times the sum, or the first, bucket weight."""
    events = random_events(1, 30)
    network = SpikingGammaNetwork([20, 6, 2], K=3, tau=20 * ms, theta=0.2, dt=10 * ms, dtype="float64")
    network.calibrate(events)
    rng = np.random.default_rng(0)
    error = rng.normal(size=(1, 30, 2))
    v, w = network.parameters["layer2.v"], network.parameters["layer2.w"]
    run = network.forward(events, traces=True)
    gate = run.signals[0][0] > 0
    for rule, factor in (("direct", v.sum(axis=0)), ("detached", v[0])):
        result = network.gradient(events, targets=error, loss="external", rule=rule)
        sent = gate * ((error[0] * factor) @ w.T)
        np.testing.assert_allclose(result.gradients["layer1.b"], sent.sum(axis=0), rtol=1e-10, atol=1e-12)


def test_learner_makes_the_updates_of_the_online_gradient():
    """With updates switched off until the end, the learner's sum is the filter gradient of the whole stream."""
    events = random_events(1, 60)
    network = make(events)
    labels = np.random.default_rng(0).integers(0, 3, 60)
    expected = network.gradient(events, labels[None]).gradients
    before = {name: value.copy() for name, value in network.parameters.items()}
    learner = OnlineLearner(network, SGD(1.0, momentum=0.0), window=30, update_every=10)
    for t, label in enumerate(labels):
        part = slice(*events.ptr[t : t + 2])
        learner.step((events.units[part], events.values[part]), label)
    learner.finish()
    for name, gradient in expected.items():
        change = (before[name] - network.parameters[name]) * 30 / 60  # mean over a window against mean over the stream
        np.testing.assert_allclose(change, gradient, rtol=5e-3, atol=2e-4 * np.abs(gradient).max())


def test_learner_learns_a_delay():
    """The output says whether the input spiked one step ago."""
    network = SpikingGammaNetwork([1, 2], K=4, tau=5 * ms, dt=10 * ms, dtype="float64", seed=0)
    rng = np.random.default_rng(0)
    spikes = rng.random(6000) < 0.3
    learner = OnlineLearner(network, Adam(0.02), window=25)
    correct = []
    for t, spike in enumerate(spikes):
        target = int(spikes[t - 1]) if t else 0
        correct.append(learner.step([0] if spike else [], target).argmax() == target)
    assert np.mean(correct[-1500:]) > max(0.95, np.mean(correct[:300]))


def test_memory_does_not_grow_with_the_stream():
    events = random_events(1, 200)
    learner = OnlineLearner(make(events), window=40)

    def run(n):
        for t in range(n):
            part = slice(*events.ptr[t % 200 : t % 200 + 2])
            learner.step((events.units[part], events.values[part]), 1)

    run(400)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(4000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 3000  # KiB


def test_brian2_learns_along_with_the_same_result():
    events = random_events(1, 60)
    targets = np.random.default_rng(0).integers(0, 3, 60)
    alone = make(events)
    learner = OnlineLearner(alone, SGD(0.1), window=15)
    expected = []
    for t, target in enumerate(targets):
        part = slice(*events.ptr[t : t + 2])
        expected.append(learner.step((events.units[part], events.values[part]), target))
    network = make(events)
    brian = BrianGamma(network, 60)
    brian.set_input(events, 0)
    operation = LearningOperation(brian, OnlineLearner(network, SGD(0.1), window=15), lambda step: targets[step])
    brian.network.add(operation)
    brian.run()
    np.testing.assert_allclose(operation.predictions, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.array(brian.readout_monitor.x).T, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(network.parameters["layer1.w"], alone.parameters["layer1.w"], rtol=1e-10)
    assert not np.allclose(brian.synapses[0].w, make(events).parameters["layer1.w"].ravel())


def test_steps_of_events_keep_samples_apart():
    events = random_events(3, 20)
    part = events.steps(5, 12)
    for sample in range(3):
        np.testing.assert_array_equal(part.dense(sample), events.dense(sample)[5:12])


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda net: OnlineLearner(net, loss="hinge"), "loss 'hinge'"),
        (lambda net: OnlineLearner(net, update_every=0), "update_every = 0"),
        (lambda net: OnlineLearner(net).step([99]), "unit 99"),
        (lambda net: OnlineLearner(net).step([1], 3), "target 3"),
        (lambda net: OnlineLearner(net, loss="squared_error").step([1], [1.0]), "target has 1 values"),
    ],
)
def test_refusals(call, text):
    with pytest.raises(TrainingError, match=text):
        call(make(random_events(1, 20)))


def test_unknown_rule():
    events = random_events(1, 20)
    with pytest.raises(NetworkError, match="available: filter, direct, detached, online"):
        make(events).gradient(events, np.zeros(1, int), rule="bptt")
