"""Value and exact gradient of LIF networks: the compiled engine beside the least that any engine has to do.

    python benchmarks/exact_engine.py layers       100-200-10, 100 ms, against a bare loop over the same spikes
    python benchmarks/exact_engine.py recurrent    1000 neurons, 1 s: seconds for value and gradient
    python benchmarks/exact_engine.py growth       time against spikes and against the length of a run
    python benchmarks/exact_engine.py epoch        the recipe of latency MNIST: gradient of its first batches

The bare loop adds the row of every spike to the targets, forward, and gathers the same rows, back: no neuron, no time,
no test. How it is measured says ``fair.py``. `--out FILE` keeps it.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from pathlib import Path

import fair
import numpy as np
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, defaultclock, ms, second
from result_lines import Results

from brian2grad.models.hybrid.engine import HybridEngine
from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.models.native.build import compiled
from brian2grad.training import HybridProblem, final_loss, spike_loss
from brian2grad.training.configuration.recipes import read_recipe, recipe_path
from brian2grad.training.exact.configuration import ExactConfiguration, build, complete, load_tasks

LIF = "dv/dt = (I - v)/tau_m : 1\ndI/dt = -I/tau_s : 1"
CONSTANTS = {"tau_m": 20 * ms, "tau_s": 5 * ms, "ms": ms, "second": second}
BARE = """
#include <cstdint>
extern "C" void bare(int64_t n_spikes, const int32_t* source, int64_t n, const double* w, double* dw, double* state) {
    for (int64_t e = 0; e < n_spikes; e++) {
        const double* row = w + (int64_t)source[e] * n;
        for (int64_t j = 0; j < n; j++) state[j] += row[j];
    }
    for (int64_t e = n_spikes - 1; e >= 0; e--) {
        double* row = dw + (int64_t)source[e] * n;
        for (int64_t j = 0; j < n; j++) row[j] += state[j];
    }
}
"""


def layers(n_in=100, n_hidden=200, n_out=10, duration=100 * ms):
    """Two layers of current-based LIF neurons; the loss reads the output's spikes."""
    spikes = SpikeGeneratorGroup(n_in, [], [] * ms)
    hidden, output = (NeuronGroup(n, LIF, threshold="v > 1", reset="v = 0", method="exact") for n in (n_hidden, n_out))
    first, second_ = (
        Synapses(spikes, hidden, "w : 1", on_pre="I_post += w"),
        Synapses(hidden, output, "w : 1", on_pre="I_post += w"),
    )
    rng = np.random.default_rng(0)
    for synapses, mean, spread in ((first, 0.05, 0.06), (second_, 0.02, 0.05)):
        synapses.connect()
        synapses.w = rng.normal(mean, spread, len(synapses))
    loss = spike_loss("sin(t/(10*ms))", output) + final_loss("v**2", output)
    wrt = [(first, "w"), (second_, "w")]
    return HybridProblem([spikes, hidden, output, first, second_], loss, wrt, duration, CONSTANTS)


def trains(n_samples, n_in, per_neuron, duration, rng):
    count = n_in * per_neuron
    return SampleSpikes.of([(rng.integers(0, n_in, count), rng.uniform(0, duration, count)) for _ in range(n_samples)])


def measure(function, times):
    found = []
    for _ in range(times):
        before = time.process_time()
        function()
        found.append(time.process_time() - before)
    return np.array(found)


def against_the_bare_loop(times):
    problem = layers()
    engine, rng = HybridEngine(problem.network, problem.duration), np.random.default_rng(1)
    name = engine.generators[0]
    batch = {name: trains(16, 100, 20, problem.duration, rng)}
    outcome = engine.run(inputs=batch, threads=1)
    hidden, output = (outcome.spikes[g] for g in engine.names)
    rates = len(hidden.times) / 200 / 16, len(output.times) / 10 / 16
    bare = ctypes.CDLL(str(compiled(BARE))).bare
    work = []
    for spikes, n_pre, n in ((batch[name], 100, 200), (hidden, 200, 10)):
        w, dw, state = rng.normal(size=(n_pre, n)), np.zeros((n_pre, n)), np.zeros(n)
        work.append((len(spikes.times), spikes.neurons.astype(np.int32), n, w, dw, state))

    def rows():
        for count, source, n, w, dw, state in work:
            bare(ctypes.c_int64(count), source.ctypes, ctypes.c_int64(n), w.ctypes, dw.ctypes, state.ctypes)

    def ours():
        engine.run(inputs=batch, threads=1).backward(wanted=problem.keys)

    found = fair.compare({"rows alone": rows, "brian2grad": ours}, rounds=(times, times))
    fair.show(found, "value and gradient, ms a sample", 16)
    fair.save("exact_floor", found)
    bare, own = found
    yield {
        "spikes_per_neuron": [round(rate, 1) for rate in rates],
        "ms_a_sample": round(own["seconds"] / 16 * 1e3, 3),
        "bare_ms": round(bare["seconds"] / 16 * 1e3, 3),
        "ratio": [round(own[key], 1) for key in ("ratio_low", "ratio", "ratio_high")],
    }


