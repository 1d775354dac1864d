"""One training step of an asynchronous network, event-driven against dense PyTorch, side by side.

    python benchmarks/unlayered.py [--data-root DIR] [--batch 64] [--forward-group 8] [--threads 2] [--repeat 3]

Both run 2312-64-64-64-10 with the same weights on the same batch (first saccade of N-MNIST in 10 frames of 10 ms, or
synthetic events of the same number without ``--data-root``): forward pass under random order, cross entropy on output
counts, surrogate gradient. The PyTorch version (``dense_torch.py``) is dense, as the published one: a sort and an N x N
product for every forward step, until the slowest sample of the batch is done. It needs the `benchmarks` extra.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
from brian2 import ms

from brian2grad.models import AsynchronousNetwork
from brian2grad.models.events import StepEvents
from brian2grad.models.order.schedulers import RandomScheduler
from brian2grad.training import load, make_task
from brian2grad.training.optimisers import Adam
from brian2grad.training.tasks import augment

SIZES = [2312, 64, 64, 64, 10]


def synthetic(n_samples: int, n_steps: int = 10, events_per_step: float = 125.0):
    """Poisson events of N-MNIST's number per frame, and labels."""
    rng = np.random.default_rng(0)
    frames = rng.poisson(events_per_step / SIZES[0], (n_samples, n_steps, SIZES[0]))
    return StepEvents.from_dense(frames, 10 * ms), rng.integers(0, 10, n_samples)


def now() -> np.ndarray:
    """Wall and processor time: the second hardly changes when a machine is shared."""
    return np.array([time.perf_counter(), time.process_time()])


def batch_of(arguments):
    """Events and labels of one batch."""
    if arguments.data_root is None:
        return synthetic(arguments.batch)
    task = make_task(load("nmnist8", arguments.data_root)[: arguments.batch], 10 * ms, 100 * ms)
    return task.events, task.labels


def ours(network, events, labels, repeat: int):
    """Median (wall, processor) seconds of a training step, and the last gradient."""
    optimiser, seconds = Adam(1e-3), []
    network.gradient(events, labels)  # compiles
    for _ in range(max(3, 3 * repeat)):
        began = now()
        found = network.gradient(events, labels)
        optimiser.step({n: v.copy() for n, v in network.parameters.items()}, found.gradients)
        network.constrain()
        seconds.append(now() - began)
    return np.median(seconds, axis=0), found


def theirs(network, events, labels, forward_group: int, threads: int, repeat: int):
    """Median (wall, processor) seconds of a training step in dense PyTorch, and its spikes."""
    import torch

    sys.path.insert(0, str(Path(__file__).parent))
    from dense_torch import DenseUnlayered, arctan_slope, by_keys

    torch.set_num_threads(threads)
    W_in, W = (torch.tensor(w, dtype=torch.float32, requires_grad=True) for w in network.connectivity.dense())
    mask = (W.detach() != 0).float()
    N = network.n_neurons
    leak, theta = torch.full((N,), math.exp(-1.0)), torch.full((N,), 0.3)
    frames = np.stack([events.dense(s) for s in range(len(events))], axis=1).astype(np.float32)
    frames, target = torch.tensor(frames), torch.tensor(labels).repeat(events.n_steps)
    optimiser, seconds, spikes = torch.optim.Adam([W_in, W], lr=0.0), [], 0
    for _ in range(repeat):
        began = now()
        optimiser.zero_grad()
        choose = lambda q, P, t, k: by_keys(q > 0, torch.rand_like(q), forward_group)  # noqa: E731
        net = DenseUnlayered(W_in, W * mask, leak, theta, choose, arctan_slope)
        counts, _, _ = net.run(frames)
        loss = torch.nn.functional.cross_entropy(counts[..., -SIZES[-1] :].reshape(-1, SIZES[-1]), target)
        loss.backward()
        optimiser.step()
        seconds.append(now() - began)
        spikes = net.spikes
    return np.median(seconds, axis=0), spikes


def epoch(arguments) -> float:
    """Seconds of one epoch over nmnist8, first saccade."""
    task = make_task(load("nmnist8", arguments.data_root), 10 * ms, 100 * ms)
    network, optimiser = make(arguments, 8), Adam(1e-3)
    rng = np.random.default_rng(0)
    began, order = time.perf_counter(), rng.permutation(len(task))
    for first in range(0, len(task), arguments.batch):
        chosen = order[first : first + arguments.batch]
        found = network.gradient(augment(task.events.take(chosen), rng, 1), task.labels[chosen])
        optimiser.step(network.parameters, found.gradients)
        network.constrain()
    return time.perf_counter() - began


def make(arguments, n_out: int) -> AsynchronousNetwork:
    """The network of the comparison."""
    return AsynchronousNetwork(
        [*SIZES[:-1], n_out], tau_m=10 * ms, V_th=0.3, scheduler=RandomScheduler(), threads=arguments.threads,
        forward_group=arguments.forward_group, seed=0,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path)
    for name, default in (("batch", 64), ("forward-group", 8), ("threads", 2), ("repeat", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--epoch", action="store_true", help="also time an epoch of nmnist8 (needs --data-root)")
    arguments = parser.parse_args()
    events, labels = batch_of(arguments)
    network = make(arguments, SIZES[-1])
    mine, found = ours(network, events, labels, arguments.repeat)
    per_sample = found.n_spikes / len(events)
    print(f"batch {len(events)}, F = {arguments.forward_group}, {arguments.threads} threads, "
          f"{len(events.units) / len(events):.0f} input events and {per_sample:.0f} spikes per sample")  # fmt: skip
    print(f"event-driven  {mine[0] * 1e3:9.1f} ms per training step, {mine[1] * 1e3:9.1f} ms of processor time")
    try:
        dense, spikes = theirs(network, events, labels, arguments.forward_group, arguments.threads, arguments.repeat)
        print(f"dense PyTorch {dense[0] * 1e3:9.1f} ms per training step, {dense[1] * 1e3:9.1f} ms of processor time, "
              f"{spikes / len(events):.0f} spikes per sample")  # fmt: skip
        again, _ = ours(network, events, labels, arguments.repeat)
        ratio = dense / np.maximum(mine, again)  # event-driven before and after: the slower one
        print(f"ratio         {ratio[0]:9.1f}, {ratio[1]:.1f} in processor time")
    except ImportError:
        print("dense PyTorch: not installed (pip install 'brian2grad[benchmarks]')")
    if arguments.epoch:
        if arguments.data_root is None:
            parser.error("--epoch needs --data-root")
        print(f"epoch of nmnist8, first saccade: {epoch(arguments):.1f} s")


if __name__ == "__main__":
    main()
