"""Data sets by name and by path: which samples train, which validate, and every refusal."""

import os
from pathlib import Path

import numpy as np
import pytest

from brian2grad.training.data import DATASETS, AudioArchive, DataError, EventArchive, load, load_splits
from brian2grad.training.data.splits import n_validation

ROOT = os.environ.get("BRIAN2GRAD_DATA", "")
needs_recordings = pytest.mark.skipif(not ROOT, reason="BRIAN2GRAD_DATA isn't set: no recordings to read")


def archive(n_samples=40, n_classes=4, **more):
    """Return recordings with one event each, whose time is the sample's number."""
    samples = [([0], [k]) for k in range(n_samples)]
    return EventArchive.from_samples(samples, np.arange(n_samples) % n_classes, 2312, 1000, **more)


def numbers(part):
    return part.times.tolist()


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.delenv("BRIAN2GRAD_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def write_audio(path):
    """Write noises of two speakers, nine takes each."""
    rng = np.random.default_rng(0)
    content = {
        "pcm": rng.integers(-3000, 3000, 18 * 400).astype(np.int16),
        "offsets": np.arange(19, dtype=np.int64) * 400,
        "labels": np.arange(18, dtype=np.uint8) % 3,
        "speaker": np.repeat(["ann", "bob"], 9),
        "take": np.tile(np.arange(9, dtype=np.uint8), 2),
        "sample_rate": 8000,
    }
    np.savez(path, **content)
    return AudioArchive(**content)


def test_files_of_their_own_are_used_for_validation(root):
    archive(8).save(root / "nmnist8_train.npz")
    archive(4).save(root / "nmnist8_validation.npz")
    train, validation = load_splits("nmnist8", root)
    assert (len(train), len(validation)) == (8, 4)
    assert len(load("nmnist8", root)) == 8
    assert len(load("nmnist8", root, "validation")) == 4
    assert (train.name, validation.name) == ("nmnist8_train", "nmnist8_validation")


def test_data_root_from_the_environment(root, monkeypatch):
    archive(8).save(root / "nmnist8_train.npz")
    monkeypatch.setenv("BRIAN2GRAD_DATA", str(root))
    assert len(load("nmnist8")) == 8


def test_single_file_is_split_by_class_and_seed(root):
    archive(40).save(root / "nmnist10_train.npz")
    train, validation = load_splits("nmnist10", root)
    assert sorted(numbers(train) + numbers(validation)) == list(range(40))
    np.testing.assert_array_equal(np.bincount(validation.labels), [2, 2, 2, 2])
    assert numbers(load("nmnist10", root, "validation")) == numbers(validation)
    assert numbers(load("nmnist10", root, "train")) == numbers(train)
    assert numbers(load_splits("nmnist10", root, seed=1)[1]) != numbers(validation)
    assert len(load_splits("nmnist10", root, validation=0.5)[1]) == 20
    assert len(load_splits("nmnist10", root, validation=4)[1]) == 4


def test_uneven_classes_are_split_in_proportion(root):
    labels = np.repeat(np.arange(3, dtype=np.uint8), [30, 11, 9])
    samples = [([0], [k]) for k in range(50)]
    EventArchive.from_samples(samples, labels, 2, 1).save(root / "nmnist10_train.npz")
    _, validation = load_splits("nmnist10", root)
    np.testing.assert_array_equal(np.bincount(validation.labels), [6, 2, 2])


def test_steps_with_labels_are_split_at_random(root):
    steps = np.zeros((40, 5), np.uint8)
    archive(40, n_classes=1, labels_per_step=steps).save(root / "qtdb_train.npz")
    train, validation = load_splits("qtdb", root)
    assert (len(train), len(validation)) == (32, 8)
    assert validation.labels_per_step.shape == (8, 5)
    assert sorted(numbers(train) + numbers(validation)) == list(range(40))


def test_speech_holds_out_the_last_takes_or_a_speaker(root):
    write_audio(root / "fsdd_train.npz")
    train, validation = load_splits("fsdd", root)
    assert set(validation.extra["take"]) == {8}
    assert set(train.extra["take"]) == set(range(8))
    assert set(load_splits("fsdd", root, validation=3)[1].extra["take"]) == {6, 7, 8}
    train, validation = load_splits("fsdd", root, held_out_speaker="bob")
    assert (set(train.extra["speaker"]), set(validation.extra["speaker"])) == ({"ann"}, {"bob"})
    assert len(load(root / "fsdd_train.npz")) == 18
    with pytest.raises(DataError, match="holding out speaker .* leaves one part empty; there are ann, bob"):
        load_splits("fsdd", root, held_out_speaker="eve")


def test_heidelberg_test_file_is_never_used_for_validation(root, monkeypatch):
    names = []

    def read(path):
        names.append(path.name)
        return archive(40, extra={"speaker": np.repeat([0, 1], 20)})

    monkeypatch.setattr("brian2grad.training.data.loading.read_heidelberg", read)
    for name in ("shd_train.h5", "shd_test.h5", "ssc_train.h5", "ssc_valid.h5", "ssc_test.h5"):
        (root / name).touch()
    train, validation = load_splits("shd", root)
    assert (len(train), len(validation)) == (32, 8)
    _, validation = load_splits("shd", root, held_out_speaker=1)
    assert set(validation.extra["speaker"]) == {1}
    assert names == ["shd_train.h5"] * 2
    load("shd", root, "test")
    load_splits("ssc", root)
    load("ssc", root, "test")
    assert names[2:] == ["shd_test.h5", "ssc_train.h5", "ssc_valid.h5", "ssc_test.h5"]


def test_digits_have_a_fixed_split_unless_another_is_asked_for(root):
    first, other = (load_splits("digits", seed=seed)[1] for seed in (0, 1))
    assert first.sha256 == other.sha256
    train, validation = load_splits("digits", validation=100)
    assert (len(train), len(validation)) == (1697, 100)


def test_path_is_used_whole(root):
    archive(8).save(root / "mine.npz")
    for split in ("train", "validation", "test"):
        assert len(load(root / "mine.npz", split=split)) == 8
    train, validation = load_splits(str(root / "mine.npz"), validation=0.25)
    assert (len(train), len(validation)) == (6, 2)
    (root / "bins" / "3").mkdir(parents=True)
    (root / "bins" / "3" / "1.bin").write_bytes(bytes([1, 0, 0, 0, 9]))
    np.testing.assert_array_equal(load(root / "bins").labels, [3])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar", "unknown data set 'cifar'; known are " + ", ".join(DATASETS)),
        ("missing/archive.npz", "missing/archive.npz: no such file or folder"),
        ("dvsgesture", r"DvsGesture/trials_to_train\.txt: no such file"),
        ("nmnist8", r"nmnist8_train\.npz: no such file .*--data-root DIR or the variable BRIAN2GRAD_DATA"),
        ("shd", r"shd_train\.h5: no such file"),
    ],
)
def test_unknown_or_missing_data_are_refused(root, name, message):
    with pytest.raises(DataError, match=message) as refusal:
        load(name, root)
    assert "\n" not in str(refusal.value)


