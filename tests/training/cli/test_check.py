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
