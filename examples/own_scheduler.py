"""
An order of your own in one line
================================

A scheduler of your own in one line: spikes of low addresses first, as on a bus with fixed priorities.

Asynchronous networks as in Koopman, Yousefzadeh, Shahsavari, Tang & Sifalakis (2024), arXiv:2408.05098. The key is
text; the smallest one is delivered first. The same network is run in three orders, which alone make the difference.
"""

import matplotlib.pyplot as plt
import numpy as np
from brian2 import ms

from brian2grad import AsynchronousNetwork, FifoScheduler, RandomScheduler, StepEvents
from brian2grad.models.asynchronous.schedulers import KeyScheduler

orders = {
    "low addresses first": KeyScheduler("i"),
    "in order of arrival": FifoScheduler(),
    "at random": RandomScheduler(),
}
rng = np.random.default_rng(1)
events = StepEvents.from_dense(rng.poisson(0.15, (1, 1, 60)), 10e-3)
network = AsynchronousNetwork([60, 40, 40, 4], V_th=0.3, dt=10 * ms, forward_group=1, weight_scale=2.0, seed=3)

figure, axes = plt.subplots(1, 3, figsize=(9, 3), sharey=True, layout="constrained")
for (title, scheduler), ax in zip(orders.items(), axes, strict=True):
    run = network.run(events, scheduler=scheduler, record=True)
    answered = run.spikes.neuron[run.spikes.neuron >= 80] - 80
    print(f"{title}: {len(run.spikes)} spikes, outputs answer in the order {answered.tolist()}")
    ax.scatter(run.spikes.step, run.spikes.neuron, c=np.digitize(run.spikes.neuron, (40, 80)), s=8)
    ax.set(title=title, xlabel="Forward step")
axes[0].set_ylabel("Neuron, coloured by layer")
plt.show()
