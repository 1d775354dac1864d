"""The compiled engine against the oracle: spikes, losses, every gradient; and what it promises besides."""

import hybrid_cases
import numpy as np
import pytest
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms
from engines_agree import agree
from hypothesis import HealthCheck, assume, given, settings
from random_models import problems

from brian2grad.models.errors import NetworkError
from brian2grad.models.hybrid.engine import HybridEngine
from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.training import HybridProblem, final_loss, max_loss, spike_loss

CASES = ["lif_current", "lif_delta", "lif_induced", "conductance", "adaptive", "adex"]


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_oracle(name):
    given_case = getattr(hybrid_cases, name)()
    problem = HybridProblem(
        given_case.network, given_case.loss, given_case.wrt, given_case.duration, given_case.namespace
    )
    agree(problem, 1e-6 if name == "adex" else 1e-7)  # of the adaptive exponential the oracle knows no more digits


OPTIONS = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}


@pytest.mark.long
@settings(max_examples=60, **OPTIONS)
@given(problems())
def test_agrees_with_the_oracle_on_random_models(case):
    problem, _ = case
    try:
        tape = problem.simulate()
    except NetworkError:
        assume(False)
    assume(tape.spikes and tape.least_slope > 1)
    agree(problem, 1e-5)


@pytest.mark.parametrize("synapse", [pytest.param("current", marks=pytest.mark.long), "delta"])
def test_neurons_side_by_side_agree_with_the_oracle(synapse):
    """Equal neurons, a whole matrix of weights and one delay: refractory periods, spikes that arrivals induce."""
    rng = np.random.default_rng(2)
    times = np.sort(rng.uniform(0, 40, 24))
    times[7] = times[6]  # two arrivals at once
    spikes = SpikeGeneratorGroup(4, np.tile(np.arange(4), 6), times * ms)
    flow = "dv/dt = (I - v)/tau_m : 1 (unless refractory)\ndI/dt = -I/tau_s : 1"
    hidden = NeuronGroup(27, flow, threshold="v > 1", reset="v = 0.1", refractory=2 * ms, method="exact")
    output = NeuronGroup(3, flow, threshold="v > 1", reset="v -= 1", refractory=0.5 * ms, method="exact")
    target = "I_post += w" if synapse == "current" else "v_post += 0.5*w"
    feed = Synapses(spikes, hidden, "w : 1", on_pre=target, delay=1.5 * ms)
    feed.connect()
    feed.w = rng.normal(1.2, 0.8, len(feed))
    onward = Synapses(hidden, output, "w : 1", on_pre="I_post += w")
    onward.connect()
    onward.w = rng.normal(0.3, 0.3, len(onward))
    loss = spike_loss("sin(t/(5*ms)) + 0.1*i*v", output) + final_loss("v**2", hidden)
    wrt = [(feed, "w"), (feed, "delay"), (onward, "w"), (onward, "delay"), (spikes, "spike_time"), (hidden, "I")]
    problem = HybridProblem(
        [spikes, hidden, output, feed, onward], loss, wrt, 60 * ms, {"tau_m": 20 * ms, "tau_s": 5 * ms, "ms": ms}
    )
    assert all(code.flags["UNIFORM"] for code in HybridEngine(problem.network, problem.duration).codes)
    tape = problem.simulate()
    assert sum(name == hidden.name for _, name, _ in tape.spikes) > 30
    agree(problem)


@pytest.mark.parametrize("target", ["I_post += w", pytest.param("v_post += 0.4*w", marks=pytest.mark.long)])
def test_largest_values_over_time_agree_with_the_oracle(target):
    """Tops inside a course, just before and just after an arrival; by the membrane alone and with what is trained."""
    rng = np.random.default_rng(7)
    spikes = SpikeGeneratorGroup(3, rng.integers(0, 3, 12), np.sort(rng.uniform(1, 30, 12)) * ms)
    group = NeuronGroup(5, "dv/dt = (I - v)/tau_m : 1\ndI/dt = -I/tau_s : 1", method="exact")
    feed = Synapses(spikes, group, "w : 1", on_pre=target)
    feed.connect()
    feed.w, feed.delay = rng.normal(0.3, 1, 15), rng.uniform(0, 5, 15) * ms
    loss = max_loss("v**2 + 0.1*v", group)
    wrt = [(feed, "w"), (feed, "delay"), (spikes, "spike_time"), (group, "v"), (group, "tau_m")]
    constants = {"tau_m": 20 * ms, "tau_s": 5 * ms, "ms": ms}
    compiled, oracle = (
        HybridProblem([spikes, group, feed], loss, wrt, 40 * ms, constants, engine=engine)
        for engine in ("compiled", "oracle")
    )
    value, found = compiled.loss_and_gradients()
    reference, expected = oracle.loss_and_gradients()
    np.testing.assert_allclose(value, reference, rtol=1e-10)
    for key, a, b in zip(compiled.keys, found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-7 * np.abs(b).max(), err_msg=str(key))


