"""Asynchronous inference side by side: compiled engine, dense PyTorch, and bare C++ loops.

    python benchmarks/asynchronous.py speed     engine against dense PyTorch, batch 1 and 32, F = 1, 8, 64
    python benchmarks/asynchronous.py floor     engine against a C++ loop that only adds the same rows
    python benchmarks/asynchronous.py size      time against network size, 1e3 to 1e6 neurons, and against events

The task has the size of N-MNIST: 2312-64-64-64-10 neurons, about 4000 events in 30 frames of 10 ms. Both
sides of a comparison run in one process, one after the other, with the same number of threads. Times are the
best of many repetitions, as other work on the machine only ever adds: of `speed` on the wall, with the median
beside it; of `floor` and `size`, which use one thread, in processor time.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import time

import numpy as np
from brian2 import ms

from brian2grad.models.asynchronous.network import AsynchronousNetwork
from brian2grad.models.events import StepEvents
from brian2grad.models.native.build import compile_library
from brian2grad.models.order.schedulers import FifoScheduler, MomentumScheduler, RandomScheduler

SIZES = (2312, 64, 64, 64, 10)
GROUPS = (1, 8, 64)
ROWS_ONLY = """
#include "native/support.hpp"
// Adds the row of every delivered source to the current of its targets, group after group, and nothing else.
extern "C" void add_all(const int32_t* sources, const R* copies, const int64_t* ptr, int64_t n_groups, const
int32_t* layer,
                        const int64_t* starts, R* const* weights, const int64_t* widths, R* current) {
    for (int64_t g = 0; g < n_groups; g++)
        for (int64_t e = ptr[g]; e < ptr[g + 1]; e++) {
            const int l = layer[sources[e]];
            const int32_t local = (int32_t)(sources[e] - starts[l]);
            add_rows(current + 64 * l, weights[l], (int)widths[l], &local, copies + e, 0, 1, R(1));
        }
}
"""


def frames(n_samples, n_steps=30, n_events=4000, n_units=SIZES[0], seed=0) -> StepEvents:
    """Events of random units at random times, binned; some units are hot, as edges of a digit are."""
    rng = np.random.default_rng(seed)
    ptr, units, values = [0], [], []
    for _ in range(n_samples):
        hot = rng.gamma(0.5, size=n_units)
        for _ in range(n_steps):
            drawn = rng.choice(n_units, n_events // n_steps, p=hot / hot.sum())
            unit, count = np.unique(drawn, return_counts=True)
            units.append(unit)
            values.append(count)
            ptr.append(ptr[-1] + len(unit))
    return StepEvents(
        np.array(ptr, np.int64),
        np.concatenate(units).astype(np.uint16),
        np.concatenate(values).astype(np.uint8),
        n_units,
        n_steps,
        n_samples,
        10e-3,
    )


def seconds(function, repetitions, clock=time.perf_counter) -> tuple[float, float]:
    """Median and best of `repetitions` calls, after one that warms up."""
    function()
    times = []
    for _ in range(repetitions):
        start = clock()
        function()
        times.append(clock() - start)
    return statistics.median(times), min(times)


def network(threads, **options) -> AsynchronousNetwork:
    return AsynchronousNetwork(SIZES, tau_m=1 * ms, V_th=0.3, dt=10 * ms, seed=1, threads=threads, **options)


# -- dense PyTorch -------------------------------------------------------------------------------------


class DenseTorch:
    """The published algorithm on dense (batch, neurons) tensors, forward only, random order, input first."""

    def __init__(self, net, torch):
        self.torch = torch
        w_in, w = net.connectivity.dense()
        self.w_in, self.w = torch.tensor(w_in, dtype=torch.float32), torch.tensor(w, dtype=torch.float32)
        self.decay, self.theta = float(np.exp(-10)), 0.3

    def run(self, x, F):
        """Spikes per sample of input (T, B, n_in)."""
        torch = self.torch
        B, N = x.shape[1], len(self.w)
        U, total = torch.zeros(B, N), torch.zeros(B)
        for frame in x:
            U = U * self.decay
            resting = torch.zeros(B, N, dtype=torch.bool)
            queue = torch.zeros(B, N)
            current = frame @ self.w_in
            first = True
            while first or bool(queue.any()) or bool((current != 0).any()):
                first = False
                U = (U + current).masked_fill(resting, 0.0)
                fire = (U > self.theta) & (current != 0)
                U = U.masked_fill(fire, 0.0)
                resting |= fire
                queue = queue + fire
                total += fire.sum(1)
                keys = torch.rand(B, N).masked_fill(queue == 0, 2.0)
                rank = keys.argsort(1).argsort(1)
                group = (rank < F) & (queue > 0)
                current = (queue * group) @ self.w
                queue = queue.masked_fill(group, 0.0)
        return total


def speed(arguments):
    try:
        import torch
    except ImportError:
        torch = None
        print("PyTorch is not installed: only the compiled engine is timed (pip install torch).")
    if torch:
        torch.set_num_threads(arguments.threads)
    net = network(arguments.threads)
    print(f"ms per sample, median (best); {arguments.threads} threads; spikes per sample in brackets")
    print(f"{'batch':>5} {'F':>3} {'order':>9} {'engine':>20} {'dense PyTorch':>16} {'ratio':>8}")
    for batch in (1, 32):
        events = frames(batch)
        for F in GROUPS:
            for scheduler in (RandomScheduler(), MomentumScheduler(), FifoScheduler()):
                run = lambda s=scheduler, F=F, e=events: net.run(e, scheduler=s, forward_group=F)  # noqa: E731
                median, best = seconds(run, 200 // batch + 5)
                spikes = run().counters["spikes"].sum() / batch
                label = scheduler.name.removesuffix("Scheduler")
                line = (
                    f"{batch:5} {F:3} {label:>9} {median / batch * 1e3:8.3f} ({best / batch * 1e3:.3f}) [{spikes:.0f}]"
                )
                if torch and label == "Random":
                    dense = DenseTorch(net, torch)
                    x = torch.tensor(np.stack([events.dense(s) for s in range(batch)], 1), dtype=torch.float32)
                    repetitions = 1 if F * 32 < batch * 8 else 3
                    seen = []
                    torch_median, torch_best = seconds(
                        lambda x=x, F=F, d=dense, s=seen: s.append(d.run(x, F)), repetitions
                    )
                    torch_spikes = float(seen[-1].mean())
                    line += f" {torch_median / batch * 1e3:9.2f} [{torch_spikes:.0f}] {torch_best / best:8.0f}x"
                print(line, flush=True)


# -- bare loops ----------------------------------------------------------------------------------------


def floor(arguments):
    events = frames(1)
    library = compile_library(ROWS_ONLY, "float32")
    print("one thread, batch 1; synaptic operations are weights added, input included")
    print(f"{'input':>11} {'F':>3} {'order':>9} {'engine ms':>10} {'rows only ms':>13} {'ratio':>6} {'M synops/s':>11}")
    for prioritised in (True, False):
        net = network(1, prioritised=prioritised)
        for F in GROUPS:
            for scheduler in (RandomScheduler(), MomentumScheduler(), FifoScheduler()):
                run = lambda n=net, s=scheduler, F=F, **o: n.run(events, scheduler=s, forward_group=F, **o)  # noqa: E731
                result = run(record="tape")
                bare = _rows_only(library, net, result.tape)
                _, best = seconds(run, 300, time.thread_time)
                _, bare_best = seconds(bare, 300, time.thread_time)
                rate = result.counters["synaptic_operations"].sum() / best / 1e6
                print(
                    f"{'first' if prioritised else 'queued':>11} {F:3} "
                    f"{scheduler.name.removesuffix('Scheduler'):>9}"
                    f" {best * 1e3:10.3f} {bare_best * 1e3:13.3f} {best / bare_best:6.1f} "
                    f"{rate:11.0f}",
                    flush=True,
                )


def _rows_only(library, net, tape):
    starts = net.connectivity.starts.astype(np.int64)
    layer = net.connectivity.layer_of()
    weights = [np.ascontiguousarray(w, np.float32) for w in net.weights] + [np.zeros((10, 1), np.float32)]
    widths = np.array([w.shape[1] for w in weights], np.int64)
    widths[-1] = 0  # outputs have no targets
    pointers = np.array([w.ctypes.data for w in weights], np.uint64)
    current = np.zeros(64 * len(SIZES), np.float32)
    arrays = [tape.group, tape.multiplicity, tape.group_ptr]
    rest = [layer, starts, pointers, widths, current]
    address = lambda a: ctypes.c_void_p(a.ctypes.data)  # noqa: E731
    call = (*map(address, arrays), ctypes.c_int64(len(tape.group_ptr) - 1), *map(address, rest))
    kept = (arrays, rest, weights)  # the addresses in `call` point into these
    return lambda: (library.add_all(*call), kept)[0]


def size(arguments):
    from asynchronous_size import by_events, by_size, plot

    sizes, counts = by_size(arguments.neurons), by_events()
    if arguments.plot:
        plot(sizes, counts, arguments.plot)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "floor", "size"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--neurons", type=lambda text: [int(float(n)) for n in text.split(",")], default="1e3,1e4,1e5,1e6"
    )
    parser.add_argument("--plot", help="file for the figure of `size`")
    arguments = parser.parse_args()
    {"speed": speed, "floor": floor, "size": size}[arguments.what](arguments)


if __name__ == "__main__":
    main()
