"""How processor time and memory grow: one quantity at a time is doubled, all others stay.

    python benchmarks/growth.py [--show] [--minutes 10]

Works: gradient and inference of a SpikingGamma network, a run and an unlayered gradient of an asynchronous network, an
exact gradient of LIF layers. Each cell has a process of its own, which measures what the first call adds to its peak of
memory and the processor time of the later ones (the smallest, as other work on the machine only ever adds). Cells are
kept in ``results/growth.jsonl``: a run that was stopped goes on where it was. A power law is fitted to each curve;
printed are its exponent and the exponents between the first two and the last two points, which part where a curve is
none. The figure is written to ``output/growth.png``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import fair
import numpy as np

BASE = {"events": 2000, "neurons": 128, "layers": 2, "batch": 8, "threads": 1, "K": 4, "T": 400, "finer": 1}
AXES = {
    "events": (250, 500, 1000, 2000, 4000, 8000, 16000),
    "neurons": (32, 64, 128, 256, 512, 1024),
    "layers": (1, 2, 4, 8),
    "batch": (1, 2, 4, 8, 16, 32, 64),
    "threads": (1, 2),
    "K": (1, 2, 4, 8, 16),
    "T": (100, 200, 400, 800, 1600, 3200),
    "finer": (1, 2, 4, 8),
}
LABELS = {
    "events": "input events a sample", "neurons": "neurons a layer", "layers": "hidden layers", "batch": "samples",
    "threads": "threads", "K": "buckets K", "T": "length T (ms), same rate", "finer": "steps, same events (times)",
}  # fmt: skip
WORKS = {
    "gamma gradient": "gamma", "gamma inference": "gamma", "asynchronous run": "asynchronous",
    "unlayered gradient": "asynchronous", "exact gradient": "exact",
}  # fmt: skip
N_IN, N_OUT = 128, 10


def cells():
    """Work, axis and value of every point."""
    for work, kind in WORKS.items():
        for axis, values in AXES.items():
            if (axis == "K" and kind != "gamma") or (axis == "finer" and kind == "exact"):
                continue  # there is none
            for x in values if axis != "threads" else values[: os.cpu_count()]:
                yield {"work": work, "axis": axis, "x": x}


# -- works ---------------------------------------------------------------------------------------------------


def drawn(s: dict, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sample, time in ms and unit of random events."""
    n = s["batch"] * s["events"] * s["T"] // BASE["T"]
    return np.arange(n) % s["batch"], rng.uniform(0, s["T"], n), rng.integers(0, N_IN, n)


def stepped(s: dict, step_ms: float):
    """The same in steps."""
    from brian2grad.models.events import StepEvents

    samples, times, units = drawn(s, np.random.default_rng(0))
    shape = (s["batch"], int(round(s["T"] / step_ms)), N_IN)
    return StepEvents.from_triples(samples, (times / step_ms).astype(int), units, shape, step_ms * 1e-3)


def gamma(s: dict, gradient: bool):
    """Work on a SpikingGamma network in steps of 1 ms, and its spikes a sample."""
    from brian2 import ms

    from brian2grad.models import SpikingGammaNetwork

    step, sizes = 1 / s["finer"], [N_IN, *[s["neurons"]] * s["layers"], N_OUT]
    network = SpikingGammaNetwork(sizes, K=s["K"], tau=20 * ms, dt=step * ms, theta=0.5, threads=s["threads"])
    events, labels = stepped(s, step), np.arange(s["batch"]) % N_OUT
    network.calibrate(stepped(s | {"batch": 2, "T": 200}, step), rms=2)
    work = (lambda: network.gradient(events, labels)) if gradient else (lambda: network.forward(events))
    return work, lambda: network.forward(events).spikes.sum() / s["batch"]


def asynchronous(s: dict, gradient: bool):
    """Work on an asynchronous network in steps of 10 ms."""
    from brian2 import ms

    from brian2grad.models import AsynchronousNetwork

    step, sizes = 10 / s["finer"], [N_IN, *[s["neurons"]] * s["layers"], N_OUT]
    network = AsynchronousNetwork(sizes, tau_m=10 * ms, V_th=0.5, dt=step * ms, seed=1, threads=s["threads"])
    events, labels = stepped(s, step), np.arange(s["batch"]) % N_OUT
    work = (lambda: network.gradient(events, labels)) if gradient else (lambda: network.run(events))
    return work, lambda: network.run(events).counters["spikes"].sum() / s["batch"]


def exact(s: dict, _gradient: bool):
    """Value and exact gradient of layers of LIF neurons by their weights."""
    from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms, second

    from brian2grad.models.hybrid.engine import HybridEngine
    from brian2grad.models.hybrid.samples import SampleSpikes
    from brian2grad.training import HybridProblem, final_loss, spike_loss

    lif, constants = "dv/dt = (I - v)/tau_m : 1\ndI/dt = -I/tau_s : 1", {"tau_m": 20 * ms, "tau_s": 5 * ms}
    groups, rng = [SpikeGeneratorGroup(N_IN, [], [] * ms)], np.random.default_rng(0)
    synapses = []
    for n in [*[s["neurons"]] * s["layers"], N_OUT]:
        before = groups[-1]
        groups.append(NeuronGroup(n, lif, threshold="v > 1", reset="v = 0", method="exact"))
        synapses.append(Synapses(before, groups[-1], "w : 1", on_pre="I_post += w"))
        synapses[-1].connect()
        mean, spread = (5, 0.6) if len(groups) == 2 else (9, 1)  # what comes after the input still spikes
        synapses[-1].w = rng.normal(mean / len(before), spread / np.sqrt(len(before)), len(synapses[-1]))
    loss = spike_loss("sin(t/(10*ms))", groups[-1]) + final_loss("v**2", groups[-1])
    names = constants | {"ms": ms, "second": second}
    wanted = [(each, "w") for each in synapses]
    problem = HybridProblem([*groups, *synapses], loss, wanted, s["T"] * ms, names)
    engine = HybridEngine(problem.network, problem.duration)
    samples, times, units = drawn(s, np.random.default_rng(0))
    mine = [samples == k for k in range(s["batch"])]
    inputs = {engine.generators[0]: SampleSpikes.of([(units[k], times[k] * 1e-3) for k in mine])}
    run = lambda: engine.run(inputs=inputs, threads=s["threads"])  # noqa: E731
    spikes = lambda: sum(len(each.times) for each in run().spikes.values()) / s["batch"]  # noqa: E731
    return lambda: run().backward(wanted=problem.keys), spikes


