"""The equations rewritten for GeNN, run by Brian 2 in GeNN's order, give the native engine's spikes."""

import itertools

import numpy as np
import pytest
from brian2 import defaultclock, ms, prefs

from brian2grad.equations import spiking_gamma
from brian2grad.models import EngineError, StepEvents
from brian2grad.models.devices import check_device, genn_missing
from brian2grad.models.gamma.brian import genn as gamma_genn
from brian2grad.models.gamma.brian.genn import GENN_SCHEDULE, StagedGamma, jump_value, staged_model

# Kinds that the default run of other tests compiles too.
DEFAULT = {("paper", "neuron", 0.0), ("continuous", "synapse", 0.2)}
KINDS = [
    pytest.param(
        {"memory": memory, "buckets": buckets, "adaptation": adaptation},
        id=f"{memory}-{buckets}-{'adaptive' if adaptation else 'fixed'}",
        marks=() if (memory, buckets, adaptation) in DEFAULT else pytest.mark.long,
    )
    for memory, buckets, adaptation in itertools.product(("paper", "continuous"), ("neuron", "synapse"), (0.0, 0.2))
]
GRADED = [
    pytest.param({"multiple": True, "signed": True, "memory": "continuous", "adaptation": 0.2}, id="multiple-signed"),
    pytest.param({"multiple": True, "adaptation": 0.2}, id="multiple", marks=pytest.mark.long),
    pytest.param({"signed": True, "buckets": "synapse"}, id="signed", marks=pytest.mark.long),
]
SIZES = (6, 5, 4, 3)


def make(random_network, sizes=SIZES, **options):
    return random_network(sizes, **({"tau": [20, 35, 27] * ms, "gain": 3.0} | options))


