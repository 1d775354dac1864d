"""One training step of an asynchronous network against loops in numba and dense PyTorch, side by side.

    python benchmarks/unlayered.py [--data-root DIR] [--batch 32 1] [--forward-group 1 8 64] [--threads 1]

All run 2312-64-64-64-10 with the same weights on the same batch (first saccade of N-MNIST in 10 frames of 10 ms, or
synthetic events of the same number without ``--data-root``): forward pass under random order, cross entropy on output
counts, surrogate gradient, Adam. The numba version (``numba_unlayered.py``) knows events and delivers the same spikes
in the same order, in one thread. The PyTorch version (``dense_torch.py``) is dense, as the published one: a sort and an
N x N product for every forward step, until the slowest sample of the batch is done; its dense frames are made before.
They need the `benchmarks` extra. How it is measured says ``fair.py``.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from pathlib import Path

import fair
import numpy as np
from brian2 import ms

from brian2grad.models import AsynchronousNetwork
from brian2grad.models.events import StepEvents
from brian2grad.models.gradients import Unlayered
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


def batch_of(size: int, data_root):
    """Events and labels of one batch."""
    if data_root is None:
        return synthetic(size)
    task = make_task(load("nmnist8", data_root)[:size], 10 * ms, 100 * ms)
    return task.events, task.labels


def ours(network, events, labels):
    """A training step of the event-driven engine; the rate is so low that spikes stay those of the others."""
    optimiser = Adam(1e-9)

    def step():
        found = network.gradient(events, labels)
        optimiser.step(network.parameters, found.gradients)
        network.constrain()

    def set_threads(threads: int) -> None:
        for engine in (network.engine(network.scheduler), network._reverse_engine(Unlayered())):
            engine.threads = threads

    return fair.Side(step, set_threads)


def loops(network, events, labels, forward_group: int):
    """A training step in numba."""
    from numba_unlayered import NumbaUnlayered

    peer, seed = NumbaUnlayered(network, events.n_steps, Unlayered()), network.batch_order()["seed"]

    def step():
        peer.gradients(events, labels, network.scheduler, forward_group, seed)
        peer.update(1e-9)

    return step


def theirs(network, events, labels, forward_group: int):
    """A training step in dense PyTorch."""
    import torch
    from dense_torch import DenseUnlayered, arctan_slope, by_keys

    W_in, W = (torch.tensor(w, dtype=torch.float32, requires_grad=True) for w in network.connectivity.dense())
    mask = (W.detach() != 0).float()
    N = network.n_neurons
    leak, theta = torch.full((N,), math.exp(-1.0)), torch.full((N,), 0.3)
    frames = np.stack([events.dense(s) for s in range(len(events))], axis=1).astype(np.float32)
    frames, target = torch.tensor(frames), torch.tensor(labels).repeat(events.n_steps)
    optimiser = torch.optim.Adam([W_in, W], lr=0.0)
    choose = lambda q, P, t, k: by_keys(q > 0, torch.rand_like(q), forward_group)  # noqa: E731

    def step():
        optimiser.zero_grad()
        net = DenseUnlayered(W_in, W * mask, leak, theta, choose, arctan_slope)
        counts = net.run(frames)
        loss = torch.nn.functional.cross_entropy(counts[..., -SIZES[-1] :].reshape(-1, SIZES[-1]), target)
        loss.backward()
        optimiser.step()

    return fair.Side(step, torch.set_num_threads)


def epoch(arguments) -> float:
    """Seconds of one epoch over nmnist8, first saccade."""
    task = make_task(load("nmnist8", arguments.data_root), 10 * ms, 100 * ms)
    network, optimiser = make(arguments, 8), Adam(1e-3)
    rng = np.random.default_rng(0)
    began, order = time.perf_counter(), rng.permutation(len(task))
    for first in range(0, len(task), arguments.batch[0]):
        chosen = order[first : first + arguments.batch[0]]
        found = network.gradient(augment(task.events.take(chosen), rng, 1), task.labels[chosen])
        optimiser.step(network.parameters, found.gradients)
        network.constrain()
    return time.perf_counter() - began


def make(arguments, n_out: int, forward_group: int = 8) -> AsynchronousNetwork:
    """The network of the comparison."""
    return AsynchronousNetwork(
        [*SIZES[:-1], n_out], tau_m=10 * ms, V_th=0.3, scheduler=RandomScheduler(), threads=arguments.threads,
        forward_group=forward_group, seed=0,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path)
    for name, default in (("batch", [32, 1]), ("forward-group", [1, 8, 64])):
        parser.add_argument(f"--{name}", type=int, nargs="+", default=default)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epoch", action="store_true", help="also time an epoch of nmnist8 (needs --data-root)")
    parser.add_argument("--out", type=Path, default=fair.RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    fair.prepare(arguments.threads)
    rows = []
    for batch, F in itertools.product(arguments.batch, arguments.forward_group):
        events, labels = batch_of(batch, arguments.data_root)
        network = make(arguments, SIZES[-1], F)
        spikes = network.gradient(events, labels).n_spikes / len(events)
        sides = {"brian2grad": ours(network, events, labels)}
        for name, side in (("numba loop", loops), ("PyTorch, dense", theirs)):
            if side is loops and arguments.threads > 1:  # it has one
                continue
            try:
                sides[name] = side(network, events, labels, F)
            except ImportError:
                print(f"{name}: not installed (pip install 'brian2grad[benchmarks]')")
        found = fair.compare(sides, arguments.threads, budget=20.0)
        fair.show(found, f"batch {len(events)}, F = {F}: {len(events.units) / len(events):.0f} input events and "
                  f"{spikes:.0f} spikes a sample")  # fmt: skip
        rows += [{"batch": len(events), "F": F, **row} for row in found]
    fair.save("unlayered" + "_2_threads" * (arguments.threads > 1), rows, arguments.out)
    if arguments.epoch:
        if arguments.data_root is None:
            parser.error("--epoch needs --data-root")
        print(f"epoch of nmnist8, first saccade: {epoch(arguments):.1f} s")


if __name__ == "__main__":
    main()