# -- measuring -----------------------------------------------------------------------------------------------


def measured(cell: dict) -> dict:
    """Processor time and time on the wall of a call (ms), what the first adds to memory (MiB), spikes a sample."""
    from speed import _memory, _reset_peak

    kind = WORKS[cell["work"]]
    work, spikes = globals()[kind](BASE | {cell["axis"]: cell["x"]}, "gradient" in cell["work"])
    _reset_peak()
    before = _memory("VmRSS")
    work()
    peak, best, wall, began = _memory("VmHWM"), np.inf, np.inf, time.perf_counter()
    work()
    calls = 0
    while calls < 3 or time.perf_counter() - began < 0.4:
        start, on_the_wall = time.process_time(), time.perf_counter()
        work()
        best, wall = min(best, time.process_time() - start), min(wall, time.perf_counter() - on_the_wall)
        calls += 1
    mib = None if peak is None else round(peak - before, 2)
    return {"ms": fair.digits(1e3 * best), "wall_ms": fair.digits(1e3 * wall), "mib": mib, "spikes": round(spikes(), 1)}


def in_a_child(cell: dict) -> dict:
    """The same in a process of its own, as freed memory stays with a process."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, json.dumps(measured(cell)).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    if not text:
        raise SystemExit(f"{cell} failed")
    return json.loads(text)


# -- what is seen --------------------------------------------------------------------------------------------


def exponents(x, y) -> tuple[float, float, float]:
    """Of the power law fitted to a curve, and between its first two and its last two points."""
    x, y = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    local = np.diff(y) / np.diff(x)
    return float(np.polyfit(x, y, 1)[0]), float(local[0]), float(local[-1])


def curves(rows: list[dict], quantity: str = "ms"):
    """Work, axis, values and what was measured there, in order."""
    for work in WORKS:
        for axis in AXES:
            points = sorted((r["x"], r[quantity]) for r in rows if (r.get("work"), r.get("axis")) == (work, axis))
            if len(points) > 1 and all(y is not None for _, y in points):
                yield work, axis, *map(list, zip(*points, strict=True))


def show(rows: list[dict]) -> None:
    """Print every exponent."""
    for title, quantity, axes in (("processor time", "ms", AXES), ("memory", "mib", ("T", "batch"))):
        print(f"{title}: exponent of the power law (between the first two points, between the last two)")
        for work, axis, x, y in curves(rows, quantity):
            if axis in axes:
                fit, first, last = exponents(x, np.maximum(y, 0.01))
                print(f"  {work:20s}{axis:9s}{fit:6.2f} ({first:5.2f}, {last:5.2f})   {y[0]:g} to {y[-1]:g} at {x[-1]}")


def draw(rows: list[dict], folder: Path) -> Path:
    """All curves, and a line of exponent one."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 5, figsize=(13, 5.6), layout="constrained")
    panels = [(axis, "ms") for axis in AXES] + [("T", "mib"), ("batch", "mib")]
    for ax, (name, quantity) in zip(axes.flat, panels, strict=True):
        found = [c for c in curves(rows, quantity) if c[1] == name]
        for work, _, x, y in found:
            color = f"C{list(WORKS).index(work)}"
            ax.loglog(x, np.maximum(y, 0.01), "o-", ms=3.5, lw=1.2, color=color, label=work)
        if found:
            x = np.array(found[0][2], float)
            middle = np.exp(np.mean([np.log(max(c[3][0], 0.01)) for c in found]))
            ax.loglog(x, middle * x / x[0], ":", color="0.5", lw=1, label="proportional")
            ticks = found[0][2][:: 1 if len(x) < 6 else 2]
            ax.set_xticks(ticks, [f"{v:g}" for v in ticks])
            ax.minorticks_off()
        ax.set(xlabel=LABELS[name], ylabel="processor time (ms)" if quantity == "ms" else "memory of a call (MiB)")
        ax.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=6, frameon=False)
    folder.mkdir(parents=True, exist_ok=True)
    for ending in ("png", "svg"):
        figure.savefig(folder / f"growth.{ending}", dpi=130)
    return folder / "growth.png"


def main() -> None:
    """Measure what is missing, print, draw."""
    from result_lines import Results

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="stop after so long; another run goes on")
    parser.add_argument("--show", action="store_true", help="measure nothing")
    parser.add_argument("--results", type=Path, default=fair.RESULTS / "growth.jsonl")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder of the figure")
    arguments = parser.parse_args()
    results = Results(arguments.results)
    if not arguments.show:
        fair.prepare(AXES["threads"][-1])
        import brian2

        brian2.prefs.codegen.target = "numpy"
        results.settle(base=BASE, n_in=N_IN, n_out=N_OUT, processor=fair.processor())
        for cell in results.missing(cells(), arguments.minutes):
            results.add(cell | in_a_child(cell))
            print(results.rows[-1], flush=True)
    show(results.rows)
    print(f"written: {draw(results.rows, arguments.output)}")


if __name__ == "__main__":
    main()
