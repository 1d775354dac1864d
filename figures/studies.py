"""Studies of `benchmarks/` that take hours, drawn from the results kept there.

`rules`: gradients by every rule against `filter`, and what is learned by them (`benchmarks/rules.py`). `resolution`:
accuracy and spikes over time steps of 10 to 0.1 ms, and memory in training, beside LIF networks and other libraries
(`benchmarks/resolution.py`). `unlayered`: every order of training under every order of running, published recipe on
`nmnist8` (`benchmarks/unlayered_study.py`; letters as in `benchmarks/unlayered_report.py`). `sparsity`: what a spike
penalty and the threshold buy (`benchmarks/sparsity.py`). `async_gamma`: SpikingGamma networks without a layer barrier
(`benchmarks/async_gamma.py`). The commands that compute them anew, and the numbers, are in `benchmarks/README.md`.

Claim: `online` becomes `filter` with a longer window; results hardly depend on the time step; a network trained in the
order in which it runs is right more often there, with fewer spikes; few spikes per neuron cost little accuracy; with
decoded signals the order hardly matters.
"""

import json
import sys

from _style import HERE, make, run_script

BENCHMARKS = HERE.parent / "benchmarks"
FILES = {
    "rules": "rules", "resolution": "resolution", "unlayered": "unlayered-nmnist8-published", "sparsity": "sparsity",
    "async_gamma": "async_gamma",
}  # fmt: skip


def simulate(quick):
    """Read the results: one text for each study."""
    return {name: (BENCHMARKS / "results" / f"{file}.jsonl").read_text() for name, file in FILES.items()}


def plot(data):
    """Draw each study by its own script."""
    sys.path.insert(0, str(BENCHMARKS))
    import async_gamma
    import resolution_plot
    import rules_report
    import sparsity
    import unlayered_report

    drawers = {
        "rules": rules_report.plot, "resolution": resolution_plot.plot, "sparsity": sparsity.plot,
        "async_gamma": async_gamma.plot, "unlayered": lambda rows: unlayered_report.plot(unlayered_report.Study(rows)),
    }  # fmt: skip
    rows = {name: [json.loads(line) for line in str(data[name]).splitlines()] for name in FILES}
    return {f"study_{name}": drawers[name](rows[name]) for name in FILES}


def main(quick=False, out=None, replot=False):
    """Draw the figures and return the paths of their files; they are never small."""
    return make("studies", simulate, plot, quick=False, out=out, replot=replot)


if __name__ == "__main__":
    run_script(main)
