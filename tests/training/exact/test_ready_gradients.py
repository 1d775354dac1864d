"""Every ready neuron under the gradient check: weights, delays, time constants, thresholds, resets, initial values."""

import itertools

import numpy as np
import pytest
from brian2 import NeuronGroup, Quantity, SpikeGeneratorGroup, Synapses, ms, mV
from differences import relative_errors
from ready_cases import ready_case

from brian2grad.equations.ready import READY, exact_spiking_gamma
from brian2grad.equations.ready.base import SYNAPSES
from brian2grad.training import HybridProblem, integral_loss, spike_loss
from brian2grad.training.exact.check import check_direction

NAMES = {"ms": ms, "mV": mV}
PAIRS = list(itertools.product(READY, SYNAPSES))
QUICK = [("lif", "delta"), ("alif", "conductance"), ("qif", "current")]


def problem_of(name, synapse="current", engine="oracle"):
    case = ready_case(name, synapse)
    return HybridProblem(case.network, case.loss, case.wrt, case.duration, NAMES, engine=engine)


@pytest.mark.parametrize(
    ("name", "synapse"), [pytest.param(*p, marks=[] if p in QUICK else pytest.mark.long) for p in PAIRS]
)
def test_derivative_along_a_random_direction_of_everything(name, synapse):
    problem = problem_of(name, synapse)
    group = next(iter(problem.network.groups))
    assert sum(owner == group for _, owner, _ in problem.simulate().spikes) >= 3
    assert check_direction(problem) < 1e-6


@pytest.mark.long
@pytest.mark.parametrize("name", READY)
def test_gradient_equals_central_differences(name):
    """Every constant, weight, delay, initial value and input spike time on its own."""
    errors = relative_errors(problem_of(name))
    assert max(errors.values()) < 1e-6, {k: v for k, v in errors.items() if v >= 1e-6}


@pytest.mark.long
@pytest.mark.parametrize("name", READY)
def test_compiled_engine_has_the_same_gradient(name):
    value, gradients = problem_of(name).loss_and_gradients()
    problem = problem_of(name, engine="compiled")
    found, others = problem.loss_and_gradients()
    assert found == pytest.approx(value, rel=1e-7)
    for key, a, b in zip(problem.keys, gradients, others, strict=True):
        assert b == pytest.approx(a, rel=1e-6, abs=1e-6 * np.abs(a).max() + 1e-12), key


@pytest.mark.long
@pytest.mark.parametrize("name", READY)
def test_remainder_of_the_first_order_expansion_is_of_second_order(name):
    problem = problem_of(name)
    value, gradients = problem.loss_and_gradients()
    generator, pattern = np.random.default_rng(3), problem.simulate().pattern()
    base = {k: problem.network.values[k] for k in problem.keys}
    direction = {k: generator.uniform(-1, 1, b.size) * np.abs(b) for k, b in base.items()}
    slope = sum(g @ direction[k] for k, g in zip(problem.keys, gradients, strict=True))
    steps, rest = 2.0 ** -np.arange(12, 18), []
    for h in steps:
        tape = problem.simulate({k: b + h * direction[k] for k, b in base.items()})
        assert tape.pattern() == pattern
        rest.append(abs(problem.value_of(tape) - value - h * slope))
    assert np.polyfit(np.log(steps), np.log(rest), 1)[0] == pytest.approx(2, abs=0.05)


def test_exact_gradient_of_the_spiking_gamma_neuron():
    """Its rectifier switches on the way; the spikes of two layers are differentiated, not decoded."""
    neuron = exact_spiking_gamma(3, v0=Quantity(0.05), v1=Quantity(0.6), v2=Quantity(0.4))
    sender, receiver = (NeuronGroup(n, neuron, **neuron.arguments) for n in (2, 1))
    inputs = SpikeGeneratorGroup(2, [0, 1, 0, 1, 1], [1, 4, 9, 13, 22] * ms)
    feed, out = Synapses(inputs, sender, **neuron.synapse), Synapses(sender, receiver, **neuron.synapse)
    for synapses, weights in ((feed, [1.3, -1.2, 0.8, 1.5]), (out, [0.7, 0.8])):
        synapses.connect()
        synapses.w, synapses.delay = weights, np.linspace(0.7, 2.1, len(weights)) * ms
    for group in (sender, receiver):
        neuron.assign(group)
        group.b, group.z0 = 0.05, 0.1
    loss = spike_loss("sin(t/(7*ms))", sender) + integral_loss("(y - 0.2)**2/(10*ms)", receiver)
    loss += spike_loss("t/ms", receiver)
    wrt = [(g, n) for g in (sender, receiver) for n in (*neuron.constants, "z0", "yhat")]
    wrt += [(s, n) for s in (feed, out) for n in ("w", "delay")]
    problem = HybridProblem([sender, receiver, inputs, feed, out], loss, wrt, 40 * ms, NAMES, engine="oracle")
    tape = problem.simulate()
    assert {name for _, name, _ in tape.spikes} == {sender.name, receiver.name, inputs.name}
    z = [problem.network.groups[sender.name].states.index(f"z{k}") for k in range(3)]
    x = [e.after[z] @ [0.05, 0.6, 0.4] + 0.05 for e in tape.events if e.group.name == sender.name]
    assert min(x) < 0 < max(x)
    assert check_direction(problem) < 1e-6
