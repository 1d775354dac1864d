"""What the compiled engine is given: whatever does not fit is one line that names it, and nothing foreign is read."""

import numpy as np
import pytest
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms

from brian2grad.models.errors import NetworkError
from brian2grad.models.hybrid.engine import HybridEngine
from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.training import HybridProblem, final_loss, max_loss, spike_loss


@pytest.fixture(scope="module")
def problem():
    inputs = SpikeGeneratorGroup(3, [0, 1, 2], [1, 2, 4] * ms, name="inputs")
    group = NeuronGroup(
        4, "dv/dt = -v/tau_m : 1\ntau_m : second", threshold="v > 1", reset="v = 0", method="exact", name="group"
    )
    group.tau_m = 10 * ms
    feed = Synapses(inputs, group, "w : 1", on_pre="v_post += w", name="feed")
    feed.connect()
    feed.w, feed.delay = np.linspace(0.2, 1.3, 12), np.linspace(0, 3, 12) * ms
    loss = spike_loss("sin(t/(5*ms))", group) + final_loss("v**2", group) + max_loss("v**2", group)
    return HybridProblem(
        [inputs, group, feed], loss, [(feed, "w"), (feed, "delay"), (group, "tau_m")], 20 * ms, {"ms": ms}
    )


@pytest.fixture(scope="module")
def engine(problem):
    return HybridEngine(problem.network, problem.duration)


def spikes(neurons=(0, 2), times=(1e-3, 2e-3), offsets=(0, 2)):
    return {"inputs": SampleSpikes(*map(np.array, (neurons, times, offsets)))}


FEED = "feed_pre"  # the pathway, which has the delays
RUNS = {
    "a short matrix": ({"values": {("feed", "w"): np.ones(11)}}, r"'feed': w has .* shape \(11,\); expected .*\(12,\)"),
    "a long matrix": ({"values": {("feed", "w"): np.ones(13)}}, r"shape \(13,\)"),
    "a square matrix": ({"values": {("feed", "w"): np.ones((3, 4))}}, r"shape \(3, 4\)"),
    "a number": ({"values": {("feed", "w"): 1.0}}, r"shape \(\)"),
    "text": ({"values": {("feed", "w"): np.full(12, "1")}}, "has type <U1"),
    "complex weights": ({"values": {("feed", "w"): np.ones(12) * 1j}}, "has type complex128"),
    "objects": ({"values": {("feed", "w"): np.array([None] * 12)}}, "has type object"),
    "weights that are no numbers": ({"values": {("feed", "w"): np.full(12, np.nan)}}, "'feed': .* finite; 'w' is not"),
    "infinite weights": ({"values": {("feed", "w"): np.full(12, np.inf)}}, "values must be finite"),
    "short delays": ({"values": {(FEED, "delay"): np.zeros(2)}}, r"delay has .* shape \(2,\)"),
    "negative delays": ({"values": {(FEED, "delay"): np.full(12, -1e-3)}}, "not negative"),
    "delays that are no numbers": ({"values": {(FEED, "delay"): np.full(12, np.nan)}}, "finite and not negative"),
    "few states": ({"values": {("group", "v"): np.zeros(3)}}, r"'group': v has .* shape \(3,\)"),
    "a state that is no number": ({"values": {("group", "v"): np.full(4, np.nan)}}, "'v' is not"),
    "a time constant of zero": ({"values": {("group", "tau_m"): np.zeros(4)}}, "not finite"),
    "an unknown value": ({"values": {("feed", "weight"): np.ones(12)}}, "'feed' has no value 'weight'"),
    "moved input spikes of another number": (
        {"values": {("inputs", "spike_time"): np.zeros(2)}}, r"spike_time has .* expected numbers of shape \(3,\)\.",
    ),
    "a neuron too many": ({"inputs": spikes((0, 3))}, "spike 1 is of neuron 3; expected 0 to 2"),
    "a neuron below zero": ({"inputs": spikes((0, -1))}, "spike 1 is of neuron -1"),
    "neurons in floats": ({"inputs": spikes((0.0, 1.5))}, "neurons have type float64"),
    "neurons as a mask": ({"inputs": spikes((True, False))}, "neurons have type bool"),
    "a matrix of neurons": ({"inputs": spikes([[0, 1]])}, "neurons have type int64 and 2 dimensions"),
    "times below zero": ({"inputs": spikes(times=(-1.0, 1.0))}, "spike 0 is at -1.0 s"),
    "times without end": ({"inputs": spikes(times=(0.0, np.inf))}, "spike 1 is at inf s"),
    "times in whole numbers": ({"inputs": spikes(times=(1, 2))}, "times have type int64"),
    "fewer times": ({"inputs": spikes(times=(1e-3,))}, "2 neurons, 1 times"),
    "no offsets": ({"inputs": spikes(offsets=np.zeros(0, int))}, r"offsets from \[\] to \[\]"),
    "offsets too far": ({"inputs": spikes(offsets=(0, 5))}, r"offsets from \[0\] to \[5\]"),
    "offsets that go back": ({"inputs": spikes(offsets=(0, 3, 1, 2))}, "expected at least"),
    "offsets in floats": ({"inputs": spikes(offsets=(0.0, 2.0))}, "offsets have type float64"),
    "no inputs": ({"inputs": {}}, "inputs has no spikes for 'inputs'"),
    "inputs that are no spikes": ({"inputs": {"inputs": None}}, r"inputs\['inputs'\] is NoneType; give SampleSpikes"),
    "offsets that are one number": ({"inputs": spikes(offsets=2)}, "offsets have type int64 and 0 dimensions"),
    "unknown inputs": ({"inputs": spikes() | {"other": None}}, "inputs has 'other'; there are inputs"),
    "no thread": ({"threads": -1}, "threads = -1"),
    "too many threads": ({"threads": 10**9}, "threads = 1000000000"),
}  # fmt: skip


