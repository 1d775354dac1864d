"""
Spikes without a layer barrier, clock-driven (Koopman et al. 2024)
==================================================================

In a layered simulation, a layer waits until the one before it has finished. On asynchronous hardware nobody
waits: a few spikes are delivered, the neurons they reach are tested, and new spikes join the queue. Here one
tick of Brian 2's clock delivers one such group of spikes, chosen at random (RS) or by how far up a neuron was
when it spiked (MS). The same network, weights and input are also run layer after layer.

Everything is made of ordinary Brian 2 objects, so an own monitor can be added. For many samples, also in C++
standalone, there is ``brian2grad.models.asynchronous.brian.run.run_async_brian2``.

Koopman, Yousefzadeh, Shahsavari, Tang & Sifalakis (2024). Overcoming the limitations of layer synchronization in
spiking neural networks. arXiv:2408.05098
"""

import numpy as np
from brian2 import *

from brian2grad.models.asynchronous.brian.clock import ClockDriven
from brian2grad.models.asynchronous.network import AsynchronousNetwork
from brian2grad.models.order.schedulers import LayerSynchronous, MomentumScheduler, RandomScheduler

prefs.codegen.target = "numpy"

# Network and input -------------------------------------------------------------------------------------------
layers = [200, 64, 64, 64, 10]
timesteps = 3
rng = np.random.default_rng(7)
frame = rng.poisson(0.1, (timesteps, layers[0]))  # input events of every timestep

schedulers = {
    "layer after layer": LayerSynchronous(),
    "random, 4 spikes at a time": RandomScheduler(),
    "momentum, 4 spikes at a time": MomentumScheduler(),
}

# Simulation --------------------------------------------------------------------------------------------------
fig, axes = subplots(2, len(schedulers), figsize=(11, 6), sharex="col", height_ratios=(2, 1))
for column, (title, scheduler) in zip(axes.T, schedulers.items(), strict=True):
    net = AsynchronousNetwork(layers, tau_m=10 * ms, V_th=0.3, dt=10 * ms, scheduler=scheduler, forward_group=4, seed=1)
    brian = ClockDriven(net, timesteps)
    brian.assign(brian.values(net, frame=frame))

    output = arange(len(brian.sources) - layers[-1], len(brian.sources))
    membrane = StateMonitor(brian.sources, "v", record=output, when="end")
    brian.network.add(membrane)
    brian.run()  # ends by itself when the last timestep has been processed

    # A tick is a forward step: where do the spikes of which layer lie?
    tick = brian.spikes.t / ms
    layer = array(brian.sources.layer)[brian.spikes.i]
    begins = array(brian.steps.t / ms)[array(brian.steps.step) == 0]
    print(f"{title}: {len(tick)} spikes in {len(brian.steps.t)} forward steps, {sum(layer == 4)} of the output")

    # Figure --------------------------------------------------------------------------------------------------
    column[0].scatter(tick, brian.spikes.i - layers[0], c=layer, s=4, cmap="viridis")
    column[1].plot(membrane.t / ms, membrane.v.T, lw=0.8)
    for ax in column:
        for begin in begins:
            ax.axvline(begin, color="0.8", lw=0.8, zorder=0)
    column[0].set(title=title, ylabel="neuron")
    column[1].set(xlabel="forward step (grey: a timestep begins)", ylabel="output membranes")

tight_layout()
show()
