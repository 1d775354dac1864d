"""A line of progress in a terminal, in a file and in a notebook."""

import io
import subprocess
import sys
import time
from types import ModuleType, SimpleNamespace

import pytest

from brian2grad.training.watching.progress import BatchProgress, Status, TrainingStatus, working


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_file_gets_a_line_now_and_then():
    file = io.StringIO()
    began, status = time.monotonic(), Status(every=0.05, stream=file)
    for k in range(20):
        status.show(f"at {k}")
        time.sleep(0.01)
    assert 2 <= len(file.getvalue().splitlines()) <= (time.monotonic() - began) / 0.05


def test_a_terminal_gets_one_line_that_is_taken_away():
    terminal = Terminal()
    status = Status(stream=terminal)
    status.show("first, and long")
    time.sleep(0.11)
    status.show("second")
    status.clear()
    assert "\n" not in terminal.getvalue()
    assert terminal.getvalue().endswith("\r" + " " * len("second") + "\r")
    assert "\rsecond         " in terminal.getvalue()  # what was longer is overwritten


def test_a_notebook_gets_one_output_that_changes(monkeypatch):
    shown, updates = [], []

    def display(content, display_id):
        shown.append(content)
        return SimpleNamespace(update=updates.append)

    module = ModuleType("IPython.display")
    module.Pretty, module.display = str, display
    for name, value in {
        "ipykernel": ModuleType("ipykernel"),
        "IPython": ModuleType("IPython"),
        module.__name__: module,
    }.items():
        monkeypatch.setitem(sys.modules, name, value)
    status = Status(stream=io.StringIO())
    for k in range(3):
        status.show(f"at {k}")
        time.sleep(0.21)
    assert shown == ["at 0"]
    assert updates == ["at 1", "at 2"]


def test_training_says_how_much_is_left():
    terminal = Terminal()
    status = TrainingStatus(2, stream=terminal)
    for epoch, batch in ((1, 1), (1, 4)):
        status(BatchProgress(epoch, batch, 4, 0.5, 0.75, 1.25))
        time.sleep(0.12)
    status(BatchProgress(2, 2, 4, 0.5, 0.75, 1.25))
    assert (
        "epoch 2/2  batch 2/4  loss 0.5000  accuracy 75.0%  spikes/neuron 1.25  about 0 s left" in terminal.getvalue()
    )
    status(BatchProgress(2, 4, 4, 0.5, 0.75, 1.25))
    assert terminal.getvalue().endswith("\r")  # the line is gone when all is done


def test_long_work_says_so_and_says_it_again():
    file = io.StringIO()
    with working("compiling", every=0.03, stream=file, first=0.01):
        time.sleep(0.15)
    lines = file.getvalue().splitlines()
    assert len(lines) >= 3
    assert lines[:2] == ["compiling ...", "  compiling: 0 s"]
    time.sleep(0.05)
    assert file.getvalue().splitlines() == lines


def test_short_work_says_nothing():
    file = io.StringIO()
    with working("compiling", stream=file):
        pass
    assert file.getvalue() == ""


@pytest.mark.parametrize(
    "show", [lambda s: Status(True, 0, s).show("x"), lambda s: working("x", True, 0.01, s, first=0.0).__enter__()]
)
def test_quiet_says_nothing(show):
    file = io.StringIO()
    show(file)
    time.sleep(0.03)
    assert file.getvalue() == ""


SILENCED = """
import os, time
from brian2grad.training.watching.progress import working
with working("compiling", every=0.05, first=0.01):
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)  # as Brian 2 does while it compiles
    time.sleep(0.5)
    os.dup2(kept, 2)
"""


def test_it_is_heard_while_brian2_turns_standard_error_elsewhere():
    done = subprocess.run([sys.executable, "-c", SILENCED], capture_output=True, text=True, check=True)
    assert len(done.stderr.splitlines()) > 2
