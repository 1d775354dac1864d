"""How all comparisons of programs are measured, so that no ratio is the peer's bad luck.

Per core is the headline: one pinned thread each and processor time, which other work on the machine hardly changes.
With more threads the clock on the wall counts, threads that wait sleep (spinning ones take the time of those that
work), and each side keeps the number of threads that suits it best. Either way both sides are warm, run in turn and in
alternating order, and the ratio is the median over the turns, not a quotient of lucky minima.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = (
    "brian2", "numpy", "torch", "jax", "numba", "eventax", "jaxsnn", "snntorch", "norse", "spikingjelly", "braintrace",
)  # fmt: skip


def environment(threads: int) -> dict[str, str]:
    """Variables that give every library this number of threads, and sleep to those that wait."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    wanted = dict.fromkeys(names, str(threads)) | {"OMP_WAIT_POLICY": "passive", "JAX_PLATFORMS": "cpu"}
    if threads == 1:
        wanted["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return wanted


def pin(threads: int) -> None:
    """Keep this process, and whatever it starts, to so many processors: the last ones, as interrupts like the first."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def prepare(threads: int = 1) -> None:
    """Pin this script; start it anew where libraries would have read other settings. Call it before importing them."""
    pin(threads)
    wanted = environment(threads)
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | wanted)


def clock(threads: int) -> Callable[[], float]:
    """Processor time of one pinned thread, else the time on the wall."""
    return time.process_time if threads == 1 else time.perf_counter


@dataclass
class Side:
    """One side of a comparison.

    Parameters
    ----------
    function : callable
        What is timed: the same work on every side.
    set_threads : callable, optional
        Takes a number of threads; without it a side has the number that its environment says.
    """

    function: Callable[[], object]
    set_threads: Callable[[int], object] | None = None

    def time(self, calls: int, threads: int) -> float:
        """Seconds a call."""
        now = clock(threads)
        began = now()
        for _ in range(calls):
            self.function()
        return (now() - began) / calls


def settle(side, threads: int) -> tuple[int, float]:
    """Warm a side and leave it with the number of threads that suits it best: that number, seconds a call."""
    side.time(1, threads)  # compiles
    if getattr(side, "set_threads", None) is None or threads == 1:
        return threads, side.time(1, threads)
    seconds = {}
    for count in range(1, threads + 1):
        side.set_threads(count)
        side.time(1, threads)
        seconds[count] = min(side.time(1, threads) for _ in range(3))
    best = min(seconds, key=seconds.get)
    side.set_threads(best)
    return best, seconds[best]


def compare(
    sides: dict, threads: int = 1, *, budget: float = 20.0, at_least: float = 0.02, rounds=(5, 41)
) -> list[dict]:
    """Time sides in turn; the first one is what the others are divided by.

    Parameters
    ----------
    sides : dict of Side or callable
    threads : int
        1: processor time.
    budget : float
        Seconds for all turns together, within the bounds of `rounds`.
    at_least : float
        Seconds of a turn: short calls are repeated, as the first finds the caches full of the other side's data.
    rounds : (int, int)

    Returns
    -------
    list of dict
        Per side its median and 10th and 90th percentile in seconds, and those of the ratio of the same turn.
    """
    sides = {name: side if hasattr(side, "time") else Side(side) for name, side in sides.items()}
    calls, chosen, spent = {}, {}, 0.0
    for name, side in sides.items():
        chosen[name], once = settle(side, threads)
        calls[name] = int(np.clip(np.ceil(at_least / max(once, 1e-7)), 1, 10000))
        spent += once * calls[name]
    turns = int(np.clip(budget / spent, *rounds))
    times = {name: [] for name in sides}
    for turn in range(turns):
        for name in list(sides)[:: -1 if turn % 2 else 1]:
            times[name].append(sides[name].time(calls[name], threads))
    first = np.array(times[next(iter(sides))])
    rows = []
    for name, values in times.items():
        ratio = np.array(values) / first
        rows.append(
            {"side": name, **spread("seconds", values), **spread("ratio", ratio)}
            | {"turns": turns, "calls": calls[name], "threads": chosen[name]}
        )
    return rows


def spread(name: str, values) -> dict:
    """Median, and between which values eight of ten lie."""
    low, high = np.percentile(values, (10, 90))
    return {name: digits(statistics.median(values)), f"{name}_low": digits(low), f"{name}_high": digits(high)}


def digits(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")


def show(rows: list[dict], title: str, per: int = 1) -> None:
    """Print a comparison; seconds are divided by `per`, such as a number of samples."""
    print(title)
    for row in rows:
        ratio = f"{row['ratio']:8.2f} times ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
        print(f"  {row['side']:32s}{1e3 * row['seconds'] / per:12.4f} ms {ratio}, {row['threads']} threads", flush=True)


def save(name: str, rows: list[dict], folder: Path = RESULTS, **about) -> Path:
    """Write ``speed_NAME.json``: what was run, on what, beside what load, and a row a line."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    head = {
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_words(sys.argv[1:])]),
        "processor": processor(), "cores": os.cpu_count(), "load": round(os.getloadavg()[1], 1), "versions": versions,
    }  # fmt: skip
    from brian2grad.models.files import atomic

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"speed_{name}.json"
    with atomic(path) as temporary:
        lines = ",\n  ".join(json.dumps(row) for row in rows)
        temporary.write_text(f'{{"about": {json.dumps(head | about)},\n "rows": [\n  {lines}\n]}}\n')
    print(f"written: {path}")
    return path


def _words(arguments: list[str]) -> list[str]:
    """Arguments without the paths of this machine."""
    return ["DIR" if os.sep in word else word for word in arguments]


def processor() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