def test_missing_root_is_refused(root):
    with pytest.raises(DataError, match="'fsdd' needs recordings .*--data-root"):
        load("fsdd")
    with pytest.raises(DataError, match="nowhere: no such folder .*--data-root"):
        load("fsdd", root / "nowhere")


def test_missing_validation_file_is_refused(root):
    archive(8).save(root / "nmnist8_train.npz")
    with pytest.raises(DataError, match="nmnist8_validation.npz: no such file"):
        load_splits("nmnist8", root)


def test_a_fraction_is_rounded_to_the_nearest_number_of_samples():
    assert [n_validation(11, fraction) for fraction in (0.16, 0.2, 0.05, 3)] == [2, 2, 1, 3]


@pytest.mark.parametrize("validation", [0, 1.0, 40, -1, 2.5])
def test_split_that_leaves_nothing_is_refused(root, validation):
    archive(40).save(root / "nmnist10_train.npz")
    with pytest.raises(DataError, match=f"validation = {validation} of 40 samples"):
        load_splits("nmnist10", root, validation=validation)


def test_unknown_split_is_refused(root):
    with pytest.raises(DataError, match="no split 'dev'"):
        load("digits", split="dev")
    with pytest.raises(DataError, match="digits: no split 'test'"):
        load("digits", split="test")


@pytest.mark.data
@needs_recordings
@pytest.mark.parametrize(
    ("name", "n_units", "sizes"),
    [
        ("nmnist8", 2312, (12000, 1600)),
        ("nmnist10", 2312, (640, 160)),
        ("qtdb", 8, (494, 124)),
        ("fsdd", 128, (2000, 250)),
    ],
)
def test_real_recordings(name, n_units, sizes):
    if not list(Path(ROOT).glob(f"{name}_train.*")):
        pytest.skip(f"{name} isn't under BRIAN2GRAD_DATA")
    train, validation = load_splits(name)
    assert (len(train), len(validation)) == sizes
    assert train.n_units == validation.n_units == n_units
    assert set(np.unique(validation.labels)) <= set(np.unique(train.labels))
