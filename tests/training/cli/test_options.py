"""Options: every one is validated before any work, and names what was found."""

import pytest
from commands import call


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("--threads -4", "threads = -4: give a whole number from"),
        ("--threads 0", "threads = 0: give a whole number from"),
        ("--threads 100000", "threads = 100000: give a whole number from"),
        ("--seed -1", "seed = -1: give a whole number from"),
        ("--seed 99999999999999999999", "seed = 99999999999999999999: give a whole number from"),
        ("--limit 0", "limit = 0: give a whole number from"),
        ("--dt 1e-12us", "--dt: data.dt_ms = 0.0 must be greater than or equal to 0.001"),
        ("--dt 100s", "--dt: data.dt_ms = 100000.0 must be less than or equal to 10000"),
        ("--dt inf", "dt = 'inf' is no positive time"),
        ("--dt 1e999s", "dt = '1e999s' is no positive time"),
        ("--hidden \u00b2", "hidden = '\u00b2': give positive numbers"),
        ("--hidden \u0663", "hidden = '\u0663': give positive numbers"),
        ("--hidden 4,,0", "hidden = '4,,0': give positive numbers"),
        ("--hidden 100000", "--hidden: network.hidden = 100000 must be less than or equal to 65536"),
        ("--hidden 65536,65536", "weights are too many; at most"),
        ("--tau 1e-12s", "tau = 1e-12 s is too short for dt = "),
        ("--tau 1us --dt 10ms", "tau = 1e-06 s is too short for dt = 0.01 s"),
        ("--K 1000000", "--K: network.K = 1000000 must be less than or equal to 64"),
        ("--K -1", "--K: network.K = -1 must be greater than or equal to 1"),
        ("--theta nan", "--theta: network.theta = nan must be"),
        ("--theta inf", "--theta: network.theta = inf must be"),
        ("--adaptation -1", "--adaptation: network.adaptation = -1.0 must be"),
        ("--forward-group \u00b2", "forward_group = '\u00b2': give a whole number >= 1, or all."),
        ("--forward-group 0", "forward_group = '0': give a whole number >= 1, or all."),
        ("--noise 0.1", "noise belongs to momentum order"),
        ("--noise nan --scheduler momentum", "--noise: network.noise = nan must be a finite number"),
        ("--learning-rate 0", "--learning-rate: training.learning_rate = 0.0 must be greater than 0"),
        ("--learning-rate nan", "--learning-rate: training.learning_rate = nan must be"),
        ("--activity -1", "--activity: training.activity = -1.0 must be greater than or equal to 0"),
        ("--epochs 0", "--epochs: training.epochs = 0 must be greater than or equal to 1"),
        ("--batch-size 0", "--batch-size: training.batch_size = 0 must be greater than or equal to 1"),
        ("--data-root /nonexistent", "/nonexistent"),
        ("--out /proc/nothing", "/proc/nothing cannot be written"),
        ("--out /dev/full", "/dev/full cannot be written"),
        ("--held-out-speaker ann --validation digits", "held_out_speaker has no effect"),
        ("--recipe /dev/zero.toml", "/dev/zero.toml cannot be read"),
    ],
)
def test_options_are_validated_before_any_work(options, text, archive, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("brian2grad.training.cli.train.train_network", None)
    code, _, err = call(capsys, "train", "gamma", "--data", archive, *options.split(" "))
    assert code == 2
    assert text in err
    assert len(err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("--theta 0", "--threshold: network.V_th = 0.0 must be greater than 0"),
        ("--threshold -1", "--threshold: network.V_th = -1.0 must be greater than 0"),
        ("--theta 1 --threshold 1", "--theta is the older name of --threshold"),
        ("--refractory-dropout 1", "--refractory-dropout: network.refractory_dropout = 1.0 must be less than 1"),
        ("--tau 1e-30s", "--tau: network.tau_m_ms = 0.0 must be greater than 0"),
    ],
)
def test_options_of_async_are_validated_before_any_work(options, text, archive, capsys, monkeypatch):
    monkeypatch.setattr("brian2grad.training.data.load", None)
    code, _, err = call(capsys, "train", "async", "--data", archive, *options.split(" "))
    assert code == 2
    assert text in err


@pytest.mark.parametrize(
    ("command", "options", "text"),
    [
        ("evaluate", "--threads -4", "threads = -4: give a whole number from"),
        ("evaluate", "--seed -1", "seed = -1: give a whole number from"),
        ("evaluate", "--limit 0", "limit = 0: give a whole number from"),
        ("evaluate", "--dt 1e-12us", "must be greater than or equal to 0.001"),
        ("evaluate", "--dt soon", "dt = 'soon' is no positive time"),
        ("evaluate", "--device foo", "device 'foo' is unknown"),
        ("evaluate", "--device runtime", "--device belongs to --engine brian2"),
        ("evaluate", "--stop \u00b2", "stop = '\u00b2' is unknown"),
        ("evaluate", "--stop 99999999999999999999", "is unknown"),
        ("evaluate", "--stop 3", "--stop belongs to asynchronous runs"),
        ("evaluate", "--forward-group x", "forward_group = 'x': give a whole number"),
        ("evaluate", "--noise nan", "noise is nan; it must be finite and not negative"),
        ("evaluate", "--noise 1", "noise belongs to momentum order"),
        ("evaluate", "--predictions /dev/full", "/dev/full: is no regular file"),
        ("evaluate", "--predictions /nonexistent/p.npz", "/nonexistent/p.npz: can't be written"),
        ("simulate", "--sample -1", "sample = -1: give a whole number from"),
        ("simulate", "--plot picture.txt", "a picture cannot be written as '.txt'"),
        ("simulate", "--plot /dev/full", "/dev/full: is no regular file"),
    ],
)
def test_what_is_asked_of_a_run_is_validated_before_any_work(run, capsys, monkeypatch, command, options, text):
    monkeypatch.setattr("brian2grad.training.cli.families.gamma.task_of", None)
    code, _, err = call(capsys, command, run, *options.split(" "))
    assert code == 2
    assert text in err
    assert len(err.strip().splitlines()) == 1
