"""Time of a training epoch on N-MNIST (digits 0-7): the compiled engine beside PyTorch, in one run.

    python benchmarks/epoch.py --data-root DIR                one thread each, processor time
    python benchmarks/epoch.py --data-root DIR --threads 2    two threads or one, whichever is faster

The same 2312-128-8 network (K = 5, 10 ms steps, Adam, batches of 64), the same gradient; every side steps through the
same batches, and each counts what it makes of the binned events (dense tensors, sparse rows). An epoch is the median
batch times their number; ours is also run in full. Without data, synthetic events with N-MNIST's statistics stand in.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import fair
import numpy as np

SIZES, BATCH, N_STEPS, N_RECORDINGS = (2312, 128, 8), 64, 32, 12000
READ_FROM = 5  # steps of 10 ms


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, help="folder with nmnist8_train.npz (default: synthetic events)")
    parser.add_argument("--batches", type=int, default=25, help="batches timed side by side")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=fair.RESULTS, help="folder of the results")
    parser.add_argument("--epoch-only", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def synthetic(n_samples: int, seed: int = 0):
    """Events of moving blobs: about 2400 distinct pixel-steps a recording in an eighth of the pixels."""
    from brian2grad.models.events import StepEvents

    rng = np.random.default_rng(seed)
    counts = rng.poisson(76, size=n_samples * N_STEPS).astype(np.int64)
    centre = np.repeat(rng.integers(300, 2000, size=n_samples), N_STEPS)
    units = [
        np.unique(np.clip(rng.normal(c, 250, n).astype(int), 0, 2311)) for c, n in zip(centre, counts, strict=True)
    ]
    ptr = np.concatenate([[0], np.cumsum([len(u) for u in units])]).astype(np.int64)
    units = np.concatenate(units).astype(np.uint16)
    ones = np.ones(len(units), np.uint8)
    return StepEvents(ptr, units, ones, SIZES[0], N_STEPS, n_samples, 0.01), rng.integers(0, 8, n_samples)


def load_data(data_root):
    """Binned events and labels."""
    if data_root is None:
        return synthetic(N_RECORDINGS)
    from brian2 import ms

    from brian2grad.models.events import bin_events
    from brian2grad.training.data import read_archive

    archive = read_archive(data_root / "nmnist8_train.npz")
    return bin_events(archive, 10 * ms, N_STEPS), np.asarray(archive.labels)


class Steps:
    """Training steps of one side, batch after batch of one order."""

    def __init__(self, events, labels, make):
        self.events, self.labels, self.make = events, labels, make
        self.order, self.next = np.random.default_rng(0).permutation(len(events)), 0

    def __call__(self):
        chosen = self.order[self.next : self.next + BATCH]
        self.next = (self.next + BATCH) % (len(self.events) - BATCH)
        self.make(self.events.take(chosen), self.labels[chosen])


def ours(events, threads):
    """The network, and a function that trains it with a batch."""
    from brian2 import ms

    from brian2grad.models.gamma.network import SpikingGammaNetwork
    from brian2grad.training.optimisers import Adam

    network = SpikingGammaNetwork(SIZES, K=5, tau=30 * ms, dt=10 * ms, read_from=READ_FROM * 10 * ms, threads=threads)
    network.calibrate(events.take(np.arange(64)))
    optimiser = Adam(2e-3)

    def train(batch, labels):
        found = network.gradient(batch, labels)
        optimiser.step(network.parameters, found.gradients, info=network.info)

    return network, train


def torch_step(model, version, prepare):
    """A function that trains a PyTorch network with a batch; `prepare` makes its input."""
    import torch

    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3, fused=True)

    def train(batch, labels):
        optimiser.zero_grad()
        model.loss(prepare(batch), torch.as_tensor(labels.astype(np.int64)), READ_FROM, version).backward()
        optimiser.step()

    return train


def contenders(events, labels, threads) -> dict:
    """All sides."""
    network, train = ours(events, threads)

    def set_threads(count):
        for engine in network._engines.values():
            engine.threads = count

    sides = {"brian2grad": fair.Side(Steps(events, labels, train), set_threads)}
    try:
        import torch
        import torch_gamma
        import torch_sparse
    except ImportError:
        print("PyTorch: not installed, left out")
        return sides
    for name, kind, version, prepare in (
        ("PyTorch, fused over time, sparse rows", torch_sparse.TorchSparse, "sparse", torch_sparse.Rows),
        ("PyTorch, fused", torch_gamma.TorchGamma, "fused", torch_gamma.dense),
        ("PyTorch, plain", torch_gamma.TorchGamma, "plain", torch_gamma.dense),
    ):
        step = torch_step(kind(network), version, prepare)
        sides[name] = fair.Side(Steps(events, labels, step), torch.set_num_threads)
    return sides


def epoch_alone(arguments) -> dict:
    """An epoch of ours in a process of its own: its time and this process's peak memory."""
    command = [sys.executable, __file__, "--epoch-only", "--threads", str(arguments.threads)]
    command += ["--data-root", str(arguments.data_root)] if arguments.data_root else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Run and print."""
    arguments = parse_arguments()
    fair.prepare(arguments.threads)
    events, labels = load_data(arguments.data_root)
    if arguments.epoch_only:
        steps = Steps(events, labels, ours(events, arguments.threads)[1])
        steps()
        now = fair.clock(arguments.threads)
        began = now()
        for _ in range(-(-len(events) // BATCH)):
            steps()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": now() - began, "peak_mib": peak}))
        return
    source = "nmnist8" if arguments.data_root else "synthetic events"
    print(f"{source}: {len(events)} recordings, {len(events.units) / len(events):.0f} distinct events each")
    turns = (arguments.batches, arguments.batches)
    rows = fair.compare(contenders(events, labels, arguments.threads), arguments.threads, at_least=0, rounds=turns)
    fair.show(rows, f"a batch of {BATCH}")
    n_batches = -(-len(events) // BATCH)
    print("an epoch:", ", ".join(f"{row['side']} {n_batches * row['seconds']:.1f} s" for row in rows))
    alone = epoch_alone(arguments)
    print(f"ours, a whole epoch in a process of its own: {alone['seconds']:.2f} s, peak {alone['peak_mib']:.0f} MiB")
    about = {"data": source, "batches_of_an_epoch": n_batches, "whole_epoch": alone}
    fair.save("epoch" + f"_{arguments.threads}_threads" * (arguments.threads > 1), rows, arguments.out, **about)


if __name__ == "__main__":
    main()
