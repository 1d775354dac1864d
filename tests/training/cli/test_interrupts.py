"""Ctrl-C at any moment, the loading of the program included: one line, exit code 130, no traceback."""

import os
import signal
import subprocess
import sys

import pytest

WAYS = [["-m", "brian2grad.training"], ["-m", "brian2grad"], ["-c", "from brian2grad.__main__ import main; main()"]]


def interrupted_at(way, imported, *arguments):
    """Exit code and lines of the process, interrupted when it has imported a module (-X importtime tells)."""
    command = [sys.executable, "-X", "importtime", *way, *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        for line in process.stderr:
            if line.split("|")[-1].strip() == imported:
                process.send_signal(signal.SIGINT)
                break
        lines = [line for line in process.stderr if not line.startswith("import time:")]
        return process.wait(60), lines
    finally:
        process.kill()
        process.stderr.close()


@pytest.mark.parametrize("way", WAYS, ids=["training", "package", "script"])
@pytest.mark.parametrize("imported", ["numpy", "brian2"])
def test_an_interrupt_while_loading_is_one_line(way, imported):
    code, lines = interrupted_at(way, imported, "info")
    assert (code, lines) == (130, ["error: interrupted\n"])


def test_an_interrupt_of_the_work_says_how_to_go_on(tmp_path):
    """The embedded data set is read from scikit-learn when the work has begun."""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    script = (
        "import os, signal; from brian2grad.training.cli import train;"
        "train._run = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT);"
        "from brian2grad.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "train", "gamma"], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 130
    assert done.stderr == "error: interrupted; finished epochs are kept, go on with --resume RUN\n"


def test_an_ignored_interrupt_stays_ignored():
    script = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from brian2grad import __main__ as m;"
    script += "m.answer_at_once(); m.answer_as_python(); print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "True\n"


def test_a_user_who_imports_the_package_keeps_python_s_answer():
    script = "import signal, brian2grad; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "True\n"
