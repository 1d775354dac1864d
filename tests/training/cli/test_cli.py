"""The command line as a user types it: one process for the happy path, the same function for the refusals."""

import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from commands import call

from brian2grad.training import EventArchive


def test_run_folder_holds_what_it_should(run):
    names = {p.name for p in run.iterdir()}
    assert names == {"config.toml", "weights.h5", "checkpoint.h5", "metrics.jsonl", "summary.json"}


def test_evaluate_json(run, archive, capsys, tmp_path):
    predictions = tmp_path / "p.npz"
    code, out, _ = call(
        capsys, "evaluate", run, "--data", archive, "--json", "--limit", 30, "--predictions", predictions
    )
    report = json.loads(out)
    assert code == 0
    wanted = "accuracy balanced_accuracy n_samples spikes_per_neuron spikes_per_second input_events "
    wanted += "synaptic_operations decision_latency seconds seed engine device git"
    assert set(wanted.split()) <= set(report)
    assert report["n_samples"] == 30
    assert report["seed"] == 4
    assert set(report["decision_latency"]) == {"spikes", "forward_steps", "ms"}
    with np.load(predictions) as stored:
        assert stored["predictions"].shape == (30,)
        assert (stored["predictions"] == stored["labels"]).mean() == pytest.approx(report["accuracy"])
        assert stored["spikes"].shape == (30, 3)
        assert stored["spikes"].sum() / 30 / 18 == pytest.approx(report["spikes_per_neuron"])


def test_engines_agree(run, archive, capsys, tmp_path):
    files = [tmp_path / "native.npz", tmp_path / "brian2.npz"]
    for engine, file in zip(("native", "brian2"), files, strict=True):
        code, out, _ = call(
            capsys,
            "evaluate",
            run,
            "--data",
            archive,
            "--engine",
            engine,
            "--limit",
            5,
            "--json",
            "--predictions",
            file,
        )
        assert code == 0
        assert json.loads(out)["engine"] == engine
    with np.load(files[0]) as native, np.load(files[1]) as brian2:
        np.testing.assert_array_equal(native["predictions"], brian2["predictions"])
        np.testing.assert_array_equal(native["spikes"], brian2["spikes"])


def test_accuracy_on_what_was_trained_on_says_so(run, archive, capsys, tmp_path):
    other = tmp_path / "other.npz"
    other.write_bytes(archive.read_bytes())
    for path, seen in ((archive, True), (other, False)):
        code, out, _ = call(capsys, "evaluate", run, "--data", path)
        assert code == 0
        assert ("THE SAME AS IN TRAINING" in out) == seen


def test_other_time_step(run, archive, capsys):
    code, out, _ = call(capsys, "evaluate", run, "--data", archive, "--dt", "2ms", "--json")
    assert code == 0
    assert json.loads(out)["dt_ms"] == pytest.approx(2)


def test_resume_after_the_last_epoch_and_beyond(run, capsys):
    code, _, err = call(capsys, "train", "gamma", "--resume", run)
    assert code == 0
    assert "nothing to do" in err
    code, _, err = call(capsys, "train", "gamma", "--resume", run, "--epochs", 4)
    assert code == 0
    assert "epoch   4/4" in err


def test_show_recipe_and_info(capsys):
    code, out, _ = call(capsys, "train", "gamma", "--data", "nmnist8", "--recipe", "sparse", "--show-recipe")
    assert code == 0
    assert "activity" in out
    code, out, _ = call(capsys, "info")
    assert code == 0
    assert "brian2" in out
    assert "genn" in out


def test_the_old_word_for_the_continuous_memory(capsys):
    code, out, _ = call(capsys, "train", "gamma", "--memory", "exact", "--show-recipe")
    assert code == 0
    assert 'memory = "continuous"' in out
    code, _, err = call(capsys, "train", "gamma", "--memory", "magic", "--show-recipe")
    assert code == 2
    assert "network.memory = 'magic' must be 'paper' or 'continuous'." in err


def test_help_and_version(capsys):
    assert call(capsys, "--version")[1].startswith("brian2grad 0.")
    for command in ([], ["train"]):
        assert "Usage" in "".join(call(capsys, *command)[1:])
    code, out, _ = call(capsys, "train", "gamma", "--help")
    assert code == 0
    for shown in ("Order of spikes", "<paper|continuous>", "the recipe's", "Example"):
        assert shown in out
    assert "refractory" not in out
    assert "--theta" not in call(capsys, "train", "async", "--help")[1]


def test_older_name_of_the_threshold(capsys):
    new, old = (call(capsys, "train", "async", name, "0.7", "--show-recipe")[1] for name in ("--threshold", "--theta"))
    assert new == old
    assert "V_th = 0.7" in new


