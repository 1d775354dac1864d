"""SHD, SSC and DVS128 Gesture: the ready recipes run from files written as published, with one command each."""

import json

import h5py
import numpy as np
import pytest
from commands import call
from gesture_files import write_gestures

from brian2grad.training.configuration import read_recipe, recipe_path
from brian2grad.training.configuration.tasks import load_tasks
from brian2grad.training.gamma.configuration import GammaConfiguration, build

N_CLASSES = {"shd": 20, "ssc": 35, "dvsgesture": 11}


def words(path, n_classes, n_samples, seed):
    """Write an SHD or SSC file: every word has its own channels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_samples) % n_classes
    with h5py.File(path, "w") as file:
        for name, kind in (("spikes/times", np.float16), ("spikes/units", np.int32)):
            file.create_dataset(name, (n_samples,), dtype=h5py.vlen_dtype(kind))
        for k, label in enumerate(labels):
            file["spikes/times"][k] = np.sort(rng.uniform(0, 0.9, 300)).astype(np.float16)
            file["spikes/units"][k] = (label * 700 // n_classes + rng.integers(0, 60, 300)) % 700
        file["labels"] = labels.astype(np.uint16)
        file["extra/speaker"] = np.arange(n_samples, dtype=np.uint16) % 3
    return path


def gestures(folder):
    """Write a DVS128 Gesture folder: every class moves elsewhere."""
    table = [(label, 2_000_000 * label, 2_000_000 * label + 1_500_000) for label in range(1, 12)]

    def events(user):
        rng, found = np.random.default_rng(user), []
        for label, start, end in table:
            times = np.sort(rng.integers(start, end, 200))
            x, y = 11 * (label - 1) + rng.integers(0, 12, 200), rng.integers(40, 80, 200)
            found += [(int(a), int(b), int(t) % 2, int(t), 1) for a, b, t in zip(x, y, times, strict=True)]
        return found

    return write_gestures(folder, range(1, 8), events, table)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Folder with small files of all three."""
    monkeypatch.setenv("BRIAN2GRAD_CACHE", str(tmp_path / "cache"))
    words(tmp_path / "shd_train.h5", 20, 60, 0)
    for part, n in (("train", 70), ("valid", 35)):
        words(tmp_path / f"ssc_{part}.h5", 35, n, 1)
    gestures(tmp_path / "DvsGesture")
    return tmp_path


@pytest.mark.parametrize("variant", [None, "convolution"])
@pytest.mark.parametrize("name", N_CLASSES)
def test_a_recipe_fits_the_data_it_is_for(root, name, variant):
    recipe = read_recipe(recipe_path("gamma", name, variant))
    recipe["data"]["name"] = name
    train, held_out = load_tasks(recipe, root)
    network = build(recipe, train, 0)
    assert (network.sizes[0], network.sizes[-1]) == (train.events.n_units, N_CLASSES[name])
    assert train.events.n_steps == held_out.events.n_steps
    assert ("convolution" in str(variant)) == any(
        c.patches is not None for p in network.plan.layers for c in p.connections
    )
    options = GammaConfiguration.read(recipe).options()
    changed = train.batch(np.arange(4), np.random.default_rng(0), **options.augmentation())
    assert 0 < changed.values.sum()
    assert changed.n_units == train.events.n_units


@pytest.mark.long
@pytest.mark.parametrize("variant", [None, "convolution"])
@pytest.mark.parametrize("name", N_CLASSES)
def test_one_command_trains_and_one_evaluates(root, capsys, tmp_path, name, variant):
    options = ["--recipe", variant] if variant else []
    out = tmp_path / "run"
    command = ["train", "gamma", "--data", name, "--data-root", root, *options, "--epochs", 1, "--threads", 1]
    code, _, err = call(capsys, *command, "--out", out)
    assert code == 0, err
    code, text, err = call(capsys, "evaluate", out, "--data", name, "--data-root", root, "--json")
    assert code == 0, err
    report = json.loads(text)
    assert 0 <= report["accuracy"] <= 1
    assert report["spikes_per_neuron"] > 0
