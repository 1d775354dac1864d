"""
A signal as few spikes (Koopman, Otte & Bohté 2026)
===================================================

A neuron that sends its signal as few spikes: sigma-delta coding with a fixed and an adaptive threshold.

Koopman, Otte & Bohté (2026, arXiv 2602.01978); adaptation as in Zambrano et al. (2019, Front. Neurosci. 12:987). A
spike says that the signal y has left the receiver's estimate yhat by theta, and moves the estimate by 2*theta. The
receiver needs nothing but the spikes to rebuild y within theta.

Caveat: a neuron emits at most one spike per time step, so that it follows signals up to 2*theta/(1 - exp(-dt/tau))
(``multiple=True`` lifts this), and the estimate cannot fall faster than exp(-t/tau).
"""

import matplotlib.pyplot as plt
import numpy as np
from brian2 import Network, NeuronGroup, SpikeMonitor, StateMonitor, Synapses, defaultclock, ms, second

from brian2grad.equations import gamma_memory, spiking_gamma

tau, precision = 30 * ms, 0.1  # time constant of the code; its threshold theta
defaultclock.dt = 0.5 * ms

# The user's signal, added to the neuron's equations.
signal = "drive = 1.5 + sin(2*pi*t/(300*ms)) : 1"


def code(adaptation):
    """Send the signal through one neuron; return number of spikes, error of sender and of receiver, and traces."""
    neuron = spiking_gamma(K=1, tau=tau, theta=precision, adaptation=adaptation, tau_theta=50 * ms, bias=False) + signal
    sender = NeuronGroup(1, neuron, **neuron.arguments, name="sender*")
    sender.v0 = 1
    update = sender.run_regularly("z0 = drive", when="after_groups")  # its only bucket is the signal itself

    memory = gamma_memory(K=1, tau=tau)  # the receiver: one leaky variable
    receiver = NeuronGroup(1, memory, **memory.arguments, name="receiver*")
    synapse = Synapses(sender, receiver, on_pre="z0_post += jump_pre", name="synapse*")  # a spike carries 2*theta
    synapse.connect()

    spikes = SpikeMonitor(sender)
    sent = StateMonitor(sender, ["y", "yhat"], record=0, when="end")
    received = StateMonitor(receiver, "z0", record=0, when="end")
    Network(sender, update, receiver, synapse, spikes, sent, received).run(1 * second)
    late = sent.t > 100 * ms  # behind the first rise from zero
    error = (sent.y[0] - sent.yhat[0])[late]
    return (
        spikes.num_spikes,
        np.abs(error).max(),
        np.sqrt(np.mean((sent.y[0] - received.z0[0])[late] ** 2)),
        (sent, received, spikes),
    )


print("m_f   spikes  largest error  rms error of the receiver")
figure, axes = plt.subplots(3, 1, sharex=True, sharey=True, layout="constrained")
for m_f, ax in zip((0.0, 0.1, 0.3), axes, strict=True):
    n, largest, rms, (sent, received, spikes) = code(m_f)
    print(f"{m_f:3.1f}  {n:7d}  {largest:13.3f}  {rms:25.3f}")
    ax.plot(sent.t / ms, sent.y[0], "0.6", label="signal")
    ax.plot(received.t / ms, received.z0[0], label="rebuilt")
    ax.plot(spikes.t / ms, np.zeros(n), "|k", label="spikes")
    ax.set_ylabel(f"m_f = {m_f:g}")
axes[0].legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
axes[-1].set_xlabel("Time (ms)")
plt.show()
