"""Memory of the tape of exact gradients against the length of the run, at the same number of events.

A neuron receives twenty spikes in the first 50 ms, never spikes, and then rests. Claim: for linear flows the tape does
not grow with the run; for nonlinear ones by the length of each step and one state in 32 steps.

    python benchmarks/exact_memory.py [--samples 400] [--out results/exact_memory.jsonl]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import brian2
import numpy as np
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms

from brian2grad.equations.ready import adex, hodgkin_huxley, leaky_integrate_and_fire
from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.training import HybridProblem, final_loss

MODELS = {"LIF": leaky_integrate_and_fire, "AdEx": adex, "Hodgkin-Huxley": hodgkin_huxley}
DURATIONS = (100, 200, 400, 800)


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def problem_of(name: str, duration: float) -> HybridProblem:
    """A neuron of the model with input too weak for a spike."""
    model = MODELS[name]()
    group = NeuronGroup(1, model, **model.arguments)
    model.assign(group)
    inputs = SpikeGeneratorGroup(1, np.zeros(20, int), np.linspace(1, 50, 20) * ms)
    synapses = Synapses(inputs, group, **model.synapse)
    synapses.connect()
    loss = final_loss(f"v/{'mV' if group.variables['v'].dim.dim else '1'}", group)
    return HybridProblem([group, inputs, synapses], loss, [(synapses, "w")], duration * ms, {"mV": brian2.mV})


def measured(name: str, duration: float, samples: int) -> dict:
    """Bytes of the tape of one sample, and processor time forward and back."""
    problem = problem_of(name, duration)
    (generator,) = problem.network.generators
    times = problem.network.values[generator, "spike_time"]
    inputs = {generator: SampleSpikes.of([(np.zeros(len(times), int), times)] * samples)}
    engine = problem.compiled
    engine.run(threads=1).backward()
    before, start = resident(), time.process_time()
    outcome = engine.run(inputs=inputs, threads=1)
    held = resident() - before
    middle = time.process_time()
    outcome.backward(wanted=problem.keys)
    back = time.process_time() - middle
    assert not len(outcome.spikes[next(iter(outcome.spikes))].times)
    return {
        "model": name, "duration_ms": duration, "bytes_per_sample": round(held / samples),
        "forward_us": round((middle - start) / samples * 1e6, 1), "backward_us": round(back / samples * 1e6, 1),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    brian2.prefs.codegen.target = "numpy"
    rows = []
    for name in MODELS:
        for duration in DURATIONS:  # each in a process of its own, as freed memory stays with a process
            read, write = os.pipe()
            if not os.fork():
                os.write(write, json.dumps(measured(name, duration, options.samples)).encode())
                os._exit(0)
            os.wait()
            rows.append(json.loads(os.read(read, 10_000)))
            print(rows[-1], flush=True)
            if options.out:
                options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
