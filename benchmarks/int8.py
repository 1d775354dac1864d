"""What int8 weights cost an accuracy: as trained, only rounded, and after an epoch of training with rounded weights.

    brian2grad train gamma --data nmnist8 --validation 0.1667 --out RUN
    python benchmarks/int8.py RUN --data-root DIR --out results/int8.jsonl

On the run's own part that was held out of training; nothing is chosen on it.
"""

from __future__ import annotations

import argparse

from result_lines import report

from brian2grad.training.cli.export import rounded_network
from brian2grad.training.cli.families import family_of
from brian2grad.training.evaluation import evaluate_native
from brian2grad.training.runs import Run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--data-root")
    parser.add_argument("--out")
    asked = parser.parse_args()
    run = Run.open(asked.run)
    family = family_of(run)
    network = family.open_run(run)
    task, held_out = family.load_tasks(run.config, asked.data_root, run.config["run"].get("limit"))
    options = family.Configuration.read(run.config).options()
    record = {
        "model": run.config["run"]["model"], "seed": run.config["run"]["seed"], "samples": len(held_out),
        "epochs": sum(1 for _ in open(run.folder / "metrics.jsonl")),
    }  # fmt: skip
    found = {"as_trained": evaluate_native(network, held_out)}
    for name, epochs in (("rounded", 0), ("rounded_and_trained", 1)):
        network = rounded_network(family.open_run(run), task, options, epochs, quiet=True)
        found[name] = evaluate_native(network, held_out)
    for name, result in found.items():
        record[name] = round(100 * result.accuracy, 2)
    record["lost_points"] = round(record["as_trained"] - record["rounded_and_trained"], 2)
    report(record, asked.out)


if __name__ == "__main__":
    main()
