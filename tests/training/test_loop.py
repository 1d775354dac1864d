"""The training loop: it learns, resumes bit for bit, survives interruption and refuses damaged runs."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import SpikingGammaNetwork
from brian2grad.models.gamma.losses import CrossEntropy
from brian2grad.models.gradients import Filter, Online
from brian2grad.training import EventArchive, Run, RunError, TrainingError, TrainingOptions, make_task, train
from brian2grad.training.tasks import augment, sensor_of


def toy_archive(n=60, seed=0):
    """Two classes: early activity of the first units, or of the last ones, before noise."""
    rng = np.random.default_rng(seed)
    samples, labels = [], np.arange(n) % 2
    for label in labels:
        times = np.sort(rng.integers(0, 100, 40))
        units = np.where(rng.random(40) < 0.8, rng.integers(0, 4, 40) + 4 * label, rng.integers(0, 8, 40))
        samples.append((units.astype(np.uint16), times.astype(np.uint32)))
    return EventArchive.from_samples(samples, labels.astype(np.uint8), n_units=8, time_unit_us=1000)


@pytest.fixture
def task():
    return make_task(toy_archive(), 10 * ms)


def new_network(**options):
    return SpikingGammaNetwork([8, 12, 2], K=3, tau=20 * ms, theta=0.5, dt=10 * ms, threads=1, **options)


OPTIONS = TrainingOptions(epochs=6, batch_size=12, learning_rate=5e-3, drop=0.1, seed=3)


def test_it_learns(task):
    records = list(train(new_network(), task, OPTIONS, validation=make_task(toy_archive(seed=1), 10 * ms)))
    assert [r["epoch"] for r in records] == [1, 2, 3, 4, 5, 6]
    assert records[-1]["loss"] < 0.7 * records[0]["loss"]
    assert records[-1]["validation_accuracy"] > 0.9
    assert 0 < records[-1]["spikes_per_neuron"] < 20


@pytest.mark.parametrize(
    ("options", "training"),
    [
        ({}, {}),
        ({"train_tau": True, "buckets": "synapse"}, {}),
        ({}, {"theta_start": 0.3, "rule": "online"}),
        ({}, {"average": 0.9}),
        ({"train_tau": True}, {"average": 0.9, "rule": "online", "optimiser": "sgd"}),
    ],
)
def test_resumed_run_is_bit_identical(task, tmp_path, options, training):
    whole, chosen = new_network(**options), replace(OPTIONS, **training)
    list(train(whole, task, chosen))
    run = Run.create(tmp_path / "run", {"run": {"seed": 0}})
    interrupted = train(new_network(**options), task, chosen, run=run)
    next(interrupted), next(interrupted)
    interrupted.close()  # what an interruption leaves: two finished epochs
    resumed = new_network(seed=99, **options)
    records = list(train(resumed, task, chosen, run=Run.open(tmp_path / "run"), resume=True))
    assert [r["epoch"] for r in records] == [3, 4, 5, 6]
    for name, value in whole.parameters.items():
        np.testing.assert_array_equal(resumed.parameters[name], value)
    assert [r["epoch"] for r in run.metrics()] == [1, 2, 3, 4, 5, 6]
    loaded = SpikingGammaNetwork.load(run.weights)
    np.testing.assert_array_equal(loaded.parameters["layer1.w"], whole.parameters["layer1.w"])


def test_the_average_is_what_is_validated_saved_and_left(task, tmp_path):
    """Learning itself is what it is without an average."""
    run, held_out = Run.create(tmp_path / "run", {"run": {"seed": 0}}), make_task(toy_archive(seed=1), 10 * ms)
    network, plain, passed = new_network(), new_network(), []
    records = train(network, task, replace(OPTIONS, average=0.5), validation=held_out, run=run)
    for averaged, record in zip(records, train(plain, task, OPTIONS, validation=held_out), strict=True):
        assert averaged["loss"] == record["loss"]
        assert averaged["validation_accuracy"] == network.score(held_out.events, held_out.labels)
        assert np.abs(network.parameters["layer1.w"] - plain.parameters["layer1.w"]).max() > 0
        saved = SpikingGammaNetwork.load(run.weights)
        np.testing.assert_array_equal(saved.parameters["layer1.w"], network.parameters["layer1.w"])
        passed.append(plain.parameters["layer1.w"].copy())
    nearest = [np.abs(network.parameters["layer1.w"] - value).mean() for value in passed]
    assert int(np.argmin(nearest)) == len(passed) - 1


def test_threshold_schedule(task, tmp_path):
    """Thresholds rise to the network's own; a file holds those it was trained with; nothing is compiled again."""
    network, run = new_network(), Run.create(tmp_path / "run", {"run": {"seed": 0}})
    library = network.engine().library
    options = replace(OPTIONS, theta_start=0.2, theta_ramp=0.5)
    thetas, stored = [], []
    for record in train(network, task, options, run=run):
        thetas.append(record["theta"])
        stored.append(SpikingGammaNetwork.load(run.weights).theta)
        assert network.engine().library is library
        assert network.theta == stored[-1]
    np.testing.assert_allclose(np.ravel(thetas), [0.1, 0.7 / 3, 1.1 / 3, 0.5, 0.5, 0.5])
    assert network.theta == (0.5,)
    interrupted = train(network, task, options)
    next(interrupted)
    interrupted.close()
    assert network.theta == (0.5,)


