"""Every figure script draws its pictures, and the library's picture functions do what they say."""

import dataclasses
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import matplotlib.style
import numpy as np
import pytest
from brian2 import ms
from matplotlib.figure import Figure

from brian2grad.models import SpikingGammaNetwork
from brian2grad.training import EventArchive, Run, TrainingError
from brian2grad.training.plots.asynchronous import draw_latency
from brian2grad.training.plots.history import history_figure
from brian2grad.training.plots.sample import (
    by_activity,
    draw_evidence,
    overloaded,
    pixels,
    simulation_figure,
    some_active,
)
from brian2grad.training.plots.style import STYLE, STYLE_FILE, save_figure

FIGURES = Path(__file__).resolve().parents[2] / "figures"
SCRIPTS = sorted(path.stem for path in FIGURES.glob("*.py") if not path.stem.startswith("_"))
SLOW = {"fit_recording", "mismatch", "studies", "exact_learning", "demo_report", "gamma_kernels", "sigma_delta"}
SLOW |= {"timing_delay", "timing_itd", "timing_match", "timing_pattern", "exact_landscape", "learning_curve"}
MAGIC = {".png": b"\x89PNG", ".pdf": b"%PDF"}


@pytest.fixture
def script(monkeypatch):
    """Return a function that imports a script of the figures' folder."""
    monkeypatch.syspath_prepend(str(FIGURES))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FIGURES)):
            del sys.modules[name]


@pytest.mark.figures
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.long] * (n in SLOW)) for n in SCRIPTS])
def test_script_draws(name, script, tmp_path):
    module = script(name)
    rc = dict(matplotlib.rcParams)
    paths = module.main(quick=True, out=tmp_path)
    assert {path.suffix for path in paths} == {".png", ".pdf"}
    for path in paths:
        content = path.read_bytes()
        assert content.startswith(MAGIC[path.suffix])
        assert len(content) > 5000
    assert {*tmp_path.iterdir()} == {*paths, tmp_path / f"{name}.npz", tmp_path / f"{name}.md"}
    caption = (tmp_path / f"{name}.md").read_text()
    assert ("Claim:" in caption) == (name == "studies")
    assert all(f"({path.name})" in caption for path in paths if path.suffix == ".png")
    assert dict(matplotlib.rcParams) == rc


@pytest.mark.figures
def test_replot_draws_the_saved_arrays(script, tmp_path):
    module = script("gamma_kernels")
    with pytest.raises(SystemExit, match="run without --replot first"):
        module.main(out=tmp_path, replot=True)
    paths = module.main(quick=True, out=tmp_path)
    before = [path.read_bytes() for path in paths]
    assert module.main(out=tmp_path, replot=True) == paths
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.figures
@pytest.mark.parametrize("name", ["learning_curve", "demo_report"])
def test_pictures_of_a_run_without_a_camera(name, script, tmp_path):
    """A run folder on an archive of an odd sensor with two hidden layers: rasters, no pixels."""
    rng = np.random.default_rng(0)
    samples = [(rng.integers(0, 7, 60), np.sort(rng.integers(0, 100, 60))) for _ in range(8)]
    archive = EventArchive.from_samples(samples, np.arange(8) % 2, 7, 1000)
    archive = dataclasses.replace(archive, times=archive.times.astype(np.uint16))
    archive.save(tmp_path / "sensor.npz")
    network = SpikingGammaNetwork([7, 6, 5, 2], K=2, tau=20 * ms, theta=0.3, dt=10 * ms)
    config = {"data": {"name": str(tmp_path / "sensor.npz"), "duration_ms": 100.0, "dt_ms": 10.0}, "run": {"seed": 0}}
    run = Run.create(tmp_path / "run", config)
    network.save(run.weights)
    paths = script(name).main(out=tmp_path / "pictures", run=run.folder, sample=3)
    assert len(paths) >= 2
    assert all(path.stat().st_size > 5000 for path in paths)
    with np.load(tmp_path / "pictures" / f"{name}.npz") as data:
        np.testing.assert_allclose(data["event_times"], samples[3][1] * 1e-3)  # 16-bit times must not wrap


@pytest.mark.figures
def test_kernels_of_all_engines_equal_the_theory(script):
    data = script("gamma_kernels").simulate(quick=True)
    for memory in ("continuous", "paper"):
        for engine in ("brian2", "engine"):
            np.testing.assert_allclose(data[f"{engine}_{memory}"], data[f"theory_{memory}"], rtol=0, atol=1e-14)


def test_every_script_is_listed_with_its_claim(script):
    text = (FIGURES / "README.md").read_text()
    for name in SCRIPTS:
        assert f"`{name}.py`" in text
        assert "Claim:" in script(name).__doc__


