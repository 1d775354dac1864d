"""NIR and int8 on the command line, and sweeps: what is finished stays, what was cut off goes on."""

import json

import numpy as np
import pytest
from commands import call

from brian2grad.training.cli.sweep import train_once


def test_nir_of_a_run_is_read_again(run, capsys, tmp_path):
    pytest.importorskip("nir", reason="the package nir is not installed")
    from brian2grad.models import SpikingGammaNetwork
    from brian2grad.models.exchange.quantise import channel_scale
    from brian2grad.models.exchange.reading import read_nir

    out = tmp_path / "network.nir"
    code, said, _ = call(capsys, "export", run, "--format", "nir", "--out", out)
    assert (code, said.strip()) == (0, str(out))
    trained = SpikingGammaNetwork.load(run / "weights.h5")
    for name, value in read_nir(out).parameters.items():
        np.testing.assert_allclose(value, trained.parameters[name], rtol=1e-6, atol=1e-9)
    code, said, _ = call(capsys, "export", run, "--format", "nir", "--int8", "--epochs", 2, "--out", out)
    assert code == 0
    assert "in int8 (" in said
    w = read_nir(out).parameters["layer1.w"]
    units = w / channel_scale(w)
    assert np.abs(units - np.rint(units)).max() < 1e-3
    assert np.abs(w - trained.parameters["layer1.w"]).max() > 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--format", "nir", "--out", "network.py"], "a NIR graph ends in .nir"),
        (["--int8", "--out", "network.py"], "--int8 belongs to --format nir"),
    ],
)
def test_words_that_do_not_fit_are_refused(run, capsys, options, text):
    code, _, error = call(capsys, "export", run, *options)
    assert code == 2
    assert text in " ".join(error.split())


def test_a_run_of_a_sweep_goes_on_where_it_stopped(archive, tmp_path):
    words = ["train", "gamma", "--data", str(archive), "--hidden", "6", "--theta", "0.3", "--epochs"]
    whole = train_once([*words, "4"], str(tmp_path / "whole"), str(tmp_path))
    train_once([*words, "2"], str(tmp_path / "cut"), str(tmp_path))
    config = tmp_path / "cut" / "config.toml"
    config.write_text(config.read_text().replace("epochs = 2", "epochs = 4"))  # as if it had been cut off
    again = train_once([*words, "4"], str(tmp_path / "cut"), str(tmp_path))
    assert again["epochs"] == 4
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "cut")]
    assert len(lines[1]) == 4
    assert json.loads(lines[0][3])["loss"] != 0
    assert whole["epochs"] == 4


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["simulate x", "--grid", "seed=0"], "is no training"),
        (["train gamma", "--grid", "seed"], "give an option and its values"),
    ],
)
def test_a_sweep_that_is_none_is_refused(capsys, tmp_path, words, text):
    code, _, error = call(capsys, "sweep", *words, "--out", tmp_path)
    assert code == 2
    assert text in " ".join(error.split())
