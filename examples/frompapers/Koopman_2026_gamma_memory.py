"""
Neurons that listen to the past (Koopman, Otte & Bohté 2026)
============================================================

An integrate-and-fire neuron that listens to the past through a gamma memory.

The memory of de Vries & Principe (1992, Neural Networks 5:565) in the form of Koopman, Otte & Bohté (2026, arXiv
2602.01978): a chain of K leaky buckets that spill into each other, so that bucket k is the input about k*tau ago. Each
neuron here listens to one bucket of its own memory, added to its equations with ``+``: one input spike makes them fire
one after another, tau apart.

Caveat: the delays are smooth. Bucket k spreads a spike over sqrt(k+1)*tau; sharp long delays need many buckets.
"""

from math import exp, factorial

import matplotlib.pyplot as plt
import numpy as np
from brian2 import Network, NeuronGroup, SpikeGeneratorGroup, SpikeMonitor, StateMonitor, Synapses, defaultclock, ms

from brian2grad.equations import gamma_memory

K, tau = 6, 10 * ms
defaultclock.dt = 0.1 * ms

memory = gamma_memory(K, tau, memory="continuous")
heard = " + ".join(f"int(i == {k - 1})*z{k}" for k in range(1, K))  # neuron i listens to bucket i + 1
lif = f"""
dv/dt = (gain*heard - v)/(2*ms) : 1
heard = {heard} : 1
gain : 1 (constant)
"""

neuron = memory + lif
neurons = NeuronGroup(K - 1, neuron, threshold="v > 1", reset="v = 0", refractory=100 * ms, **neuron.arguments)
for k in range(1, K):
    peak = k**k * exp(-k) / factorial(k)  # of the kernel (t/tau)^k exp(-t/tau) / k!
    neurons.gain[k - 1] = 1.05 / peak

source = SpikeGeneratorGroup(1, [0], [20] * ms)
synapses = Synapses(source, neurons, on_pre="z0_post += 1")
synapses.connect()

buckets = StateMonitor(neurons, [f"z{k}" for k in range(K)], record=[0])
spikes = SpikeMonitor(neurons)

network = Network(neurons, source, synapses, buckets, spikes)
network.run(150 * ms)

print("bucket  largest after (ms)  its neuron fires after (ms)")
for k in range(1, K):
    largest = buckets.t[np.argmax(getattr(buckets, f"z{k}")[0])] / ms - 20
    fired = spikes.t[spikes.i == k - 1][0] / ms - 20
    print(f"{k:6d}  {largest:18.1f}  {fired:27.1f}")

figure, (traces, raster) = plt.subplots(2, 1, sharex=True, height_ratios=(3, 1), layout="constrained")
for k in range(K):
    z = getattr(buckets, f"z{k}")[0]
    traces.plot(buckets.t / ms, z / z.max(), label=f"bucket {k}")
raster.plot(spikes.t / ms, spikes.i + 1, "|k", markersize=12)
traces.set(ylabel="Content, of its maximum")
traces.legend(frameon=False)
raster.set(xlabel="Time (ms)", ylabel="Spike of neuron", yticks=range(1, K))
plt.show()
