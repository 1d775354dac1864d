"""
Skip connections: a layer that sees its input twice
===================================================

Layers are values with names, and a layer may take several others as its input. Here the readout of a deep, narrow
network takes its second hidden layer alone, or the first one too. Layers written as text and as values are the same.

SpikingGamma networks: Koopman, Otte & Bohté (2026), arXiv:2602.01978; skip connections: He, Zhang, Ren & Sun (2016),
doi:10.1109/CVPR.2016.90.
"""

from brian2 import *

from brian2grad import SpikingGammaNetwork, TrainingOptions, load_splits, make_task, train

parts = load_splits("digits")
learned, held_out = (make_task(parts[k], 10 * ms, limit=n) for k, n in enumerate((800, 300)))
networks = {
    "a chain": "first:48-second:8-10<second",
    "with a skip connection": "first:48-second:8-10<second,first",
}
fig, ax = subplots(figsize=(6, 3.4), layout="constrained")
for name, layers in networks.items():
    network = SpikingGammaNetwork(
        input=(learned.events.n_units,), layers=layers, K=4, tau=30 * ms, theta=0.5, dt=10 * ms, read_from=50 * ms,
        seed=1,
    )  # fmt: skip
    options = TrainingOptions(epochs=8, batch_size=32, learning_rate=3e-3)
    right = [epoch["validation_accuracy"] for epoch in train(network, learned, options, validation=held_out)]
    shapes = {key: value.shape for key, value in network.parameters.items() if ".w" in key}
    print(f"{name}: {right[-1]:.1%} of new digits right, weights {shapes}")
    ax.plot(range(1, 9), 100 * np.array(right), "o-", label=name)
ax.set(xlabel="Epoch", ylabel="Right on new digits (%)")
ax.legend(frameon=False)
show()
