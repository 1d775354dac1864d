"""Value and exact gradient of a network of two LIF layers beside jaxsnn, eventax, JAX and PyTorch.

    python benchmarks/exact_peers.py            100-200-10, 100 ms, about 20 spikes a neuron, one thread each
    python benchmarks/exact_peers.py --check [100 200 10]    the same gradients, and their times, in double precision

jaxsnn (EventProp), eventax (Diffrax from event to event) and a lean version in plain JAX compute the same exact
gradient; PyTorch's is a surrogate on a grid of 0.1 ms, of another meaning. Ours computes in double precision, the
others in single, which is their default, but eventax, whose search for a spike does not end there: only `--check` times
it. How the times are taken says ``fair.py``; the input is ready on each side.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import fair
import numpy as np
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms

from brian2grad.models.hybrid.engine import HybridEngine
from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.training import HybridProblem, spike_loss

LIF = "dv/dt = (I - v)/(20*ms) : 1\ndI/dt = -I/(10*ms) : 1"
BATCH = 16


def weights(sizes, seed=0) -> list[np.ndarray]:
    """Random weights (n_pre, n_post); of 100-200-10 such that a neuron spikes about twenty times."""
    rng = np.random.default_rng(seed)
    return [
        rng.normal(mean, spread, shape) * (full / shape[0])
        for mean, spread, full, shape in (
            (0.025, 0.03, 100, sizes[:2]),
            (0.012, 0.03, 200, sizes[1:]),
        )
    ]


def inputs(n_samples, n_in, per_neuron, seed=1) -> tuple[np.ndarray, np.ndarray]:
    """Neurons and times (n_samples, n_spikes) of Poisson input, sorted in time."""
    rng = np.random.default_rng(seed)
    shape = n_samples, n_in * per_neuron
    return rng.integers(0, n_in, shape), np.sort(rng.uniform(0, 0.1, shape), 1)


class Ours:
    """The compiled engine on Brian 2 objects."""

    def __init__(self, matrices):
        n_in, n_hidden, n_out = *matrices[0].shape, matrices[1].shape[1]
        given = SpikeGeneratorGroup(n_in, [], [] * ms)
        hidden, output = (
            NeuronGroup(n, LIF, threshold="v > 1", reset="v = 0", method="exact") for n in (n_hidden, n_out)
        )
        layers = (
            Synapses(given, hidden, "w : 1", on_pre="I_post += w"),
            Synapses(hidden, output, "w : 1", on_pre="I_post += w"),
        )
        for synapses, w in zip(layers, matrices, strict=True):
            synapses.connect()
            synapses.w = w.ravel()
        loss, wrt = spike_loss("sin(t/(10*ms))", output), [(synapses, "w") for synapses in layers]
        self.problem = HybridProblem([given, hidden, output, *layers], loss, wrt, 100 * ms, {"ms": ms})
        self.engine, self.shapes = (
            HybridEngine(self.problem.network, self.problem.duration),
            [w.shape for w in matrices],
        )
        self.groups = hidden.name, output.name

    def load(self, neurons, times):
        """Input of a batch (n_samples, n_spikes)."""
        self.inputs = {self.engine.generators[0]: SampleSpikes.of(list(zip(neurons, times, strict=True)))}

    def gradient(self):
        """Loss, gradients, and the numbers of spikes of both layers."""
        run = self.engine.run(inputs=self.inputs, threads=1)
        found = run.backward(wanted=self.problem.keys)
        by_layer = [np.asarray(found[k]).reshape(s) for k, s in zip(self.problem.keys, self.shapes, strict=True)]
        return run.losses.sum(), by_layer, [len(run.spikes[name].times) for name in self.groups]


def peers(matrices, neurons, times, room, dtype, without=(), rounds=1) -> dict:
    """What computes the gradient of one sample, by name; packages that are missing are named."""
    import lif_peers

    matrices, times = [w.astype(dtype) for w in matrices], times.astype(dtype)
    made = {
        "JAX, event-exact": lambda: lif_peers.Exact(matrices, room, rounds),
        "jaxsnn": lambda: lif_peers.Jaxsnn(matrices, room, len(times)),
        "eventax": lambda: lif_peers.Eventax(matrices, room, len(times), dtype),
        "PyTorch, surrogate, 0.1 ms": lambda: lif_peers.Bptt(matrices),
    }
    found = {}
    for name, make in made.items():
        if name in without:
            continue
        try:
            peer = make()
        except ImportError as error:
            print(f"{name}: not installed ({error})")
            continue
        given = (peer.grid(neurons, times),) if hasattr(peer, "grid") else (neurons, times)
        found[name] = lambda peer=peer, given=given: peer.gradient(*given)
    return found


def check(sizes=(30, 12, 4), per_neuron=20, without=()) -> tuple[dict, dict]:
    """Largest relative differences from ours by name (the gradient of PyTorch differs), and all sides by name."""
    import jax

    jax.config.update("jax_enable_x64", True)
    matrices, (neurons, times) = weights(sizes), inputs(1, sizes[0], per_neuron)
    mine = Ours(matrices)
    mine.load(neurons, times)
    loss, gradients, spikes = mine.gradient()
    print(f"spikes: {spikes}")
    result, sides = {}, peers(matrices, neurons[0], times[0], 2 * spikes[0], np.float64, without, rounds=3)
    for name, run in sides.items():
        theirs, found = run()[:2]
        errors = [abs(theirs.item() - loss) / abs(loss)]
        errors += [np.abs(np.asarray(f) - g).max() / np.abs(g).max() for f, g in zip(found, gradients, strict=True)]
        result[name] = [float(f"{e:.1e}") for e in errors]
        print(f"{name}: loss {errors[0]:.1e}, gradients {errors[1]:.1e} and {errors[2]:.1e} from ours", flush=True)
    return result, {"brian2grad": mine.gradient, **sides}


def side_by_side(arguments) -> None:
    """One sample against everybody, a batch against JAX and PyTorch."""
    import lif_peers

    sizes = 100, 200, 10
    matrices, rows = weights(sizes), []
    mine = Ours(matrices)
    mine.load(*inputs(1, 100, 20))
    _, _, (hidden, output) = mine.gradient()
    print(f"spikes a neuron: 20 input, {hidden / 200:.1f} hidden, {output / 10:.1f} output")
    neurons, times = (a[0] for a in inputs(1, 100, 20))
    others = peers(matrices, neurons, times, int(1.05 * hidden), np.float32, ["eventax", *arguments.without])
    found = fair.compare({"brian2grad": mine.gradient, **others}, budget=arguments.budget)
    fair.show(found, "one sample")
    rows += [{"batch": 1, **row} for row in found]

    neurons, times = inputs(BATCH, 100, 20)
    mine.load(neurons, times)
    mine.gradient()
    narrow = [w.astype(np.float32) for w in matrices]
    exact, grid = lif_peers.Exact(narrow, int(1.1 * hidden)), lif_peers.Bptt(narrow)
    x, given = grid.grid(neurons, times), (neurons, times.astype(np.float32))
    sides = {"brian2grad": mine.gradient, "JAX, event-exact": lambda: exact.gradient(*given)}
    found = fair.compare(sides | {"PyTorch, surrogate, 0.1 ms": lambda: grid.gradient(x)}, budget=arguments.budget)
    fair.show(found, f"a batch of {BATCH}")
    rows += [{"batch": BATCH, **row} for row in found]
    about = {"spikes_a_neuron": {"input": 20, "hidden": hidden / 200, "output": output / 10}}
    fair.save("exact", rows, arguments.out, **about)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", nargs="*", type=int, metavar="SIZE", help="sizes of the layers (30 12 4)")
    parser.add_argument("--without", nargs="+", default=[], metavar="NAME", help="sides to leave out, such as jaxsnn")
    parser.add_argument("--budget", type=float, default=30.0, help="seconds of measuring per comparison")
    parser.add_argument("--out", type=Path, default=fair.RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    fair.prepare(1)
    if arguments.check is not None:
        sizes = tuple(arguments.check) or (30, 12, 4)
        differences, sides = check(sizes, without=arguments.without)
        found = fair.compare(sides, budget=arguments.budget)
        fair.show(found, f"one sample, {'-'.join(map(str, sizes))}, double precision")
        fair.save("exact_double", found, arguments.out, differences=differences)
    else:
        side_by_side(arguments)


if __name__ == "__main__":
    main()
