"""
The exact gradient of your own network (Wunderlich & Pehle 2021)
================================================================

The exact gradient of your own LIF network: weights, delays, time constant and threshold.

EventProp of Wunderlich and Pehle (2021) is the special case without delays and refractoriness.
"""

from brian2 import *

from brian2grad import derive_adjoint, spike_loss, value_and_grad

V_th = 1
neurons = NeuronGroup(
    2,
    """dv/dt = (I - v)/tau_m : 1 (unless refractory)
       dI/dt = -I/(5*ms) : 1
       tau_m : second (constant)""",
    threshold="v > V_th", reset="v = 0", refractory=2*ms, name="neurons",
)  # fmt: skip
neurons.tau_m = [10, 12] * ms
inputs = SpikeGeneratorGroup(3, [0, 1, 2], [1, 3, 4] * ms)
synapses = Synapses(inputs, neurons, "w : 1", on_pre="I_post += w", name="synapses")
synapses.connect()
synapses.w = [4, 3, 3.5, 2.8, 2.5, 3.3]
synapses.delay = [1, 2, 1.5, 2.5, 3, 2] * ms

print(derive_adjoint(neurons, synapses))

loss = spike_loss("(t - 9*ms)**2/ms**2", neurons)  # both should spike at 9 ms
wrt = [(synapses, "w"), (synapses, "delay"), (neurons, "tau_m"), (neurons, "V_th")]
value, gradients = value_and_grad([neurons, inputs, synapses], loss, wrt, 30 * ms)
print(f"\nloss {float(value):.6g}")
for (item, name), gradient in zip(wrt, gradients, strict=True):
    print(f"by {item.name}.{name}: {gradient}")

colours = ["C0" if g > 0 else "C1" for g in gradients[0]]
bar([f"{i} to {j}" for i, j in zip(synapses.i, synapses.j, strict=True)], gradients[0], color=colours)
xlabel("Synapse, from input to neuron")
ylabel("dL/dw")
show()
