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
    save_network(tmp_path / "n.h5", "gamma", network.config() | {"memory": "exact"}, network.parameters)
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
    assert set(network.config()) == options - {"input", "layers"}  # what sizes say, too
    layered = SpikingGammaNetwork(input=(1, 4, 4), layers=["3c3", "2"], K=2)
    assert set(layered.config()) == options


def test_a_layered_network_loads(tmp_path):
    network = SpikingGammaNetwork(input=(1, 4, 4), layers=["3c3", "5", "2"], K=2)
    network.save(tmp_path / "n.h5")
    loaded = SpikingGammaNetwork.load(tmp_path / "n.h5")
    assert loaded.config() == network.config()
    for name, value in network.parameters.items():
        np.testing.assert_array_equal(loaded.parameters[name], value)
    save_network(tmp_path / "n.h5", "gamma", network.config() | {"layers": ["3c3", "9999999", "2"]}, network.parameters)
    with pytest.raises(NetworkError, match=r"n\.h5: layers = .* need more than the \d+ numbers in the file"):
        SpikingGammaNetwork.load(tmp_path / "n.h5")


def test_options_may_be_overridden_when_loading(network, tmp_path):
    network.save(tmp_path / "n.h5")
    loaded = SpikingGammaNetwork.load(tmp_path / "n.h5", dt=1 * ms, threads=1)
    assert float(loaded.dt) == 1e-3
    np.testing.assert_array_equal(loaded.parameters["layer1.w"], network.parameters["layer1.w"])


def test_file_is_readable_without_the_library(network, tmp_path):
    network.save(tmp_path / "n.h5")
    with h5py.File(tmp_path / "n.h5") as file:
        assert file.attrs["kind"] == "gamma"
        assert "version 2" in file.attrs["format"]
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


def with_first_version(path, network):
    """Write a file as the first version did: without a checksum."""
    with h5py.File(path, "w") as file:
        file.attrs["format"], file.attrs["kind"] = "brian2grad network, version 1", "gamma"
        file.attrs["config"] = json.dumps(network.config())
        for name, value in network.parameters.items():
            file[name.replace(".", "/")] = value


def test_a_file_of_the_first_version_loads_and_says_that_it_has_no_checksum(network, tmp_path):
    with_first_version(tmp_path / "n.h5", network)
    with pytest.warns(UserWarning, match=r"n\.h5 has no checksum: an older version wrote it\. Save it again\."):
        loaded = SpikingGammaNetwork.load(tmp_path / "n.h5")
    np.testing.assert_array_equal(loaded.parameters["layer1.w"], network.parameters["layer1.w"])


def test_every_changed_byte_is_noticed(network, tmp_path):
    path = tmp_path / "n.h5"
    network.save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for place in [0, 20, 40, 100, 511, 512, 600, len(whole) - 1, *rng.integers(0, len(whole), 12)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with pytest.raises(NetworkError, match=r"n\.h5 (is damaged or|was made by a newer version)"):
            SpikingGammaNetwork.load(path)


def test_a_newer_format_is_named_wherever_it_says_so(network, tmp_path):
    path = tmp_path / "n.h5"
    network.save(path)
    whole = path.read_bytes()
    newer = r"n\.h5 was made by a newer version of brian2grad \(format [39]\); update brian2grad"
    path.write_bytes(whole.replace(b"brian2grad file, version 2", b"brian2grad file, version 3"))
    with pytest.raises(NetworkError, match=newer):
        SpikingGammaNetwork.load(path)
    path.write_bytes(whole.replace(b"brian2grad network, version 2", b"brian2grad network, version 9"))
    with pytest.raises(NetworkError, match=newer):
        SpikingGammaNetwork.load(path)


def test_a_file_that_lost_its_checksum_is_refused(network, tmp_path):
    path = tmp_path / "n.h5"
    with_first_version(path, network)
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = "brian2grad network, version 2"
    with pytest.raises(NetworkError, match="its beginning, which holds its checksum, is missing"):
        SpikingGammaNetwork.load(path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"sizes": [2**30, 2**30, 2]},
            r"sizes = \[1073741824, 1.* and K = 3 need more than the \d+ numbers",
        ),
        ({"K": 10**12}, r"K = 1000000000000 need more than"),
        ({"sizes": "many"}, r"sizes = 'many'; expected"),
        ({"sizes": [6, -5, 4, 3]}, r"sizes = \[6, -5, 4, 3\]; expected"),
        ({"surprise": 3}, r"its configuration describes no network \(.*surprise"),
        ({"tau": "long"}, r"its configuration describes no network"),
        ({"theta": [0.3, -0.7]}, r"theta = \[0\.3, -0\.7\] must be positive"),
    ],
)
def test_a_configuration_that_fits_no_network_is_one_line(network, tmp_path, change, text):
    save_network(tmp_path / "n.h5", "gamma", network.config() | change, network.parameters)
    with pytest.raises(NetworkError, match=text) as caught:
        SpikingGammaNetwork.load(tmp_path / "n.h5")
    assert str(tmp_path / "n.h5") in str(caught.value)
    assert "\n" not in str(caught.value)
