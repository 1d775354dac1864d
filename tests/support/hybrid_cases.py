"""Small networks of the user's kind, one a model class, each with every class of trained parameter."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms, mV, nA, nS, pA, pF

from brian2grad.training import final_loss, integral_loss, spike_loss

UNITS = {"ms": ms, "mV": mV, "nS": nS, "pA": pA}


def driven(group, variable, unit, weights, *, on_pre="{v}_post += weight"):
    """Two input neurons connected to all of a group, with six spikes at times of their own."""
    spikes = SpikeGeneratorGroup(2, [0, 1, 0, 1, 0, 1], [1, 5, 12.3, 21.7, 25.1, 33.3] * ms)
    synapses = Synapses(spikes, group, f"weight : {unit}", on_pre=on_pre.format(v=variable))
    synapses.connect()
    synapses.weight = weights
    synapses.delay = np.linspace(1, 3.1, len(weights)) * ms
    return spikes, synapses


def recurrent(group, variable, unit, weights):
    """Two neurons that excite or inhibit each other, each after a delay of its own."""
    synapses = Synapses(group, group, f"weight : {unit}", on_pre=f"{variable}_post += weight")
    synapses.connect(i=[0, 1], j=[1, 0])
    synapses.weight = weights
    synapses.delay = [2.3, 3.1] * ms
    return synapses


def case(objects, loss, wrt, duration, constants=()):
    """Keyword arguments of `value_and_grad`."""
    namespace = {**UNITS, **dict(constants)}
    return SimpleNamespace(network=objects, loss=loss, wrt=wrt, duration=duration, namespace=namespace)


def lif_current():
    group = NeuronGroup(
        3,
        """dv/dt = (I - v + E)/tau_m : 1 (unless refractory)
           dI/dt = -I/tau_s : 1
           E : 1
           tau_m : second (constant)
           tau_s : second (constant, shared)""",
        threshold="v > theta", reset="v = V_r", refractory=3 * ms,
    )  # fmt: skip
    group.tau_m, group.tau_s, group.E, group.v, group.I = (
        [10, 12, 14] * ms,
        5 * ms,
        [1.2, 0.5, 0.3],
        [0.1, 0.2, 0.3],
        0.1,
    )
    spikes, feed = driven(group, "I", "1", np.linspace(0.5, 2, 6))
    loop = Synapses(group, group, "weight : 1", on_pre="I_post += weight")
    loop.connect(condition="i != j")
    loop.weight, loop.delay = np.linspace(0.5, 1.5, 6), np.linspace(1.05, 5.3, 6) * ms
    loss = spike_loss("sin(t/(10*ms))", group) + integral_loss("(v - 0.3)**2/(10*ms)", group[2:])
    loss += final_loss("v**2", group)
    names = ["tau_m", "tau_s", "E", "theta", "V_r", "refractory", "v", "I"]
    wrt = [(group, n) for n in names] + [(s, n) for s in (feed, loop) for n in ("weight", "delay")]
    return case([group, spikes, feed, loop], loss, [*wrt, (spikes, "spike_time")], 40 * ms, {"theta": 1, "V_r": 0.1})


def lif_delta(drive=(1.3, 1.2), weights=(0.1, -0.1, 0.15, 0.05)):
    group = NeuronGroup(
        2, "dv/dt = (E - v)/tau : 1\ntau : second (constant)\nE : 1", threshold="v > theta", reset="v -= theta*b"
    )
    group.tau, group.E, group.v = 10 * ms, drive, 0.05
    spikes, feed = driven(group, "v", "1", weights)
    loop = recurrent(group, "v", "1", [-0.1, 0.2])
    loss = spike_loss("sin(t/(10*ms))*(1 + v)", group) + integral_loss("v**2/(10*ms)", group)
    wrt = [(group, n) for n in ("tau", "E", "theta", "b", "v")]
    wrt += [(s, n) for s in (feed, loop) for n in ("weight", "delay")] + [(spikes, "spike_time")]
    return case([group, spikes, feed, loop], loss, wrt, 40 * ms, {"theta": 1, "b": 0.9})


def lif_induced():
    """Input spikes lift the membrane over its threshold at once."""
    return lif_delta(drive=(0.3, 0.2), weights=(0.8, -0.1, 0.85, 1.05))


def conductance():
    """Conductance synapse with a jump that saturates, adaptive threshold."""
    group = NeuronGroup(
        2,
        """dv/dt = (gL*(EL - v) + ge*(Ee - v) + I)/C : volt (unless refractory)
           dge/dt = -ge/taue : siemens
           dvt/dt = (V_t - vt)/taut : volt
           I : amp (constant)
           t_ref : second (constant)""",
        threshold="v > vt", reset="v = Vr; vt += step", refractory="t_ref",
    )  # fmt: skip
    group.v, group.vt, group.ge, group.I, group.t_ref = -70 * mV, -50 * mV, 1 * nS, [250, 180] * pA, [2, 3] * ms
    on_pre = "ge_post += weight*(1 - ge_post/gmax)"
    spikes, feed = driven(group, "ge", "siemens", [8, 6, 7, 9] * nS, on_pre=on_pre)
    loop = recurrent(group, "ge", "siemens", [3, 4] * nS)
    loss = spike_loss("sin(t/(10*ms))*vt/mV", group) + integral_loss("(v/mV)**2/(10*ms)/1000", group)
    loss += final_loss("ge/nS", group)
    names = "gL EL Ee C taue V_t taut Vr step I t_ref v ge vt".split()
    wrt = [(group, n) for n in names] + [(s, n) for s in (feed, loop) for n in ("weight", "delay")] + [(feed, "gmax")]
    constants = {
        "gL": 10 * nS, "EL": -70 * mV, "Ee": 5 * mV, "C": 200 * pF, "taue": 5 * ms, "V_t": -50 * mV,
        "taut": 20 * ms, "Vr": -65 * mV, "step": 3 * mV, "gmax": 30 * nS,
    }  # fmt: skip
    return case([group, spikes, feed, loop], loss, wrt, 40 * ms, constants)


def adaptive():
    """LIF whose reset reads the adaptation, which another statement has changed before."""
    group = NeuronGroup(
        2, "dv/dt = (E - v - u)/tau : 1 (unless refractory)\ndu/dt = (a*v - u)/tau_u : 1\nE : 1 (constant)",
        threshold="v > theta", reset="u += b; v = V_r + 0.1*u", refractory=1.5 * ms,
    )  # fmt: skip
    group.E, group.v, group.u = [1.6, 1.5], 0.1, [0.05, 0.1]
    spikes, feed = driven(group, "u", "1", [0.05, -0.1, 0.08, 0.1])
    loop = recurrent(group, "v", "1", [0.1, -0.1])
    loss = spike_loss("cos(t/(7*ms)) + u", group) + final_loss("v*u", group)
    wrt = [(group, n) for n in ("tau", "tau_u", "a", "theta", "b", "V_r", "E", "refractory", "v", "u")]
    wrt += [(s, n) for s in (feed, loop) for n in ("weight", "delay")]
    constants = {"tau": 8 * ms, "tau_u": 30 * ms, "a": 0.1, "theta": 1, "b": 0.12, "V_r": 0.02}
    return case([group, spikes, feed, loop], loss, wrt, 40 * ms, constants)


def adex():
    group = NeuronGroup(
        1,
        """dv/dt = (gL*(EL - v) + gL*DT*exp((v - VT)/DT) - w + I)/C : volt (unless refractory)
           dw/dt = (a*(v - EL) - w)/tauw : amp
           I : amp (constant)""",
        threshold="v > Vcut", reset="v = Vr + 0.02*w/nS; w += b", refractory=2 * ms,
    )  # fmt: skip
    group.v, group.w, group.I = -65 * mV, 10 * pA, 900 * pA
    spikes, feed = driven(group, "w", "amp", [-100, -80] * pA)
    loss = spike_loss("sin(t/(10*ms))", group) + integral_loss("(v/mV)**2/(10*ms)/1000", group)
    names = "gL EL C VT DT tauw a b Vr Vcut I v w refractory".split()
    constants = {
        "gL": 30 * nS, "EL": -70.6 * mV, "C": 281 * pF, "VT": -50.4 * mV, "DT": 2 * mV, "tauw": 144 * ms, "a": 4 * nS,
        "b": 0.0805 * nA, "Vr": -65 * mV, "Vcut": -30 * mV,
    }  # fmt: skip
    wrt = [(group, n) for n in names] + [(feed, n) for n in ("weight", "delay")]
    return case([group, spikes, feed], loss, wrt, 40 * ms, constants)


def fed_by_changing_synapses(model, **arguments):
    """Two neurons and fourteen input spikes, through four synapses with variables of their own."""
    rng = np.random.default_rng(1)
    spikes = SpikeGeneratorGroup(2, rng.integers(0, 2, 14), np.sort(rng.uniform(1, 25, 14)).round(2) * ms)
    group = NeuronGroup(
        2, "dv/dt = (I - v)/tau_m : 1 (unless refractory)\ndI/dt = -I/tau_s : 1",
        threshold="v > theta", reset="v = 0", refractory=1 * ms, method="exact",
    )  # fmt: skip
    synapses = Synapses(spikes, group, model, **arguments)
    synapses.connect()
    synapses.pre.delay = "(1 + 0.3*i + 0.17*j)*ms"
    loss = spike_loss("sin(t/(5*ms))", group) + final_loss("v*I", group)
    wrt = [(synapses.pre, "delay"), (spikes, "spike_time"), (group, "theta"), (group, "tau_m")]
    return group, spikes, synapses, loss, wrt, {"tau_m": 10 * ms, "tau_s": 4 * ms, "theta": 0.5}


def short_term_plasticity():
    """Tsodyks and Markram's synapse: facilitation u, depression x."""
    model = """dx/dt = (1 - x)/tau_d : 1 (event-driven)
               du/dt = -u/tau_f : 1 (event-driven)
               tau_d : second (constant)
               U : 1 (constant)
               w : 1"""
    on_pre = "u += U*(1 - u); released = u*x; I_post += w*released; x -= released"
    group, spikes, synapses, loss, wrt, constants = fed_by_changing_synapses(model, on_pre=on_pre)
    synapses.x, synapses.u, synapses.U, synapses.tau_d = 0.9, 0.1, 0.3, [20, 30, 25, 15] * ms
    synapses.w = [9, 8, 7, 10]
    wrt += [(synapses, n) for n in ("x", "u", "U", "tau_d", "tau_f", "w")]
    return case([group, spikes, synapses], loss, wrt, 30 * ms, constants | {"tau_f": 50 * ms})


def traces(post_delay=0):
    """Plasticity by the timing of spikes on both sides, with limits."""
    model = """dapre/dt = -apre/taupre : 1 (event-driven)
               dapost/dt = -apost/taupost : 1 (event-driven)
               w : 1"""
    on_pre = "I_post += w; apre += dpre; w = clip(w + apost, 0, most)"
    on_post = "apost += dpost; w = clip(w + apre, 0, most)"
    group, spikes, synapses, loss, wrt, constants = fed_by_changing_synapses(model, on_pre=on_pre, on_post=on_post)
    synapses.w, synapses.post.delay = [2.5, 2.1, 2.4, 2.6], post_delay * ms
    wrt += [(synapses, n) for n in ("w", "apre", "apost", "taupre", "taupost", "dpre", "dpost", "most")]
    wrt += [(synapses.post, "delay")] if post_delay else []
    constants |= {"taupre": 15 * ms, "taupost": 20 * ms, "dpre": 0.3, "dpost": -0.2, "most": 3.0}
    return case([group, spikes, synapses], loss, wrt, 30 * ms, constants)


CASES = {f.__name__: f for f in (lif_current, lif_delta, lif_induced, conductance, adaptive, adex)}
