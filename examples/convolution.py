"""
Convolution: spikes that share a kernel
=======================================

A bar moves before a small camera, to the left or to the right. A map of four channels with shared kernels sees it, a
pool makes it coarse, sixteen neurons decide. A spike adds its rows of the kernel to the places that it meets: what is
computed follows the events.

SpikingGamma networks: Koopman, Otte & Bohté (2026), arXiv:2602.01978.
"""

from brian2 import *

from brian2grad import SpikingGammaNetwork, StepEvents, Task, TrainingOptions, train

rng = np.random.default_rng(1)
side, steps = 10, 12


def bars(n):
    """Bars that cross the picture in either direction, with noise."""
    labels = np.arange(n) % 2
    frames = (rng.random((n, steps, 1, side, side)) < 0.02).astype(int)
    for frame, label in zip(frames, labels, strict=True):
        top, begin = rng.integers(0, side - 5), rng.integers(0, 3)
        for step in range(8):
            column = begin + step if label else side - 1 - begin - step
            frame[step + 2, 0, top : top + 5, column % side] = 1
    return Task(StepEvents.from_dense(frames.reshape(n, steps, -1), 10e-3), labels, frames.sum() / n), frames


learned, _ = bars(400)
held_out, frames = bars(200)
network = SpikingGammaNetwork(
    input=(1, side, side), layers="4c3-p2-16-2", K=3, tau=15 * ms, theta=0.3, dt=10 * ms, buckets="synapse", seed=2
)
network.calibrate(learned.events.take(range(50)))
for epoch in train(network, learned, TrainingOptions(epochs=3, batch_size=16, learning_rate=5e-3), validation=held_out):
    print(f"epoch {epoch['epoch']}: {epoch['validation_accuracy']:.1%} of new bars right")

fig, axes = subplots(3, 4, figsize=(6.5, 5), layout="constrained")
for step, ax in zip((2, 4, 6, 8), axes[0], strict=True):
    ax.imshow(frames[1, step, 0], cmap="Greys")
    ax.set_title(f"{10 * step} ms", fontsize=9)
kernels = network.parameters["layer1.w"]  # (buckets, height, width, channels, maps)
for bucket, row in enumerate(axes[1:]):
    for channel, ax in enumerate(row):
        shown = kernels[bucket, :, :, 0, channel]
        ax.imshow(shown, cmap="RdBu_r", vmin=-abs(shown).max(), vmax=abs(shown).max())
        ax.set_title(f"map {channel}, bucket {bucket}", fontsize=9)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
show()
