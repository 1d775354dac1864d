"""
A stream that never ends, and changes
=====================================

Follow an endless stream: a network that predicts a moving signal from spikes, and never stops learning.

Online rule of SpikingGamma networks, Koopman, Otte & Bohté (2026, arXiv 2602.01978): gradients are complete a fixed
time after the spikes that caused them, so memory does not grow. Twenty units have rates that follow a hidden signal;
what is asked for is the signal 25 ms ago. Halfway through, the units exchange their places.
"""

import matplotlib.pyplot as plt
import numpy as np
from brian2 import ms

from brian2grad import SpikingGammaNetwork
from brian2grad.training import Adam, OnlineLearner

steps, dt = 6000, 5 * ms
rng = np.random.default_rng(2)
signal = np.sin(np.arange(steps) * 0.04) * np.sin(np.arange(steps) * 0.013)
preferred = np.linspace(-1, 1, 20)
rates = 0.6 * np.exp(-((signal[:, None] - preferred) ** 2) / 0.1)
rates[steps // 2 :] = rates[steps // 2 :, rng.permutation(20)]

network = SpikingGammaNetwork([20, 40, 1], K=4, tau=15 * ms, theta=0.2, dt=dt, buckets="synapse")
learner = OnlineLearner(network, Adam(5e-3), window=20, loss="squared_error")
answers = np.zeros(steps)
for step in range(5, steps):
    events = np.flatnonzero(rng.random(20) < rates[step])
    answers[step] = learner.step(list(events), target=[signal[step - 5]])[0]

error = np.abs(answers[5:] - signal[:-5])
running = np.convolve(error, np.ones(200) / 200, "valid")
print(f"error {running[0]:.2f} at first, {running[steps // 2 - 250]:.2f} before the exchange", end=", ")
print(f"{running[steps // 2 + 50]:.2f} after it, {running[-1]:.2f} in the end")

figure, (above, below) = plt.subplots(2, 1, layout="constrained")
above.plot(signal[-405:-5], "0.6", label="wanted")
above.plot(answers[-400:], label="answered")
above.set(xlabel="Step of the last 400")
above.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
below.plot(np.arange(len(running)) + 200, running)
below.axvline(steps // 2, color="C1", ls="--")
below.set(xlabel="Step", ylabel="Error, mean of 200", ylim=(0, None))
plt.show()
