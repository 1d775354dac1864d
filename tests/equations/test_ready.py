"""Ready neurons: they run in Brian 2 as they are, and do what their papers say."""

import itertools
import re
import time

import numpy as np
import pytest
from brian2 import (
    Network,
    NeuronGroup,
    SpikeGeneratorGroup,
    SpikeMonitor,
    StateMonitor,
    Synapses,
    defaultclock,
    ms,
    mV,
    nA,
    nS,
    pA,
    pF,
)  # fmt: skip

from brian2grad.equations import ModelError, derive_adjoint, spiking_gamma
from brian2grad.equations.brian.extraction import neuron_of
from brian2grad.equations.ready import (
    READY,
    adaptive_lif,
    adex,
    exact_spiking_gamma,
    gif,
    leaky_integrate_and_fire,
    moving_threshold,
)
from brian2grad.equations.ready.base import SYNAPSES
from brian2grad.equations.statements import Gate, symbol, unit_values

DRIVE = {"qif": 400 * pA, "izhikevich": 250 * pA, "eif": 900 * pA, "adex": 900 * pA, "hodgkin-huxley": 2 * nA}


def run(neuron, current=300 * pA, duration=100 * ms, dt=0.1 * ms):
    defaultclock.dt = dt
    group = NeuronGroup(1, neuron, **neuron.arguments)
    neuron.assign(group)
    group.I_ext = current
    spikes, trace = SpikeMonitor(group), StateMonitor(group, "v", record=True)
    Network(group, spikes, trace).run(duration)
    return np.asarray(spikes.t), trace


@pytest.mark.parametrize("name", READY)
def test_every_neuron_rests_without_and_fires_with_a_current(name):
    dt = 0.02 * ms if name == "hodgkin-huxley" else 0.1 * ms
    silent, trace = run(READY[name](), 0 * pA, 40 * ms, dt)
    assert not len(silent)
    assert np.isfinite(trace.v).all()
    times, trace = run(READY[name](), DRIVE.get(name, 300 * pA), 60 * ms, dt)
    assert 2 <= len(times) <= 60
    assert np.isfinite(trace.v).all()


@pytest.mark.parametrize(("name", "synapse"), [*itertools.product(READY, SYNAPSES)])
def test_a_spike_arrives_through_every_synapse(name, synapse):
    neuron = READY[name](synapse=synapse)
    source = SpikeGeneratorGroup(1, [0], [5] * ms)
    group = NeuronGroup(1, neuron, **neuron.arguments)
    neuron.assign(group)
    synapses = Synapses(source, group, **neuron.synapse)
    synapses.connect()
    synapses.w = {"current": 50 * pA, "conductance": 1 * nS, "delta": 1 * mV}[synapse]
    trace = StateMonitor(group, "v", record=True)
    Network(source, group, synapses, trace).run(10 * ms)
    before, after = trace.v[0][trace.t < 5 * ms], trace.v[0][trace.t > 5 * ms]
    assert after.max() > before.max() + 0.05 * mV


def test_lif_fires_at_the_rate_of_its_closed_form():
    neuron = leaky_integrate_and_fire(C=100 * pF)
    times, _ = run(neuron, 300 * pA, 60 * ms, 0.02 * ms)
    c = neuron.constants
    drive, tau = c["E_L"] + 300 * pA / c["g_L"], c["C"] / c["g_L"]
    interval = float(c["t_ref"] + tau * np.log((drive - c["V_r"]) / (drive - c["V_th"])))
    np.testing.assert_allclose(np.diff(times), interval, atol=0.03e-3)


@pytest.mark.parametrize("make", [adaptive_lif, moving_threshold, gif])
def test_adaptation_lengthens_the_intervals(make):
    times, _ = run(make(), 450 * pA, 200 * ms)
    intervals = np.diff(times)
    assert intervals[-1] > 1.2 * intervals[0]


def test_adex_adapts_as_published():
    """Tonic input, parameters of the paper: intervals grow and settle."""
    times, _ = run(adex(V_peak=-30 * mV), 1 * nA, 300 * ms)
    intervals = np.diff(times)
    assert intervals[1] > intervals[0]
    assert abs(intervals[-1] / intervals[-2] - 1) < 0.05


def test_gif_has_as_many_kernels_as_asked_for():
    neuron = gif(n_currents=3, n_thresholds=0)
    assert {"eta0", "eta1", "eta2"} <= neuron.diff_eq_names
    assert "gamma0" not in neuron
    assert neuron.threshold == "v > V_th"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: adex(tau_u=3 * ms), "'adex' has no constant 'tau_u'"),
        (lambda: adex(C=3 * ms), "'adex': C = 3. * msecond must be in units of"),
        (lambda: adex(C=np.nan * pF), "is not finite"),
        (lambda: adex(synapse="gap"), "synapse='gap' is unknown; use one of current, conductance, delta"),
        (lambda: gif(n_currents=-1), "must not be negative"),
        (lambda: leaky_integrate_and_fire("delta", tau_s=1 * ms), "'lif' has no constant 'tau_s'"),
    ],
)
def test_what_does_not_fit_is_named(call, text):
    with pytest.raises(ModelError, match=re.escape(text)):
        call()


def test_exact_spiking_gamma_is_the_neuron_that_is_trained_decoded():
    """Flow, threshold and reset of `spiking_gamma` with its numbers put in; only the drive is new."""
    own = neuron_of(exact_spiking_gamma(3)).system
    other = neuron_of(spiking_gamma(3, [10, 15, 22.5] * ms, theta=0.1, memory="continuous")).system
    numbers = {symbol(k): v for k, v in {"tau0": 0.01, "tau1": 0.015, "tau2": 0.0225, "theta": 0.1, "I_ext": 0}.items()}

    def same(left, right):
        left, right = (e.xreplace(numbers).xreplace(unit_values(e)).replace(Gate, lambda x: 1) for e in (left, right))
        rng = np.random.default_rng(0)
        point = {s: rng.uniform(0.1, 1) for s in sorted(left.free_symbols | right.free_symbols, key=str)}
        return float(left.xreplace(point)) == pytest.approx(float(right.xreplace(point)), rel=1e-12)

    assert set(own.states) == set(other.states)
    assert all(same(own.flow[s], other.flow[s]) and same(own.reset[s], other.reset[s]) for s in own.states)
    assert same(own.margin, other.margin)


def test_adjoint_of_an_eight_bucket_gamma_neuron_is_derived_quickly_and_once():
    start = time.process_time()
    first = str(derive_adjoint(exact_spiking_gamma(8)))
    between = time.process_time()
    assert str(derive_adjoint(exact_spiking_gamma(8))) == first
    assert between - start < 5
    assert time.process_time() - between < 0.5 * (between - start)
