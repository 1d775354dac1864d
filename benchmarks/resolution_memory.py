"""Memory and time of training against the number of time steps, each measured in a process of its own.

    python benchmarks/resolution_memory.py            streams and recordings of 100 to 100 000 steps, online
    python benchmarks/resolution_memory.py --cell bptt 3200        one batch of recordings (for ``resolution.py``)

Memory is the growth of the process's peak resident set (VmHWM, set back before) over what it held with program,
network and data in place, during two training steps, so what an allocator keeps is counted. Events are random, with
the statistics of N-MNIST (3850 in 320 ms, 2312 units). Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

EVENTS_PER_MS, N_UNITS, N_OUT, STREAM_DT = 12, 2312, 8, 1.0


def resident(field: str = "VmRSS") -> float:
    """Resident set of this process, or its peak (``'VmHWM'``), in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise SystemExit("Memory is read from /proc/self/status, which only Linux has.")


def growth(action) -> tuple[float, float]:
    """Growth of the peak resident set in MiB while `action` runs, and the seconds it takes."""
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to the present
    before, began = resident(), time.perf_counter()
    action()
    return resident("VmHWM") - before, time.perf_counter() - began


def random_recordings(n_samples: int, n_steps: int, duration: float, seed: int = 0):
    """Recordings of `duration` milliseconds on `n_steps` steps."""
    from brian2 import ms

    from brian2grad.models.events import bin_events
    from brian2grad.training import EventArchive

    rng, n = np.random.default_rng(seed), int(EVENTS_PER_MS * duration)
    times = np.sort(rng.integers(0, round(duration * 1e3), (n_samples, n)), axis=1)  # microseconds
    samples = [(rng.integers(0, N_UNITS, n), own) for own in times]
    archive = EventArchive.from_samples(samples, np.zeros(n_samples, int), n_units=N_UNITS, time_unit_us=1)
    return bin_events(archive, duration / n_steps * ms, n_steps), rng.integers(0, N_OUT, n_samples)


def batch_cell(method: str, n_steps: int, n_samples: int = 50) -> dict:
    """Two training steps of a batch of recordings of the study's duration."""
    from resolution_cells import DURATION, HIDDEN, TUNED, gamma_network, lif_gradient, lif_network
    from resolution_peers import Fptt

    from brian2grad.training.optimisers import Adam

    settings, optimiser = TUNED[method], Adam(1e-4)
    gamma = method in ("filter", "online")
    build = gamma_network if gamma else lif_network
    dt = DURATION / n_steps
    network = build((N_UNITS, HIDDEN, N_OUT), dt, 0, settings)
    events, labels = random_recordings(n_samples, n_steps, DURATION)
    one = events.take(slice(0, 1))
    network.calibrate(one)
    if gamma:
        window = {"window": max(1, round(settings["window_ms"] / dt))} if method == "online" else {}
        step = lambda e, y: network.gradient(e, y, rule=method, activity=settings["activity"], **window)  # noqa: E731
        train = lambda e, y: optimiser.step(network.parameters, step(e, y).gradients, info=network.info)  # noqa: E731
    elif method.startswith("fptt"):
        train = Fptt(network, optimiser, 1 if method == "fptt" else max(1, round(10 / dt)), settings["alpha"]).batch
    else:
        step = lambda e, y: lif_gradient(network, e, y, method, settings)[1]  # noqa: E731
        train = lambda e, y: optimiser.step(network.parameters, step(e, y))  # noqa: E731
    train(one, labels[:1])  # the optimiser's state and the libraries are there before
    mib, seconds = growth(lambda: [train(events, labels) for _ in range(2)])
    return {"method": method, "steps": n_steps, "samples": n_samples, "mib": round(mib, 1),
            "seconds_per_batch": round(seconds / 2, 3)}  # fmt: skip


def stream_cell(how: str, n_steps: int) -> dict:
    """One stream of `n_steps` milliseconds, learned by ``OnlineLearner`` or as a recording with rule ``online``."""
    from brian2 import ms

    from brian2grad.models import SpikingGammaNetwork
    from brian2grad.training import OnlineLearner

    window = 20
    network = SpikingGammaNetwork(
        (N_UNITS, 128, N_OUT), K=5, tau=60 * ms, dt=STREAM_DT * ms, memory="continuous", threads=1
    )
    calibration, labels = random_recordings(1, 100, 100.0)
    network.calibrate(calibration)
    if how == "learner":
        learner, rng = OnlineLearner(network, window=window), np.random.default_rng(0)

        def run(n):
            for _ in range(n):
                learner.step(rng.integers(0, N_UNITS, EVENTS_PER_MS), int(rng.integers(N_OUT)))

        action, warm = lambda: run(n_steps), lambda: run(3 * window)
    else:
        events, labels = random_recordings(1, n_steps, n_steps * STREAM_DT)
        action = lambda: network.gradient(events, labels, rule="online", window=window)  # noqa: E731
        warm = lambda: network.gradient(calibration, labels, rule="online", window=window)  # noqa: E731
    warm()
    mib, seconds = growth(action)
    total = resident("VmHWM")
    return {"stream": how, "steps": n_steps, "mib": round(mib, 2), "process_mib": round(total, 1),
            "us_per_step": round(1e6 * seconds / n_steps, 2)}  # fmt: skip


def in_own_process(*cell) -> dict:
    """Result of ``--cell`` in a new process."""
    command = [sys.executable, __file__, "--cell", *map(str, cell)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """One cell, or the table of streams."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", nargs=2, metavar=("METHOD", "STEPS"), help="a method, 'learner' or 'recording'")
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    arguments = parser.parse_args()
    if arguments.cell:
        name, steps = arguments.cell[0], int(arguments.cell[1])
        print(json.dumps(stream_cell(name, steps) if name in ("learner", "recording") else batch_cell(name, steps)))
        return
    print(f"{'':<10}{'steps':>9}{'growth MiB':>12}{'process MiB':>13}{'us a step':>11}")
    for how in ("learner", "recording"):
        for steps in arguments.steps:
            r = in_own_process(how, steps)
            print(f"{how:<10}{steps:>9}{r['mib']:>12.2f}{r['process_mib']:>13.1f}{r['us_per_step']:>11.1f}", flush=True)


if __name__ == "__main__":
    main()
