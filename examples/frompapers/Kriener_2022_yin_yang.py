"""
Yin-Yang with your own spiking network (Kriener et al. 2022)
============================================================

The data set of Kriener, Göltz & Petrovici (2022), doi:10.1145/3517343.3517380, learned by the exact gradient. A point
in the disc comes as the times of five spikes. Two layers of leaky integrators answer, the output that rises highest
decides. Trained weights and delays stand in the Brian 2 objects (all points: ``brian2grad train exact lif``).
"""

import sys

from brian2 import *

from brian2grad import HighestPotential, TrainableNetwork, TrainingOptions, train
from brian2grad.training.data import VectorArchive, encode_vectors
from brian2grad.training.exact import spike_task

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
rng = np.random.default_rng(1)


def points(n):
    """Points of the disc of radius 1/2, and where they lie: 0 yin, 1 yang, 2 in one of the two dots."""
    xy = rng.random((8 * n, 2))
    xy = xy[np.hypot(*(xy.T - 0.5)) <= 0.5]
    left, right = (np.hypot(xy[:, 0] - x, xy[:, 1] - 0.5) for x in (0.25, 0.75))
    yin = (right <= 0.1) | ((left > 0.1) & (left <= 0.25)) | ((xy[:, 1] > 0.5) & (right > 0.25))
    labels = np.where((left < 0.1) | (right < 0.1), 2, np.where(yin, 0, 1))
    chosen = np.concatenate([np.flatnonzero(labels == k)[: n // 3] for k in range(3)])
    return spike_task(encode_vectors(VectorArchive(xy[chosen], labels[chosen]), span=30 * ms))


equations = """dv/dt = (I - v)/(10*ms) : 1
               dI/dt = -I/(5*ms) : 1"""
inputs = SpikeGeneratorGroup(5, [], [] * ms)
hidden = NeuronGroup(60, equations, threshold="v > 1", reset="v = 0", method="exact")
outputs = NeuronGroup(3, equations, method="exact")
first = Synapses(inputs, hidden, "w : 1", on_pre="I_post += w")
second = Synapses(hidden, outputs, "w : 1", on_pre="I_post += w")
for synapses, mean, spread in ((first, 1.5, 1.0), (second, 0.0, 1.0)):
    synapses.connect()
    synapses.w = rng.normal(mean, spread, len(synapses))
    synapses.delay = rng.uniform(0, 4, len(synapses)) * ms

network = TrainableNetwork(
    [inputs, hidden, outputs, first, second],
    wrt=[(synapses, name) for synapses in (first, second) for name in ("w", "delay")],
    duration=60 * ms, inputs=inputs, outputs=outputs,
)  # fmt: skip
learned, held_out = points(900), points(300)
options = TrainingOptions(epochs=epochs, batch_size=32, learning_rate=5e-3, loss=HighestPotential(wake=0.2, rate=0.3))
for epoch in train(network, learned, options, validation=held_out):
    print(f"epoch {epoch['epoch']}: loss {epoch['loss']:.3f}, {epoch['validation_accuracy']:.1%} of new points right")

# The objects now hold what was learned, and run in Brian 2 like any other.
network.apply()
neurons, times = held_out.events.spikes[0]
inputs.set_spikes(neurons, Quantity(times, dim=ms.dim))
potential = StateMonitor(outputs, "v", record=True)
defaultclock.dt = 0.01 * ms
run(60 * ms)
same = potential.v.max(axis=1).argmax() == network.predict(held_out.events.take([0]))[0]
print(f"label {held_out.labels[0]}, decided {'the same' if same else 'NOT the same'} in Brian 2")

plot(potential.t / ms, potential.v.T, label=["yin", "yang", "dot"])
xlabel("Time (ms)")
ylabel("Potential of the outputs")
legend(frameon=False)
show()
