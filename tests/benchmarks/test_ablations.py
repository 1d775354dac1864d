"""The parts of the ablation study do what they say, and its energies are those of a count by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest
from brian2 import ms

from brian2grad import SpikingGammaNetwork, StepEvents, Task, TrainingOptions, train

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import ablations  # noqa: E402
from ablations_report import AXES, ENERGY_PJ, nanojoule, nearest, plot, select, table  # noqa: E402


@pytest.fixture
def task():
    rng = np.random.default_rng(0)
    return Task(StepEvents.from_dense((rng.random((24, 12, 6)) < 0.3) * 1, 1e-2), np.arange(24) % 2, 20.0)


def made(kind, **options):
    return kind([6, 5, 4, 2], K=3, tau=20 * ms, dt=10 * ms, seed=1, threads=1, **options)


def test_shared_bucket_weights_stay_shared_and_change(task):
    network = made(ablations.Shared)
    before = network.parameters["layer1.v"].copy()
    list(train(network, task, TrainingOptions(epochs=2, batch_size=8)))
    for layer in (1, 2, 3):
        v = network.parameters[f"layer{layer}.v"]
        np.testing.assert_array_equal(v, np.repeat(v[:, :1], v.shape[1], axis=1))
    assert (network.parameters["layer1.v"] != before).any()
    assert made(SpikingGammaNetwork).parameters["layer1.v"][0].std() > 0


def test_the_analog_network_sends_its_signals(task):
    network, spiking = made(ablations.Analog), made(SpikingGammaNetwork)
    for each in (network, spiking):
        each.calibrate(task.events)
    readouts = [net.forward(task.events, **options).readout for net, options in (
        (network, {}), (spiking, {"analog": True}), (spiking, {})
    )]  # fmt: skip
    np.testing.assert_array_equal(readouts[0], readouts[1])
    assert (readouts[0] != readouts[2]).any()
    wanted = spiking.loss_and_grad(task.events, task.labels, analog=True)
    loss, gradient = network.loss_and_grad(task.events, task.labels)
    assert loss == wanted[0]
    np.testing.assert_array_equal(gradient["layer1.w"], wanted[1]["layer1.w"])


@pytest.mark.parametrize("data", ablations.SETTINGS)
def test_every_cell_changes_one_part(data):
    settings = ablations.SETTINGS[data]
    base = {name: settings[name] for name in ("data", "network", "training")}
    seen = [("-", ablations.changed(base, "base", "-", 30))]
    for cell in ablations.cells(1):
        if (cell.get("data"), cell.get("seed")) == (data, 0) and cell["axis"] not in ("base", "LIF"):
            seen.append((cell["value"], ablations.changed(base, cell["axis"], cell["value"], 30)))
    expected = set(AXES) - (set() if data in ablations.DEEP_DATA else {"deep"})
    assert {cell["axis"] for cell in ablations.cells(1) if cell.get("data") == data} >= expected
    assert len({str(config) for _, config in seen}) == len(seen)
    network = settings["network"]
    taus = network["tau_ms"] * network["ratio"] ** np.arange(network["K"])
    equal = dict(seen)["equal"][0]["network"]
    assert "ratio" not in equal
    assert equal["tau_ms"] == pytest.approx(np.exp(np.log(taus).mean()), abs=0.01)
    assert dict(seen)["last step"][0]["network"]["read_from_ms"] == 29 * settings["data"]["dt_ms"]


def test_states_are_counted_by_hand():
    network = made(SpikingGammaNetwork)
    # a neuron and step: buckets 3 + 2 products and 2 sums, weighted sum 3 and 2; code: one decay, two differences
    assert ablations.states(network, 10) == {
        "multiply": 10 * (11 * 7 + 9), "add": 10 * (11 * 4 + 2 * 9),
    }  # fmt: skip


def row(data, axis, value, accuracy, synapses, seed=0):
    return {
        "kind": "accuracy", "data": data, "axis": axis, "value": value, "seed": seed, "accuracy": accuracy, "n": 100,
        "spikes": 50.0, "spikes_per_neuron": 0.5, "synaptic_operations": synapses,
        "state_operations": {"multiply": 1000, "add": 2000},
    }  # fmt: skip


def test_table_and_figure_of_some_lines():
    rows = [{"kind": "settings"}, row("fsdd", "base", "-", 0.9, 4000), row("fsdd", "K", 1, 0.7, 4000)]
    rows += [row("fsdd", "LIF", "32", 0.6, 9000), row("fsdd", "LIF", "64-64", 0.88, 90000)]
    rows += [{"kind": "memory", "rule": "online", "steps": 1000, "mib": 1.5, "seconds": 0.1}]
    assert nanojoule(rows[1]) == pytest.approx((3.6, 3.6 + 1e-3 * (3700 + 1800)))
    assert ENERGY_PJ == {"add": 0.9, "multiply": 3.7}
    assert nearest(rows, "fsdd") == "64-64"
    assert select(rows, "fsdd", "K", 6) == select(rows, "fsdd", "depth", 1) == [rows[1]]
    text = table(rows)
    assert "K 1" in text
    assert "1.5 MiB more" in text
    assert len(plot(rows).axes) == 8
