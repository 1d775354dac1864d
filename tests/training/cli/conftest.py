"""A small archive and a run that was trained on it, for the tests of commands."""

import subprocess
import sys

import numpy as np
import pytest

from brian2grad.training import EventArchive


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Small archive with two separable classes."""
    rng = np.random.default_rng(0)
    samples, labels = [], np.arange(40) % 2
    for label in labels:
        times = np.sort(rng.integers(0, 100, 60))
        samples.append(((rng.integers(0, 10, 60) + 6 * label).astype(np.uint16), times.astype(np.uint32)))
    path = tmp_path_factory.mktemp("data") / "toy.npz"
    EventArchive.from_samples(samples, labels.astype(np.uint8), n_units=16, time_unit_us=1000).save(path)
    return path


@pytest.fixture(scope="module")
def run(archive, tmp_path_factory):
    """A trained run folder."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    command = [sys.executable, "-m", "brian2grad.training", "train", "gamma", "--data", str(archive)]
    command += ["--hidden", "12,6", "--epochs", "3", "--seed", "4", "--theta", "0.3", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "epoch   3/3" in done.stderr
    return folder
