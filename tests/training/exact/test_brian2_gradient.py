"""The adjoint as a Brian 2 network that runs backward, against the exact gradient to which it tends."""

import numpy as np
import pytest
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, TimedArray, ms, mV, nS, pA, pF
from hybrid_cases import case, short_term_plasticity

from brian2grad import brian2_gradient, final_loss, integral_loss, spike_loss, value_and_grad
from brian2grad.models.errors import NetworkError
from brian2grad.training.errors import TrainingError

pytestmark = pytest.mark.filterwarnings("ignore:overflow")


def recurrent_lif(refractory=False):
    """Four neurons that excite each other, delays shorter and longer than the intervals between spikes."""
    rng = np.random.default_rng(0)
    spikes = SpikeGeneratorGroup(3, [0, 1, 2, 0, 1, 2, 0, 1], [1, 3, 5, 8, 12, 14, 20, 22] * ms)
    gate = "" if refractory is False else " (unless refractory)"
    group = NeuronGroup(
        4, f"dv/dt = (I - v)/tau_m : 1{gate}\ndI/dt = -I/tau_s : 1",
        threshold="v > theta", reset="v = V_r", refractory=refractory, method="exact",
    )  # fmt: skip
    feed = Synapses(spikes, group, "w : 1", on_pre="I_post += w", delay=1.5 * ms)
    feed.connect()
    feed.w = rng.uniform(0.5, 3, 12)
    loop = Synapses(group, group, "w : 1", on_pre="I_post += w", delay=6 * ms)
    loop.connect(condition="i != j")
    loop.w = rng.normal(0.3, 0.4, 12)
    loss = spike_loss("sin(t/(5*ms)) + 0.1*I", group) + final_loss("v**2", group)
    loss += integral_loss("(v - 0.3)**2/(10*ms)", group)
    wrt = [(s, n) for s in (feed, loop) for n in ("w", "delay")]
    wrt += [(group, n) for n in ("tau_m", "theta", "V_r", "v", "I")]
    constants = {"tau_m": 10 * ms, "tau_s": 5 * ms, "theta": 1, "V_r": 0.1}
    return case([spikes, group, feed, loop], loss, wrt, 30 * ms, constants)


def conductance():
    """Nonlinear flow and a jump that saturates: everything is read from the record of the run."""
    group = NeuronGroup(
        2, "dv/dt = (gL*(EL - v) + ge*(Ee - v) + drive)/C : volt (unless refractory)\ndge/dt = -ge/taue : siemens",
        threshold="v > V_t", reset="v = Vr", refractory=2 * ms, method="euler",
    )  # fmt: skip
    group.v, group.ge = [-62, -58] * mV, 1 * nS
    spikes = SpikeGeneratorGroup(2, [0, 1, 0, 1], [1, 5, 12.3, 21.7] * ms)
    feed = Synapses(spikes, group, "w : siemens", on_pre="ge_post += w*(1 - ge_post/gmax)", delay=1 * ms)
    feed.connect()
    feed.w = [8, 6, 7, 9] * nS
    constants = {"gL": 10 * nS, "EL": -70 * mV, "Ee": 5 * mV, "C": 200 * pF, "taue": 5 * ms, "V_t": -50 * mV}
    constants |= {"Vr": -65 * mV, "gmax": 30 * nS, "drive": 150 * pA}
    wrt = [(feed, "w"), (feed, "gmax"), (group, "gL"), (group, "V_t"), (group, "ge"), (group, "refractory")]
    return case([group, spikes, feed], spike_loss("sin(t/(10*ms))*ge/nS", group), wrt, 25 * ms, constants)


def errors_of(given, steps):
    _, exact = value_and_grad(given.network, given.loss, given.wrt, given.duration, namespace=given.namespace)
    found = []
    for dt in steps:
        gradients = brian2_gradient(
            given.network, given.loss, given.wrt, given.duration, dt=dt * ms, namespace=given.namespace
        )
        found.append([_error(np.asarray(g), np.asarray(e)) for g, e in zip(gradients, exact, strict=True)])
    return np.array(found)


def _error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_it_tends_to_the_exact_gradient_with_the_first_power_of_the_time_step():
    errors = errors_of(recurrent_lif(), (0.04, 0.01))
    order = np.log(errors[0] / errors[1]) / np.log(4)
    assert (np.abs(np.median(order) - 1) < 0.2).all(), order
    assert errors[1].max() < 0.1


@pytest.mark.long
@pytest.mark.parametrize("make", [lambda: recurrent_lif(2 * ms), conductance])
def test_refractory_periods_conductances_and_saturating_jumps(make):
    errors = errors_of(make(), (0.02, 0.0025))
    assert np.median(errors[0] / errors[1]) > 4
    assert errors[1].max() < 0.05


@pytest.mark.long
@pytest.mark.standalone
def test_cpp_standalone_gives_the_same():
    given = recurrent_lif()
    found = [
        brian2_gradient(given.network, given.loss, given.wrt, given.duration, dt=0.1 * ms, device=device,
                        namespace=given.namespace)
        for device in ("runtime", "cpp_standalone")
    ]  # fmt: skip
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-9)


def test_what_does_not_run_backward_is_refused_with_the_remedy():
    given = recurrent_lif()
    given.network[2].delay = 1.5 * ms
    arguments = {"dt": 0.1 * ms, "namespace": given.namespace}
    spikes, group, *_ = given.network
    with pytest.raises(TrainingError, match="no spike times of a generator in wrt"):
        brian2_gradient(given.network, given.loss, [(spikes, "spike_time")], given.duration, **arguments)
    with pytest.raises(NetworkError, match="of a part of a group, does not run backward"):
        brian2_gradient(given.network, final_loss("v", group[:2]), given.wrt[:1], given.duration, **arguments)
    delays = Synapses(spikes, group, "w : 1", on_pre="I_post += w")
    delays.connect(i=[0, 1], j=0)
    delays.delay = [1, 2] * ms
    with pytest.raises(NetworkError, match="with different delays .*take value_and_grad"):
        brian2_gradient([*given.network, delays], given.loss, given.wrt[:1], given.duration, **arguments)
    plastic = short_term_plasticity()
    with pytest.raises(NetworkError, match="variables of the synapses. own does not run backward"):
        brian2_gradient(plastic.network, plastic.loss, [], plastic.duration, dt=0.1 * ms, namespace=plastic.namespace)
    drive = TimedArray([1.0, 2.0], dt=10 * ms)
    driven = NeuronGroup(1, "dv/dt = (drive(t) - v)/(10*ms) : 1", threshold="v > 1", reset="v = 0")
    with pytest.raises(NetworkError, match="with a TimedArray in the equations.*take value_and_grad"):
        brian2_gradient(
            [driven], final_loss("v", driven), [], 20 * ms, dt=0.1 * ms, namespace={"drive": drive, "ms": ms}
        )