@pytest.mark.parametrize("changed", [["--hidden", "4"], ["--seed", "0"], ["--data", "digits"]])
def test_what_a_resumed_run_would_ignore_is_refused(run, capsys, changed):
    code, _, err = call(capsys, "train", "gamma", "--resume", run, *changed)
    assert code == 2
    assert f"{changed[0]} has no effect with --resume" in err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--device", "runtime"], "--device belongs to --engine brian2"),
        (["--engine", "brian2", "--threads", "1"], "--threads belongs to --engine native"),
        (["--stop", "first-output"], "--stop belongs to asynchronous runs"),
        (["--seed", "2"], "--seed belongs to asynchronous runs"),
    ],
)
def test_options_without_effect_are_refused(run, archive, capsys, options, text):
    code, _, err = call(capsys, "evaluate", run, "--data", archive, *options)
    assert code == 2
    assert text in err


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("[network]\nhidden = 4", "network.hidden = 4 must be a valid list."),
        ("[network]\nhidden = [4]\nmemory = 'old'", "network.memory = 'old' must be 'paper' or 'continuous'."),
        ("[network]\nhidden = [4]\nbuckts = 'neuron'", "network.buckts is unknown; known are K, "),
        ("[network]\nhidden = [4]\nforward_group = 0", "must be greater than or equal to 1 or 'all'."),
        ("[training]\nepochs = 'ten'\n[network]\nhidden = [4]", "training.epochs = 'ten' must be a valid integer"),
        ("[data]\ncopies = -1\n[network]\nhidden = [4]", "data.copies = -1 must be greater than or equal to 0."),
        ("[other]\n[network]\nhidden = [4]", "other is unknown; known are data, network, run, training."),
        ("[data]", "network.hidden is missing."),
        ("network = 4", "network = 4 must be a section, [network]."),
    ],
)
def test_a_recipe_is_refused_by_file_section_and_entry(line, text, capsys, tmp_path):
    (tmp_path / "my.toml").write_text(line)
    code, _, err = call(capsys, "train", "gamma", "--recipe", tmp_path / "my.toml", "--quiet")
    assert code == 2
    assert "my.toml: " in err
    assert text in err
    assert len(err.strip().splitlines()) == 1


def test_a_command_alone_prints_its_help(capsys):
    for command in ([], ["train"]):
        code, out, err = call(capsys, *command)
        assert code == 0
        assert "Usage" in out
        assert err == ""


