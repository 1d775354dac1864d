"""
Hardware with several cores: how long until the first answer?
=============================================================

Neurons are spread over cores; every core works through the spikes that wait for it, one after another, and nobody waits
for a layer. A trained network is asked how many steps go by until the first output spike, and whether it was right, for
one core to sixteen.

Asynchronous networks: Koopman, Yousefzadeh, Shahsavari, Tang & Sifalakis (2024), arXiv:2408.05098.

Caveat: a forward step is a unit of work, not of time. `TimedScheduler` gives spikes delays and cores a service time.
"""

from brian2 import *

from brian2grad import AsynchronousNetwork, TrainingOptions, Unlayered, load_splits, make_task, train
from brian2grad.models.asynchronous.losses import AsyncLoss
from brian2grad.models.asynchronous.schedulers import FifoScheduler, PerCoreScheduler

parts = load_splits("digits")
learned, held_out = (make_task(parts[k], 10 * ms, limit=n) for k, n in enumerate((600, 200)))
network = AsynchronousNetwork(
    [learned.events.n_units, 64, 64, 10], tau_m=30 * ms, V_th=[0.3] * 128 + [1.5] * 10, dt=10 * ms,
    scheduler=FifoScheduler(), forward_group=8, refractory_dropout=0.5, seed=1,
)  # fmt: skip
options = TrainingOptions(
    epochs=6, batch_size=32, learning_rate=4e-3, loss=AsyncLoss(gain=0.0, total=1.0, first=1.0),
    rule=Unlayered(reset="detached", steepness=3.0, filler="random"),
)  # fmt: skip
for epoch in train(network, learned, options, validation=held_out):
    print(f"epoch {epoch['epoch']}: {epoch['validation_accuracy']:.1%} right")

cores, steps, right = [1, 2, 4, 8, 16], [], []
for n in cores:
    scheduler = PerCoreScheduler(cores=n, assignment="cyclic", order=FifoScheduler())
    run_ = network.run(held_out.events, scheduler=scheduler, forward_group=1, stop="first-output", record=True)
    answered = run_.outputs.sum(axis=1)
    steps.append(run_.counters["forward_steps"].sum(axis=1))
    right.append(np.mean(answered.argmax(axis=1) == held_out.labels))
    print(f"{n:2d} cores: {np.median(steps[-1]):.0f} forward steps, {right[-1]:.1%} right at the first output spike")

fig, (ax, below) = subplots(1, 2, figsize=(9, 3.4), layout="constrained")
ax.boxplot(steps, tick_labels=cores, showfliers=False)
ax.set(xlabel="Cores", ylabel="Forward steps until the first output spike", yscale="log")
below.plot(range(5), 100 * np.array(right), "o-")
below.set(xlabel="Cores", ylabel="Right at the first output spike (%)", ylim=(0, 100))
below.set_xticks(range(5), cores)
show()
