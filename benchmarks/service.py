"""C++ standalone as a service against its own simulation loop and the compiled engine, per recording.

    python benchmarks/service.py nmnist8_validation.npz --samples 2000 --out results/service.jsonl

Processor time throughout: of all processes, the program's and its start included, against the engine's and against that
within the loop. The build is timed apart. Double precision, one thread; the rounds alternate and the middle one counts.
"""

from __future__ import annotations

import argparse
import resource
import statistics

import numpy as np
from brian2 import ms
from result_lines import report

from brian2grad import SpikingGammaNetwork, bin_events
from brian2grad.training.data import read_archive


def processor() -> float:
    """Seconds of this process and of those that ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(s.ru_utime + s.ru_stime for s in spent)


def timed(run):
    """Result and processor time."""
    before = processor()
    result = run()
    return result, processor() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--hidden", type=int, nargs="*", default=[128])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out")
    asked = parser.parse_args()
    archive = read_archive(asked.archive)
    events = bin_events(archive, 10 * ms, 32)
    events = events.take(np.arange(asked.samples) % len(events))
    network = SpikingGammaNetwork((events.n_units, *asked.hidden, 8), dtype="float64", seed=1, threads=1)
    network.calibrate(events.take(slice(0, 64)))
    _, build = timed(lambda: network.brian2(events.take([0]), device="cpp_standalone"))
    rows = []
    for _ in range(asked.rounds):
        native, engine = timed(lambda: network.forward(events))
        served, whole = timed(
            lambda: network.brian2(events, device="cpp_standalone", processes=asked.processes)
        )  # fmt: skip
        np.testing.assert_array_equal(served.spike_counts, native.spikes)
        rows.append([1e3 * seconds / len(events) for seconds in (whole, served.seconds, engine)])
    whole, loop, engine = (statistics.median(column) for column in zip(*rows, strict=True))
    record = {
        "samples": len(events), "hidden": asked.hidden, "processes": asked.processes, "build_s": round(build, 1),
        "service_ms": round(whole, 3), "loop_ms": round(loop, 3), "engine_ms": round(engine, 3),
        "over_loop": round(whole / loop, 2), "over_engine": round(whole / engine, 2),
        "compilations": served.compilations,
    }  # fmt: skip
    report(record, asked.out)


if __name__ == "__main__":
    main()
