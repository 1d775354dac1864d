"""What sharing a gradient among workers costs: tasks of a second, with the data and weights of a real one.

    python benchmarks/cluster.py --workers 2 --batches 5 --out results/cluster.jsonl

A shard waits instead of computing: whatever the processor does is the sharing. `overhead` is the wall time of a batch
over that of its shards, one after another on every worker; on a busy machine it grows with the waiting for the
processor. `processor_overhead`, what all processes computed per second of work, says what the sharing itself costs.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from brian2 import ms
from result_lines import report

from brian2grad import SpikingGammaNetwork, StepEvents, Task
from brian2grad.models.gradients import Filter, Gradient
from brian2grad.training.cluster import gradients
from brian2grad.training.cluster.connection import connected

SECONDS = 1.0


def waiting(network, task, state, batch, index, learning):
    """A shard that takes its data and weights, and answers with a gradient, after a second."""
    parameters, _, _ = state
    time.sleep(SECONDS)
    zeros = {name: np.zeros_like(value) for name, value in parameters.items()}
    return Gradient(0.0, zeros, None, np.zeros((len(batch.chosen), 32, 8), np.float32), 0)


def processor(client) -> float:
    """Seconds that this process, the scheduler in it and the workers have computed."""
    return time.process_time() + sum(client.run(time.process_time).values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--out")
    asked = parser.parse_args()
    gradients.shard_gradient = waiting
    rng = np.random.default_rng(0)
    triples = (rng.integers(0, high, 400_000) for high in (200, 32, 2312))
    events = StepEvents.from_triples(*triples, (200, 32, 2312), 10e-3)
    network = SpikingGammaNetwork([2312, 128, 8], dt=10 * ms)
    task = Task(events, np.zeros(200, int), 2000.0)
    with connected(workers=asked.workers) as client:
        shared, times, spent = gradients.Distributed(network, task, client), [], []
        for _ in range(asked.batches):
            before, began = processor(client), time.perf_counter()
            list(shared.gradients(gradients.Batch(np.arange(200), 0, {}), rule=Filter()))
            times.append(time.perf_counter() - began)
            spent.append(processor(client) - before)
    ideal = SECONDS * -(-gradients.SHARDS // asked.workers)
    record = {"workers": asked.workers, "ideal_s": ideal, "batches_s": [round(t, 3) for t in times]}
    record["processor_overhead"] = round(float(np.median(spent)) / (gradients.SHARDS * SECONDS), 4)
    record["overhead"] = round(float(np.median(times)) / ideal - 1, 4)
    report(record, asked.out)


if __name__ == "__main__":
    main()
