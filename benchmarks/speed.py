"""Time and memory of a gradient and of inference, beside other libraries, in one run.

    python benchmarks/speed.py                one thread each, processor time: about half an hour
    python benchmarks/speed.py --threads 2    two threads or one, whichever is faster, time on the wall
    python benchmarks/speed.py --quick        T = 100 and 300 only

Networks of 700-128-128-20 neurons, inputs with 1 % density, batches of 32 and 1, single precision. Ours, PyTorch, JAX
and the numba loop run the SpikingGamma network with K = 4 and its filter gradient; the other libraries run plain LIF
layers of the same sizes, which is less work. Every implementation has a process of its own; how the times are taken
says ``fair.py``. Each side's input is ready in its own form. The floor is a bare C++ loop that adds the rows and
multiplies the matrices that the same events ask for. Memory is what the first gradient adds to the process; for JAX
this includes compiling.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import fair
import numpy as np

HERE = Path(__file__).parent
NAMES = (
    "ours", "ours_online", "floor", "torch_plain", "torch_fused", "torch_sparse", "jax_gamma", "numba", "snntorch",
    "norse", "spikingjelly", "jax", "braintrace",
)  # fmt: skip
FORWARD = ("ours", "floor", "numba", "torch_sparse", "jax_gamma", "snntorch", "jax")  # the others are slower still
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
    """Answer requests, one JSON line each: load a batch, set the threads, time a gradient or a forward pass."""
    from peers import PEERS, SIZES
    from random_events import random_events

    fair.pin(threads)
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
            answer(mib=None if peak is None else round(peak - before, 1), density=peer.density())
        elif request["do"] == "threads":
            if hasattr(peer, "set_threads"):
                peer.set_threads(request["threads"])
            answer()
        else:
            answer(seconds=fair.Side(getattr(peer, request["do"])).time(request["calls"], threads))


class Process:
    """A worker: a side of a comparison."""

    def __init__(self, name: str, threads: int):
        command = [sys.executable, __file__, "--worker", name, "--threads", str(threads)]
        self._stderr = tempfile.TemporaryFile("w+")  # a pipe that nobody reads would fill up and stop the process
        environment = os.environ | fair.environment(threads)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, text=True, env=environment
        )
        self.name, self.do, self.error = name, "gradient", None
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
        if self.error is not None:
            return {}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def load(self, do: str, samples: int, steps: int) -> None:
        """Prepare what `time` is to time, and measure its memory."""
        self.do = do
        self.about |= self.ask(do="load", samples=samples, steps=steps, warm=do)

    def time(self, calls: int, _threads: int) -> float:
        """Seconds a call; not a number where the process has stopped."""
        return self.ask(do=self.do, calls=calls).get("seconds", np.nan)

    def set_threads(self, threads: int) -> None:
        """Of the next calls."""
        self.ask(do="threads", threads=threads)

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


def measure(processes, do: str, samples: int, steps: int, threads: int, budget: float) -> list[dict]:
    """One comparison."""
    for process in processes:
        process.load(do, samples, steps)
        if process.error:
            print(f"{process.name}: {process.error}")
    sides = {process.name: process for process in processes if process.error is None}
    rows = fair.compare(sides, threads, budget=budget, rounds=(5, 25))
    fields = {"do": do, "samples": samples, "steps": steps}
    return [{"name": row["side"], **fields, **row, **sides[row["side"]].about} for row in rows]


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
    """Print a comparison, fastest first."""
    first = rows[0]
    print(f"\n{first['do']}, batch {first['samples']}, T = {first['steps']}")
    for r in sorted(rows, key=lambda r: r["seconds"]):
        memory = f"{r['mib']:7.0f} MiB" if r.get("mib") is not None else " " * 11
        ratio = f"{r['ratio']:8.2f} x ours ({r['ratio_low']:.2f} to {r['ratio_high']:.2f}), {r['threads']} threads"
        print(f"  {r['title']:38s}{r['network']:13s}{1e3 * r['seconds']:10.2f} ms {memory} {ratio}", flush=True)


def draw(rows: list[dict], folder: Path) -> None:
    """Seconds and memory against the number of steps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for name in dict.fromkeys(r["name"] for r in rows):
        chosen = [r for r in rows if (r["name"], r["do"], r["samples"]) == (name, "gradient", BATCH)]
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
    parser.add_argument("--threads", type=int, default=1, help="1: processor time")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of measuring per comparison")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, default=HERE / "output", help="folder of the figure")
    parser.add_argument("--results", type=Path, default=fair.RESULTS, help="folder of the numbers")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run everything."""
    arguments = parse_arguments()
    if arguments.worker:
        worker(arguments.worker, arguments.threads)
        return
    steps = [100, 300] if arguments.quick else arguments.steps
    names = ["ours", *(n for n in arguments.only if n != "ours")]
    processes = []
    for name in names:
        process = Process(name, arguments.threads)
        if process.error:
            print(f"{name}: {process.error}")
        else:
            processes.append(process)
    plan = [("gradient", BATCH, T) for T in steps] + [("gradient", 1, steps[-1] if arguments.quick else 1000)]
    plan += [("forward", samples, plan[-1][2]) for samples in (1, BATCH)]
    rows = []
    for do, samples, T in plan:
        chosen = [p for p in processes if (p.name in FORWARD if do == "forward" else p.name != "numba")]
        found = measure([p for p in chosen if p.error is None], do, samples, T, arguments.threads, arguments.budget)
        report(found)
        rows += found
    for process in processes:
        process.close()
    accuracy = precision()
    print(f"\nfloat32 against float64 at T = 1000, relative: {accuracy}")
    name = "gradient" + "_2_threads" * (arguments.threads > 1) + "_quick" * arguments.quick
    fair.save(name, rows, arguments.results, precision=accuracy)
    arguments.output.mkdir(parents=True, exist_ok=True)
    draw(rows, arguments.output)


if __name__ == "__main__":
    main()
