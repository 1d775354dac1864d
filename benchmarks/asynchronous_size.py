"""Time of event-driven inference against the size of the network and against the number of events.

What happens is the same at every size: each input event makes one neuron spike, whose 100 synapses reach 100 neurons,
which are tested and stay below threshold. One spike is delivered per forward step. Every sample drives other neurons,
so that the rows of a large network come from main memory and not from a cache that the sample before has filled.

Beside the engine stands a C++ loop that adds the same rows in the same order to an array of the same size, and does
nothing else: what it needs more on a larger network is the price of memory alone.
"""

from __future__ import annotations

import ctypes
import resource
import time
from pathlib import Path

import numpy as np
from brian2 import ms
from scipy import sparse

from brian2grad.models.asynchronous.connectivity import Connectivity
from brian2grad.models.asynchronous.network import AsynchronousNetwork
from brian2grad.models.events import StepEvents
from brian2grad.models.native.build import compile_library

FAN_OUT, PER_STEP, STEPS, SAMPLES = 100, 30, 150, 20
EVENTS_AT = 10_000  # neurons of the runs with more and fewer events
ROWS_ONLY = """
#include "native/support.hpp"
// Adds the row of every neuron of the list to the current of its targets.
extern "C" void add_all(const int32_t* neurons, int64_t n, const int32_t* ptr, const int32_t* targets, const R* weights,
                        R* current) {
    for (int64_t e = 0; e < n; e++)
        for (int32_t s = ptr[neurons[e]]; s < ptr[neurons[e] + 1]; s++) current[targets[s]] += weights[s];
}
"""


def random_network(n: int) -> AsynchronousNetwork:
    """One input unit per neuron and FAN_OUT weak synapses from each neuron, one into every hundredth of the network."""
    rng = np.random.default_rng(0)
    n -= 10  # the outputs are not reached
    part = n // FAN_OUT
    targets = rng.integers(0, part, (n, FAN_OUT), dtype=np.int32)
    targets += (np.arange(FAN_OUT) * part).astype(np.int32)
    weights = rng.random(n * FAN_OUT, dtype=np.float32)
    weights *= np.float32(1e-3)  # below threshold: activity is what the input sets
    ptr = np.arange(0, n * FAN_OUT + 1, FAN_OUT, dtype=np.int32)
    recurrent = sparse.csr_array((weights, targets.ravel(), ptr), shape=(n, n))
    feed = sparse.eye_array(n, format="csr", dtype=np.float32)
    connectivity = Connectivity([n, n, 10]).connect(0, 1, feed).connect(1, 1, recurrent)
    return AsynchronousNetwork(connectivity, tau_m=10 * ms, V_th=0.9, dt=10 * ms, forward_group=1, threads=1)


def events(n_units: int, n_steps: int, n_samples: int) -> StepEvents:
    """PER_STEP different units at every step, others in every sample."""
    rng = np.random.default_rng(1)
    rows = n_steps * n_samples
    units = [np.sort(rng.choice(n_units, PER_STEP, replace=False, shuffle=False)) for _ in range(rows)]
    ptr = np.arange(rows + 1, dtype=np.int64) * PER_STEP
    counts = np.ones(rows * PER_STEP, np.uint8)
    return StepEvents(ptr, np.concatenate(units).astype(np.int32), counts, n_units, n_steps, n_samples, 10e-3)


def best(function, repetitions: int) -> float:
    """Smallest processor time, as other work on the machine only ever adds."""
    times = []
    for _ in range(repetitions):
        start = time.thread_time()
        function()
        times.append(time.thread_time() - start)
    return min(times)


def rows_only(net, run) -> callable:
    """The bare loop over the spikes of a recorded run, ready to be called."""
    library = compile_library(ROWS_ONLY, "float32")
    neurons = (run.tape.group[run.tape.group >= net.n_inputs] - net.n_inputs).astype(np.int32)
    recurrent = net.weights[1]
    current = np.zeros(net.n_neurons, np.float32)
    arrays = (recurrent.indptr.astype(np.int32), recurrent.indices.astype(np.int32), recurrent.data, current)
    address = lambda a: ctypes.c_void_p(a.ctypes.data)  # noqa: E731
    call = (address(neurons), ctypes.c_int64(len(neurons)), *map(address, arrays))
    kept = (neurons, arrays)  # the addresses in `call` point into these
    return lambda: (library.add_all(*call), kept)[0]


