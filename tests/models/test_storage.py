"""Networks on disk: round trip, and one clear line for every damaged or unwritable file."""

import json
import os
import stat
from pathlib import Path

import h5py
import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import NetworkError, SpikingGammaNetwork
from brian2grad.models.storage import load_network, save_network

OPTIONS = {
    "K": 3,
    "tau": [11, 23.7, 5] * ms,
    "theta": [0.3, 0.7],
    "memory": "continuous",
    "adaptation": 0.1,
    "tau_theta": 7 * ms,
    "read_from": 20 * ms,
    "dt": 2.5 * ms,
    "seed": 5,
}


@pytest.fixture
def network():
    return SpikingGammaNetwork([6, 5, 4, 3], **OPTIONS)


@pytest.mark.parametrize(
    "options", [{}, {"buckets": "synapse", "bias": False}, {"train_tau": True, "dtype": "float64"}]
)
def test_round_trip(options, tmp_path):
    network = SpikingGammaNetwork([6, 5, 4, 3], **(OPTIONS | options))
    rng = np.random.default_rng(0)
    for value in network.parameters.values():
        value *= rng.uniform(0.5, 2, value.shape).astype(value.dtype)
    network.save(tmp_path / "network.h5")
    loaded = SpikingGammaNetwork.load(tmp_path / "network.h5")
    assert loaded.config() == network.config()
    assert loaded.parameters.keys() == network.parameters.keys()
    for name, value in network.parameters.items():
        np.testing.assert_array_equal(loaded.parameters[name], value)
        assert loaded.parameters[name].dtype == value.dtype
    assert [str(model) for model in loaded.models()] == [str(model) for model in network.models()]
    assert os.listdir(tmp_path) == ["network.h5"]  # no temporary file is left


def test_the_old_word_for_the_continuous_memory_loads(network, tmp_path):
    network.save(tmp_path / "n.h5")
    with h5py.File(tmp_path / "n.h5", "r+") as file:
        file.attrs["config"] = file.attrs["config"].replace('"continuous"', '"exact"')
    loaded = SpikingGammaNetwork.load(tmp_path / "n.h5")
    assert loaded.memory == "continuous"
    assert loaded.config() == network.config()


def test_configuration_is_plain_json(network):
    config = network.config()
    assert SpikingGammaNetwork.from_config(json.loads(json.dumps(config))).config() == config
    assert config["tau"] == pytest.approx([0.011, 0.0237, 0.005])


def test_every_option_is_stored(network):
    """An option that `config` forgets would silently take its default after loading."""
    import inspect

    options = set(inspect.signature(SpikingGammaNetwork.__init__).parameters) - {"self", "ratio", "threads"}
    assert set(network.config()) == options


def test_options_may_be_overridden_when_loading(network, tmp_path):
    network.save(tmp_path / "n.h5")
    loaded = SpikingGammaNetwork.load(tmp_path / "n.h5", dt=1 * ms, threads=1)
    assert float(loaded.dt) == 1e-3
    np.testing.assert_array_equal(loaded.parameters["layer1.w"], network.parameters["layer1.w"])


def test_file_is_readable_without_the_library(network, tmp_path):
    network.save(tmp_path / "n.h5")
    with h5py.File(tmp_path / "n.h5") as file:
        assert file.attrs["kind"] == "gamma"
        assert "version 1" in file.attrs["format"]
        assert json.loads(file.attrs["config"])["sizes"] == [6, 5, 4, 3]
        np.testing.assert_array_equal(file["layer2/w"][()], network.parameters["layer2.w"])


@pytest.mark.parametrize("fraction", [0, 0.01, 0.3, 0.6, 0.95])
def test_truncated_file(network, tmp_path, fraction):
    path = tmp_path / "n.h5"
    network.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(NetworkError, match=r"n\.h5 is damaged or no brian2grad network .*; take an earlier one"):
        SpikingGammaNetwork.load(path)


def test_other_files(tmp_path):
    (tmp_path / "text.h5").write_text("no network")
    with pytest.raises(NetworkError, match=r"text\.h5 is damaged or no brian2grad network"):
        SpikingGammaNetwork.load(tmp_path / "text.h5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["data"] = [1, 2]
    with pytest.raises(NetworkError, match=r"foreign\.h5 is damaged or no brian2grad network"):
        SpikingGammaNetwork.load(tmp_path / "foreign.h5")
    with pytest.raises(NetworkError, match=r"nowhere\.h5 does not exist; give the path of a saved network"):
        SpikingGammaNetwork.load(tmp_path / "nowhere.h5")
    with pytest.raises(NetworkError, match="does not exist"):
        SpikingGammaNetwork.load(tmp_path)


def test_wrong_kind(tmp_path):
    save_network(tmp_path / "n.h5", "asynchronous", {"sizes": [2, 2]}, {"layer1.w": np.ones(3)})
    with pytest.raises(NetworkError, match="holds a network of kind 'asynchronous', not 'gamma'"):
        SpikingGammaNetwork.load(tmp_path / "n.h5")
    config, parameters = load_network(tmp_path / "n.h5")
    assert config == {"sizes": [2, 2]}
    np.testing.assert_array_equal(parameters["layer1.w"], np.ones(3))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"layer2.w": None}, "'layer2.w' is missing"),
        ({"layer2.w": np.ones((4, 4))}, r"'layer2.w' has shape \(4, 4\), expected \(5, 4\)"),
        ({"layer1.b": np.array([0, 1, np.nan, 0, 0])}, "'layer1.b' holds values that are not finite"),
    ],
    ids=str,
)
def test_wrong_parameters_are_refused_and_nothing_changes(change, text, network, tmp_path):
    parameters = {n: v for n, v in (network.parameters | change).items() if v is not None}
    save_network(tmp_path / "n.h5", "gamma", network.config(), parameters)
    with pytest.raises(NetworkError, match=rf"n\.h5: {text}"):
        SpikingGammaNetwork.load(tmp_path / "n.h5")
    before = {name: value.copy() for name, value in network.parameters.items()}
    with pytest.raises(NetworkError, match=text):
        network.set_parameters(parameters)
    for name, value in before.items():
        np.testing.assert_array_equal(network.parameters[name], value)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write into read-only folders")
def test_read_only_folder(network, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    network.save(folder / "n.h5")
    before = (folder / "n.h5").read_bytes()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(NetworkError, match=r"n\.h5 cannot be written: .*\. Choose a writable folder"):
            network.save(folder / "n.h5")
    finally:
        folder.chmod(stat.S_IRWXU)
    assert (folder / "n.h5").read_bytes() == before


def test_unwritable_place(network, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "missing", Path("/proc")):  # not even the superuser writes to /proc
        path = folder / "n.h5"
        with pytest.raises(NetworkError, match=r"n\.h5 cannot be written: .*\. Choose a writable folder"):
            network.save(path)
    assert os.listdir(tmp_path) == ["file"]


def test_failed_save_keeps_the_old_file(network, tmp_path, monkeypatch):
    network.save(tmp_path / "n.h5")
    before = (tmp_path / "n.h5").read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(NetworkError, match="No space left on device"):
        network.save(tmp_path / "n.h5")
    assert (tmp_path / "n.h5").read_bytes() == before
    assert os.listdir(tmp_path) == ["n.h5"]
