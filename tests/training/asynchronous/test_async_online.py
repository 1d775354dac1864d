"""Learning online: parts of a sample give what the whole gives, windows reach back as far as they say."""

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, NetworkError
from brian2grad.models.asynchronous.losses import AsyncLoss
from brian2grad.models.events import StepEvents
from brian2grad.models.gradients import Online, Unlayered
from brian2grad.models.order.schedulers import LayerSynchronous, MomentumScheduler, RandomScheduler
from brian2grad.training import SGD, Adam, AsynchronousLearner, TrainingError, TrainingOptions
from brian2grad.training.loop import train
from brian2grad.training.tasks import Task

SIZES, T, B = (12, 10, 8, 3), 6, 5


def events(seed=0, n_samples=B, n_steps=T):
    rng = np.random.default_rng(seed)
    return StepEvents.from_dense(rng.poisson(0.5, (n_samples, n_steps, SIZES[0])), 1e-2)


def network(**options):
    defaults = {
        "tau_m": 20 * ms, "V_th": 0.3, "dt": 10 * ms, "scheduler": RandomScheduler(), "forward_group": 2, "seed": 3,
        "dtype": "float64", "threads": 1, "refractory_dropout": 0.5, "trained": ("w", "V_th", "tau_m"),
    }  # fmt: skip
    return AsynchronousNetwork(SIZES, **(defaults | options))


WHOLE = Unlayered(clip=None)
LABELS = np.arange(B) % SIZES[-1]


@pytest.mark.parametrize(
    "scheduler",
    [RandomScheduler(), pytest.param(MomentumScheduler(noise=0.2), marks=pytest.mark.long), LayerSynchronous()],
)
def test_a_sample_run_in_parts_gives_what_it_gives_in_one(scheduler):
    net, whole = network(scheduler=scheduler), events()
    at_once = net.run(whole, record=True, training=True)
    state, parts = np.zeros((B, net.n_neurons)), []
    for begin, end in ((0, 1), (1, 4), (4, 6)):
        part = net.run(whole.steps(begin, end), record=True, training=True, state=state, first_step=begin)
        state = part.state
        parts.append(part.outputs)
    assert at_once.outputs.sum() > 10
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), at_once.outputs)
    rest = net.run(whole, training=True, state=np.zeros((B, net.n_neurons)))
    np.testing.assert_array_equal(rest.state, state)
    assert np.any(state < 0)


@pytest.mark.parametrize("variant", ["v1", "v2"])
@pytest.mark.parametrize("kind", ["counts", "membrane"])
def test_windows_sum_to_the_gradient_cut_between_them(variant, kind):
    """With nothing learned between them, windows of one timestep are what ``cut_timesteps`` cuts out of the whole."""
    net, goal = network(), AsyncLoss(kind)
    cut = Unlayered(variant=variant, cut_timesteps=True, clip=None)
    expected = net.gradient(events(), LABELS, goal=goal, rule=cut, seed=7)
    rule = Online(1, within=Unlayered(variant=variant, clip=None))
    found = list(net.gradients(events(), LABELS, goal=goal, rule=rule, seed=7))
    assert len(found) == T
    assert np.mean([f.loss for f in found]) == pytest.approx(expected.loss, rel=1e-12)
    for name in ("projection0.w", "projection1.w", "projection2.w", "neurons.V_th"):
        total = sum(f.gradients[name] for f in found) / T
        np.testing.assert_allclose(total, expected.gradients[name], rtol=1e-10, atol=1e-14)
        assert np.any(total)


def test_a_window_as_long_as_the_sample_gives_the_whole_gradient():
    net = network()
    (found,) = net.gradients(events(), LABELS, rule=Online(T, within=WHOLE), seed=7)
    expected = net.gradient(events(), LABELS, rule=WHOLE, seed=7)
    for name, gradient in expected.gradients.items():
        np.testing.assert_allclose(found.gradients[name], gradient, rtol=1e-12, atol=1e-15)


def test_the_leak_before_a_window_is_differentiated():
    """Against central differences of the membrane loss where nothing spikes: the network is smooth there."""
    net = network(V_th=1e3, refractory_dropout=0.0)
    options = {"goal": AsyncLoss("membrane"), "rule": WHOLE, "first_step": 3}
    state = np.random.default_rng(1).normal(size=(B, net.n_neurons))
    part = events().steps(0, 1)
    found = net.gradient(part, LABELS, state=state, **options).gradients["neurons.tau_m"]
    outputs = slice(net.n_neurons - SIZES[-1], None)
    assert np.all(found[outputs] != 0)
    for j in range(net.n_neurons)[outputs]:
        losses, h = [], 1e-7
        for step in (h, -h):
            net.parameters["neurons.tau_m"][j] += step
            losses.append(net.gradient(part, LABELS, state=state, **options).loss)
            net.parameters["neurons.tau_m"][j] -= step
        assert (losses[0] - losses[1]) / (2 * h) == pytest.approx(found[j], rel=1e-5)


@pytest.mark.parametrize("window", [1, 3])
def test_the_learner_makes_the_updates_of_the_loop(window):
    stepped, looped = network(), network()
    learner = AsynchronousLearner(stepped, SGD(0.1, momentum=0), rule=WHOLE, n_streams=B, window=window)
    counts = [learner.step(events().steps(t, t + 1), LABELS) for t in range(T)]
    optimiser, outputs, state = SGD(0.1, momentum=0), [], np.zeros((B, looped.n_neurons))
    for k, begin in enumerate(range(0, T, window)):
        looped.begin(k, 0.0)
        found = looped.gradient(
            events().steps(begin, begin + window), LABELS, rule=WHOLE, state=state, first_step=begin
        )
        optimiser.step(looped.parameters, found.gradients)
        looped.constrain()
        state = found.outcome.state
        outputs.append(found.outputs)
    for name, value in looped.parameters.items():
        np.testing.assert_array_equal(stepped.parameters[name], value)
        assert not np.array_equal(value, network().parameters[name])
    np.testing.assert_array_equal(np.stack(counts, axis=1), np.concatenate(outputs, axis=1))
    assert learner.updates == T // window


def test_units_of_one_timestep_are_enough():
    learner = AsynchronousLearner(network(), Adam(1e-2), n_streams=2)
    assert learner.step([[0, 3, 3], []], [0, 1]).shape == (2, SIZES[-1])
    with pytest.raises(TrainingError, match="one timestep of 2 streams, not 1 of 1"):
        learner.step([[1]], [0])
    learner.restart([0])
    assert not learner.state[0].any()


def test_the_loop_learns_online_and_from_the_command_line_options():
    task = Task(events(n_samples=40), np.arange(40) % SIZES[-1], 1.0)
    net = network(dtype="float32")
    records = list(train(net, task, TrainingOptions(epochs=2, batch_size=8, rule="online", window_ms=20)))
    assert [r["epoch"] for r in records] == [1, 2]
    assert records[1]["loss"] < records[0]["loss"]


def test_refusals():
    with pytest.raises(NetworkError, match="total = first = haste = 0"):
        AsynchronousLearner(network(), Adam(1e-3), goal=AsyncLoss(first=1.0))
    with pytest.raises(TrainingError, match="must be at least 1"):
        AsynchronousLearner(network(), Adam(1e-3), window=0)
    with pytest.raises(NetworkError, match="finite membranes"):
        network().run(events(), state=np.zeros((B, 1)))
    learner = AsynchronousLearner(network(), Adam(1e-3), window=2)
    learner.step([[0]], [0])
    with pytest.raises(TrainingError, match="not full yet"):
        learner.restart()
