"""
One compilation, many recordings
================================

Run a trained network over many recordings as C++ that Brian 2 generates: one compilation, one process per sample.

The network of Koopman, Otte & Bohté (2026, arXiv 2602.01978), trained for a moment on the embedded digits. In C++
standalone mode Brian 2 writes a program of its own; here it is built once and run again with another input array.

Caveat: needs a C++ compiler; building takes about half a minute, a run some milliseconds.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from brian2 import ms

from brian2grad.models import SpikingGammaNetwork
from brian2grad.training import TrainingOptions, load_splits, make_task, train

samples = int(sys.argv[1]) if len(sys.argv) > 1 else 50

digits, held_out = (make_task(part, 10 * ms) for part in load_splits("digits"))
network = SpikingGammaNetwork([digits.events.n_units, 64, 10], K=5, tau=30 * ms, dt=10 * ms, read_from=50 * ms)
for epoch in train(network, digits, TrainingOptions(epochs=3, batch_size=32, learning_rate=4e-3)):
    print(f"epoch {epoch['epoch']}: loss {epoch['loss']:.3f}")

events, labels = held_out.events.take(slice(0, samples)), held_out.labels[:samples]
result = network.brian2(events, device="cpp_standalone")
decided = network.scores(result.readout).argmax(axis=1)
print(f"{samples} recordings, {result.compilations} compilation(s), {1e3 * result.seconds / samples:.0f} ms each")
print(f"{np.mean(decided == labels):.1%} right, {result.spike_counts.sum() / samples / 64:.2f} spikes per neuron")

predicted = network.predict(events, dtype="float64")
print(f"the compiled engine decides the same in {np.mean(predicted == decided):.1%} of them")

answers = np.zeros((10, 10), int)
np.add.at(answers, (labels, decided), 1)
figure, ax = plt.subplots(figsize=(4.4, 3.8), layout="constrained")
image = ax.imshow(answers, cmap="Blues")
ax.set(xlabel="Answer in C++", ylabel="Digit", xticks=range(10), yticks=range(10))
figure.colorbar(image, label="Recordings")
plt.show()
