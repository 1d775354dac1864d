"""Checkpoints: whole or refused, whatever happens to the file, the disk or the process; nothing changes before."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import SpikingGammaNetwork, StepEvents
from brian2grad.models import files as files_module
from brian2grad.models.hdf5 import read_sealed, sealed
from brian2grad.training import Run, RunError, Task, TrainingOptions, train

OPTIONS = TrainingOptions(epochs=3, batch_size=4, learning_rate=5e-3, seed=3)


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 2
    counts = (rng.random((12, 8, 6)) < 0.2 + 0.4 * ((np.arange(6) // 3) == labels[:, None])[:, None]).astype(int)
    return Task(StepEvents.from_dense(counts, 1e-2), labels, 10.0)


def new_network(seed=0):
    return SpikingGammaNetwork([6, 5, 2], K=2, tau=20 * ms, theta=0.5, dt=10 * ms, threads=1, seed=seed)


@pytest.fixture(scope="module")
def two_epochs(task, tmp_path_factory):
    """Folder of a run of two epochs out of three."""
    run = Run.create(tmp_path_factory.mktemp("runs") / "run", {"run": {"seed": 0}})
    epochs = train(new_network(), task, OPTIONS, run=run)
    next(epochs), next(epochs)
    epochs.close()
    return run.folder


@pytest.fixture
def run(two_epochs, tmp_path):
    return Run(shutil.copytree(two_epochs, tmp_path / "run"))


def contents(run):
    return {path.name: path.read_bytes() for path in run.folder.iterdir()}


def refused(run, task, match):
    """Assert that a resume fails in one line and changes nothing."""
    before, network = contents(run), new_network(seed=9)
    old = {name: value.copy() for name, value in network.parameters.items()}
    with pytest.raises(RunError, match=match) as caught:
        list(train(network, task, OPTIONS, run=run, resume=True))
    assert "\n" not in str(caught.value)
    assert contents(run) == before
    for name, value in old.items():
        np.testing.assert_array_equal(network.parameters[name], value)


def forged(run, change):
    """Write a checkpoint with another content and a checksum that fits it."""
    path = run.folder / "checkpoint.h5"
    attributes, datasets = read_sealed(path)
    change(attributes, datasets)
    path.write_bytes(sealed(attributes, datasets))


def test_every_changed_byte_is_noticed(run, task):
    path, rng = run.folder / "checkpoint.h5", np.random.default_rng(1)
    whole = path.read_bytes()
    for place in [0, 30, 300, *rng.integers(0, len(whole), 10)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        refused(run, task, r"checkpoint\.h5 (is damaged|was made by a newer version)")


NAN = np.full((6, 5), np.nan, np.float32)
CHANGES = [
    (lambda a, d: a.update(epoch=-1), r"epoch = -1; expected a whole number"),
    (lambda a, d: a.update(epoch="two"), r"epoch = 'two'; expected a whole number"),
    (lambda a, d: a.pop("steps"), r"'steps' is missing"),
    (lambda a, d: a.update(complete=False), "it was not written to its end"),
    (lambda a, d: a.update(rng="{}"), "checkpoint.h5 is damaged"),
    (lambda a, d: a.update(rng="[" * 5000), "checkpoint.h5 is damaged"),
    (lambda a, d: a.update(optimiser="sgd"), r"it is of optimiser 'sgd', not 'adam'"),
    (lambda a, d: a.update(steps=0), "after 0 steps its optimiser holds first"),
    (lambda a, d: d.pop("parameters/layer1.w"), r"'layer1.w' is missing"),
    (lambda a, d: d.update({"parameters/layer1.w": NAN}), r"'layer1.w' holds values that are not finite"),
    (lambda a, d: d.pop("optimiser/second.layer1.w"), r"after 6 steps its optimiser holds first"),
    (lambda a, d: d.update({"optimiser/first.layer1.w": NAN}), r"'optimiser/first.layer1.w' has shape \(6, 5\)"),
    (
        lambda a, d: d.update({"optimiser/first.layer1.w": NAN[:5] * 0}),
        r"'optimiser/first.layer1.w' has shape \(5, 5\)",
    ),
    (lambda a, d: d["optimiser/second.layer1.w"].__imul__(-1), "holds a negative mean of squares"),
    (lambda a, d: d.update({"optimiser/other.layer1.w": np.zeros(3)}), "its optimiser holds first"),
    (lambda a, d: a.update(format="brian2grad checkpoint, version 7"), r"was made by a newer version .*\(format 7\)"),
]


@pytest.mark.parametrize(("change", "match"), CHANGES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_checkpoint_that_can_not_be_is_refused_before_anything_changes(run, task, change, match):
    forged(run, lambda a, d: [d.update({n: v.copy() for n, v in d.items()}), change(a, d)])
    refused(run, task, match)


def test_an_average_is_not_begun_in_the_middle_of_a_run(run, task):
    before = contents(run)
    with pytest.raises(RunError, match="after 6 steps its optimiser holds first"):
        list(train(new_network(), task, replace(OPTIONS, average=0.9), run=run, resume=True))
    assert contents(run) == before


def test_a_missing_checkpoint_of_a_run_that_has_epochs_is_refused(run, task):
    (run.folder / "checkpoint.h5").unlink()
    refused(run, task, r"checkpoint\.h5 does not exist, but metrics\.jsonl has epochs")


@pytest.mark.parametrize("line", ["[1, 2]", '{"loss": 1}', '{"epoch": "one"}', "{", "[" * 5000, "\xff"])
def test_damaged_records_are_one_line(run, line):
    (run.folder / "metrics.jsonl").write_bytes(b'{"epoch": 1}\n' + line.encode("latin-1"))
    with pytest.raises(RunError, match=r"metrics\.jsonl is damaged") as caught:
        run.metrics()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "stopped_at",
    [
        "config.toml",
        "weights.h5",
        *(pytest.param(n, marks=pytest.mark.long) for n in ("metrics.jsonl", "summary.json")),
    ],
)
def test_a_run_stopped_before_its_first_state_is_resumed_and_overwritten(task, tmp_path, stopped_at):
    """What a kill leaves before epoch 0: nothing is lost, so nothing is protected."""
    whole = Run.create(tmp_path / "whole", {"run": {"seed": 0}})
    list(train(new_network(), task, OPTIONS, run=whole))
    names = ["config.toml", "weights.h5", "metrics.jsonl", "summary.json"]
    for folder in ("resumed", "overwritten"):
        begun = Run.create(tmp_path / folder, {"run": {"seed": 0}})
        for name in names[1 : names.index(stopped_at) + 1]:
            (begun.folder / name).write_bytes(b"" if name == "metrics.jsonl" else b"old")
        (begun.folder / f".checkpoint.h5.{'0' * 32}.tmp").write_bytes(b"half")
        if folder == "overwritten":
            begun = Run.create(tmp_path / folder, {"run": {"seed": 0}})
        list(train(new_network(), task, OPTIONS, run=begun, resume=folder == "resumed"))
        if folder == "resumed":
            assert not list(begun.folder.glob(".*"))
        assert read_sealed(begun.weights)[1].keys() == read_sealed(whole.weights)[1].keys()
        for name, value in read_sealed(whole.weights)[1].items():
            np.testing.assert_array_equal(read_sealed(begun.weights)[1][name], value)


def test_a_begun_run_is_not_overwritten(run):
    before = contents(run)
    with pytest.raises(RunError, match="holds a run already"):
        Run.create(run.folder, {"a": 2})
    assert contents(run) == before


@pytest.mark.parametrize("room", [0, 2000, 9000, 20000])
def test_a_full_disk_is_one_line_and_the_run_goes_on_afterwards(run, task, monkeypatch, room):
    """The disk takes `room` more bytes."""
    left = [room]

    def write(path, content):
        left[0] -= len(content)
        with path.open("wb") as file:
            file.write(content[: len(content) + min(left[0], 0)])
        if left[0] < 0:
            raise OSError(28, "No space left on device", str(path))
        return len(content)

    before = json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[-1])
    with monkeypatch.context() as patch:
        patch.setattr(files_module.Path, "write_bytes", write)
        with pytest.raises(
            RunError, match=r"cannot be written \(.*No space left on device.*; free space, then"
        ) as caught:
            list(train(new_network(), task, OPTIONS, run=run, resume=True))
    assert "\n" not in str(caught.value)
    assert not list(run.folder.glob(".*"))
    assert before["epoch"] == 2
    network, whole = new_network(seed=7), new_network()
    assert [r["epoch"] for r in train(network, task, OPTIONS, run=run, resume=True)] == [3]
    list(train(whole, task, OPTIONS))
    for name, value in whole.parameters.items():
        np.testing.assert_array_equal(network.parameters[name], value)
