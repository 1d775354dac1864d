"""The verbs on networks trained by the exact gradient, as a user types them."""

import json

import h5py
import numpy as np
import pytest

from brian2grad.training.cli.main import main

KEYS = """accuracy balanced_accuracy n_samples spikes_per_neuron spikes_per_second input_events synaptic_operations
decision_latency seconds seed engine device git""".split()
MODEL = '''
from brian2 import *

LIF = """dv/dt = (I - v)/(20*ms) : 1
         dI/dt = -I/(5*ms) : 1"""

def make(fires=True):
    rng = np.random.default_rng(3)
    inputs = SpikeGeneratorGroup(5, [], []*ms, name="inputs")
    hidden = NeuronGroup(8, LIF, threshold="v > V_th", reset="v = 0", method="exact", name="hidden")
    outputs = NeuronGroup(2, LIF, threshold="v > V_th", reset="v = 0", method="exact", name="outputs")
    first = Synapses(inputs, hidden, "w : 1", on_pre="I_post += w", name="first")
    second = Synapses(hidden, outputs, "w : 1", on_pre="I_post += w", name="second")
    for synapses, scale in ((first, 3), (second, 2)):
        synapses.connect()
        synapses.w = rng.uniform(0.5, 1.5, len(synapses))*scale
        synapses.delay = rng.uniform(0, 2, len(synapses))*ms
    return dict(network=Network(inputs, hidden, outputs, first, second), inputs=inputs, outputs=outputs,
                wrt=[(first, "w"), (first, "delay"), (second, "w")], duration=50*ms)

V_th = 1.0

def incomplete():
    return {}
'''


def call(capsys, *arguments):
    """Exit code, output and error text of a command."""
    with pytest.raises(SystemExit) as status:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status.value.code, captured.out, captured.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file of vectors in two parts, two classes left and right of the middle, and the user's model."""
    folder = tmp_path_factory.mktemp("exact")
    rng = np.random.default_rng(0)
    fields = {}
    for part, n in (("train", 60), ("validation", 20)):
        samples = rng.random((n, 2))
        samples[:, 0] += np.where(samples[:, 0] > 0.5, 0.2, -0.2) * (1 - np.abs(2 * samples[:, 0] - 1))
        fields |= {f"{part}_samples": samples, f"{part}_labels": (samples[:, 0] > 0.5).astype(int)}
    np.savez(folder / "halves.npz", **fields)
    (folder / "model.py").write_text(MODEL)
    return folder


@pytest.fixture(scope="module")
def run(folder):
    """Run folder of the user's own network."""
    with pytest.raises(SystemExit) as status:
        main(f"train exact {folder}/model.py:make --data {folder}/halves.npz --recipe {recipe(folder)} "
             f"--out {folder}/run --quiet".split())  # fmt: skip
    assert status.value.code == 0
    return folder / "run"


def recipe(folder, epochs=8):
    path = folder / f"recipe{epochs}.toml"
    path.write_text(
        f'[network]\n[loss]\nkind = "first-spike"\ntau0_ms = 2.0\nwake = 0.1\nrate = 0.5\n[training]\n'
        f"epochs = {epochs}\nbatch_size = 10\nlearning_rate = 0.02\n"
    )
    return path


def weights(run):
    with h5py.File(run / "weights.h5") as file:
        return {f"{a}.{b}": file[a][b][()] for a in file for b in file[a]}


