"""
Spikes moved to given times
===========================

Move a neuron's spikes to given times: the weights and delays of thirty inputs follow the exact gradient.

Adam first, by van Rossum's distance (2001), which tells what a spike too many or too few costs; then SciPy to the end.
"""

from brian2 import *
from scipy.optimize import minimize

from brian2grad import Adam, Objective, SpikeTimes, VanRossum
from brian2grad.training import HybridProblem

prefs.codegen.target = "numpy"
tau_m, tau_s, V_th = 10 * ms, 5 * ms, 1
rng = np.random.default_rng(2)
neuron = NeuronGroup(
    1, "dv/dt = (I - v)/tau_m : 1\ndI/dt = -I/tau_s : 1", threshold="v > V_th", reset="v = 0", name="neuron",
)  # fmt: skip
inputs = SpikeGeneratorGroup(30, np.arange(30).repeat(2), rng.uniform(0, 95, 60) * ms)
synapses = Synapses(inputs, neuron, "w : 1", on_pre="I_post += w", name="synapses")
synapses.connect()
synapses.w, synapses.delay = rng.uniform(0.2, 0.7, 30), rng.uniform(1, 5, 30) * ms

targets = [20, 45, 60, 85] * ms
objects, wrt, nobody = [neuron, inputs, synapses], [(synapses, "w"), (synapses, "delay")], [0] * 4


def spike_times():
    tape = HybridProblem(objects, VanRossum(neuron, [], [] * ms), [], 100 * ms).simulate()
    return np.array([t / ms for t, name, _ in tape.spikes if name == "neuron"]).round(2)


print("wanted", targets / ms)
before = spike_times()
print("before", before)
objective = Objective(objects, VanRossum(neuron, nobody, targets), wrt, 100 * ms)
start = np.r_[synapses.w[:], synapses.delay / ms]
x, adam, best = objective.start.copy(), Adam(0.03), (np.inf, None)
for _ in range(200):  # where spikes come and go the loss jumps, which a line search does not like
    value, gradient = objective(x)
    best = min(best, (value, x.copy()), key=lambda entry: entry[0])
    adam.step({"x": x}, {"x": gradient})
    x[30:] = np.maximum(x[30:], 0)  # delays
objective.assign(best[1])
print(f"van Rossum's distance {best[0]:.2e}")

objective = Objective(objects, SpikeTimes(neuron, nobody, targets), wrt, 100 * ms)
result = minimize(objective, objective.start, jac=True, bounds=objective.bounds, options={"maxiter": 100})
objective.assign(result.x)
after = spike_times()
print("after ", after)
error = np.abs(after - targets / ms).max() if len(after) == len(targets) else np.inf
print(f"largest distance from the targets: {error:.3f} ms")

fig, (raster, weights) = subplots(1, 2, figsize=(9, 3), layout="constrained")
for row, times in enumerate((targets / ms, before, after)):
    raster.plot(times, 0 * times + row, f"|C{row}", ms=25, mew=2)
raster.set(xlabel="Time (ms)", ylim=(2.7, -0.7), xlim=(0, 100))
raster.set_yticks(range(3), ["wanted", "before", "after"])
weights.scatter(start[30:], start[:30], c="0.7", label="before")
weights.scatter(synapses.delay / ms, synapses.w, label="after")
weights.set(xlabel="Delay (ms)", ylabel="Weight")
weights.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
show()
