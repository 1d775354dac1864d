"""Asynchronous inference side by side: compiled engine, a numba loop, PyTorch, and a C++ loop that only adds rows.

    python benchmarks/asynchronous.py speed     engine against numba and PyTorch, batch 1 and 32, F = 1, 8, 64
    python benchmarks/asynchronous.py stream    the same, one sample a call and each call another: what a processor can
                                                learn of a sample that comes again and again does not help then
    python benchmarks/asynchronous.py floor     engine against a C++ loop that only adds the same rows
    python benchmarks/asynchronous.py size      time against network size, 1e3 to 1e6 neurons, and against events

The task has the size of N-MNIST: 2312-64-64-64-10 neurons, about 4000 events in 30 frames of 10 ms. How it is measured
says ``fair.py``; PyTorch's dense frames are made before. Of `size`, times are the best of many repetitions, in
processor time.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
from pathlib import Path

import fair
import numpy as np
from brian2 import ms

from brian2grad.models.asynchronous.network import AsynchronousNetwork
from brian2grad.models.events import StepEvents
from brian2grad.models.native.build import compile_library
from brian2grad.models.order.schedulers import FifoScheduler, MomentumScheduler, RandomScheduler

SIZES = (2312, 64, 64, 64, 10)
GROUPS = (1, 8, 64)
ORDERS = (RandomScheduler(), MomentumScheduler(), FifoScheduler())
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


def network(threads, **options) -> AsynchronousNetwork:
    return AsynchronousNetwork(SIZES, tau_m=1 * ms, V_th=0.3, dt=10 * ms, seed=1, threads=threads, **options)


def name_of(scheduler) -> str:
    """Name of an order."""
    return scheduler.name.removesuffix("Scheduler")


def contenders(net, events, F, scheduler) -> dict:
    """What runs these events in this order; PyTorch in random order only."""
    import torch
    from numba_asynchronous import NumbaAsynchronous
    from torch_asynchronous import TorchAsynchronous

    loop, dense = NumbaAsynchronous(net), TorchAsynchronous(net)
    ours = lambda: net.run(events, scheduler=scheduler, forward_group=F)  # noqa: E731
    sides = {
        "brian2grad": fair.Side(ours, lambda n: setattr(net.engine(scheduler), "threads", n)),
        "numba loop": fair.Side(lambda: loop.run(events, scheduler, F), loop.set_threads),
    }
    if isinstance(scheduler, RandomScheduler):
        x = dense.frames(events)
        sides["PyTorch, topk and rows"] = fair.Side(lambda: dense.run(x, F), torch.set_num_threads)
        if len(events) == 1 or F > 1:  # else half a minute a call
            sides["PyTorch, dense"] = fair.Side(lambda: dense.run(x, F, "dense"), torch.set_num_threads)
    return sides


def speed(arguments):
    """Every side on the same events."""
    net, rows = network(arguments.threads), []
    for batch, F, scheduler in itertools.product((1, 32), GROUPS, ORDERS):
        events = frames(batch)
        found = fair.compare(contenders(net, events, F, scheduler), arguments.threads, budget=4.0)
        spikes = net.run(events, scheduler=scheduler, forward_group=F).counters["spikes"].sum() / batch
        fair.show(found, f"batch {batch}, F = {F}, {name_of(scheduler)}: {spikes:.0f} spikes; ms a sample", batch)
        rows += [{"batch": batch, "F": F, "order": name_of(scheduler), **row} for row in found]
    fair.save("asynchronous" + "_2_threads" * (arguments.threads > 1), rows, arguments.out)


def stream(arguments):
    """Engine and numba loop called with one sample after the other, as they come from a sensor."""
    from numba_asynchronous import NumbaAsynchronous

    net, rows, batch = network(1), [], 32
    loop, each = NumbaAsynchronous(net), [frames(batch).take([k]) for k in range(batch)]
    for F, scheduler in itertools.product(GROUPS, ORDERS):
        ours = lambda s=scheduler, F=F: [net.run(e, scheduler=s, forward_group=F) for e in each]  # noqa: E731
        theirs = lambda s=scheduler, F=F: [loop.run(e, s, F) for e in each]  # noqa: E731
        found = fair.compare({"brian2grad": ours, "numba loop": theirs}, budget=4.0)
        fair.show(found, f"one sample a call, F = {F}, {name_of(scheduler)}; ms a sample", batch)
        rows += [{"F": F, "order": name_of(scheduler), **row} for row in found]
    fair.save("asynchronous_stream", rows, arguments.out)


# -- bare loops ----------------------------------------------------------------------------------------


def floor(arguments):
    events = frames(1)
    library = compile_library(ROWS_ONLY, "float32")
    print("one thread, batch 1; synaptic operations are weights added, input included")
    rows = []
    for where, F, scheduler in itertools.product(("first", "queued"), GROUPS, ORDERS):
        net = network(1, prioritised=where == "first")
        run = lambda n=net, s=scheduler, F=F, **o: n.run(events, scheduler=s, forward_group=F, **o)  # noqa: E731
        result = run(record="tape")
        found = fair.compare({"rows alone": _rows_only(library, net, result.tape), "brian2grad": run}, budget=2.0)
        rate = result.counters["synaptic_operations"].sum() / found[1]["seconds"] / 1e6
        fair.show(found, f"input {where}, F = {F}, {name_of(scheduler)}: {rate:.0f} M operations a second")
        rows += [{"input": where, "F": F, "order": name_of(scheduler), **row} for row in found]
    fair.save("asynchronous_floor", rows, arguments.out)


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
    parser.add_argument("what", choices=("speed", "stream", "floor", "size"))
    parser.add_argument("--threads", type=int, default=1, help="of `speed`; with 1, processor time")
    parser.add_argument("--out", type=Path, default=fair.RESULTS, help="folder of the results")
    parser.add_argument(
        "--neurons", type=lambda text: [int(float(n)) for n in text.split(",")], default="1e3,1e4,1e5,1e6"
    )
    parser.add_argument("--plot", help="file for the figure of `size`")
    arguments = parser.parse_args()
    fair.prepare(arguments.threads if arguments.what == "speed" else 1)
    {"speed": speed, "stream": stream, "floor": floor, "size": size}[arguments.what](arguments)


if __name__ == "__main__":
    main()
