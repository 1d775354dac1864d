"""Every example runs as it stands, with Brian 2's NumPy target, and shows a picture, so that none can rot."""

import ast
import re
import runpy
import sys
from pathlib import Path

import brian2
import matplotlib
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
# Those of clusters need one: docs/howto/cluster.md.
SCRIPTS = sorted(path for path in EXAMPLES.rglob("*.py") if path.parent.name != "cluster")
GALLERY = [path for path in SCRIPTS if path.stem != "demo"]
ARGUMENTS = {  # shorter runs than the default ones
    "train_spiking_gamma": ["1"],
    "standalone": ["3"],
    "Kriener_2022_yin_yang": ["2"],
    "demo": ["--out", "demo", "--samples", "3"],
}
STANDALONE = {"standalone", "demo"}
# They compile an engine and take many gradients, or train for more than a few seconds.
LONG = {
    "exact_spike_times",
    "exact_two_ears",
    "exact_adex",
    "exact_trajectory",
    "grid_search",
    "exact_backward_in_brian2",
    "own_reservoir",
}
LONG |= {"own_data", "per_core", "skip_connection", "Koopman_2024_training", "Koopman_2026_delay", "plain_script"}
LONG |= {"own_scheduler", "fit_adex", "Kriener_2022_yin_yang", "convolution", "train_spiking_gamma", "online_stream"}
EXPECTED = {  # what the script shows, in its own words
    "own_data": "9\\d% of 80 new trials right",
    "own_reservoir": "(9\\d|100)% of 40 new trials right",
    "own_scheduler": "outputs answer in the order",
    "online_stream": "after it",
    "per_core": "16 cores: ",
    "convolution": "epoch 3: 9",
    "skip_connection": "with a skip connection: [89]",
    "plain_script": "the script answers the same as the network",
    "grid_search": "best: K = ",
    "standalone": "decides the same in 100.0%",
    "train_spiking_gamma": "the same in Brian 2",
    "exact_spike_times": "largest distance from the targets: 0\\.",
    "exact_two_ears": "after 9",
    "exact_adex": r"V_r    \[1\. 1\. 1\.\] times the true value",
    "exact_backward_in_brian2": r"dt = 0\.005 ms: relative error 1\.",
    "exact_trajectory": "in Brian 2 at 0.01 ms: 0\\.0",
    "fit_adex": r"last second: coincidence factor (0\.9\d|1\.00)",
    "demo": "the same spikes",
    "Koopman_2024_three_orders": "forward steps",
    "Koopman_2024_training": "trained in random order",
    "Koopman_2026_delay": "wanted: 20. ms, learned .*: (19|20)\\.",
    "Koopman_2026_gamma_memory": "its neuron fires",
    "Koopman_2026_sigma_delta": "rms error",
    "Kriener_2022_yin_yang": "decided the same in Brian 2",
    "Wunderlich_2021_exact_gradient": "by neurons.V_th",
}


def marked(path):
    marks = [pytest.mark.standalone] if path.stem in STANDALONE else []
    marks += [pytest.mark.long] if path.stem in LONG | STANDALONE else []
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize("path", [marked(path) for path in SCRIPTS])
def test_example_runs(path, monkeypatch, tmp_path, capfd):
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path), *ARGUMENTS.get(path.stem, [])])
    target, step = brian2.prefs.codegen.target, brian2.defaultclock.dt
    status, drawn = 0, []
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        status = end.code
    finally:
        brian2.prefs.codegen.target, brian2.defaultclock.dt = target, step
        if "matplotlib.pyplot" in sys.modules:
            drawn = sys.modules["matplotlib.pyplot"].get_fignums()
            sys.modules["matplotlib.pyplot"].close("all")
    assert status in (0, None)
    output = "".join(capfd.readouterr())
    assert re.search(EXPECTED[path.stem], output), output
    assert "NOT the same" not in output
    assert path not in GALLERY or len(drawn) >= 1
    # `make docs` runs them in their own folder, where every script is an example of the next run of the tests.
    assert path not in GALLERY or not list(tmp_path.glob("*.*"))


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_example_has_a_title_a_source_and_a_picture(path):
    title, underline, gap, *rest = ast.get_docstring(ast.parse(path.read_text())).splitlines()
    assert underline == "=" * len(title)
    assert gap == ""
    assert re.search(r"\(\d{4}[,)]|\d{4}, |\d{4}\)", "\n".join(rest))
    assert re.search(r"^(plt\.)?show\(\)$", path.read_text(), re.MULTILINE)


def test_the_gallery_is_large_and_its_scripts_are_short():
    assert len(GALLERY) >= 15
    assert {path.stem: n for path in GALLERY if (n := len(path.read_text().splitlines())) >= 70} == {}
    assert {path.name.split("_")[1] for path in (EXAMPLES / "frompapers").glob("Koopman*.py")} == {"2024", "2026"}
