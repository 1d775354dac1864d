"""The front door: every public name opens, and opening it costs nothing before the first use."""

import io
import subprocess
import sys

import pytest

import brian2grad


@pytest.mark.parametrize("name", brian2grad.__all__)
def test_every_public_name_is_there(name):
    assert getattr(brian2grad, name) is not None


def test_what_is_promised():
    promised = "gamma_memory spiking_gamma SpikingGammaNetwork AsynchronousNetwork EventArchive load train __version__"
    assert set(promised.split()) <= set(dir(brian2grad)) == set(brian2grad.__all__)


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'Magic'"):
        brian2grad.Magic  # noqa: B018


@pytest.mark.parametrize(
    ("arguments", "tty", "said"),
    [(["train"], True, True), (["train"], False, False), (["train", "--quiet"], True, False), ([], True, False)],
)
def test_a_terminal_is_told_that_something_happens(arguments, tty, said):
    from brian2grad.__main__ import greet

    stream = io.StringIO()
    stream.isatty = lambda: tty
    greet(arguments, stream)
    assert (stream.getvalue() == "loading Brian 2 ...\r") == said


def test_import_alone_loads_nothing_heavy():
    code = "import sys, brian2grad; print([m for m in ('brian2', 'sympy', 'numpy', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_library_does_not_load_what_only_commands_and_some_data_need():
    code = "import sys\nfrom brian2grad import SpikingGammaNetwork, train\n"
    code += "print([m for m in ('typer', 'pydantic', 'scipy.signal', 'sklearn') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
