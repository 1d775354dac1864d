"""
A recurrent network draws a curve
=================================

Train a recurrent network of excitatory and inhibitory neurons to draw a trajectory, by its exact gradient.

All weights keep their sign. Nicola and Clopath (2017) trained such networks by recursive least squares on the readout.
"""

from brian2 import *

from brian2grad import Adam, HybridProblem, integral_loss

prefs.codegen.target = "numpy"
rng = np.random.default_rng(4)
n_e, n_i, duration = 24, 8, 60 * ms
tau_m, tau_s, tau_z = 10 * ms, 5 * ms, 8 * ms
wanted = TimedArray(0.5 + 0.4 * np.sin(2 * np.pi * np.arange(60) / 40), dt=1 * ms)

neurons = NeuronGroup(
    n_e + n_i, "dv/dt = (E + I - v)/tau_m : 1 (unless refractory)\ndI/dt = -I/tau_s : 1\nE : 1",
    threshold="v > 1", reset="v = 0", refractory=2 * ms, name="neurons",
)  # fmt: skip
neurons.E, neurons.v = rng.uniform(1.1, 1.5, n_e + n_i), rng.uniform(0, 0.9, n_e + n_i)
readout = NeuronGroup(1, "dz/dt = -z/tau_z : 1", name="readout")
recurrent = Synapses(neurons, neurons, "w : 1", on_pre="I_post += w", name="recurrent")
recurrent.connect(condition="i != j", p=0.3)
out = Synapses(neurons, readout, "w : 1", on_pre="z_post += w", name="out")
out.connect()
recurrent.delay, out.delay = "1*ms + 2*ms*rand()", 1 * ms
signs = {s.name: np.where(np.array(s.i) < n_e, 1.0, -1.0) for s in (recurrent, out)}
recurrent.w = 0.15 * signs["recurrent"] * rng.uniform(0.5, 1.5, len(recurrent))
out.w = 0.05 * signs["out"]

loss = integral_loss("(z - wanted(t))**2/duration", readout)
wrt = [(recurrent, "w"), (out, "w"), (neurons, "E")]
problem = HybridProblem([neurons, readout, recurrent, out], loss, wrt, duration)
values = {key: problem.network.values[key].copy() for key in problem.keys}
adam, course, best = Adam(0.01), [], np.inf
for _ in range(120):
    value, gradients = problem.loss_and_gradients(values)
    course.append(value)
    if value < best:
        best, kept = value, {key: v.copy() for key, v in values.items()}
    adam.step(values, dict(zip(problem.keys, gradients, strict=True)))
    for key in problem.keys[:2]:  # Dale: no weight changes its sign
        values[key] = signs[key[0]] * np.maximum(signs[key[0]] * values[key], 0)
recurrent.w, out.w, neurons.E = (kept[key] for key in problem.keys)
print(f"mean squared error {course[0]:.3f} -> {best:.4f}")

trace, spikes = StateMonitor(readout, "z", record=0), SpikeMonitor(neurons)
defaultclock.dt = 0.01 * ms  # the trained values are in the objects: Brian 2 runs them
run(duration)
error = np.mean((trace.z[0] - wanted(trace.t)) ** 2)
print(f"in Brian 2 at 0.01 ms: {error:.4f}, {spikes.num_spikes} spikes")

fig, (above, below) = subplots(2, 1, figsize=(7, 4.5), layout="constrained", sharex=True, height_ratios=(2, 1))
above.plot(trace.t / ms, wanted(trace.t), "0.7", lw=4, label="wanted")
above.plot(trace.t / ms, trace.z[0], label="readout in Brian 2")
above.set(ylabel="z")
above.legend(frameon=False)
below.plot(spikes.t / ms, spikes.i, "|", ms=4)
below.axhline(n_e - 0.5, color="C3", lw=0.8)
below.set(xlabel="Time (ms)", ylabel="Neuron")
show()