def test_library_and_figures_share_one_style_file():
    assert [path for path in FIGURES.parent.rglob("*.mplstyle") if not {".venv", "build"} & set(path.parts)] == [
        STYLE_FILE
    ]
    with matplotlib.style.context(STYLE_FILE):
        assert {key: matplotlib.rcParams[key] for key in STYLE} == STYLE


@pytest.mark.parametrize("sizes", [(6, 5, 3), (6, 5, 4, 3)])
@pytest.mark.parametrize("engine", ["brian2", "native"])
def test_simulation_figure(random_network, random_events, engine, sizes, tmp_path):
    network, events = random_network(sizes), random_events()
    if engine == "brian2":
        result = network.brian2(events.take([1]), record=True)
        figure = simulation_figure(network, events.take([1]), result, label=2)
    else:
        result = network.forward(events, record=True, traces=True)
        figure = simulation_figure(network, events, result, label=2, sample=1)
    text = " ".join(ax.get_title(loc="left") for ax in figure.get_axes())
    assert ("Buckets" in text) == (engine == "brian2")
    assert text.count("Spikes of hidden layer") == len(sizes) - 2
    save_figure(figure, tmp_path / "sample.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["sample.svg"]


def test_simulation_figure_needs_traces(random_network, random_events):
    network, events = random_network(), random_events()
    with pytest.raises(TrainingError, match="record=True"):
        simulation_figure(network, events, network.forward(events))


def test_figures_are_refused_with_a_remedy(tmp_path):
    with pytest.raises(TrainingError, match="use one of .*png"):
        save_figure(Figure(), tmp_path / "figure.doc")
    with pytest.raises(TrainingError, match="cannot be written .*choose another file"):
        save_figure(Figure(), tmp_path / "missing" / "figure.png")
    assert list(tmp_path.iterdir()) == []


def test_decision_time_is_that_of_the_last_change():
    readout = np.zeros((6, 3))
    readout[:2, 0], readout[2:, 1] = 1, 3  # class 1 overtakes in step 2; step 0 is not read
    ax = Figure().subplots()
    decided, settled = draw_evidence(ax, np.arange(6) * 0.01, readout, first=1, answer=2)
    assert (decided, settled) == (1, pytest.approx(0.02))
    assert ax.get_title(loc="left") in ("", "Decision 1 from 20 ms, right: 2")
    assert draw_evidence(ax, np.arange(6) * 0.01, readout, first=6) is None


def test_a_signal_beyond_one_spike_a_step_is_marked():
    estimate = np.array([0, 1, 1.5, 1.75, 1.9])  # a jump of one, half of it forgotten in a step
    assert overloaded(np.array([0, 2, 3, 4, 5]), estimate)
    assert not overloaded(estimate + 0.5, estimate)
    assert not overloaded(np.ones(5), np.zeros(5))  # silent: nothing says how large a spike would be


@pytest.mark.parametrize("most", [0, 3, 200])
def test_latencies_are_counted_in_whole_spikes(most):
    """No bin ends between two numbers, and no axis has ticks there."""
    spikes = np.array([0.0, most, most, np.inf])
    result = SimpleNamespace(latency=lambda labels=None: SimpleNamespace(spikes=spikes))
    ax = Figure().subplots()
    draw_latency(ax, result, np.zeros(4, int))
    edges = np.unique(ax.patches[0].get_xy()[:, 0])
    assert np.all(edges % 1 == 0.5)
    assert len(edges) <= 33
    assert ax.patches[0].get_xy()[:, 1].max() == (3 if most == 0 else 2)
    assert np.all(np.asarray(ax.get_xticks()) % 1 == 0)
    assert np.all(np.asarray(ax.get_yticks()) % 1 == 0)


def test_active_neurons_come_first():
    spikes = (np.arange(6), np.array([2, 2, 2, 0, 0, 4]))
    signals = np.zeros((6, 6))
    signals[0] = [1, 5, 1, 0, 1, 2]
    assert by_activity(spikes, signals).tolist() == [2, 0, 4, 1, 5, 3]
    assert some_active(spikes, signals, 3).tolist() == [2, 0, 4]
    assert len(some_active(spikes, signals, 9)) == 6


def test_pixels_of_a_camera_and_of_another_sensor():
    units, polarity = pixels([0, 1151, 576], 1152)
    assert units.tolist() == [0, 575, 0]
    assert polarity.tolist() == [False, True, True]
    assert pixels([3, 699], 700)[1] is None


def test_history_without_validation():
    records = [{"epoch": e, "loss": 1 / e, "train_accuracy": 0.5, "spikes_per_neuron": 2.0} for e in (1, 2)]
    axes = history_figure(records).get_axes()
    assert [len(ax.get_lines()) for ax in axes] == [1, 1, 1]
