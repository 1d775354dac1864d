"""What a convolutional SpikingGamma network costs a core: 2x34x34-16c5-p2-32c3-p2-128-8 on recordings of N-MNIST.

    python benchmarks/convolution.py --data-root DIR     processor time of forward pass and gradient, one thread

Time of the processor, not of the clock, so that other work on the machine does not count. The weights are calibrated,
not trained; `--rms` sets how much they spike.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from brian2 import ms

from brian2grad.models import SpikingGammaNetwork
from brian2grad.training.data import load
from brian2grad.training.tasks import make_task


def measured(task, rms: float, K: int, dt, repeats: int = 3) -> dict:
    """Least processor time per sample in milliseconds, and spikes per hidden neuron."""
    network = SpikingGammaNetwork(
        input=(2, 34, 34), layers="16c5-p2-32c3-p2-128-8", K=K, tau=30 * ms, dt=dt, multiple=True, threads=1
    )
    network.calibrate(task.events.take(slice(0, 32)), rms)
    run = network.forward(task.events)
    least = {}
    for name, call in (
        ("forward", lambda: network.forward(task.events)),
        ("gradient", lambda: network.loss_and_grad(task.events, task.labels)),
    ):
        took = []
        for _ in range(repeats + 1):  # the first one compiles
            began = time.process_time()
            call()
            took.append(time.process_time() - began)
        least[name] = 1e3 * min(took[1:]) / len(task)
    return {**least, "spikes": run.spikes.sum() / len(task) / network.n_spiking}


def main() -> None:
    """Print one line a setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--rms", type=float, nargs="+", default=[0.7, 4.0])
    options = parser.parse_args()
    archive = load("nmnist8", options.data_root, "train")
    chosen = np.linspace(0, len(archive) - 1, options.samples).astype(int)
    print("  K  dt (ms)  spikes/neuron  forward (ms/sample)  gradient (ms/sample)  epoch of 12 000 (s/core)")
    for K, dt in ((5, 10), (3, 20)):
        task = make_task(archive[chosen], dt * ms, 320 * ms)
        for rms in options.rms:
            m = measured(task, rms, K, dt * ms)
            epoch = 12 * m["gradient"]
            print(f"{K:3} {dt:8} {m['spikes']:14.2f} {m['forward']:20.2f} {m['gradient']:21.2f} {epoch:25.0f}")


if __name__ == "__main__":
    main()
