"""Convolutional networks from recipes and command lines, and updates relative to the size of the weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import SpikingGammaNetwork
from brian2grad.models.events import StepEvents
from brian2grad.training import Task, TrainingError, TrainingOptions, train
from brian2grad.training.asynchronous.configuration import AsyncConfiguration
from brian2grad.training.asynchronous.configuration import build as build_asynchronous
from brian2grad.training.cli.main import main
from brian2grad.training.configuration import parse_sizes, read_recipe, recipe_path
from brian2grad.training.configuration.layers import units_expected
from brian2grad.training.evaluation import synaptic_operations
from brian2grad.training.gamma.configuration import build


def task(n_units, n_steps=6, part=0.1):
    hit = np.random.default_rng(0).random((8, n_steps, n_units)) < part
    return Task(StepEvents.from_dense(hit * 1, 1e-2), np.arange(8) % 2, 1.0)


def test_layers_of_a_recipe_see_the_pixels_of_the_camera():
    config = {"network": {"hidden": ["3c5s2", "p2", 6], "K": 2}}
    network = build(config, task(2 * 24 * 24), seed=0)
    assert network.plan.input == (2, 24, 24)
    assert network.sizes == (1152, 300, 6, 2)
    config["network"]["input"] = [1, 32, 36]
    assert build(config, task(2 * 24 * 24), seed=0).sizes == (1152, 3 * 14 * 16, 6, 2)
    assert build({"network": {"hidden": ["a:5r", "4<a,input"]}}, task(7), seed=0).plan.input == (7, 1, 1)
    with pytest.raises(TrainingError, match="7 units are no square camera .* for convolution, give input"):
        build(config | {"network": {"hidden": ["3c2"]}}, task(7), seed=0)


def test_layers_of_an_asynchronous_recipe_have_thresholds_of_their_own():
    config = {"network": {"hidden": ["3c5s2", "p2", 6], "V_th": 0.4, "output_V_th": 1.5}}
    network = build_asynchronous(config, task(2 * 24 * 24), seed=0)
    assert network.plan.input == (2, 24, 24)
    assert network.sizes == (1152, 300, 6, 2)
    assert network.model.constants["V_th"].tolist() == [0.4] * 306 + [1.5] * 2
    assert list(network.shared) == [0, 1]


def test_the_asynchronous_recipe_with_a_map_teaches_every_layer():
    recipe = read_recipe(recipe_path("async", "nmnist8", "convolution"))
    given, options = task(2 * 34 * 34, 20, 0.5), AsyncConfiguration.read(recipe).options()
    network = build_asynchronous(recipe, given, seed=0, threads=1)
    assert network.sizes == (2312, 24 * 6 * 6, 128, 2)
    assert network.parameters["projection0.w"].shape == (9, 9, 2, 24)
    network.begin(0, 0.0)
    found = next(network.gradients(given.events, given.labels, **options.learning(network)))
    without = next(network.gradients(given.events, given.labels, goal=replace(options.loss, activity=0.0)))
    spikes = found.n_spikes / len(given) / network.n_neurons
    assert found.loss == pytest.approx(without.loss + options.loss.activity * spikes)
    assert all(np.any(gradient) for gradient in found.gradients.values())


def test_recipes_with_maps_are_rehearsed_before_their_data_are_read():
    assert units_expected({"hidden": [128]}) == units_expected({"hidden": ["64r"]}) == 1
    assert units_expected({"hidden": ["16c5", 128]}) == 2 * 34 * 34
    assert units_expected({"hidden": ["16c5", 128], "input": [1, 8, 9]}) == 72


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("128,64", [128, 64]),
        ("16c5-p2-32c3s2p1-128", ["16c5", "p2", "32c3s2p1", 128]),
        ("a:5r-4<a,input", ["a:5r", "4<a,input"]),
    ],
)
def test_hidden_layers_are_read_from_the_command_line(text, layers):
    assert parse_sizes(text) == layers


def test_synaptic_operations_are_counted_by_kernels():
    network, given = SpikingGammaNetwork(input=(1, 4, 4), layers="2c3-3"), task(16)
    ones = np.convolve(np.ones(2), np.ones(3))  # kernels that reach a row, of 4 with kernel 3
    expected = (given.events.units.size and 2 * np.outer(ones, ones).ravel()[given.events.units].sum()) / 8
    assert synaptic_operations(network, given, np.array([[4], [6]])) == pytest.approx(expected + 5 * 3)


def test_relative_updates_are_fractions_of_the_mean_size():
    network, given = SpikingGammaNetwork([20, 4, 2], dt=10 * ms, K=2, dtype="float64"), task(20)
    network.calibrate = lambda events: None
    network.parameters["layer1.w"] *= 50
    before = {name: value.copy() for name, value in network.parameters.items()}
    options = TrainingOptions(epochs=1, batch_size=8, learning_rate=0.01, schedule="constant", relative=True)
    list(train(network, given, options))
    for name, value in network.parameters.items():
        size = 1 if name.endswith(".b") else np.abs(before[name]).mean()
        moved = np.abs(value - before[name]).max() / size
        assert moved == pytest.approx(0.01, rel=1e-3), name  # the first update of Adam is its learning rate


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as status:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    assert status.value.code in (0, None), captured.err
    return captured.out


@pytest.mark.long
def test_a_convolution_is_trained_and_evaluated_by_command(tmp_path, capsys):
    run = tmp_path / "run"
    command = "train gamma --data digits --limit 200 --hidden 4c5s2-p2-16 --epochs 8 --quiet --out".split()
    call(capsys, *command, run)
    evaluate = ["evaluate", run, "--data", "digits", "--json", "--limit"]
    native = json.loads(call(capsys, *evaluate, 50))
    assert native["n_samples"] == 50
    assert native["accuracy"] > 0.2
    spikes = [
        json.loads(call(capsys, *evaluate, 3, "--engine", name))["spikes_per_neuron"] for name in ("native", "brian2")
    ]
    assert spikes[0] == spikes[1] > 0