def recurrent(n=1000, per_neuron=100, duration=1 * second, seed=3):
    """A thousand driven neurons with a hundred synapses each, every one with a delay of its own."""
    rng = np.random.default_rng(seed)
    driven = LIF.replace("(I - v)", "(I + E - v)") + "\nE : 1 (constant)"
    group = NeuronGroup(n, driven, threshold="v > 1", reset="v = 0", method="exact")
    group.E, group.v = rng.uniform(0.9, 1.2, n), rng.uniform(0, 1, n)
    loop = Synapses(group, group, "w : 1", on_pre="I_post += w")
    i = np.repeat(np.arange(n), per_neuron)
    loop.connect(i=i, j=rng.integers(0, n, len(i)))
    loop.w, loop.delay = rng.normal(0, 0.1, len(i)), rng.uniform(0.5, 5, len(i)) * ms
    return [group, loop], group, loop, duration


def thousand_neurons(times):
    objects, group, loop, duration = recurrent()
    for wrt in ([(loop, "w")], [(loop, "w"), (loop, "delay")]):
        problem = HybridProblem(objects, final_loss("v**2", group), wrt, duration, CONSTANTS)
        engine = HybridEngine(problem.network, problem.duration)
        outcome = engine.run(threads=1)
        rate = len(outcome.spikes[group.name].times) / len(group) / float(duration)
        both = measure(lambda: engine.run(threads=1).backward(wanted=problem.keys), times)  # noqa: B023
        yield {"wrt": [v for _, v in problem.keys], "Hz": round(rate, 1), "seconds": round(float(np.median(both)), 2)}


def growth(times):
    for duration, per_neuron in ((100, 10), (100, 20), (100, 40), (200, 20), (400, 20), (800, 20)):
        problem = layers(duration=duration * ms)
        engine = HybridEngine(problem.network, problem.duration)
        batch = {engine.generators[0]: trains(4, 100, per_neuron, problem.duration, np.random.default_rng(1))}
        outcome = engine.run(inputs=batch, threads=1)
        spikes = sum(len(s.times) for s in outcome.spikes.values()) / 4
        took = measure(lambda: engine.run(inputs=batch, threads=1).backward(wanted=problem.keys), times)  # noqa: B023
        yield {
            "duration_ms": duration, "input_spikes": 100 * per_neuron, "other_spikes": round(spikes),
            "ms_a_sample": round(np.median(took) / 4 * 1e3, 2),
        }  # fmt: skip


def epoch(times):
    """Gradients of batches of MNIST by the network that the recipe starts from."""
    config = read_recipe(recipe_path("exact-lif", "mnist"))
    task, held_out = load_tasks(config, None, 3200)
    complete(config, task, held_out)
    network, goal = build(config, task, 0, threads=1), ExactConfiguration.read(config).loss.goal()
    size, rng = config["training"]["batch_size"], np.random.default_rng(0)

    def batch(k):
        chosen = np.arange(k * size, (k + 1) * size)
        network.gradient(task.batch(chosen, rng, drop=0.2), task.labels[chosen], goal=goal)

    batch(0)
    took = [measure(lambda: batch(k), 1)[0] for k in range(1, 1 + min(times, 3200 // size - 1))]  # noqa: B023
    yield {"ms_a_sample": round(np.median(took) / size * 1e3, 3), "s_for_50000": round(np.median(took) / size * 5e4, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=list(STUDIES))
    parser.add_argument("--times", type=int, default=11)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    fair.prepare()
    defaultclock.dt = 0.1 * ms
    for row in STUDIES[given.what](given.times):
        print(", ".join(f"{key} {value}" for key, value in row.items()))
        if given.out:
            Results(given.out).add({"kind": given.what, **row})


STUDIES = {"layers": against_the_bare_loop, "recurrent": thousand_neurons, "growth": growth, "epoch": epoch}

if __name__ == "__main__":
    main()
