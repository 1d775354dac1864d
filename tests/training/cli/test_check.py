"""``brian2grad check`` as a user types it."""

import pytest

from brian2grad.training.cli.main import main

MODEL = """
from brian2 import *
from brian2grad import spike_loss, final_loss

theta = 1

def fine():
    group = NeuronGroup(2, "dv/dt = (E - v)/tau : 1\\nE : 1\\ntau : second (constant)", threshold="v > theta",
                        reset="v = 0", name="neurons")
    group.E, group.tau = [1.5, 1.7], 10*ms
    return dict(network=[group], loss=spike_loss("t/ms", group) + final_loss("v**2", group),
                wrt=[(group, "tau"), (group, "theta"), (group, "v")], duration=30*ms)

def undelayed():
    group = NeuronGroup(1, "dv/dt = (I - v)/(10*ms) : 1\\ndI/dt = -I/(5*ms) : 1", threshold="v > theta",
                        reset="v = 0", refractory=2*ms)
    source = SpikeGeneratorGroup(2, [0, 1], [1, 4]*ms)
    synapses = Synapses(source, group, "w : 1", on_pre="I_post += w", name="synapses")
    synapses.connect()
    synapses.w = [4, 3]
    return dict(network=[group, source, synapses], loss=spike_loss("t/ms", group), wrt=[(synapses, "delay")],
                duration=30*ms)

def incomplete():
    return {**fine(), "duration": 3*mV}

def short():
    description = fine()
    del description["wrt"]
    return description

def noisy():
    group = NeuronGroup(1, "dv/dt = -v/(10*ms) + xi/sqrt(ms) : 1", name="noisy")
    return dict(network=[group], loss=final_loss("v", group), wrt=[(group, "v")], duration=3*ms)
"""


@pytest.fixture
def call(tmp_path, capsys):
    path = tmp_path / "model.py"
    path.write_text(MODEL)

    def called(name, *options):
        with pytest.raises(SystemExit) as status:
            main(["check", f"{path}:{name}", *options])
        captured = capsys.readouterr()
        return status.value.code, captured.out, captured.err

    return called


def test_a_model_passes(call):
    code, out, _ = call("fine")
    assert code == 0, out
    for text in ("neurons.tau[1]", "neurons.theta", "neurons.v[0]", "passed: no error is above 1e-06", "5 spikes"):
        assert text in out, out


def test_delays_of_zero_are_compared_from_above(call):
    code, out, _ = call("undelayed")
    assert code == 0, out
    assert "synapses_pre.delay[1]" in out
    assert "not checked" not in out


def test_a_tolerance_that_is_not_met_ends_with_code_1(call):
    code, out, _ = call("fine", "--tolerance", "1e-16")
    assert code == 1
    assert "FAILED: an error is above 1e-16" in out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "has no function 'absent'"),
        ("short", "'wrt' is missing"),
        ("incomplete", "duration must be a time"),
        ("noisy", "'noisy': the equations hold noise (xi), whose path has no derivative"),
    ],
)
def test_refusals(call, name, message):
    code, _, error = call(name)
    assert code == 2
    assert message in error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nraise RuntimeError('no\\nway')", "own.py, line 2: RuntimeError: no way; mend the file."),
        ("def problem():\n    return 1 / 0", "own.py, line 2: ZeroDivisionError: division by zero; mend the file."),
        ("def problem(:", "own.py, line 1: SyntaxError: invalid syntax; mend the file."),
        ("def problem(a): return a", "own.py: TypeError: problem() missing 1 required positional argument: 'a'; mend"),
        ("problem = 3", "own.py' has no function 'problem'."),
    ],
)
def test_what_fails_in_the_users_file_is_one_line(text, message, capsys, tmp_path):
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(SystemExit) as status:
        main(["check", f"{tmp_path / 'own.py'}:problem"])
    error = capsys.readouterr().err
    assert status.value.code == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
