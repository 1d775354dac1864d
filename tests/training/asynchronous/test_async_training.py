"""Asynchronous networks learn, in every order; and from the command line."""

import json

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, NetworkError
from brian2grad.models.asynchronous.losses import AsyncLoss, cross_entropy, first_spike_steps
from brian2grad.models.events import StepEvents
from brian2grad.models.gamma.losses import CrossEntropy
from brian2grad.models.gradients import Filter, Online, Unlayered, clip_by_norm
from brian2grad.models.order.orders import ForwardGroups, MixedOrder
from brian2grad.models.order.schedulers import FifoScheduler, LayerSynchronous, MomentumScheduler, RandomScheduler
from brian2grad.models.order.tape import AsynchronousResult
from brian2grad.training import EventArchive, TrainingError, TrainingOptions, train
from brian2grad.training.asynchronous.evaluation import evaluate_async
from brian2grad.training.cli.main import main
from brian2grad.training.tasks import Task


def toy(n=80, seed=0):
    """Two classes, each with its own half of the inputs."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    rate = np.where((np.arange(12) // 6)[None] == labels[:, None], 0.6, 0.15)
    frames = rng.poisson(rate[:, None], (n, 3, 12)).astype(float)
    events = StepEvents.from_dense(frames, 10e-3)
    return Task(events, labels, float(frames.sum() / n))


def network(**options):
    settings = {"tau_m": 20 * ms, "V_th": 0.3, "dt": 10 * ms, "forward_group": 2, "threads": 1, "seed": 1}
    return AsynchronousNetwork([12, 8, 6, 2], **(settings | options))


LOSS = AsyncLoss(gain=1.0, total=1.0, first=0.5)
ORDERS = {
    "random": {"scheduler": RandomScheduler()},
    "momentum": {"scheduler": MomentumScheduler(noise=0.1)},
    "fifo": {"scheduler": FifoScheduler()},
    "layered": {"scheduler": LayerSynchronous(), "forward_group": None},
    "mixed": {"order": MixedOrder((RandomScheduler(), FifoScheduler(), LayerSynchronous()), (1, 4, None))},
    "schedule of F": {"groups": ForwardGroups((None, 4, 1))},
    "v2": {"rule": Unlayered(variant="v2")},
    "cut": {"rule": Unlayered(state="cut")},
    "membrane": {"loss": AsyncLoss(kind="membrane")},
    "latency": {"loss": AsyncLoss(kind="latency")},
    "all parameters": {"trained": ("w", "V_th", "tau_m")},
}


def test_group_sizes_over_a_training():
    groups = ForwardGroups((None, 4, 1))
    assert [groups.at(x) for x in (0.0, 0.33, 0.34, 0.66, 0.67, 1.0)] == [None, None, 4, 4, 1, 1]


@pytest.mark.parametrize("name", ORDERS)
def test_learns(name):
    arguments = {"loss": LOSS} | ORDERS[name]
    goal, rule = arguments.pop("loss"), arguments.pop("rule", None)
    net = network(**arguments)
    rate = 0.01 if name == "all parameters" else 0.02  # thresholds are small numbers
    options = TrainingOptions(epochs=8, batch_size=16, learning_rate=rate, loss=goal, rule=rule)
    records = list(train(net, toy(), options, validation=toy(40, seed=1)))
    assert records[-1]["loss"] < records[0]["loss"]
    if name != "membrane":  # there the answer is not in the counts
        assert records[-1]["validation_accuracy"] > (0.6 if name == "all parameters" else 0.8)


def test_a_resumed_run_equals_an_unbroken_one(tmp_path):
    from brian2grad.training import Run

    options = TrainingOptions(epochs=3, batch_size=16, learning_rate=0.01, loss=LOSS)
    arguments = ORDERS["mixed"] | {"refractory_dropout": 0.5}
    whole = network(**arguments)
    list(train(whole, toy(), options))
    run = Run.create(tmp_path / "run", {})
    records = train(network(**arguments), toy(), options, run=run)
    next(records)
    records.close()
    resumed = network(**arguments)
    list(train(resumed, toy(), options, run=run, resume=True))
    for name, value in whole.parameters.items():
        np.testing.assert_array_equal(value, resumed.parameters[name])


def test_saved_networks_are_the_same(tmp_path):
    net, task = network(trained=("w", "V_th")), toy()
    net.parameters["neurons.V_th"] += 0.1
    net.save(tmp_path / "n.h5")
    other = AsynchronousNetwork.load(tmp_path / "n.h5", scheduler=net.scheduler)
    np.testing.assert_array_equal(net.forward(task.events), other.forward(task.events))


# -- losses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_slope(smoothing):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(4, 3, 5)), rng.integers(0, 5, (4, 1))
    _, slope = cross_entropy(logits, labels, smoothing)
    for index in ((0, 0, 0), (3, 2, 4), (1, 1, labels[1, 0])):
        shifted = [logits.copy(), logits.copy()]
        shifted[0][index] += 1e-6
        shifted[1][index] -= 1e-6
        difference = (
            cross_entropy(shifted[0], labels, smoothing)[0] - cross_entropy(shifted[1], labels, smoothing)[0]
        ) / 2e-6
        assert difference == pytest.approx(slope[index], abs=1e-8)


def test_first_spike_counts_forward_steps_over_timesteps():
    first = np.zeros((1, 2, 2, 2), int)
    first[0, 1, 0] = (7, 3)  # output 0 spikes in the third forward step of timestep 1
    counters = {"forward_steps": np.array([[4, 5]])}
    run = AsynchronousResult(np.zeros((1, 2, 2), int), counters, 1e-3, 5, first)
    np.testing.assert_array_equal(first_spike_steps(run), [[4 + 2, 9]])


def test_activity_makes_spikes_fewer():
    spikes = []
    for activity in (0.0, 5.0):
        net, goal = network(), AsyncLoss(total=1.0, activity=activity)
        list(train(net, toy(), TrainingOptions(epochs=8, batch_size=16, learning_rate=0.02, loss=goal)))
        spikes.append(evaluate_async(net, toy(40, seed=1)).spikes_per_neuron)
    assert spikes[1] < 0.8 * spikes[0]


def test_clipping_keeps_the_direction():
    gradients = {"a": np.array([3.0, 0.0]), "b": np.array([4.0])}
    assert clip_by_norm(gradients, 1.0) == pytest.approx(5.0)
    np.testing.assert_allclose(gradients["a"], [0.6, 0.0])


def v2_with_sigma():
    return network(sigma=1).gradient(toy().events, toy().labels, rule=Unlayered(variant="v2"))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Unlayered(variant="v3"), "variant = 'v3' is unknown; use one of v1, v2"),
        (lambda: Unlayered(truncate=-1), "truncate = -1"),
        (lambda: AsyncLoss(kind="hinge"), "loss 'hinge' is unknown"),
        (lambda: network(compat="asynctorch").gradient(toy().events, toy().labels), "cannot be trained"),
        (lambda: v2_with_sigma(), "use variant 'v1' or sigma=0"),
        (lambda: network(trained=("delay",)), "trained = 'delay' is unknown"),
        (lambda: network(trained=("w", "sigma")), "needs a synchronisation threshold"),
        (lambda: network().gradient(toy().events, np.full(80, 2)), "the network has 2 outputs"),
        (lambda: network().gradient(toy().events), "There are no labels"),
        (lambda: network().gradient(toy().events, toy().labels, rule=Filter()), "it takes Unlayered, Online"),
        (lambda: network().loss_and_grad(toy().events, toy().labels, rule="filter"), "it takes Unlayered, Online"),
        (lambda: network().gradient(toy().events, toy().labels, rule=Online()), "iterate over gradients"),
        (lambda: network().gradient(toy().events, toy().labels, goal=CrossEntropy()), "it takes AsyncLoss"),
        (lambda: next(train(network(), toy(), TrainingOptions(rule="filter"))), "it takes Unlayered, Online"),
    ],
)
def test_refusals(make, text):
    with pytest.raises((NetworkError, TrainingError), match=text.replace("(", r"\(")):
        make()


# -- command line ---------------------------------------------------------------------------------------------


def call(capsys, *arguments):
    """Exit code, output and error text of a command."""
    with pytest.raises(SystemExit) as status:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status.value.code, captured.out, captured.err


@pytest.fixture
def archive(tmp_path):
    task, samples = toy(), []
    for k in range(len(task)):
        frames = task.events.dense(k).astype(int)
        step, unit = np.nonzero(frames)
        samples.append((unit.astype(np.uint16), (10 * step + 3).astype(np.uint32)))
    path = tmp_path / "toy.npz"
    EventArchive.from_samples(samples, task.labels.astype(np.uint8), n_units=12, time_unit_us=1000).save(path)
    return path


def test_command_line(archive, tmp_path, capsys):
    run = tmp_path / "run"
    code, _, error = call(
        capsys, "train", "async", "--data", archive, "--hidden", "8,6", "--epochs", 3, "--batch-size", 16,
        "--scheduler", "random", "--forward-group", 4, "--threads", 1, "--out", run, "--quiet",
    )  # fmt: skip
    assert code == 0, error
    assert {p.name for p in run.iterdir()} >= {"config.toml", "weights.h5", "metrics.jsonl", "summary.json"}
    reports = {}
    for options in (
        (),
        ("--scheduler", "momentum", "--forward-group", "all"),
        ("--stop", "first-output"),
        ("--stop", 2),
    ):
        predictions = tmp_path / "p.npz"
        code, out, error = call(
            capsys, "evaluate", run, "--data", archive, "--json", *options, "--predictions", predictions
        )
        assert code == 0, error
        report = reports[options] = json.loads(out)
        assert report["engine"] == "native"
        assert set(report["decision_latency"]) == {"spikes", "forward_steps", "ms"}
        assert set(report["decision_latency"]["spikes"]) == {"first", "correct"}
        with np.load(predictions) as stored:
            assert stored["spikes"].shape == (80, 3)
            assert stored["spikes"].sum() / 80 / 16 == pytest.approx(report["spikes_per_neuron"])
    assert reports[()]["spikes_per_neuron"] > reports["--stop", "first-output"]["spikes_per_neuron"]
    code, out, _ = call(capsys, "evaluate", run, "--data", archive)
    assert "random, forward group 4, drained" in out
    code, _, error = call(capsys, "train", "async", "--data", archive, "--K", 3)
    assert code == 2
    assert "--K belongs to gamma networks" in error
    code, _, error = call(capsys, "evaluate", run, "--data", archive, "--scheduler", "priority")
    assert code == 2
    assert "scheduler 'priority' is unknown" in error


def test_brian2_gives_the_same_report(archive, tmp_path, capsys):
    run = tmp_path / "run"
    call(capsys, "train", "async", "--data", archive, "--hidden", "4", "--epochs", 1, "--out", run, "--quiet")
    found = []
    for engine in ("native", "brian2"):
        code, out, error = call(
            capsys,
            "evaluate",
            run,
            "--data",
            archive,
            "--limit",
            4,
            "--json",
            "--engine",
            engine,
            "--scheduler",
            "fifo",
        )
        assert code == 0, error
        found.append(json.loads(out))
    for name in ("accuracy", "spikes_per_neuron", "decision_latency", "forward_steps"):
        assert found[0][name] == found[1][name], name
    picture = tmp_path / "one.png"
    code, out, error = call(capsys, "simulate", run, "--data", archive, "--sample", 1, "--plot", picture)
    assert code == 0, error
    assert picture.stat().st_size > 1000


def test_an_output_that_the_input_makes_spike_waits_for_no_step():
    """Output 0 spikes in the first forward step of timestep 1, output 1 never: latencies 1 and all of them."""
    network = AsynchronousNetwork([2, 2], V_th=0.5, dt=1 * ms, threads=1)
    network.set_weights([np.array([[1.0, 0.1], [0.2, 0.1]])])
    frames = np.zeros((1, 3, 2))
    frames[0, 0, 1] = frames[0, 1, 0] = 1
    run = network.run(StepEvents.from_dense(frames, 1e-3))
    assert run.counters["forward_steps"].tolist() == [[1, 1, 1]]
    np.testing.assert_array_equal(first_spike_steps(run), [[1, 3]])
