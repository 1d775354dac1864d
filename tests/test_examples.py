"""Every example runs as it stands, with Brian 2's NumPy target, so that none can rot."""

import ast
import runpy
import statistics
import sys
from pathlib import Path

import brian2
import matplotlib
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
ARGUMENTS = {  # shorter runs than the default ones
    "train_spiking_gamma": ["1"],
    "standalone": ["3"],
    "demo": ["--out", "demo", "--samples", "3"],
}
STANDALONE = {"standalone", "demo"}
EXPECTED = {
    "gamma_memory": "its neuron fires",
    "sigma_delta_neuron": "rms error",
    "train_spiking_gamma": "the same in Brian 2",
    "exact_gradient": "by neurons.V_th",
    "standalone": "decides the same in 100.0%",
}


def marked(path):
    marks = [pytest.mark.long, pytest.mark.standalone] if path.stem in STANDALONE else []
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize("path", [marked(path) for path in SCRIPTS])
def test_example_runs(path, monkeypatch, tmp_path, capfd):
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path), *ARGUMENTS.get(path.stem, [])])
    prefs = brian2.prefs.codegen.target
    status = 0
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        status = end.code
    finally:
        brian2.prefs.codegen.target = prefs
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")
    assert status in (0, None)
    output = "".join(capfd.readouterr())
    assert EXPECTED.get(path.stem, "") in output
    assert "NOT the same" not in output


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_example_says_whose_work_it_shows(path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert "Koopman" in docstring


def test_examples_are_short():
    lengths = [len(path.read_text().splitlines()) for path in SCRIPTS]
    assert statistics.median(lengths) <= 70
