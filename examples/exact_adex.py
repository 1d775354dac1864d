"""
Adaptation recovered from spike times
=====================================

Recover the adaptation of three AdEx neurons from their spike times, all firing patterns at once, by exact gradients.

The neuron is that of Brette and Gerstner (2005); the patterns are those that its adaptation makes: tonic, adapting,
initial burst (Naud, Marcille, Clopath and Gerstner 2008).
"""

from brian2 import *
from scipy.optimize import minimize

from brian2grad import HybridProblem, Objective, SpikeTimes, spike_loss
from brian2grad.equations.ready import adex

prefs.codegen.target = "numpy"
model = adex(C=200 * pF, g_L=12 * nS, E_L=-70 * mV, V_T=-50 * mV)
neurons = NeuronGroup(3, model, **model.arguments, name="neurons")
model.assign(neurons)
neurons.I_ext = 500 * pA
truth = {  # tonic, adapting, initial burst
    "a": [2, 2, 4] * nS, "b": [0.1, 60, 80] * pA, "tau_w": [30, 300, 150] * ms, "V_r": [-58, -58, -50] * mV,
}  # fmt: skip
duration = 150 * ms


def set_values(factors):
    for (name, values), factor in zip(truth.items(), factors, strict=True):
        setattr(neurons, name, np.asarray(values) * factor * get_unit(values.dim))


def spikes_now():
    ran = HybridProblem([neurons], spike_loss("t/ms", neurons), [], duration).compiled.run().spikes["neurons"]
    return ran.neurons, ran.times * second


set_values([1, 1, 1, 1])
indices, times = spikes_now()
print("spikes of each neuron", np.bincount(indices))

rng = np.random.default_rng(1)
start = 1 + rng.uniform(-0.1, 0.1, (4, 3)) * np.array([[1], [1], [1], [0.1]])
set_values(start)
before = spikes_now()
loss = SpikeTimes(neurons, indices, times, tau=5 * ms)
objective = Objective([neurons], loss, [(neurons, name) for name in truth], duration)
result = minimize(
    objective, objective.start, jac=True, bounds=objective.bounds, method="L-BFGS-B",
    options={"maxiter": 80, "maxfun": 150, "ftol": 1e-15, "gtol": 1e-9},
)  # fmt: skip
objective.assign(result.x)
print(f"distance {objective(objective.start)[0]:.3g} -> {result.fun:.2g} after {result.nfev} gradients")
for name, values in truth.items():
    found = np.asarray(getattr(neurons, name)[:]) / np.asarray(values)
    print(f"{name:6s} {np.array2string(found, precision=3)} times the true value")

fig, raster = subplots(figsize=(8, 3), layout="constrained")
rows = {"recorded": (indices, times), "before": before, "after": spikes_now()}
for row, (name, (i, t)) in enumerate(rows.items()):
    raster.plot(t / ms, 4 * i + 2 - row, f"|C{row}", ms=9, label=name)
raster.set(xlabel="Time (ms)", yticks=[1, 5, 9], yticklabels=["tonic", "adapting", "burst"])
raster.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
show()