def assert_equals_native(network, events, run, fewest=50):
    native = network.forward(events, record=True, traces=True)
    total = 0
    for ours, theirs in zip(native.recorded, run.spikes, strict=True):
        for (steps, units, _), (found_steps, found_units) in zip(ours, theirs, strict=True):
            wanted, found = np.lexsort((units, steps)), np.lexsort((found_units, found_steps))
            np.testing.assert_array_equal(found_steps[found], steps[wanted])
            np.testing.assert_array_equal(found_units[found], units[wanted])
            total += len(steps)
    assert total >= fewest
    np.testing.assert_array_equal(run.spike_counts, native.spikes)
    np.testing.assert_allclose(run.readout, native.readout, rtol=1e-10, atol=1e-11)
    if run.signals is not None:
        for layer in range(len(network.sizes) - 2):
            np.testing.assert_allclose(run.signals[layer], native.signals[layer], rtol=1e-10, atol=1e-11)
            np.testing.assert_allclose(run.estimates[layer], native.estimates[layer], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("options", [*KINDS, *GRADED])
def test_rewritten_equations_give_the_native_spikes(options, random_network, random_events):
    """Three samples, several events in a step, one run; layer l is l steps late and shifted back."""
    network, events = make(random_network, **options), random_events(n_samples=3, most=5)
    assert events.values.max() == 5
    assert_equals_native(network, events, StagedGamma(network, events, record=True).run())


def test_one_hidden_layer_and_a_bias_above_theta(random_network, random_events):
    """Such a neuron spikes without input; it must not do so while it waits for its first step."""
    network, events = make(random_network, (6, 5, 3)), random_events(n_samples=2)
    network.parameters["layer1.b"][:] = 1.0
    assert network.parameters["layer1.b"].min() > network.theta[0]
    run = StagedGamma(network, events).run()
    assert_equals_native(network, events, run)
    assert (run.spikes[0][0][0] == 0).any()


def test_samples_do_not_influence_each_other(random_network, random_events):
    network, events = make(random_network), random_events(n_samples=4)
    whole = StagedGamma(network, events).run()
    alone = StagedGamma(network, events.take([2])).run()
    np.testing.assert_array_equal(whole.readout[2], alone.readout[0])


def test_without_input_and_with_single_events(random_network):
    network = make(random_network, (2, 3, 3))
    silent = StepEvents(np.zeros(6, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.uint8), 2, 5, 1, 10e-3)
    assert_equals_native(network, silent, StagedGamma(network, silent).run(), fewest=0)
    ptr = np.array([0, 1, 1, 1, 1, 2])
    single = StepEvents(ptr, np.array([0, 1], np.uint16), np.ones(2, np.uint8), 2, 5, 1, 10e-3)
    built = StagedGamma(network, single)
    assert built.copies == 1
    assert_equals_native(network, single, built.run(), fewest=0)


@pytest.mark.parametrize("options", [*KINDS, *GRADED])
def test_nothing_is_left_that_genn_excludes(options, random_network, random_events):
    """The exclusions of Brian2GeNN 1.7, checked on the objects themselves."""
    network = make(random_network, **options)
    built = StagedGamma(network, random_events(n_samples=2), record=True)
    assert built.network.schedule == GENN_SCHEDULE
    groups = [obj for obj in built.network.objects if type(obj).__name__ == "NeuronGroup"]
    assert len(groups) == 3
    for group in groups:
        text = str(group.equations)
        assert "(t" not in text  # no TimedArray, no time
        assert set(group.events) <= {"spike"}
        assert group.thresholder == {} or group.thresholder["spike"].when == "thresholds"
    for synapses in built.synapses:
        code = synapses.pre.code if hasattr(synapses, "pre") else ""
        assert "_pre" not in code  # GeNN gives a synapse no access to the sender's variables
        assert len(code.splitlines()) <= 1  # one target for each pathway
        assert len(synapses.summed_updaters) + bool(code) == 1
        assert len(synapses._synaptic_updaters) <= 1
    clocks = {obj.clock.name for obj in built.network.objects}
    assert clocks == {"defaultclock"}


def test_rewriting_is_derived_from_the_model():
    model = spiking_gamma(3, 20 * ms, 0.5, memory="continuous", buckets="synapse")
    staged = staged_model(model, layer=2, period=30)
    assert staged.threshold == "(y - yhat > theta) and (tick > 1.5)"
    assert staged.reset == model.reset
    assert {"tick", "staged_z0", "staged_z1", "staged_z2"} == set(staged) - set(model)
    assert jump_value(model) == 1.0
    graded = spiking_gamma(3, 20 * ms, adaptation=0.1, multiple=True)
    assert jump_value(graded) is None
    assert staged_model(graded, 1, 30).reset.startswith("sent = jump\nsent_count = n_spikes\n")
    assert model.threshold == "y - yhat > theta"  # the model itself is left as it was
    setting = spiking_gamma(3, 20 * ms)
    setting.on_pre = "z0_post = w*jump_pre"
    with pytest.raises(EngineError, match="GeNN only adds to variables .* on_pre sets 'z0_post'"):
        staged_model(setting, 1, 30)


def test_absence_is_explained_in_one_line(random_network, random_events):
    reason = genn_missing()
    if reason is None:
        check_device("genn")
        return
    assert "\n" not in reason
    assert "environment-genn.yml" in reason or "GENN_PATH" in reason
    with pytest.raises(EngineError, match="device='genn' is not available: "):
        random_network().brian2(random_events(), device="genn")


def test_failure_of_the_other_process_is_reported(random_network, random_events, monkeypatch, tmp_path):
    """GeNN's own messages must reach the user, and preferences and clock stay as they were."""
    (tmp_path / "brian2genn.py").write_text("raise RuntimeError('no backend today')")
    monkeypatch.syspath_prepend(tmp_path)
    schedule, dt = list(prefs["core.network.default_schedule"]), float(defaultclock.dt)
    with pytest.raises(EngineError, match="(?s)GeNN could not run the network.*no backend today"):
        gamma_genn.run_genn(make(random_network), random_events())
    assert prefs["core.network.default_schedule"] == schedule
    assert float(defaultclock.dt) == dt


@pytest.mark.genn
@pytest.mark.long
@pytest.mark.parametrize("options", [KINDS[0], KINDS[7], GRADED[0]])
def test_genn_gives_the_native_spikes(options, random_network, random_events):
    reason = genn_missing()
    if reason:
        pytest.skip(reason)
    network, events = make(random_network, **options), random_events(n_samples=3)
    schedule = list(prefs["core.network.default_schedule"])
    run = network.brian2(events, device="genn", record=True)
    assert run.device == "genn"
    assert_equals_native(network, events, run)
    assert prefs["core.network.default_schedule"] == schedule
