"""Classifiers of the user's own objects: exact gradients, projections, what goes back into the objects."""

import warnings

import numpy as np
import pytest
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms, mV
from oracle_engine import OracleEngine

from brian2grad.models.events import EventsLeftOut
from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.training.errors import TrainingError
from brian2grad.training.exact.classification import FirstSpike, HighestPotential
from brian2grad.training.exact.samples import Samples, first_spikes
from brian2grad.training.exact.trainable import TrainableNetwork, _stable, decided

LIF = """
dv/dt = (I - v)/tau_m : 1
dI/dt = -I/(5*ms) : 1
tau_m : second (constant)
"""


def described(spiking):
    """Three inputs, four hidden neurons, two outputs, all delays apart."""
    rng = np.random.default_rng(1)
    inputs = SpikeGeneratorGroup(3, [], [] * ms, name="inputs*")
    hidden = NeuronGroup(4, LIF, threshold="v > 1", reset="v = 0", name="hidden*")
    hidden.tau_m = [18, 20, 22, 24] * ms
    fires = {"threshold": "v > 1", "reset": "v = 0"} if spiking else {}
    outputs = NeuronGroup(2, LIF, name="outputs*", **fires)
    outputs.tau_m = 20 * ms
    first = Synapses(inputs, hidden, "w : 1", on_pre="I_post += w", name="first*")
    second = Synapses(hidden, outputs, "w : 1", on_pre="I_post += w", name="second*")
    for synapses, low, high in ((first, 3, 5), (second, 2, 4)):
        synapses.connect()
        synapses.w = rng.uniform(low, high, len(synapses))
        synapses.delay = rng.uniform(0, 3, len(synapses)) * ms
    return {
        "network": [inputs, hidden, outputs, first, second],
        "wrt": [(first, "w"), (first, "delay"), (second, "w"), (second, "delay"), (hidden, "tau_m")],
        "duration": 40 * ms,
        "inputs": inputs,
        "outputs": outputs,
        "namespace": {},
    }


@pytest.fixture(params=[True, False], ids=["first spike", "potential"])
def network(request):
    return TrainableNetwork(**described(request.param))


def samples():
    neurons, times = np.array([0, 1, 2, 0, 1, 2]), np.array([0.0, 3, 7, 1, 4, 5]) * 1e-3
    return Samples(SampleSpikes(neurons, times, np.array([0, 3, 6])), 3, 7e-3)


def goal_of(network, **more):
    return FirstSpike(tau0_ms=2, alpha=0.1, **more) if network.spiking else HighestPotential(gain=2, **more)


def test_gradient_equals_central_differences(network):
    labels, goal, events = np.array([0, 1]), goal_of(network), samples()
    found = network.gradient(events, labels, goal=goal)
    assert all(len(network.forward(events).spikes[g].times) for g in network.problem.network.groups if "hid" in g)
    for name, value in network.parameters.items():
        largest = np.abs(found.gradients[name]).max()
        assert largest > 0
        for k in np.argsort(-np.abs(found.gradients[name]))[:2]:
            own, step, losses = value[k], 1e-5 * network.info[name].size, []
            for sign in (1, -1):
                value[k] = own + sign * step
                losses.append(network.gradient(events, labels, goal=goal).loss)
            value[k] = own
            difference = (losses[0] - losses[1]) / (2 * step)
            assert found.gradients[name][k] == pytest.approx(difference, rel=2e-6, abs=1e-6 * largest), name


def test_the_loss_is_the_goals_formula(network):
    labels, events, rows = np.array([0, 1]), samples(), np.arange(2)
    outcome = network.forward(events)
    if network.spiking:
        t = np.minimum(first_spikes(outcome.spikes[network.outputs.name], 2)[0], 40e-3)
        goal, scores = FirstSpike(tau0_ms=2, alpha=0.1, tau1_ms=5), -t / 2e-3
        late = 0.1 * (np.exp(t[rows, labels] / 5e-3) - 1)
    else:
        goal, late = HighestPotential(gain=3), 0.0
        scores = 3 * outcome.maxima[network.outputs.name]
    expected = np.mean(late - scores[rows, labels] + np.log(np.exp(scores).sum(axis=1)))
    assert network.gradient(events, labels, goal=goal).loss == pytest.approx(expected, rel=1e-12)


def test_engine_and_oracle_agree(network, monkeypatch):
    labels, goal, events = np.array([0, 1]), goal_of(network), samples()
    found = network.gradient(events, labels, goal=goal)
    monkeypatch.setattr(network, "engine", lambda: OracleEngine(network.problem.network, network.problem.duration))
    slow = network.gradient(events, labels, goal=goal)
    assert found.loss == pytest.approx(slow.loss, rel=1e-9)
    for name, gradient in slow.gradients.items():
        assert found.gradients[name] == pytest.approx(gradient, rel=1e-6, abs=1e-8 * np.abs(gradient).max()), name


def test_answers_are_first_spikes_or_largest_potentials(network):
    events = samples()
    outcome, answers = network.forward(events), network.answers(network.forward(events))
    if network.spiking:
        times, _ = first_spikes(outcome.spikes[network.outputs.name], 2)
        assert answers == pytest.approx(-times)
        assert (network.predict(events) == times.argmin(axis=1)).all()
    else:
        assert (network.predict(events) == outcome.maxima[network.outputs.name].argmax(axis=1)).all()


