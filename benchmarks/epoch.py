"""Time of a training epoch on N-MNIST (digits 0-7): the compiled engine beside plain PyTorch, in one run.

    python benchmarks/epoch.py --data-root DIR

The same 2312-128-8 network (K = 5, 10 ms steps, Adam, batches of 64), the same gradient, two threads each. Batches
alternate between the two, equal batches of the same recordings; a PyTorch epoch is extrapolated from them. Ours is
also run in full, loading left out of both. Building PyTorch's dense input is not counted. Without data, synthetic
events with N-MNIST's statistics stand in.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SIZES, BATCH, N_STEPS, N_RECORDINGS = (2312, 128, 8), 64, 32, 12000
READ_FROM = 5  # steps of 10 ms


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, help="folder with nmnist8_train.npz (default: synthetic events)")
    parser.add_argument("--batches", type=int, default=20, help="batches timed side by side")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fused", action="store_true", help="also time the layer-wise fused PyTorch version")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output")
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
    from brian2grad.training.data.npz import archive_from_fields, read_fields

    path = data_root / "nmnist8_train.npz"
    archive = archive_from_fields(path, read_fields(path))
    return bin_events(archive, 10 * ms, N_STEPS), np.asarray(archive.labels)


class Ours:
    """One training step of the engine."""

    def __init__(self, events, labels, threads):
        from brian2 import ms

        from brian2grad.models.gamma.network import SpikingGammaNetwork
        from brian2grad.training.optimisers import Adam

        self.events, self.labels = events, labels
        self.network = SpikingGammaNetwork(
            SIZES, K=5, tau=30 * ms, dt=10 * ms, read_from=READ_FROM * 10 * ms, threads=threads
        )
        self.network.calibrate(events.take(np.arange(64)))
        self.optimiser = Adam(2e-3)
        self.network.gradient(events.take(np.arange(BATCH)), labels[:BATCH])

    def step(self, chosen) -> float:
        """Seconds of one step, choosing the samples included."""
        began = time.perf_counter()
        batch = self.events.take(chosen)
        result = self.network.gradient(batch, self.labels[chosen])
        self.optimiser.step(self.network.parameters, result.gradients, info=self.network.info)
        return time.perf_counter() - began

    def epoch(self, seed: int = 0) -> float:
        """Seconds of a whole epoch."""
        order = np.random.default_rng(seed).permutation(len(self.events))
        began = time.perf_counter()
        for first in range(0, len(order), BATCH):
            self.step(order[first : first + BATCH])
        return time.perf_counter() - began


class Torch:
    """One training step of the PyTorch version."""

    def __init__(self, ours: Ours, version: str, threads: int):
        import torch
        from torch_gamma import TorchGamma, dense

        torch.set_num_threads(threads)
        self.torch, self.dense, self.version = torch, dense, version
        self.events, self.labels = ours.events, ours.labels
        self.model = TorchGamma(ours.network)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=2e-3)

    def step(self, chosen) -> float:
        """Seconds of one step from the dense tensor on."""
        x, y = self.dense(self.events.take(chosen)), self.torch.as_tensor(self.labels[chosen].astype(np.int64))
        began = time.perf_counter()
        self.optimiser.zero_grad()
        self.model.loss(x, y, READ_FROM, self.version).backward()
        self.optimiser.step()
        return time.perf_counter() - began


def epoch_alone(arguments) -> dict:
    """An epoch of ours in a process of its own: its time and this process's peak memory."""
    command = [sys.executable, __file__, "--epoch-only", "--threads", str(arguments.threads)]
    command += ["--data-root", str(arguments.data_root)] if arguments.data_root else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Run and print."""
    arguments = parse_arguments()
    if arguments.epoch_only:
        ours = Ours(*load_data(arguments.data_root), arguments.threads)
        seconds = ours.epoch()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mib": peak}))
        return
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    sys.path.insert(0, str(Path(__file__).parent))
    events, labels = load_data(arguments.data_root)
    n_batches = -(-len(events) // BATCH)
    source = "nmnist8" if arguments.data_root else "synthetic events"
    print(f"{source}: {len(events)} recordings, {len(events.units) / len(events):.0f} distinct events each")
    ours = Ours(events, labels, arguments.threads)
    contenders = {"ours": ours}
    try:
        contenders["torch plain"] = Torch(ours, "plain", arguments.threads)
        if arguments.fused:
            contenders["torch fused"] = Torch(ours, "fused", arguments.threads)
    except ImportError:
        print("torch: not installed, left out")
    times = {name: [] for name in contenders}
    order = np.random.default_rng(0).permutation(len(events))
    for index in range(arguments.batches + 1):
        chosen = order[index * BATCH : (index + 1) * BATCH]
        for name, contender in contenders.items():
            seconds = contender.step(chosen)
            if index:  # the first batch warms up
                times[name].append(seconds)
    result = {"batches": arguments.batches, "threads": arguments.threads, "data": source}
    for name, values in times.items():
        per_batch = statistics.median(values)
        result[name] = {"batch_ms": 1e3 * per_batch, "epoch_s": n_batches * per_batch}
        print(
            f"{name:12s} {1e3 * per_batch:8.1f} ms a batch (median of {len(values)}, {1e3 * min(values):.1f} at best)"
            f" -> {n_batches * per_batch:7.2f} s an epoch of {n_batches} batches, extrapolated"
        )
    for name in list(times)[1:]:
        paired = statistics.median(t / o for t, o in zip(times[name], times["ours"], strict=True))
        best = min(times[name]) / min(times["ours"])
        result[name] |= {"ratio": result[name]["batch_ms"] / result["ours"]["batch_ms"], "paired_ratio": paired}
        print(f"{name}: {result[name]['ratio']:.1f} times ours (batch by batch {paired:.1f}, best batches {best:.1f})")
    alone = epoch_alone(arguments)
    result["ours"] |= {"full_epoch_s": alone["seconds"], "peak_mib": alone["peak_mib"]}
    print(f"ours, a whole epoch in a process of its own: {alone['seconds']:.2f} s, peak {alone['peak_mib']:.0f} MiB")
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "epoch.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
