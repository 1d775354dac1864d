"""
The adjoint is a Brian 2 network
================================

The equations of a network's adjoint run backward in Brian 2 and give its gradient.

A recurrent network of LIF neurons, its derived adjoint, and the gradient by Brian 2 alone at finer and finer time steps
beside the exact one. The equations are those of EventProp (Wunderlich and Pehle, 2021) with refractoriness left out.
"""

from brian2 import *

from brian2grad import brian2_gradient, derive_adjoint, final_loss, spike_loss, value_and_grad

prefs.codegen.target = "numpy"
constants = {"tau_m": 10 * ms, "tau_s": 5 * ms, "V_th": 1, "ms": ms}
neurons = NeuronGroup(
    4,
    """dv/dt = (I - v)/tau_m : 1
       dI/dt = -I/tau_s : 1""",
    threshold="v > V_th", reset="v = 0.1", method="exact", namespace=constants, name="neurons",
)  # fmt: skip
rng = np.random.default_rng(0)
inputs = SpikeGeneratorGroup(3, [0, 1, 2, 0, 1, 2, 0, 1], [1, 3, 5, 8, 12, 14, 20, 22] * ms)
feed = Synapses(inputs, neurons, "w : 1", on_pre="I_post += w", delay=1.5 * ms, name="feed")
feed.connect()
feed.w = rng.uniform(0.5, 3, 12)
loop = Synapses(neurons, neurons, "w : 1", on_pre="I_post += w", delay=2.5 * ms, name="loop")
loop.connect(condition="i != j")
loop.w = rng.normal(0.3, 0.4, 12)
network = [neurons, inputs, feed, loop]

adjoint = derive_adjoint(neurons, feed, loop)
print("The adjoint group's equations, in time that runs backward:")
print(adjoint.equations)
print("\nWhen a spike of the loop arrives, the source is owed kappa =", adjoint.rule("loop_pre").kappa)

loss = spike_loss("sin(t/(5*ms))", neurons) + final_loss("v**2", neurons)
wrt = [(feed, "w"), (loop, "w"), (neurons, "tau_m"), (neurons, "V_th")]
duration = 30 * ms
value, exact = value_and_grad(network, loss, wrt, duration)

steps, errors = [0.08, 0.04, 0.02, 0.01, 0.005], []
for step in steps:
    found = brian2_gradient(network, loss, wrt, duration, dt=step * ms)
    errors.append([linalg.norm(f - e) / linalg.norm(e) for f, e in zip(found, exact, strict=True)])
    print(f"dt = {step:g} ms: relative error", ", ".join(f"{e:.1%}" for e in errors[-1]))

figure(figsize=(9, 3.5))
subplot(121)
scatter(exact[0] * 1, found[0] * 1, 15, label="input weights")
scatter(exact[1] * 1, found[1] * 1, 15, label="recurrent weights")
axline((0, 0), slope=1, color="grey", lw=0.8)
xlabel("Exact dL/dw")
ylabel(f"Brian 2 backward, dt = {steps[-1]:g} ms")
legend()
subplot(122)
loglog(steps, errors, "o-", label=[f"{item.name}.{name}" for item, name in wrt])
loglog(steps, [errors[-1][0] * s / steps[-1] for s in steps], "k:", label="first order")
minorticks_off()
xticks(steps, steps)
xlabel("Time step (ms)")
ylabel("Relative error of the gradient")
legend()
tight_layout()
show()
