"""
A neuron fitted to the spikes of another
========================================

Fit an adaptive exponential neuron to spikes, and run the result in Brian 2.

The neuron is that of Brette & Gerstner (2005, J. Neurophysiol. 94:3637). Its spikes for a frozen noise current are made
in Brian 2, with some jitter as a cell would have. The fit sees the current and the spikes of the first three seconds.
"""

import numpy as np
from brian2 import *

from brian2grad import RecordingArchive, fit
from brian2grad.equations.ready import adex

duration, dt = 4 * second, 0.1 * ms
prefs.codegen.target = "numpy"
rng = np.random.default_rng(5)

# A current with a correlation time of 3 ms, and a neuron that nobody knows.
noise, decay = np.zeros(round(duration / dt)), np.exp(-dt / (3 * ms))
for k in range(1, len(noise)):
    noise[k] = decay * noise[k - 1] + rng.normal(0, np.sqrt(1 - decay**2))
current = TimedArray((0.25 + 0.25 * noise) * nA, dt=dt)
hidden = adex(
    "delta", C=150 * pF, g_L=9 * nS, E_L=-70 * mV, V_r=-60 * mV, V_T=-51 * mV, tau_w=60 * ms, b=40 * pA, a=0 * nS
)
cell = NeuronGroup(1, hidden, **hidden.arguments)
hidden.assign(cell)
cell.run_regularly("I_ext = current(t)", dt=dt)
spikes = SpikeMonitor(cell)
Network(cell, spikes).run(duration)

# Three repeats, as they would be recorded.
repeats = [np.sort(np.clip(spikes.t + rng.normal(0, 0.2, len(spikes.t)) * ms, 0 * ms, duration)) for _ in range(3)]
recording = RecordingArchive.from_repeats(repeats, current.values * amp, dt, name="generated")

found = fit(
    "adex", recording, until=3 * second, starts=3, generations=12, population=32, steps=40,
    progress=lambda r: print(f"{r['stage']:<10} loss {r['loss']:.3f}  gamma {r['gamma']:.3f}"),
)  # fmt: skip
print(found)

# The fitted neuron is a Brian 2 object like any other.
model = found.group(recording)
monitor = SpikeMonitor(model)
Network(model, monitor).run(duration)
gamma = found.evaluate(recording.part(3 * second))["gamma"]
print(f"{len(monitor.t)} spikes in Brian 2, recorded {len(repeats[0])}; last second: coincidence factor {gamma:.2f}")

fig, (input_, raster) = subplots(2, 1, figsize=(8, 3.2), layout="constrained", sharex=True)
late, times = np.arange(3000, 4000), repeats[0] / ms
input_.plot(late, current(late * ms) / nA, lw=0.6)
input_.set(ylabel="Current (nA)", title="The second that the fit has not seen")
raster.plot(times, 0 * times, "|C0", ms=18, label="recorded")
raster.plot(monitor.t / ms, 0 * monitor.t / ms - 1, "|C1", ms=18, label="fitted")
raster.set(xlabel="Time (ms)", xlim=(3000, 4000), ylim=(-1.6, 0.6), yticks=[0, -1], yticklabels=["recorded", "fitted"])
show()