def by_size(sizes) -> list[dict]:
    """Measure and print one line per network size."""
    print("equal activity at every size; counts are per sample; the loop only adds the rows of the spikes")
    print(f"{'neurons':>8} {'synapses':>10} {'ms':>7} {'spikes':>7} {'tests':>8} {'synops':>8} {'ns/synop':>9}", end="")
    print(f" {'loop ms':>8} {'ratio':>6} {'M synops/s':>11} {'peak GiB':>9}")
    rows = []
    for n in sizes:
        net = random_network(n)
        batch = events(net.n_inputs, STEPS, SAMPLES)
        run = net.run(batch, record="tape")
        bare = rows_only(net, run)
        totals = {name: run.counters[name].sum() / SAMPLES for name in run.counters}
        engine, loop = (best(f, 5) / SAMPLES * 1e3 for f in (lambda net=net, b=batch: net.run(b), bare))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        synapses = totals["synaptic_operations"]
        rows.append({"neurons": n, "ms": engine, "loop": loop})
        print(
            f"{n:8} {net.connectivity.n_synapses:10} {engine:7.3f} {totals['spikes']:7.0f} "
            f"{totals['threshold_tests']:8.0f} {synapses:8.0f} {engine / synapses * 1e6:9.2f} {loop:8.3f} "
            f"{engine / loop:6.1f} {synapses / engine / 1e3:11.0f} {peak:9.2f}",
            flush=True,
        )
    first, last = rows[0], rows[-1]
    print(
        f"{last['neurons']:.0e} against {first['neurons']:.0e} neurons: engine {last['ms'] / first['ms']:.1f} times, "
        f"loop {last['loop'] / first['loop']:.1f} times as long"
    )
    return rows


def by_events() -> list[dict]:
    """Measure and print one line per number of events."""
    print(f"\n{EVENTS_AT} neurons, more and fewer events\n{'events':>8} {'ms':>8} {'us/event':>9}")
    net, rows = random_network(EVENTS_AT), []
    for n_steps in (10, 40, 160, 640, 2560):
        batch = events(net.n_inputs, n_steps, 4)
        net.run(batch)
        engine = best(lambda b=batch: net.run(b), 5) / 4 * 1e3
        n = n_steps * PER_STEP
        rows.append({"events": n, "ms": engine})
        print(f"{n:8} {engine:8.3f} {engine / n * 1e3:9.3f}", flush=True)
    return rows


def plot(sizes, counts, path) -> None:
    """Both measurements with the line of equal time per event."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
    x = [row["neurons"] for row in sizes]
    axes[0].loglog(x, [row["ms"] for row in sizes], "o-", label="Engine")
    axes[0].loglog(x, [row["loop"] for row in sizes], "s--", color="0.5", label="Rows only")
    middle = np.sqrt(min(row["loop"] for row in sizes) * max(row["ms"] for row in sizes))
    axes[0].set(xlabel="Neurons", ylabel="Time per sample (ms)", ylim=(middle / 30, middle * 30))
    axes[0].set_title(f"{STEPS * PER_STEP} events", fontsize="medium")
    axes[0].legend(frameon=False)
    x = np.array([row["events"] for row in counts])
    axes[1].loglog(x, [row["ms"] for row in counts], "o-", label="Engine")
    slope = counts[-1]["ms"] / counts[-1]["events"]
    axes[1].loglog(x, slope * x, ":", color="0.5", label="Proportional")
    axes[1].set(xlabel="Input events per sample", ylabel="Time per sample (ms)")
    axes[1].set_title(f"{EVENTS_AT} neurons", fontsize="medium")
    axes[1].legend(frameon=False)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")
