"""Every ready neuron in a small recurrent network with all of its numbers, weights and delays to be differentiated."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms, mV, nA, nS, pA

from brian2grad.equations.ready import READY
from brian2grad.training import final_loss, integral_loss, spike_loss

WEIGHTS = {"current": 150 * pA, "conductance": 2 * nS, "delta": 1.5 * mV}
DRIVES = {"qif": 800 * pA, "izhikevich": 350 * pA, "eif": 900 * pA, "adex": 900 * pA, "hodgkin-huxley": 2 * nA}
OPTIONS = {"gif": {"n_currents": 3, "n_thresholds": 2}}
STARTS = {
    "I_syn": 20 * pA, "g_syn": 0.3 * nS, "u": 10 * pA, "theta": 1 * mV, "eta0": 5 * pA, "eta1": 8 * pA, "eta2": 3 * pA,
    "gamma0": 1 * mV, "gamma1": 0.5 * mV,
}  # fmt: skip
DURATION = 25 * ms


def ready_case(name, synapse="current"):
    """Arguments of `HybridProblem` for two neurons that are driven, fed by two inputs and coupled to each other."""
    neuron = READY[name](synapse=synapse, **OPTIONS.get(name, {}))
    group = NeuronGroup(2, neuron, **neuron.arguments)
    neuron.assign(group)
    group.I_ext = np.array([1.0, 1.15]) * DRIVES.get(name, 450 * pA)
    for state in neuron.diff_eq_names & STARTS.keys():
        setattr(group, state, STARTS[state])
    inputs = SpikeGeneratorGroup(2, [0, 1, 0, 1], [1, 4.3, 8.9, 14.7] * ms)
    feed, loop = Synapses(inputs, group, **neuron.synapse), Synapses(group, group, **neuron.synapse)
    feed.connect()
    loop.connect(i=[0, 1], j=[1, 0])
    feed.w, feed.delay = np.array([1.0, 0.7, 0.8, 1.3]) * WEIGHTS[synapse], [1, 1.7, 2.3, 3.1] * ms
    loop.w, loop.delay = np.array([0.6, -0.5]) * WEIGHTS[synapse], [1.3, 2.1] * ms
    states = [v for v in neuron.diff_eq_names if v not in ("m", "h", "n")]
    loss = spike_loss("sin(t/(4*ms))", group) + integral_loss("((v + 60*mV)/(20*mV))**2/(10*ms)", group)
    loss += final_loss("(v/(50*mV))**2", group)
    wrt = [(group, v) for v in ("I_ext", *neuron.constants, *states)]
    wrt += [(s, v) for s in (feed, loop) for v in ("w", "delay")] + [(inputs, "spike_time")]
    return SimpleNamespace(network=[group, inputs, feed, loop], loss=loss, wrt=wrt, duration=DURATION)
