"""
Trained for the order in which it runs (Koopman et al. 2024)
============================================================

The same network learns digits before an event camera twice: layer after layer, and through the random order of spikes
that asynchronous hardware has. Both are then asked for their answer at the first output spike, and when nothing waits
any more.

Koopman, Yousefzadeh, Shahsavari, Tang & Sifalakis (2024). Overcoming the limitations of layer synchronization in
spiking neural networks. arXiv:2408.05098.

Caveat: a small network and a few epochs; `figures/mismatch.py` has three networks of each kind in seven orders.
"""

from brian2 import *

from brian2grad import (
    AsynchronousNetwork,
    LayerSynchronous,
    RandomScheduler,
    TrainingOptions,
    Unlayered,
    load_splits,
    make_task,
    train,
)
from brian2grad.models.asynchronous.losses import AsyncLoss

parts = load_splits("digits")
learned, held_out = (make_task(parts[k], 10 * ms, limit=n) for k, n in enumerate((1000, 300)))
options = TrainingOptions(
    epochs=8, batch_size=32, learning_rate=3e-3, loss=AsyncLoss(gain=0.0, total=1.0),
    rule=Unlayered(reset="detached", steepness=3.0, filler="random"),
)  # fmt: skip


def trained(scheduler, forward_group):
    network = AsynchronousNetwork(
        [learned.events.n_units, 64, 64, 10], tau_m=30 * ms, V_th=[0.3] * 128 + [1.5] * 10, dt=10 * ms,
        scheduler=scheduler, forward_group=forward_group, refractory_dropout=0.5, seed=1,
    )  # fmt: skip
    for epoch in train(network, learned, options):
        print(f"{scheduler.name}, epoch {epoch['epoch']}: loss {epoch['loss']:.2f}")
    return network


networks = {"layer after layer": trained(LayerSynchronous(), None), "in random order": trained(RandomScheduler(), 8)}
found = {}
for name, network in networks.items():
    for stop in ("first-output", "drained"):
        result = network.run(held_out.events, scheduler=RandomScheduler(), forward_group=8, stop=stop)
        right = np.mean(result.outputs.sum(axis=1).argmax(axis=1) == held_out.labels)
        found[name, stop] = 100 * right, result.counters["spikes"].sum(axis=1).mean() / 138
        print(f"trained {name}, run at random until {stop}: {right:.1%} right", end=", ")
        print(f"{found[name, stop][1]:.2f} spikes per neuron")

fig, axes = subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for ax, column, label in zip(axes, (0, 1), ("Right (%)", "Spikes per neuron and sample"), strict=True):
    for shift, stop in ((-0.2, "first-output"), (0.2, "drained")):
        ax.bar(arange(2) + shift, [found[name, stop][column] for name in networks], 0.36, label=f"until {stop}")
    ax.set(xticks=range(2), xticklabels=[f"trained\n{name}" for name in networks], ylabel=label)
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
show()
