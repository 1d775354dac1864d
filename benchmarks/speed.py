"""Time and memory of a gradient and of inference, beside other libraries, in one run.

    python benchmarks/speed.py            about half an hour
    python benchmarks/speed.py --quick    T = 100 and 300 only

Networks of 700-128-128-20 neurons, inputs with 1 % density, batches of 32, single precision, two threads each. Ours and
the two PyTorch versions run the SpikingGamma network with K = 4 and its filter gradient; the other libraries run plain
LIF layers of the same sizes, which is less work. Every implementation has a process of its own; measurements alternate
between them. PyTorch libraries use one thread instead of two where that was faster. The floor is a bare C++ loop that
adds the rows and multiplies the matrices that the same events ask for. Memory is what the first gradient adds to the
process; for JAX this includes compiling.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
NAMES = (
    "ours", "ours_online", "floor", "torch_plain", "torch_fused", "snntorch", "norse", "spikingjelly", "jax",
    "braintrace",
)  # fmt: skip
STEPS, BATCH, DENSITY = (100, 300, 1000, 3000), 32, 0.01


# -- one implementation in a process of its own ------------------------------------------------------------------------


def _memory(field: str) -> float | None:
    """MiB of this process: VmRSS (now) or VmHWM (peak); None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))
    except (OSError, StopIteration):
        return None


def _reset_peak() -> None:
    """Give freed memory back and start a new high-water mark (Linux)."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        pass
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def worker(name: str, threads: int) -> None:
    """Answer requests, one JSON line each: load a batch, time a gradient or a forward pass."""
    from peers import PEERS, SIZES
    from random_events import random_events

    answer = lambda **fields: print("@" + json.dumps(fields), flush=True)  # noqa: E731
    try:
        peer = PEERS[name](threads)
    except ImportError as error:
        answer(error=f"not installed ({error})")
        return
    answer(title=peer.title, network=peer.network)
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "load":
            n_samples, n_steps = request["samples"], request["steps"]
            labels = np.arange(n_samples) % SIZES[-1]
            peer.load(random_events(n_samples, n_steps, SIZES[0], DENSITY), labels)
            _reset_peak()
            before = _memory("VmRSS")
            getattr(peer, request["warm"])()
            peak = _memory("VmHWM")
            if hasattr(peer, "tune") and request["warm"] == "gradient":
                peer.tune()
            answer(mib=None if peak is None else peak - before, density=peer.density())
        else:
            times = []  # short calls are repeated: the first one finds the caches full of the other processes' data
            while not times or (sum(times) < 0.03 and len(times) < 20):
                began = time.perf_counter()
                getattr(peer, request["do"])()
                times.append(time.perf_counter() - began)
            answer(seconds=statistics.median(times))


class Process:
    """A worker and what it has measured."""

    def __init__(self, name: str, threads: int):
        # Waiting threads sleep: on a busy machine spinning ones take the time of those that work.
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
        command = [sys.executable, __file__, "--worker", name, "--threads", str(threads)]
        self._stderr = tempfile.TemporaryFile("w+")  # a pipe that nobody reads would fill up and stop the process
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, text=True, env=environment
        )
        self.name, self.rows = name, []
        self.error = None
        self.about = self._read()

    def _read(self) -> dict:
        for line in self._process.stdout:
            if line.startswith("@"):
                fields = json.loads(line[1:])
                self.error = fields.get("error")
                return fields
        self._stderr.seek(0)
        self.error = "stopped: " + (self._stderr.read().strip().splitlines() or ["no message"])[-1]
        return {}

    def ask(self, **request) -> dict:
        """Send a request and wait for the answer."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


def measure(processes, do: str, samples: int, steps: int, budget: float, at_most: int) -> list[dict]:
    """Alternate between the processes until each has used its time; medians."""
    times = {}
    about = {}
    for process in processes:
        about[process.name] = process.ask(do="load", samples=samples, steps=steps, warm=do)
        times[process.name] = []
    for _ in range(at_most):
        for process in processes:
            spent = times[process.name]
            if process.error is None and (len(spent) < 3 or sum(spent) < budget):
                spent.append(process.ask(do=do).get("seconds", np.nan))
    rows = []
    for process in processes:
        values = times[process.name]
        if process.error is None and values:
            row = {"name": process.name, "title": process.about["title"], "network": process.about["network"]}
            row |= {"do": do, "samples": samples, "steps": steps, "seconds": statistics.median(values)}
            rows.append(row | {"best": min(values), "repetitions": len(values), **about[process.name]})
        elif process.error:
            print(f"{process.name}: {process.error}")
    return rows


# -- precision, report --------------------------------------------------------------------------------------


