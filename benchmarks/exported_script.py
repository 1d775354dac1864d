"""The exported Brian 2 script beside the compiled engine, spike for spike on recordings.

    brian2grad train gamma --data nmnist8 --out RUN
    python benchmarks/exported_script.py RUN nmnist8_validation.npz --recordings 100 --out results/exported_script.jsonl

The script is written, loaded as a module and run as its user would, in Brian 2's numpy target; the engine runs the same
weights in double precision. A recording differs if any spike of a hidden neuron is in another step.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from pathlib import Path

import numpy as np
from brian2 import ms
from result_lines import report

from brian2grad import bin_events
from brian2grad.models.gamma.brian.script import write_script
from brian2grad.training.data import read_archive
from brian2grad.training.gamma.configuration import open_run
from brian2grad.training.runs import Run


def script_of(network, folder: Path, n_steps: int):
    """Module of the exported script."""
    path, _ = write_script(network, folder / "network.py", n_steps=n_steps)
    spec = importlib.util.spec_from_file_location("exported", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("archive")
    parser.add_argument("--recordings", type=int, default=100)
    parser.add_argument("--out")
    asked = parser.parse_args()
    network = open_run(Run.open(asked.run), dtype="float64")
    archive, n_steps = read_archive(asked.archive), round(320 * ms / network.dt)
    chosen = np.linspace(0, len(archive) - 1, asked.recordings).astype(int)
    native = network.forward(bin_events(archive, network.dt, n_steps).take(chosen), record=True)
    fields = {name: getattr(archive, name) for name in ("units", "times", "offsets", "time_unit_us")}
    different, spikes, readout = [], 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        script = script_of(network, Path(folder), n_steps)
        for sample, recording in enumerate(chosen):
            monitors, found = script.run_sample(fields, int(recording))
            readout = max(readout, float(np.abs(found.T - native.readout[sample]).max()))
            for (steps, units, _), monitor in zip(native.recorded[sample], monitors, strict=True):
                theirs = np.rint(np.asarray(monitor.t) / float(network.dt)).astype(int), np.asarray(monitor.i)
                ours = sorted(zip(steps.tolist(), units.tolist(), strict=True))
                spikes += len(ours)
                if ours != sorted(zip(*(array.tolist() for array in theirs), strict=True)):
                    different.append(int(recording))
    record = {
        "model": "gamma", "sizes": [int(n) for n in network.sizes], "recordings": len(chosen), "spikes": spikes,
        "recordings_that_differ": sorted(set(different)), "largest_difference_of_readout": readout,
    }  # fmt: skip
    report(record, asked.out)


if __name__ == "__main__":
    main()
