"""A fit by gradients beside gradient-free search on the same compiled forward pass, at equal processor time.

    python benchmarks/fit_search.py RECORDING.npz [--models lif gif] [--until 9] [--seeds 1 2] [--show]

All see what lies before `--until` (seconds), minimise the same smooth distance of spike trains within the same bounds
from the same start, and are judged on the rest, outside the time that counts. The searches: SciPy's differential
evolution, and differential evolution and CMA-ES of nevergrad, with which brian2modelfitting searches (its release 0.4
imports neither with NumPy 2 nor with nevergrad 1, so nevergrad is asked itself, with a population set as there).
One line of JSON for every model, method and seed; a line that is there is not computed again.
"""

import argparse
import dataclasses
import importlib.util
import time
from pathlib import Path

import numpy as np
from brian2 import second
from result_lines import Results
from scipy.optimize import differential_evolution

from brian2grad.training.data import read_recording
from brian2grad.training.fit import FITTED, Fit, FitOptions, FitResult
from brian2grad.training.fit.neurons.parameters import Coordinates
from brian2grad.training.fit.neurons.ready import ready_model
from brian2grad.training.fit.running import Running
from brian2grad.training.fit.search import Judge
from brian2grad.training.fit.target import is_current, target_of

HERE = Path(__file__).resolve().parent
POPULATION = (
    15  # of SciPy: times the number of parameters; of nevergrad: twice as many, as in brian2modelfitting's guide
)
POINTS = 12  # of a curve


class Spent(Exception):
    """The processor time is used up."""


class Search:
    """Counts simulations and processor seconds of a search, and keeps its curve.

    Parameters
    ----------
    judge : Judge
    model : FittingModel
    test : callable
        ``test(values)`` is the coincidence factor on what was held out.
    budget : float
        Processor seconds.
    """

    def __init__(self, judge, model, test, budget):
        self.judge, self.model, self.test, self.budget = judge, model, test, budget
        self.coordinates = Coordinates(model.parameters)
        self.begun, self.count, self.best, self.curve = time.process_time(), 0, (np.inf, None, None), []

    def __call__(self, x) -> float:
        """Loss at coordinates."""
        if self.spent > self.budget:
            raise Spent
        if self.spent > self.budget * (len(self.curve) + 1) / POINTS:
            self.note()
        self.count += 1
        values = self.model.start | self.coordinates.values(x)
        scored = self.judge(values)
        if scored.loss < self.best[0]:
            self.best = scored.loss, scored.gamma, values
        return scored.loss

    @property
    def spent(self) -> float:
        """Processor seconds."""
        return time.process_time() - self.begun

    def note(self) -> None:
        """Add a point to the curve; its test is not counted."""
        now, paused = self.spent, time.process_time()
        loss, gamma, values = self.best
        if values is not None:
            self.curve.append([self.count, round(now, 3), loss, gamma, self.test(values)])
        self.begun += time.process_time() - paused


def by_scipy(search, seed):
    """Differential evolution of SciPy; the start is one of its population."""
    differential_evolution(
        search, search.coordinates.bounds, maxiter=10**6, popsize=POPULATION, tol=0, rng=seed, polish=False,
        x0=search.coordinates.of(search.model.start),
    )  # fmt: skip


def by_nevergrad(name):
    """A search by one of nevergrad's optimisers."""

    def run(search, seed):
        import nevergrad

        low, high = search.coordinates.bounds.T
        start = search.coordinates.of(search.model.start)
        array = nevergrad.p.Array(init=start).set_bounds(low, high)
        array.random_state.seed(seed)
        optimiser = nevergrad.optimizers.registry[name](parametrization=array, budget=10**6)
        optimiser._llambda = 2 * POPULATION
        while True:
            asked = optimiser.ask()
            optimiser.tell(asked, search(asked.value))

    return run


SEARCHES = {"scipy-de": by_scipy, "nevergrad-de": by_nevergrad("DE"), "nevergrad-cma": by_nevergrad("CMA")}