@pytest.mark.parametrize("target", [pytest.param("I_post += w", marks=pytest.mark.long), "v_post += 0.4*w"])
def test_largest_values_side_by_side_agree_with_the_oracle(target):
    """Equal neurons and an expression linear in the state; in some lanes the largest value is that at the start."""
    rng = np.random.default_rng(9)
    spikes = SpikeGeneratorGroup(3, rng.integers(0, 3, 12), np.sort(rng.uniform(1, 30, 12)) * ms)
    group = NeuronGroup(11, "dv/dt = (I + 0.1 - v)/tau_m : 1\ndI/dt = -I/tau_s : 1", method="exact")
    group.v = rng.uniform(-0.5, 0.5, 11)
    feed, late = (Synapses(spikes, group, "w : 1", on_pre=target, delay=d * ms) for d in (1.5, 8))
    for synapses in (feed, late):
        synapses.connect()
        synapses.w = rng.normal(0.1, 1, 33)
    wrt = [(feed, "w"), (late, "w"), (feed, "delay"), (late, "delay"), (spikes, "spike_time"), (group, "v")]
    arguments = [spikes, group, feed, late], max_loss("2*v - 0.1", group), wrt, 40 * ms
    constants = {"tau_m": 20 * ms, "tau_s": 5 * ms, "ms": ms}
    compiled, oracle = (HybridProblem(*arguments, constants, engine=engine) for engine in ("compiled", "oracle"))
    assert compiled.compiled.codes[0].flags["UNIFORM"]
    value, found = compiled.loss_and_gradients()
    reference, expected = oracle.loss_and_gradients()
    np.testing.assert_allclose(value, reference, rtol=1e-10)
    for key, a, b in zip(compiled.keys, found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-7 * np.abs(b).max(), err_msg=str(key))


def test_networks_of_one_process_do_not_read_each_others_constants():
    """Their generated classes have the same names: a loader may bind one library's constants to another's."""
    constants, found = {"tau_m": 20 * ms, "tau_s": 5 * ms, "ms": ms}, []
    for drive in ("", " + 0.1"):
        group = NeuronGroup(9, f"dv/dt = (I{drive} - v)/tau_m : 1\ndI/dt = -I/tau_s : 1", method="exact")
        group.v = -0.5
        problem = HybridProblem([group], max_loss("v", group), [(group, "v")], 40 * ms, constants)
        found.append(problem.loss_and_gradients()[0] / 9)
    decay = np.exp(-2)
    np.testing.assert_allclose(found, [-0.5 * decay, 0.1 - 0.6 * decay], rtol=1e-12)


def test_inputs_without_synapses_and_generators_without_any():
    """Every pathway knows all neurons of its source, those that have no synapse in it too."""
    spikes = SpikeGeneratorGroup(6, [0, 5, 2, 4, 1], [1, 2, 3, 4, 5] * ms)
    lonely = SpikeGeneratorGroup(2, [1], [3] * ms)
    group = NeuronGroup(3, "dv/dt = -v/(10*ms) : 1", threshold="v > 1", reset="v = 0", method="exact")
    many, one = (Synapses(spikes, group, "w : 1", on_pre="v_post += w") for _ in range(2))
    many.connect(i=[0, 0, 1, 2, 3], j=[0, 1, 2, 0, 1])
    one.connect(i=[0], j=[2])
    many.w, one.w = 0.3, 0.2
    wrt = [(many, "w"), (one, "w"), (spikes, "spike_time"), (lonely, "spike_time")]
    agree(HybridProblem([spikes, lonely, group, many, one], final_loss("v**2", group), wrt, 20 * ms, {"ms": ms}))


