"""Synapses with variables of their own: short-term plasticity and traces of spikes, exact like everything else."""

import hybrid_cases
import numpy as np
import pytest
import sympy
from brian2 import Network, NeuronGroup, SpikeGeneratorGroup, SpikeMonitor, Synapses, defaultclock, ms, second
from engines_agree import agree

from brian2grad.equations import derive_adjoint
from brian2grad.equations.statements import symbol
from brian2grad.models.errors import NetworkError
from brian2grad.models.hybrid.brian.run import run_brian2
from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.training import HybridProblem
from brian2grad.training.exact.check import check_direction


def problem_of(case):
    return HybridProblem(case.network, case.loss, case.wrt, case.duration, case.namespace, engine="oracle")


CASES = {"short_term_plasticity": {}, "traces": {"post_delay": 0.6}, "traces at once": {"post_delay": 0}}


def case_of(name):
    return getattr(hybrid_cases, name.split()[0])(**CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_compiled_engine_agrees_with_the_oracle(name):
    agree(problem_of(case_of(name)))


@pytest.mark.parametrize("name", ["short_term_plasticity", "traces"])
def test_gradient_equals_central_differences(name):
    problem = problem_of(case_of(name))
    assert len(problem.simulate().spikes) > 12
    assert check_direction(problem) < 1e-7


@pytest.mark.long
@pytest.mark.parametrize("name", ["short_term_plasticity", "traces at once"])
def test_brian2_tends_to_it_as_the_time_step_goes_to_zero(name):
    case = case_of(name)
    tape = problem_of(case).simulate()
    group, _, synapses = case.network
    monitor, errors = SpikeMonitor(group), []
    network = Network(*case.network, monitor)
    network.store()
    own = next(p for p in problem_of(case).network.pathways).text.states.values()
    for step in (0.01, 0.00125):
        network.restore()
        defaultclock.dt = step * ms
        network.run(case.duration, namespace=case.namespace)
        located = [t for t, name, _ in tape.spikes if name == group.name]
        assert monitor.num_spikes == len(located)
        found = np.array([getattr(synapses, variable)[:] for variable in own]).T
        errors.append(
            [np.abs(np.sort(monitor.t / second) - located).max(), np.abs(found - tape.synaptic[synapses.name]).max()]
        )
    (coarse, coarse_states), (fine, fine_states) = errors
    assert 3 * fine < coarse
    assert fine < 5e-5
    assert fine_states < max(coarse_states / 3, 1e-12)  # without on_post they follow the inputs, which are on the grid


@pytest.mark.parametrize("name", ["short_term_plasticity", "traces"])
def test_copies_for_many_samples_keep_the_synapses_own_variables(name):
    case = case_of(name)
    group, inputs, _ = case.network
    neurons, times = (np.asarray(inputs.variables[n].get_value()) for n in ("neuron_index", "spike_time"))
    samples = {inputs.name: SampleSpikes.of([(neurons, times), (neurons[:9], times[:9])])}
    found = run_brian2(case.network, samples, case.duration, 0.05 * ms, namespace=case.namespace)
    monitor = SpikeMonitor(group)
    defaultclock.dt = 0.05 * ms
    Network(*case.network, monitor).run(case.duration, namespace=case.namespace)
    assert found.spikes[group.name][0][0].tolist() == monitor.i[:].tolist()
    assert len(found.spikes[group.name][1][0]) < monitor.num_spikes


def test_derived_rule_of_a_trace_in_closed_form():
    group = NeuronGroup(1, "dv/dt = -v/tau_m : 1", threshold="v > 1", reset="v = 0")
    spikes = SpikeGeneratorGroup(1, [0], [1] * ms)
    model = "dx/dt = -x/tau : 1 (event-driven)\nw : 1"
    synapses = Synapses(spikes, group, model, on_pre="v_post += w*x; x += 1")
    rule = derive_adjoint(group, synapses, namespace={"tau_m": 10 * ms, "tau": 20 * ms}).rule(synapses.pre.name)
    t, last, tau, w, x, v, p_v, p_x, tau_m = map(symbol, "t lastupdate tau w x v p_v p_x tau_m".split())
    decay = sympy.exp(-(t - last) / tau)
    kept = symbol("p_lastupdate")
    assert sympy.simplify(rule.state["x"] - decay * (p_x + w * p_v)) == 0
    assert sympy.simplify(rule.gradient["w"] - decay * x * p_v) == 0
    assert sympy.simplify(rule.state["lastupdate"] - x * decay / tau * (p_x + w * p_v)) == 0
    expected = w * x * decay * p_v / tau_m - (p_x + w * p_v) * x * decay / tau + kept
    assert sympy.simplify(rule.kappa - expected) == 0


def test_what_would_run_before_the_reset_in_brian2_is_refused():
    group = NeuronGroup(1, "dv/dt = (2 - v)/(10*ms) : 1", threshold="v > 1", reset="v = 0")
    spikes = SpikeGeneratorGroup(1, [0], [1] * ms)
    synapses = Synapses(spikes, group, "w : 1", on_pre="v_post += w", on_post="w += 0.1*v_post")
    synapses.connect()
    case = hybrid_cases.case([group, spikes, synapses], None, [], 20 * ms)
    case.loss = hybrid_cases.final_loss("v", group)
    with pytest.raises(
        NetworkError, match="_post' reads or changes 'v' at the very time at which the reset changes it"
    ):
        problem_of(case)
    synapses.post.delay = 1 * ms
    agree(problem_of(case))
