"""
Handwritten digits before an event camera
=========================================

Train a SpikingGamma network on handwritten digits, then run the same network in Brian 2.

Koopman, Otte & Bohté (2026, arXiv 2602.01978): gamma-memory neurons with sigma-delta spikes, direct error
backpropagation through the decoded signals, no surrogate gradient. The digits are scikit-learn's (Alpaydin & Kaynak
1998), seen by a simulated event camera.

Caveat: a short run on a part of the data. ``brian2grad train gamma --data digits`` uses the full recipe.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from brian2 import ms

from brian2grad.models import SpikingGammaNetwork
from brian2grad.training import TrainingOptions, load_splits, make_task, train

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 5

digits, held_out = (make_task(part, 10 * ms) for part in load_splits("digits"))
network = SpikingGammaNetwork(
    [digits.events.n_units, 64, 10],
    K=5,
    tau=30 * ms,
    dt=10 * ms,
    read_from=50 * ms,  # answers count from here on
)
options = TrainingOptions(epochs=epochs, batch_size=32, learning_rate=4e-3, activity=0.1)
right = []
for epoch in train(network, digits, options, validation=held_out):
    right.append(100 * epoch["validation_accuracy"])
    print(
        f"epoch {epoch['epoch']}: loss {epoch['loss']:.3f}, {epoch['validation_accuracy']:.1%} right, "
        f"{epoch['spikes_per_neuron']:.2f} spikes per neuron"
    )

# The compiled engine that trained it and Brian 2 run the same equations: their spikes are the same, one for one.
events = held_out.events.take([0, 1])
engine = network.forward(events, dtype="float64", record=True)
brian = network.brian2(events)
for sample, (ours, theirs) in enumerate(zip(engine.recorded, brian.spikes, strict=True)):
    (steps, neurons, _), (brian_steps, brian_neurons) = ours[0], theirs[0]
    same = np.array_equal(steps, brian_steps) and np.array_equal(neurons, brian_neurons)
    decided = network.decisions(brian.readout)[sample, -1]
    print(
        f"recording {sample}: digit {held_out.labels[sample]}, decided {decided}, {len(steps)} spikes, "
        f"{'the same' if same else 'NOT the same'} in Brian 2"
    )

figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
axes[0].plot(range(1, epochs + 1), right, "o-")
axes[0].set(xlabel="Epoch", ylabel="New digits right (%)")
steps, neurons, _ = engine.recorded[0][0]
axes[1].plot(10 * steps, neurons, "|")
axes[1].set(xlabel="Time (ms)", ylabel="Hidden neuron", title=f"A {held_out.labels[0]}")
axes[2].plot(10 * np.arange(engine.readout.shape[1]), engine.readout[0], label=range(10))
axes[2].set(xlabel="Time (ms)", ylabel="Readout")
axes[2].legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()