def test_a_run_is_resumed_by_the_command_of_its_own_model(run, capsys):
    code, _, err = call(capsys, "train", "async", "--resume", run)
    assert code == 2
    assert "is no async run; resume it with the command of its own model" in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "gamma", "--data", "nmnst"], "unknown data set 'nmnst'"),
        (["train", "delta"], "model 'delta' is unknown"),
        (["train", "gamma", "--tau=-3ms"], "tau = '-3ms' is no positive time"),
        (["train", "gamma", "--theta", "0"], "--theta: network.theta = 0.0 must be greater than 0"),
        (["train", "gamma", "--K", "0"], "--K: network.K = 0 must be greater than or equal to 1"),
        (["train", "gamma", "--hidden", "12,x"], "hidden = '12,x'"),
        (["train", "gamma", "--recipe", "nothing"], "There is no recipe"),
        (["train", "gamma", "--rule", "magic", "--epochs", "1"], "rule 'magic' is unknown; use one of filter"),
        (["train", "gamma", "--data", "missing.npz"], "missing.npz: no such file"),
        (["train", "gamma", "--resume", "nowhere"], "nowhere is no run"),
        (["evaluate", "nowhere"], "nowhere is no run"),
        (["figures", "mona-lisa"], "there is no figure 'mona-lisa'"),
        (["wrong"], "No such command 'wrong'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path if arguments[0] != "figures" else ".")
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert text in err
    assert "Traceback" not in err


def test_missing_data_root_is_explained(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("BRIAN2GRAD_DATA", raising=False)
    code, _, err = call(capsys, "train", "gamma", "--data", "nmnist8")
    assert code == 2
    assert "--data-root" in err
    code, _, err = call(capsys, "train", "gamma", "--data", "nmnist8", "--data-root", tmp_path / "none")
    assert code == 2
    assert "no such folder" in err


def test_existing_run_is_kept(run, archive, capsys):
    before = (run / "config.toml").read_bytes()
    code, _, err = call(capsys, "train", "gamma", "--data", archive, "--out", run)
    assert code == 2
    assert "holds a run already" in err
    assert (run / "config.toml").read_bytes() == before


def test_units_that_do_not_fit_the_network(run, capsys, tmp_path):
    other = tmp_path / "other.npz"
    EventArchive.from_samples([([3], [1])], [0], n_units=9, time_unit_us=1000).save(other)
    code, _, err = call(capsys, "evaluate", run, "--data", other)
    assert code == 2
    assert "other: has 9 units, but the network takes 16; choose data of its kind" in err


def test_sounds_that_do_not_fit_the_network_are_not_encoded(run, capsys, tmp_path, monkeypatch):
    path = tmp_path / "sounds.npz"
    np.savez(path, pcm=np.ones(900, np.int16), offsets=[0, 900], labels=[0], speaker=["a"], take=[0], sample_rate=8000)
    monkeypatch.setattr("brian2grad.training.data.Cochlea.encode", None)
    code, _, err = call(capsys, "evaluate", run, "--data", path)
    assert code == 2
    assert "sounds: has 128 units, but the network takes 16" in err


def test_labels_that_the_network_has_no_output_for_are_refused(run, archive, capsys, tmp_path):
    other = tmp_path / "other.npz"
    EventArchive.from_samples([([3], [1]), ([3], [1])], [1, 2], n_units=16, time_unit_us=1000).save(other)
    code, _, err = call(capsys, "evaluate", run, "--data", other)
    assert code == 2
    assert "label 2 of sample 1: the network has only outputs 0 to 1; choose data of its classes." in err
    (tmp_path / "two.toml").write_text("[network]\nhidden = [4]\nn_classes = 2\n")
    recipe = ["--recipe", tmp_path / "two.toml", "--out", tmp_path / "run"]
    for data in (["--data", other], ["--data", archive, "--validation", other]):
        code, _, err = call(capsys, "train", "gamma", *data, *recipe)
        assert code == 2
        assert "label 2 of sample 1: the network has only outputs 0 to 1" in err


def test_no_compiler(archive, tmp_path):
    environment = {"PATH": "/nonexistent", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "brian2grad.training", "train", "gamma", "--data", str(archive)]
    done = subprocess.run([*command, "--out", str(tmp_path / "run")], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "No C++ compiler found" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("device", ["abacus", "genn"])
def test_missing_device(run, archive, capsys, device):
    code, _, err = call(capsys, "evaluate", run, "--data", archive, "--engine", "brian2", "--device", device)
    assert code == 2
    assert ("unknown" if device == "abacus" else "not available") in err


def test_export_writes_a_script_that_answers(run, archive, capsys, tmp_path):
    code, out, _ = call(capsys, "export", run, "--format", "brian2", "--out", tmp_path / "network.py")
    assert code == 0
    assert out.split() == [str(tmp_path / "network.py"), str(tmp_path / "network.npz")]
    command = [sys.executable, "network.py", str(archive), "3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "decision: " in done.stdout


def test_export_refuses_what_is_no_script(run, capsys, tmp_path):
    code, _, error = call(capsys, "export", run, "--out", tmp_path / "network.txt")
    assert code == 2
    assert "a script ends in .py" in error


def test_evaluate_prints_confusions(run, archive, capsys):
    _, out, _ = call(capsys, "evaluate", run, "--data", archive, "--json", "--confusion")
    found = json.loads(out)
    table = np.array(found["confusion"])
    assert table.shape == (2, 3)
    assert table.sum() == found["n_samples"]
    assert np.isclose(np.trace(table[:, :2]) / table.sum(), found["accuracy"])
    _, out, _ = call(capsys, "evaluate", run, "--data", archive, "--confusion")
    assert out.splitlines()[-2].split() == ["0", *(str(n) if n else "·" for n in table[0, : 2 + table[:, 2].any()])]


@pytest.mark.long
def test_report_is_one_page_that_needs_nothing(run, archive, capsys, tmp_path):
    page = tmp_path / "report.html"
    code, out, _ = call(capsys, "report", run, run, "--data", archive, "--limit", 20, "--out", page)
    assert code == 0
    assert out.split() == [str(page)]
    text = page.read_text()
    assert re.findall(r"(?:src|href)=\"(?!data:|#)", text) == []
    ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    for title in ("Learning", "Confusions", "Spikes and time to decide", "Energy, estimated", "How to reproduce"):
        assert f"<h2>{title}</h2>" in text
    assert text.count("<svg") == 2 * 4
    assert "theta = 0.3" in text


def test_report_refuses_three_runs_and_other_files(run, capsys, tmp_path):
    assert "one, or two side by side" in call(capsys, "report", run, run, run, "--out", tmp_path / "a.html")[2]
    assert "a page ends in .html" in call(capsys, "report", run, "--out", tmp_path / "a.pdf")[2]