def feed_forward():
    spikes = SpikeGeneratorGroup(3, [0, 1, 2], [1, 2, 4] * ms)
    hidden = NeuronGroup(
        6, "dv/dt = (I - v)/tau_m : 1\ndI/dt = -I/tau_s : 1", threshold="v > 1", reset="v = 0", method="exact"
    )
    feed = Synapses(spikes, hidden, "w : 1", on_pre="I_post += w")
    feed.connect()
    feed.w = np.linspace(1, 4, 18)
    loss = spike_loss("sin(t/(5*ms))", hidden) + final_loss("v**2", hidden)
    return HybridProblem(
        [spikes, hidden, feed],
        loss,
        [(feed, "w"), (feed, "delay")],
        30 * ms,
        {"tau_m": 20 * ms, "tau_s": 5 * ms, "ms": ms},
    )


@pytest.fixture(scope="module")
def engine():
    problem = feed_forward()
    engine = HybridEngine(problem.network, problem.duration)
    engine.problem = problem
    return engine


def samples(n, rng):
    return SampleSpikes.of([(rng.integers(0, 3, k), rng.uniform(0, 20e-3, k)) for k in rng.integers(0, 12, n)])


def test_gradients_of_a_batch_are_sums_over_samples(engine):
    rng = np.random.default_rng(3)
    batch = samples(7, rng)
    name = engine.generators[0]
    weights = rng.uniform(0.5, 2, 7)
    together = engine.run(inputs={name: batch})
    found = together.backward(weights=weights)
    total, losses = 0, []
    for k in range(7):
        alone = engine.run(inputs={name: SampleSpikes.of([batch[k]])})
        losses += list(alone.losses)
        total = total + weights[k] * alone.backward()[engine.problem.keys[0]]
    np.testing.assert_array_equal(together.losses, losses)
    np.testing.assert_allclose(found[engine.problem.keys[0]], total, rtol=1e-12)


@pytest.mark.threads
def test_same_bits_for_any_number_of_threads(engine):
    batch = {engine.generators[0]: samples(33, np.random.default_rng(5))}
    results = []
    for threads in (1, 2, 7):
        outcome = engine.run(inputs=batch, threads=threads)
        found = outcome.backward()
        results.append(np.concatenate([outcome.losses, *(found[k] for k in engine.problem.keys)]))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_seeds_of_spike_times_and_final_states(engine):
    """Seeds give what the same loss as text gives."""
    problem = engine.problem
    batch = {engine.generators[0]: samples(3, np.random.default_rng(8))}
    outcome = engine.run(inputs=batch)
    (name,) = outcome.spikes
    seeds, final = np.cos(outcome.spikes[name].times / 5e-3) / 5e-3, np.zeros_like(outcome.final[name])
    v = problem.network.groups[name].states.index("v")
    final[..., v] = 2 * outcome.final[name][..., v]
    expected = engine.run(inputs=batch).backward()
    found = outcome.backward(spike_times={name: seeds}, final={name: final}, weights=np.zeros(3))
    for key in problem.keys:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-9, atol=1e-12)


def test_the_tape_is_used_once(engine):
    outcome = engine.run()
    outcome.backward()
    with pytest.raises(NetworkError, match="has been used"):
        outcome.backward()


@pytest.mark.threads
def test_the_lowest_sample_that_fails_is_named(engine):
    weights = np.full(18, 1e308)  # two of them are more than a number holds
    batch = SampleSpikes.of([([], [])] * 2 + [([0, 0], [1e-3, 1e-3])] * 9)
    with pytest.raises(NetworkError, match="^Sample 2: .*the integration fails"):
        engine.run({engine.problem.keys[0]: weights}, {engine.generators[0]: batch}, threads=2)


def test_input_spikes_are_checked(engine):
    name = engine.generators[0]
    with pytest.raises(NetworkError, match="spike 1 is of neuron 3; expected 0 to 2"):
        engine.run(inputs={name: SampleSpikes.of([([0, 3], [1e-3, 2e-3])])})
    with pytest.raises(NetworkError, match="spike 0 is at nan s"):
        engine.run(inputs={name: SampleSpikes.of([([0], [np.nan])])})