def precision(n_steps: int = 1000) -> dict:
    """Largest relative difference (by norm) of float32 from float64 gradients, spiking and analog."""
    from peers import SIZES, Engine
    from random_events import random_events

    single, double = Engine(2), Engine(2, "float64")
    double.net.parameters = {k: v.astype(np.float64) for k, v in single.net.parameters.items()}
    events, labels = random_events(8, n_steps, SIZES[0], DENSITY), np.arange(8)
    result = {}
    for analog in (False, True):
        a, b = (e.net.loss_and_grad(events, labels, analog=analog)[1] for e in (single, double))
        worst = max(np.linalg.norm(a[k] - b[k]) / np.linalg.norm(b[k]) for k in a)
        result["analog" if analog else "spiking"] = float(worst)
    counts = [e.net.forward(events).spikes.sum() for e in (single, double)]
    return result | {"spikes_float32": int(counts[0]), "spikes_float64": int(counts[1])}


def report(rows: list[dict]) -> None:
    """Print one table per measurement, with ratios to ours."""
    for do, samples, steps in dict.fromkeys((r["do"], r["samples"], r["steps"]) for r in rows):
        print(f"\n{do}, batch {samples}, T = {steps}")
        chosen = [r for r in rows if (r["do"], r["samples"], r["steps"]) == (do, samples, steps)]
        ours = next((r for r in chosen if r["name"] == "ours"), None)
        if ours is None:
            continue
        for r in sorted(chosen, key=lambda r: r["seconds"]):
            memory = f"{r['mib']:7.0f} MiB" if r.get("mib") is not None else " " * 11
            times = f"{1e3 * r['seconds']:10.2f} ms (best {1e3 * r['best']:9.2f})"
            ratios = f"{r['seconds'] / ours['seconds']:8.2f} x ours (best {r['best'] / ours['best']:.2f})"
            print(f"  {r['title']:32s} {r['network']:13s}{times} {memory} {ratios}", flush=True)


def draw(rows: list[dict], folder: Path) -> None:
    """Seconds and memory against the number of steps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for name in dict.fromkeys(r["name"] for r in rows):
        chosen = sorted((r for r in rows if r["name"] == name and r["do"] == "gradient"), key=lambda r: r["steps"])
        if not chosen:
            continue
        style = {"marker": None if name == "floor" else "o", "linestyle": ":" if name == "floor" else "-", "ms": 4}
        style["color"] = "black" if name in ("ours", "floor") else None
        label = chosen[0]["title"] + (f" ({chosen[0]['network']})" if name != "floor" else "")
        x = [r["steps"] for r in chosen]
        line = axes[0].loglog(x, [r["seconds"] for r in chosen], label=label, **style)[0]
        if all(r.get("mib") is not None for r in chosen):
            axes[1].loglog(x, [max(r["mib"], 0.5) for r in chosen], **style | {"color": line.get_color()})
    for axis, title in zip(axes, ("seconds per gradient, batch 32", "memory it takes (MiB)"), strict=True):
        axis.set(xlabel="time steps", title=title)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    for ending in ("png", "svg"):
        figure.savefig(folder / f"speed.{ending}", dpi=150)


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=list(STEPS), help="numbers of time steps")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), help="implementations to time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--budget", type=float, default=6.0, help="seconds of measuring per implementation and T")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, default=HERE / "output")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run everything."""
    arguments = parse_arguments()
    if arguments.worker:
        worker(arguments.worker, arguments.threads)
        return
    steps = [100, 300] if arguments.quick else arguments.steps
    names = ["ours", "floor", *(n for n in arguments.only if n not in ("ours", "floor"))]
    processes = []
    for name in names:
        process = Process(name, arguments.threads)
        if process.error:
            print(f"{name}: {process.error}")
        else:
            processes.append(process)
    rows = []
    for T in steps:
        measured = measure(processes, "gradient", BATCH, T, arguments.budget, 25)
        report(measured)
        rows += measured
    offline = [p for p in processes if p.name != "braintrace"]  # its forward pass is the scan's
    measured = measure(offline, "forward", 1, 1000, arguments.budget, 60)
    report(measured)
    rows += measured
    for process in processes:
        process.close()
    accuracy = precision()
    print(f"\nfloat32 against float64 at T = 1000, relative: {accuracy}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    table = {"rows": rows, "precision": accuracy, "threads": arguments.threads}
    (arguments.output / "speed.json").write_text(json.dumps(table, indent=1))
    draw(rows, arguments.output)
    print(f"written: {arguments.output / 'speed.json'}, speed.png, speed.svg")


if __name__ == "__main__":
    main()