def test_window_of_the_online_rule_is_a_time():
    options = TrainingOptions(rule="online", window_ms=100.0, activity=0.2)
    network, finer = (SpikingGammaNetwork([2, 2], dt=dt * ms) for dt in (10, 2))
    assert options.learning(network) == {"rule": Online(10), "goal": CrossEntropy(activity=0.2)}
    assert options.learning(finer)["rule"] == Online(50)
    assert TrainingOptions(rule="online").learning(network)["rule"] == Online()
    assert TrainingOptions(rule="filter", window_ms=100.0).learning(network)["rule"] == Filter()


def test_interruption_within_an_epoch_keeps_the_last_one(task, tmp_path):
    run = Run.create(tmp_path / "run", {"run": {"seed": 0}})

    def stop(state):
        if state.epoch == 2 and state.batch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(train(new_network(), task, OPTIONS, run=run, on_batch=stop))
    assert [r["epoch"] for r in run.metrics()] == [1]
    assert SpikingGammaNetwork.load(run.weights).sizes == (8, 12, 2)
    assert not list((tmp_path / "run").glob(".*"))  # no temporary file is left


def test_run_is_readable_without_the_library(task, tmp_path):
    run = Run.create(tmp_path / "run", {"run": {"seed": 0}})
    list(train(new_network(), task, OPTIONS, run=run))
    with h5py.File(tmp_path / "run" / "weights.h5") as file:
        assert file["layer1/w"].shape == (8, 12)
        assert json.loads(file.attrs["config"])["K"] == 3
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["epochs"] == 6
    assert "git" in summary


def test_damaged_checkpoint_is_refused_and_nothing_changes(task, tmp_path):
    run = Run.create(tmp_path / "run", {"run": {"seed": 0}})
    list(train(new_network(), task, OPTIONS, run=run))
    path = tmp_path / "run" / "checkpoint.h5"
    path.write_bytes(path.read_bytes()[:3000])
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    network = new_network(seed=5)
    old = {name: value.copy() for name, value in network.parameters.items()}
    with pytest.raises(RunError, match=r"checkpoint.h5 is damaged"):
        list(train(network, task, OPTIONS, run=run, resume=True))
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before
    for name, value in old.items():
        np.testing.assert_array_equal(network.parameters[name], value)


@pytest.mark.parametrize("text", ["The loss became nan", "The gradient of layer1.w is not finite"])
def test_divergence_is_an_error(task, text):
    network = new_network()
    whole = network.gradients

    def diverged(*arguments, **options):
        for found in whole(*arguments, **options):
            found.gradients["layer1.w"][0, 0] = np.nan
            yield replace(found, loss=np.nan) if "loss" in text else found

    network.gradients = diverged
    with pytest.raises(TrainingError, match=text + ".*lower the learning rate"):
        list(train(network, task, TrainingOptions(epochs=1)))


def test_weights_that_an_update_makes_infinite_are_an_error(task):
    options = TrainingOptions(epochs=1, optimiser="sgd", learning_rate=1e39, schedule="constant")
    with pytest.raises(TrainingError, match=r"layer\d\.\w+ is not finite after the update .* lower the learning rate"):
        list(train(new_network(), task, options))


def test_squared_error_and_step_labels(task):
    archive = toy_archive()
    steps = np.repeat(archive.labels[:, None], 10, axis=1)
    stepwise = EventArchive(
        archive.units, archive.times, archive.offsets, archive.labels, 8, 1000, labels_per_step=steps
    )
    per_step = make_task(stepwise, 10 * ms)
    assert per_step.per_step
    for given in (task, per_step):
        for loss in ("cross_entropy", "squared_error"):
            records = list(train(new_network(), given, TrainingOptions(epochs=4, batch_size=12, loss=loss)))
            assert records[-1]["loss"] < records[0]["loss"]


def test_augmentation_keeps_counts_and_moves_events(task):
    rng = np.random.default_rng(0)
    assert augment(task.events, rng) is task.events
    dropped = augment(task.events, rng, drop=0.5)
    total = task.events.values.astype(float).sum()
    assert dropped.values.sum() == pytest.approx(total, rel=0.1)
    assert len(dropped.units) < 0.6 * len(task.events.units)
    camera = EventArchive.from_samples([([0, 577], [0, 5])], [0], n_units=2 * 24 * 24, time_unit_us=1000)
    moved = augment(make_task(camera, 10 * ms).events, np.random.default_rng(1), shift=3)
    assert moved.ptr[-1] == len(moved.units) <= 2
    assert sensor_of(2312) == (34, 34)
    with pytest.raises(TrainingError, match="no square camera"):
        sensor_of(700)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epochs": 0}, "epochs = 0"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"loss": "hinge"}, "loss 'hinge'"),
        ({"drop": 1.0}, "drop must lie"),
        ({"schedule": "stairs"}, "schedule 'stairs'"),
        ({"theta_schedule": "stairs"}, "theta_schedule 'stairs'"),
        ({"theta_start": 0.0}, "theta_start must be positive"),
        ({"theta_ramp": 1.5}, "theta_ramp a fraction"),
        ({"rule": "online", "window_ms": -5.0}, "window_ms = -5.0"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(TrainingError, match=text):
        TrainingOptions(**options)


def test_limit_and_empty_archive():
    assert len(make_task(toy_archive(), 10 * ms, limit=7)) == 7
    with pytest.raises(TrainingError, match="limit = 0"):
        make_task(toy_archive(), 10 * ms, limit=0)
