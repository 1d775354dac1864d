"""
A spiking neuron learns to wait (Koopman, Otte & Bohté 2026)
============================================================

One input, one SpikingGamma neuron, and a receiver that decodes its spikes. The wanted output is the input, 20 ms
later. Gradients come online: in one pass over trains that are seen once, with a memory that does not grow in time.

Koopman, Otte & Bohté (2026), arXiv:2602.01978, delay task. `figures/timing_delay.py` does it for delays from 1 to 100
ms, at time steps down to 0.01 ms.
"""

from brian2 import *

from brian2grad import Adam, SpikingGammaNetwork
from brian2grad.training.timing_tasks.synthetic import delayed_signal, grid_events
from brian2grad.training.timing_tasks.timing import decode_spikes, learn

delay, dt, K, updates = 20 * ms, 0.2 * ms, 12, 400
network = SpikingGammaNetwork([1, 1, 1], K=K, tau=1.5 * delay / K, dt=dt, theta=0.05, multiple=True, bias=False, seed=0)
receiver = decode_spikes(network)  # the last layer is fixed: it decodes what the neuron sends
network.parameters["layer1.w"][:] = 1
one_spike = grid_events([0], [0], [0], 1, 400, 1, dt)

optimiser, losses, fig = Adam(0.03), [], figure(figsize=(8, 3.2), layout="constrained")
response, course = fig.subplots(1, 2)
for step in range(updates + 1):
    decoded = network.forward(one_spike).readout[0, :, 0]
    if step in (0, 20, 60, updates):
        response.plot(np.arange(400) * dt / ms, decoded, label=f"{step} updates")
    factor = 0.5 * (1 + np.cos(np.pi * step / updates))
    trains = delayed_signal(2, delay, dt, duration=160 * ms, seed=step)
    losses.append(learn(network, optimiser, trains, fixed=[receiver], factor=factor))
centre = np.sum(np.arange(400) * dt * decoded) / np.sum(decoded)
print(f"wanted: {delay}, learned (centre of the decoded response): {centre!s}")

response.axvline(delay / ms, color="0.7", ls=":")
response.set(xlabel="Time after one input spike (ms)", ylabel="Decoded response", xlim=(0, 60))
response.legend(frameon=False)
course.semilogy(losses, lw=0.7)
course.set(xlabel="Update", ylabel="Loss")
show()