@pytest.mark.parametrize("case", RUNS)
def test_what_does_not_fit_is_refused_in_one_line(engine, case):
    arguments, message = RUNS[case]
    with pytest.raises(NetworkError, match=message) as error:
        engine.run(**arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spike_times": {"group": np.zeros(1000)}}, r"spike_times\['group'\] has shape \(1000,\)"),
        ({"spike_times": {"other": np.zeros(1)}}, "spike_times has 'other'"),
        ({"final": {"group": np.zeros((1, 4))}}, r"group has shape \(1, 4\), expected \(1, 4, 1\)"),
        ({"final": {"group": np.full((1, 4, 1), np.nan)}}, "expected finite numbers"),
        ({"maxima": {"group": np.zeros((1, 5))}}, r"group has shape \(1, 5\), expected \(1, 4\)"),
        ({"weights": np.ones(2)}, r"weights has shape \(2,\), expected \(1,\)"),
        ({"weights": np.array([np.inf])}, "expected finite numbers"),
        ({"wanted": [("feed", "v")]}, r"wanted has \('feed', 'v'\)"),
    ],
)
def test_what_the_adjoint_begins_with_is_checked(engine, arguments, message):
    outcome = engine.run()
    with pytest.raises(NetworkError, match=message):
        outcome.backward(**arguments)


@pytest.mark.parametrize("options", [{"duration": np.nan}, {"duration": -1}, {"tolerance": 0}, {"tolerance": np.inf}])
def test_durations_and_tolerances_are_numbers_within_bounds(problem, options):
    with pytest.raises(NetworkError, match=f"{next(iter(options))} = "):
        HybridEngine(problem.network, **{"duration": problem.duration} | options)


def test_a_refused_call_leaves_the_engine_as_it_was(engine):
    before = engine.run()
    for arguments, _ in RUNS.values():
        with pytest.raises(NetworkError):
            engine.run(**arguments)
    after = engine.run()
    np.testing.assert_array_equal(before.losses, after.losses)
    found, expected = after.backward(), before.backward()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)


def test_the_sample_whose_adjoint_fails_is_named(engine):
    """Its derivative by the final state grows beyond what a number holds; the others' do not."""
    outcome = engine.run(inputs=spikes(np.zeros(40, int), np.full(40, 1e-3), np.arange(41)))
    final, weights = np.ones_like(outcome.final["group"]), np.ones(40)
    final[37], weights[37] = 1.7e308, 1.7e308
    with pytest.raises(NetworkError, match="^Sample 37: The adjoint of 'group', neuron"):
        outcome.backward(final={"group": final}, weights=weights)


def test_one_neuron_that_runs_away_is_found_among_many():
    group = NeuronGroup(
        5000, "dv/dt = (I - v)/(10*ms) : 1\nI : 1", threshold="v > 1", reset="v = 0", method="exact", name="group"
    )
    group.I = "1e7*int(i == 2)"
    problem = HybridProblem([group], final_loss("v**2", group), [(group, "I")], 20 * ms, {"ms": ms})
    with pytest.raises(NetworkError, match="'group', neuron 2: more than 100000 spikes per second"):
        HybridEngine(problem.network, problem.duration).run()


def test_samples_of_no_spikes_and_no_samples(engine):
    none = spikes(np.zeros(0, int), np.zeros(0), [0, 0, 0])
    assert engine.run(inputs=none).losses.tolist() == [0, 0]
    empty = engine.run(inputs=spikes(np.zeros(0, int), np.zeros(0), [0]))
    assert empty.losses.shape == (0,)
    assert not empty.backward()["feed", "w"].any()
