"""Exported scripts: they need nothing of ours, and give the engine's spikes."""

import subprocess
import sys

import numpy as np
import pytest
from brian2 import ms, prefs

from brian2grad.models import SpikingGammaNetwork
from brian2grad.models.gamma.brian.script import write_script
from brian2grad.models.topology.layers import Recurrent
from brian2grad.training import EventArchive

RUN = """
import sys
sys.modules["brian2grad"] = None  # an import of it would fail
import importlib.util
import numpy as np
spec = importlib.util.spec_from_file_location("exported", sys.argv[1])
exported = importlib.util.module_from_spec(spec)
spec.loader.exec_module(exported)
archive = np.load(sys.argv[2])
found = {}
for sample in range(len(archive["offsets"]) - 1):
    spikes, readout = exported.run_sample(archive, sample)
    found[f"readout{sample}"] = readout
    for k, monitor in enumerate(spikes):
        found[f"i{sample}_{k}"] = np.array(monitor.i)
        found[f"t{sample}_{k}"] = np.rint(np.array(monitor.t) / float(exported.defaultclock.dt)).astype(int)
np.savez(sys.argv[3], **found)
"""


def recordings(rng, n_units):
    sizes = [60, 40, 0]
    times = np.concatenate([np.sort(rng.integers(0, 60_000, size)) for size in sizes])
    units = rng.integers(0, n_units, sum(sizes))
    return {
        "units": units.astype(np.uint16), "times": times.astype(np.uint32), "offsets": np.array([0, 60, 100, 100]),
        "labels": np.array([0, 1, 2], np.uint8), "n_units": n_units, "time_unit_us": 1,
    }  # fmt: skip


@pytest.fixture(autouse=True)
def _no_compiler():
    target, prefs.codegen.target = prefs.codegen.target, "numpy"
    yield
    prefs.codegen.target = target


DENSE = {"sizes": [12, 9, 7, 3]}
CASES = {
    "paper": DENSE | {"theta": [0.2, 0.3]},
    "continuous": DENSE | {"theta": 0.2, "adaptation": 0.3, "memory": "continuous"},
    "per synapse": DENSE | {"theta": 0.2, "buckets": "synapse", "memory": "continuous"},
    "convolution": {"input": (3, 2, 2), "layers": ["4c2", "6", 3], "theta": 0.1},
    "recurrent": {"input": 12, "layers": [Recurrent(8), 3], "theta": 0.2},
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.long] * (case in ("per synapse", "continuous"))) for case in CASES]
)
def test_script_gives_the_engines_spikes(tmp_path, case):
    rng = np.random.default_rng(4)
    network = SpikingGammaNetwork(K=3, tau=8 * ms, dt=1 * ms, seed=2, dtype="float64", **CASES[case])
    fields = recordings(rng, 12)
    events = tmp_path / "events.npz"
    np.savez(events, **fields)
    path, weights = write_script(network, tmp_path / "network.py", n_steps=70)
    assert len(path.read_text().splitlines()) <= 60
    (tmp_path / "run.py").write_text(RUN)
    command = [sys.executable, "run.py", str(path), str(events), "found.npz"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    with np.load(tmp_path / "found.npz") as file:
        found = dict(file)
    archive = EventArchive(**fields)
    expected = network.brian2(archive, n_steps=70)
    engine = network.forward(archive, n_steps=70)
    assert sum(len(found[f"i{s}_0"]) for s in range(3)) > 20
    for sample in range(3):
        for k, (steps, units) in enumerate(expected.spikes[sample]):
            np.testing.assert_array_equal(found[f"t{sample}_{k}"], steps)
            np.testing.assert_array_equal(found[f"i{sample}_{k}"], units)
        np.testing.assert_allclose(found[f"readout{sample}"].T, engine.readout[sample], rtol=1e-9, atol=1e-12)


def test_script_answers_on_the_command_line(tmp_path):
    network = SpikingGammaNetwork([12, 9, 3], K=2, tau=8 * ms, dt=1 * ms, theta=0.2)
    np.savez(tmp_path / "events.npz", **recordings(np.random.default_rng(4), 12))
    write_script(network, tmp_path / "network.py")
    command = [sys.executable, "network.py", "events.npz", "1"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "decision: " in done.stdout
