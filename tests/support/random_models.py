"""Hypothesis strategy: random models and networks of the user's kind."""

import numpy as np
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms
from hypothesis import strategies as st

from brian2grad.training import HybridProblem, final_loss, integral_loss, spike_loss

FLOWS = {
    "leaky": "dv/dt = (E - v + c*I - d*u)/tau : 1{gate}",
    "quadratic": "dv/dt = (E - 0.5*v + v**2 + c*I - d*u)/tau : 1{gate}",
    "exponential": "dv/dt = (E - v + 0.1*exp((v - 0.6)/0.2) + c*I - d*u)/tau : 1{gate}",
    "conductance": "dv/dt = (E - v + c*I*(2 - v) - d*u)/tau : 1{gate}",
    "driven": "dv/dt = (E*(1 + 0.3*sin(t/(3*ms))) - v + c*I - d*u)/tau : 1{gate}",
}
SECOND = {
    "adaptation": "du/dt = (a*v - u)/tau_u : 1",
    "saturating": "du/dt = (tanh(v) - u)/tau_u : 1",
    "kept": "u : 1",
}
RESETS = ["v = V_r", "v -= b", "v = V_r; u += b", "u += b; v = V_r + 0.1*u", "v = 0.2*v*u; u = 0.5*u + b*v"]
THRESHOLDS = ["v > theta", "v > theta + 0.2*u", "theta*(1 + 0.1*sin(t/(5*ms))) < v"]
JUMPS = ["I_post += w", "v_post += 0.1*w", "I_post += w*(1 - 0.3*I_post)", "I_post += w; u_post += 0.1*w*v_post"]
# What a synapse from the inputs holds for itself: model, on_pre before and after the jump, on_post.
SYNAPSES = {
    "plain": ("w : 1", "{jump}", None),
    "depressing": ("dx/dt = (0.8 - x)/tau_x : 1 (event-driven)\nw : 1", "{jump}; x *= 0.6; w = w*(0.9 + 0.2*x)", None),
    "traces": (
        "dx/dt = -x/tau_x : 1 (event-driven)\ndy/dt = -y/tau_y : 1 (event-driven)\nw : 1",
        "{jump}; x += 0.4; w = clip(w + 0.3*y, -1, 2)",
        "y += 0.5; w = clip(w + 0.2*x, -1, 2)",
    ),
}
NUMBERS = st.integers(0, 2**32 - 1)


@st.composite
def problems(draw):
    """A network of one to three neurons of one random model, with input spikes and, maybe, recurrent synapses."""
    rng = np.random.default_rng(draw(NUMBERS))
    n, held = draw(st.integers(1, 3)), draw(st.booleans())
    wait = draw(st.sampled_from([False, 1.7 * ms, "t_ref"]))
    flow, second = draw(st.sampled_from(sorted(FLOWS))), draw(st.sampled_from(sorted(SECOND)))
    model = [FLOWS[flow].format(gate=" (unless refractory)" if held and wait is not False else ""), SECOND[second]]
    model += ["dI/dt = -I/tau_s : 1", "E : 1", "tau : second (constant)", "t_ref : second (constant)"]
    threshold, reset = draw(st.sampled_from(THRESHOLDS)), draw(st.sampled_from(RESETS))
    group = NeuronGroup(n, "\n".join(model), threshold=threshold, reset=reset, refractory=wait)
    group.E, group.tau, group.t_ref = rng.uniform(0.6, 1.6, n), rng.uniform(5, 15, n) * ms, rng.uniform(1, 3, n) * ms
    group.v, group.u, group.I = rng.uniform(0, 0.3, n), rng.uniform(0.05, 0.2, n), rng.uniform(0.05, 0.5, n)
    count = int(rng.integers(2, 6))
    spikes = SpikeGeneratorGroup(2, rng.integers(0, 2, count), rng.uniform(0.3, 20, count) * ms)
    own = draw(st.sampled_from(sorted(SYNAPSES)))
    synapse, on_pre, on_post = SYNAPSES[own]
    feed = Synapses(spikes, group, synapse, on_pre=on_pre.format(jump=draw(st.sampled_from(JUMPS))), on_post=on_post)
    feed.connect()
    feed.w, feed.pre.delay = rng.uniform(-0.5, 1.5, 2 * n), rng.uniform(0.2, 4, 2 * n) * ms
    objects, wrt = [group, spikes, feed], [(feed, "w"), (feed.pre, "delay"), (spikes, "spike_time")]
    if own != "plain":
        feed.x = rng.uniform(0.2, 0.8, 2 * n)
        wrt += [(feed, "x"), (feed, "tau_x")]
    if own == "traces":
        feed.y, feed.post.delay = rng.uniform(0.2, 0.8, 2 * n), rng.uniform(0.2, 2, 2 * n) * ms
        wrt += [(feed, "y"), (feed, "tau_y"), (feed.post, "delay")]
    if n > 1 and draw(st.booleans()):
        loop = Synapses(group, group, "w : 1", on_pre=draw(st.sampled_from(JUMPS)))
        loop.connect(condition="i != j")
        loop.w, loop.delay = rng.uniform(-0.8, 0.8, n * (n - 1)), rng.uniform(0.5, 5, n * (n - 1)) * ms
        objects.append(loop)
        wrt += [(loop, "w"), (loop, "delay")]
    loss = spike_loss("sin(t/(4*ms)) + 0.3*u", group) + integral_loss("(v - 0.2)**2/(10*ms)", group)
    loss += final_loss("v*I + u", group)
    constants = {"theta": rng.uniform(0.8, 1.2), "b": 0.6, "V_r": 0.05, "c": 0.8, "d": 0.3, "a": 0.2}
    constants |= {"tau_s": 4 * ms, "tau_u": 20 * ms, "tau_x": 12 * ms, "tau_y": 8 * ms, "ms": ms}
    names = ["E", "tau", "v", "u", "I", "theta", "c", "d", "tau_s", "t_ref", "b", "V_r", "a", "tau_u", "refractory"]
    found = HybridProblem(objects, loss, [], 25 * ms, constants)
    wrt += [(group, name) for name in names if (group.name, name) in found.network.values]
    return HybridProblem(objects, loss, wrt, 25 * ms, constants, engine="oracle"), rng
