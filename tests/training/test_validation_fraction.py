"""``--validation 0.2``: a fifth of a file is held out, and found again by `evaluate`."""

import numpy as np
import pytest

from brian2grad.training import EventArchive, TrainingError
from brian2grad.training.configuration.tasks import evaluation_archive, load_archives, seen_in_training


@pytest.fixture
def path(tmp_path):
    samples = [([k % 7], [k]) for k in range(50)]
    target = tmp_path / "own.npz"
    EventArchive.from_samples(samples, np.arange(50) % 2, n_units=7, time_unit_us=1000).save(target)
    return target


def config(path, validation):
    return {"data": {"name": str(path), "validation": validation}}


def times(archive):
    return archive.times.tolist()  # the number of the sample, here


def test_a_fraction_is_held_out_of_every_class(path):
    train, held_out = load_archives(config(path, "0.2"))
    assert len(held_out) == 10
    assert sorted(times(train) + times(held_out)) == list(range(50))
    assert held_out.labels.sum() == 5


def test_evaluation_on_the_own_file_takes_the_part_that_was_held_out(path, monkeypatch):
    _, held_out = load_archives(config(path, "0.2"))
    assert times(evaluation_archive(config(path, "0.2"), str(path))) == times(held_out)
    monkeypatch.chdir(path.parent)  # the same file by another name
    assert times(evaluation_archive(config(path, "0.2"), "own.npz")) == times(held_out)


def test_evaluation_on_another_file_takes_all_of_it(path, tmp_path):
    other = tmp_path / "other.npz"
    other.write_bytes(path.read_bytes())
    assert len(evaluation_archive(config(path, "0.2"), str(other))) == 50


def test_a_file_is_still_a_file(path):
    train, held_out = load_archives(config(path, str(path)))
    assert len(train) == len(held_out) == 50


@pytest.mark.parametrize("validation", ["0", "1.5", "nan", "-0.1"])
def test_a_number_that_is_no_fraction_is_refused(path, validation):
    with pytest.raises(TrainingError, match=f"validation = {validation}: a fraction lies between 0 and 1"):
        load_archives(config(path, validation))


def test_what_was_seen_in_training_is_known(path, tmp_path):
    other = tmp_path / "other.npz"
    other.write_bytes(path.read_bytes())
    assert seen_in_training(config(path, None), str(path))
    assert not seen_in_training(config(path, "0.2"), str(path))
    assert not seen_in_training(config(path, None), str(other))
    assert not seen_in_training(config("digits", None), "digits")