def test_the_users_own_network_learns_and_is_evaluated(capsys, folder, run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["loss"] < 0.6 * records[0]["loss"]
    assert sorted(weights(run)) == ["first.delay", "first.w", "second.w"]
    code, out, _ = call(capsys, "evaluate", run, "--json")
    report = json.loads(out)
    assert code == 0
    assert not [key for key in KEYS if key not in report]
    assert report["n_samples"] == 20
    assert report["accuracy"] == records[-1]["validation_accuracy"] > 0.8
    assert report["decision_latency"]["ms"]["first"] < 50


def test_brian2_decides_the_same(capsys, folder, run):
    found = {}
    for engine in ("native", "brian2"):
        options = ["--dt", "0.01ms"] if engine == "brian2" else []
        path = folder / f"{engine}.npz"
        code, _, _ = call(capsys, "evaluate", run, "--engine", engine, "--predictions", path, *options)
        assert code == 0
        with np.load(path) as archive:
            found[engine] = dict(archive)
    assert (found["native"]["predictions"] == found["brian2"]["predictions"]).mean() >= 0.95
    assert np.abs(found["native"]["spikes"] - found["brian2"]["spikes"]).mean() < 0.1


@pytest.mark.standalone
@pytest.mark.long
def test_cpp_standalone_decides_like_the_runtime(capsys, folder, run):
    found = []
    for device in ("runtime", "cpp_standalone"):
        path = folder / f"{device}.npz"
        options = ["--engine", "brian2", "--device", device, "--dt", "0.02ms", "--predictions", path]
        assert call(capsys, "evaluate", run, *options)[0] == 0
        with np.load(path) as archive:
            found.append(dict(archive))
    assert (found[0]["predictions"] == found[1]["predictions"]).all()
    assert (found[0]["spikes"] == found[1]["spikes"]).all()


def test_a_run_goes_on_as_if_it_had_never_stopped(capsys, folder, run):
    short = folder / "short"
    options = ["--data", folder / "halves.npz", "--recipe", recipe(folder), "--out", short, "--quiet"]
    assert call(capsys, "train", "exact", f"{folder}/model.py:make", *options, "--epochs", 3)[0] == 0
    # The schedule of the learning rate follows the epochs that were asked for; a constant one would hide an error.
    assert call(capsys, "train", "exact", "--resume", short, "--epochs", 5, "--quiet")[0] == 0
    again = folder / "again"
    options[5] = again
    assert call(capsys, "train", "exact", f"{folder}/model.py:make", *options, "--epochs", 3)[0] == 0
    assert call(capsys, "train", "exact", "--resume", again, "--epochs", 4, "--quiet")[0] == 0
    records = [[json.loads(x) for x in (p / "metrics.jsonl").read_text().splitlines()] for p in (short, again)]
    assert [r["loss"] for r in records[0][:3]] == [r["loss"] for r in records[1][:3]]
    assert len(records[0]) == 5


def test_ready_neurons_by_name(capsys, folder):
    out = folder / "ready"
    options = ["--data", folder / "halves.npz", "--hidden", "10", "--epochs", 2, "--out", out, "--quiet"]
    assert call(capsys, "train", "exact", "lif", *options)[0] == 0
    assert {k: v.shape for k, v in weights(out).items()} == {
        "to_hidden.w": (50,), "to_hidden.delay": (50,), "to_outputs.w": (20,), "to_outputs.delay": (20,),
    }  # fmt: skip
    code, text, _ = call(capsys, "evaluate", out, "--limit", 5)
    assert code == 0
    assert "event-located" in text


def test_times_from_another_origin_are_refused_or_begun_at_zero(capsys, folder):
    """The same numbers with a clock that started long ago as with one that starts with every sample."""
    rng, path = np.random.default_rng(1), [folder / "clock.npz", folder / "own.npz"]
    samples = [(rng.integers(0, 3, 9), np.r_[0, np.sort(rng.integers(0, 20_000, 8))]) for _ in range(12)]
    for file, origin in zip(path, (1_700_000_000_000_000, 0), strict=True):
        moved = [(units, times + origin * (k + 1)) for k, (units, times) in enumerate(samples)]
        fields = {"units": np.concatenate([u for u, _ in moved]), "times": np.concatenate([t for _, t in moved])}
        np.savez(file, **fields, offsets=np.arange(0, 109, 9), labels=np.arange(12) % 2, n_units=3, time_unit_us=1)
    options = ["--hidden", 4, "--epochs", 1, "--quiet"]
    code, _, error = call(capsys, "train", "exact", "lif", "--data", path[0], *options, "--out", folder / "refused")
    assert (code, "--zero-time" in error) == (2, True)
    for file, more in zip(path, (["--zero-time"], []), strict=True):
        out = folder / f"from-{file.stem}"
        assert call(capsys, "train", "exact", "lif", "--data", file, *options, *more, "--out", out)[0] == 0
    one, other = (weights(folder / f"from-{file.stem}") for file in path)
    for name, value in other.items():
        np.testing.assert_array_equal(one[name], value)
    code, out, _ = call(capsys, "evaluate", folder / "from-clock", "--data", path[0], "--json")
    assert code == 0
    assert json.loads(out)["input_events"] == pytest.approx(9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train exact --data {f}/halves.npz", "Name what to train: one of lif"),
        ("train exact none --data {f}/halves.npz", "'none' does not name a model"),
        ("train exact {f}/model.py:incomplete --data {f}/halves.npz", "'network' is missing"),
        ("train exact {f}/model.py:nothing --data {f}/halves.npz", "no function 'nothing'"),
        ("train exact {f}/model.py:make --hidden 5 --data {f}/halves.npz", "network.hidden belongs to ready neurons"),
        ("train exact lif --data {f}/halves.npz --loss first-spike", "gain is no part of 'first-spike'"),
        ("evaluate {f}/run --dt 1ms", "--dt belongs to --engine brian2"),
        ("evaluate {f}/run --scheduler random", "--scheduler belongs to runs with forward steps"),
        ("evaluate {f}/run --engine brian2 --device genn", "genn"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(capsys, folder, run, arguments, message):
    code, _, error = call(capsys, *arguments.format(f=folder).split())
    assert code == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