def by_gradient(model, recording, until, seed, test) -> dict:
    """Our fit: a point of the curve after every stage; passes forward with adjoint, and forward alone."""
    running = Fit(model, recording, seed, until * second, threads=1)
    gradients = runs = seconds = 0
    curve = []
    while not running.done:
        begun = time.process_time()
        record = running.advance()
        seconds += time.process_time() - begun
        gradients, runs = gradients + record["gradients"], runs + record["runs"]
        curve.append([
            3 * gradients + runs, round(seconds, 3), record["loss"], record["gamma"], test(running.state.values[0])
        ])  # fmt: skip
    return {"seconds": seconds, "gradients": gradients, "runs": runs, "curve": curve}


def compare(path, name, until, seeds, methods, results) -> None:
    """Compute what is missing for a model."""
    cell = read_recording(path)
    held_out = dataclasses.replace(cell, scored_from_us=until * 1e6)
    model = ready_model(name, is_current(cell.input_unit))
    target, scale = target_of(cell)
    judge = Judge(Running(model, target.part(target.scored_from, until)), 4e-3)
    judge(model.start)  # compiled, outside the time that counts

    def test(values):
        return FitResult(model, values, {}, scale).evaluate(held_out)["gamma"]

    for seed in seeds:
        key = {"recording": cell.name, "until": until, "model": name, "seed": seed}
        ours = results.find(**key, method="gradient")
        if ours is None:
            # compiled, too
            Fit(model, cell, seed, until * second, FitOptions(starts=1, iterations=0), threads=1).advance()
            ours = key | {"method": "gradient", "n": len(model.parameters)}
            ours |= by_gradient(model, cell, until, seed, test)
            results.add(ours)
            say(ours)
        for method, run in SEARCHES.items():
            if method not in methods or results.find(**key, method=method) is not None:
                continue
            if method.startswith("nevergrad") and importlib.util.find_spec("nevergrad") is None:
                print(f"{method}: nevergrad is not installed; pip install nevergrad")
                continue
            search = Search(judge, model, test, ours["seconds"])
            try:
                run(search, seed)
            except Spent:
                search.note()
            row = key | {"method": method, "n": len(model.parameters), "seconds": ours["seconds"], "runs": search.count}
            results.add(row | {"gradients": 0, "curve": search.curve})
            say(results.rows[-1])


def say(row) -> None:
    """Print the end of a row's curve."""
    _, _, loss, gamma, test = row["curve"][-1]
    name = f"{row['recording']} {row['model']:<16} ({row['n']}) {row['method']:<13} seed {row['seed']}"
    passes = f"{row['seconds']:6.1f} s  {row['gradients']} gradients, {row['runs']} runs"
    print(f"{name}  {passes}  loss {loss:.4f}  gamma {gamma:.3f}  held out {test:.3f}", flush=True)


def show(results) -> None:
    """One row for every model: held-out coincidence factors of all methods, mean over the seeds and extremes."""
    for recording, model in dict.fromkeys((row["recording"], row["model"]) for row in results.rows):
        cells = []
        for method in ("gradient", *SEARCHES):
            rows = [r for r in results.rows if (r["recording"], r["model"], r["method"]) == (recording, model, method)]
            found = [row["curve"][-1][4] for row in rows]
            if found:
                cells.append(
                    f"{method} {np.mean(found):.3f} ({min(found):.3f} to {max(found):.3f}, {len(found)} seeds)"
                )
        print(f"{recording} {model}: " + "; ".join(cells))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording")
    parser.add_argument("--models", nargs="*", default=list(FITTED))
    parser.add_argument("--until", type=float, default=9.0)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--methods", nargs="*", default=list(SEARCHES), choices=["gradient", *SEARCHES])
    parser.add_argument("--out", type=Path, default=HERE / "results" / "fit_search.jsonl")
    parser.add_argument("--show", action="store_true", help="print the table of what is there")
    asked = parser.parse_args()
    lines = Results(asked.out)
    if not asked.show:
        for word in asked.models:
            compare(asked.recording, word, asked.until, asked.seeds, asked.methods, lines)
    show(lines)