def test_delays_and_time_constants_are_projected(network):
    network.parameters["first.delay"] -= 1.0
    network.parameters["hidden.tau_m"] -= 1.0
    network.constrain()
    assert (network.parameters["first.delay"] == 0).all()
    assert network.parameters["hidden.tau_m"] == pytest.approx(np.full(4, 0.18e-3))


def test_trained_values_go_back_into_the_objects(network):
    for name, value in network.parameters.items():
        value += 0.25 * network.info[name].size
    network.apply()
    first = next(item for item, _ in network.problem.wrt if item.name.startswith("first"))
    hidden = network.problem.wrt[-1][0]
    assert np.asarray(first.w[:]) == pytest.approx(network.parameters["first.w"])
    assert np.asarray(first.delay[:]) == pytest.approx(network.parameters["first.delay"])
    assert np.asarray(hidden.tau_m[:]) == pytest.approx(network.parameters["hidden.tau_m"])


def test_silent_neurons_are_woken_by_name_only(network):
    network.parameters["first.w"][:] = 0.1
    plain = network.gradient(samples(), np.array([0, 1]), goal=goal_of(network))
    assert (plain.gradients["first.w"] == 0).all()
    woken = network.gradient(samples(), np.array([0, 1]), goal=goal_of(network, wake=0.5, rate=0.2))
    assert woken.gradients["first.w"] == pytest.approx(np.full(12, -0.1 / network.info["first.w"].size))


def test_hidden_neurons_are_woken_by_what_their_mean_count_lacks(network):
    labels, rate = np.array([0, 1]), 2.5
    plain, woken = (network.gradient(samples(), labels, goal=goal_of(network, wake=w, rate=rate)) for w in (0.0, 0.5))
    hidden = next(name for name in plain.outcome.spikes if name.startswith("hidden"))
    means = np.bincount(plain.outcome.spikes[hidden].neurons, minlength=4) / 2
    assert means.min() < rate
    assert means.max() > 0
    pull = np.tile(0.5 * np.maximum(0, rate - means), 3) / network.info["first.w"].size  # three inputs to all
    assert woken.gradients["first.w"] == pytest.approx(plain.gradients["first.w"] - pull)


def test_an_answer_needs_one_output_that_spikes():
    answers = np.array([[-3.0, -np.inf], [-np.inf, -np.inf], [-np.inf, -1.0]])
    assert decided(answers).tolist() == [0, -1, 1]


def test_parameters_keep_names_that_tell_them_apart(network):
    assert _stable(["g_1.w", "h_2.w"]) == ["g.w", "h.w"]
    assert _stable(["g_1.w", "g_2.w"]) == ["g_1.w", "g_2.w"]
    assert network.info["first.delay"].size == pytest.approx(0.25 * 40e-3)


def test_a_bound_may_be_infinite_without_a_unit():
    mapping = described(True)
    delays = mapping["wrt"][1]
    network = TrainableNetwork(**mapping, bounds={delays: (0.5 * ms * 0, np.inf)})
    assert (network.info["first.delay"].lower, network.info["first.delay"].upper) == (0, np.inf)


@pytest.mark.parametrize("n", [1, 2])
def test_an_output_that_never_rises_is_woken_on_samples_of_its_class(n):
    network = TrainableNetwork(**described(spiking=False))
    onto = np.arange(8) % 2  # all hidden neurons, two outputs
    network.parameters["second.w"][:] = np.where(onto, -3.0, 3.0)
    labels, events = np.array([1, 0])[:n], samples().take(np.arange(n))
    plain = network.gradient(events, labels, goal=goal_of(network))
    assert (plain.gradients["second.w"][onto == 1] == 0).all()
    woken = network.gradient(events, labels, goal=goal_of(network, wake=0.5, rate=0.2))
    pull = np.where(onto, -0.1 / network.info["second.w"].size, 0.0)
    assert woken.gradients["second.w"] == pytest.approx(plain.gradients["second.w"] + pull)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wrt": []}, "wrt is empty"),
        ({"outputs": None}, "give the NeuronGroup that answers"),
        ({"inputs": None}, "give the SpikeGeneratorGroup"),
        ({"bounds": "delay"}, r"starts at .* outside its bounds 0.01 to 0.02"),
        ({"sizes": "unit"}, "must be in units of s"),
        ({"sizes": "unknown"}, "has bounds or a size but is not in wrt"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    mapping = described(True)
    first = mapping["wrt"][0][0]
    tables = {
        "delay": {(first, "delay"): (10 * ms, 20 * ms)},
        "unit": {(first, "delay"): 1 * mV},
        "unknown": {(first, "x"): 1},
    }
    changes = {k: tables.get(v, v) if isinstance(v, str) else v for k, v in changes.items()}
    with pytest.raises(TrainingError, match=message):
        TrainableNetwork(**mapping | changes)


def test_events_after_the_end_are_counted_once(network):
    late = Samples(SampleSpikes.of([([0, 1], [1e-3, 1.0]), ([0], [2.0])]), 2, 2.0)
    with pytest.warns(EventsLeftOut, match=r"^2 of 3 events lie after the end of their sample at .* and are left out"):
        network.forward(late)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network.forward(late)


def test_labels_and_units_beyond_the_network_are_refused(network):
    with pytest.raises(TrainingError, match="Label 2 is none of the neurons 0 to 1"):
        network.gradient(samples(), np.array([0, 2]))
    with pytest.raises(TrainingError, match="4 units"):
        network.forward(Samples(samples().spikes, 4, 1.0))
    with pytest.raises(TrainingError, match="number of spikes has no derivative"):
        goal_of(network, activity=0.1)
