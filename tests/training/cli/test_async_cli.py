"""The asynchronous verbs as a user types them: every key of the report, the same from both engines, and refusals."""

import dataclasses
import json

import h5py
import numpy as np
import pytest

from brian2grad.models.storage import load_network, save_network
from brian2grad.training import EventArchive
from brian2grad.training.cli.main import main

KEYS = """accuracy balanced_accuracy n_samples spikes_per_neuron spikes_per_second input_events synaptic_operations
decision_latency seconds seed engine device git""".split()
SAME = "accuracy spikes_per_neuron spikes_per_layer synaptic_operations forward_steps decision_latency decided".split()


def call(capsys, *arguments):
    """Exit code, output and error text of a command."""
    with pytest.raises(SystemExit) as status:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status.value.code, captured.out, captured.err


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Two classes, each with its own half of twelve inputs, over 30 ms."""
    rng = np.random.default_rng(0)
    samples, labels = [], np.arange(40) % 2
    for label in labels:
        units = np.where(rng.random(24) < 0.8, rng.integers(0, 6, 24) + 6 * label, rng.integers(0, 12, 24))
        samples.append((units.astype(np.uint16), np.sort(rng.integers(0, 30, 24)).astype(np.uint32)))
    path = tmp_path_factory.mktemp("data") / "toy.npz"
    EventArchive.from_samples(samples, labels.astype(np.uint8), n_units=12, time_unit_us=1000).save(path)
    return path


@pytest.fixture(scope="module")
def run(archive, tmp_path_factory):
    """Run folder of a small network trained in momentum order."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    with pytest.raises(SystemExit) as status:
        main(f"train async --data {archive} --hidden 8,6 --epochs 4 --seed 3 --out {folder} --quiet".split())
    assert status.value.code == 0
    return folder


def report(capsys, *arguments):
    code, out, error = call(capsys, "evaluate", *arguments, "--json")
    assert code == 0, error
    return json.loads(out)


@pytest.mark.parametrize(
    "order",
    [
        "",
        "--scheduler random --forward-group 2",
        "--scheduler random --forward-group 2 --stop first-output",
        "--scheduler lifo --forward-group 1 --stop 2",
        "--scheduler layered",
        "--scheduler timed",
        "--scheduler timed --stop first-output",
    ],
)
def test_both_engines_give_the_same_report(order, run, archive, capsys):
    options = ["--data", archive, "--limit", 3, *order.split()]
    native, brian2 = (report(capsys, run, *options, "--engine", engine) for engine in ("native", "brian2"))
    for found in (native, brian2):
        assert set(KEYS) <= set(found)
        assert set(found["decision_latency"]) == {"spikes", "forward_steps", "ms"}
    assert {name: native[name] for name in SAME} == {name: brian2[name] for name in SAME}
    assert native["spikes_per_neuron"] > 0
    group = {"timed": None, "layered": "all"}.get(native["scheduler"], native["forward_group"])
    assert native["forward_group"] == group


@pytest.mark.long
@pytest.mark.standalone
def test_standalone_gives_the_same_report(run, archive, capsys):
    options = ["--data", archive, "--limit", 3, "--scheduler", "fifo", "--forward-group", 2]
    native = report(capsys, run, *options)
    brian2 = report(capsys, run, *options, "--engine", "brian2", "--device", "cpp_standalone")
    assert {name: native[name] for name in SAME} == {name: brian2[name] for name in SAME}


def test_seed_of_the_random_order(run, archive, capsys):
    first, second, again = (
        report(capsys, run, "--data", archive, "--scheduler", "random", "--forward-group", 1, "--seed", seed)
        for seed in (1, 2, 1)
    )
    assert first["order_seed"] == 1
    assert first["seed"] == 3  # of the training
    assert first["spikes_per_layer"] == again["spikes_per_layer"]
    assert first["decision_latency"] == again["decision_latency"]
    assert first["forward_steps"] != second["forward_steps"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--scheduler prio", "scheduler 'prio' is unknown; use one of random"),
        ("--scheduler mixed", "choose one of the others to run in"),
        ("--scheduler random --noise 0.1", "--noise belongs to --scheduler momentum"),
        ("--noise -1", "noise is -1.0"),
        ("--forward-group 0", "forward_group = '0': give a whole number >= 1, or all"),
        ("--forward-group 2.5", "forward_group = '2.5'"),
        ("--stop never", "stop = 'never' is unknown; use drained, first-output or a number"),
        ("--stop=-1", "stop = '-1' is unknown"),
        ("--scheduler timed --stop 3", "Continuous time has no forward steps"),
        ("--limit 0", "limit = 0"),
        ("--engine brian", "engine 'brian' is unknown"),
        ("--engine brian2 --device abacus", "abacus"),
        ("--predictions .", ". is a folder; give the name of a file"),
        ("--predictions nowhere/p.npz", "the folder nowhere does not exist"),
    ],
)
def test_refused_in_one_line(arguments, text, run, archive, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, error = call(capsys, "evaluate", run, "--data", archive, *arguments.split())
    assert (code, out) == (2, "")
    assert text in error
    assert len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_damaged_weights_are_named(run, archive, capsys, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in run.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    config, parameters = load_network(copy / "weights.h5")
    parameters["projection0.w"] = np.array(parameters["projection0.w"])
    parameters["projection0.w"][1, 2] = np.nan
    save_network(copy / "weights.h5", "async", config, parameters)
    for text in ("weights.h5: The weights 0 -> 1 hold nan at flat index 10", "its checksum differs"):
        for command in ("evaluate", "simulate"):
            code, _, error = call(capsys, command, copy, "--data", archive)
            assert code == 2
            assert text in error
            assert "Traceback" not in error
        with h5py.File(copy / "weights.h5", "r+") as file:
            file["projection0/w"][1, 2] = 0


def test_labels_per_step_are_refused_before_anything_is_written(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive = EventArchive.from_samples([([0, 1], [0, 5])] * 4, np.zeros(4, np.uint8), n_units=3, time_unit_us=1000)
    dataclasses.replace(archive, labels_per_step=np.zeros((4, 10), np.uint8)).save(tmp_path / "steps.npz")
    code, _, error = call(capsys, "train", "async", "--data", "steps.npz", "--dt", "1ms", "--out", "run")
    assert code == 2
    assert "label for every step" in error
    assert not (tmp_path / "run").exists()
