"""The interface of the compiled engine over the oracle, sample by sample: slow, and the referee of its users."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from brian2grad.models.hybrid.adjoint import Backward
from brian2grad.models.hybrid.network import TIMES
from brian2grad.models.hybrid.oracle import simulate
from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.training.exact.losses import RunResult


class OracleEngine:
    """Same arguments and results as `HybridEngine`."""

    def __init__(self, network, duration):
        self.network, self.duration = network, duration

    def run(self, values=None, inputs=None, threads=None):
        tapes = []
        for k in range(next(iter(inputs.values())).n_samples):
            given, generators = dict(values or {}), dict(self.network.generators)
            for name, spikes in inputs.items():
                generators[name], given[name, TIMES] = spikes[k]
            tapes.append(simulate(replace(self.network, generators=generators), self.duration, given))
        return OracleOutcome(self, tapes)


class OracleOutcome:
    def __init__(self, engine, tapes):
        self.engine, self.tapes = SimpleNamespace(network=engine.network, duration=engine.duration), tapes
        results = [RunResult.of_tape(tape) for tape in tapes]
        self.losses = np.concatenate([r.losses for r in results])
        self.spikes = {name: SampleSpikes.of([r.spikes[name][0] for r in results]) for name in results[0].spikes}
        self.final = {name: np.concatenate([r.final[name] for r in results]) for name in results[0].final}
        self.maxima = {name: np.concatenate([r.maxima[name] for r in results]) for name in results[0].maxima}

    def backward(self, spike_times=None, final=None, maxima=None, weights=None, wanted=None):
        total = {}
        for s, tape in enumerate(self.tapes):
            factor = 1.0 if weights is None else weights[s]  # of the text losses: seeds are scaled the other way
            seeds = {}
            for name, slopes in (spike_times or {}).items():
                a, b = self.spikes[name].offsets[s : s + 2]
                seeds[name] = slopes[a:b] / factor
            others = [{name: a[s] / factor for name, a in (table or {}).items()} for table in (final, maxima)]
            for key, gradient in Backward(tape, seeds, *others).run().items():
                if key[1] != TIMES:
                    total[key] = total.get(key, 0.0) + factor * gradient
        return total
