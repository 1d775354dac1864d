"""A neuron fitted to a recording. Claim: a fit of 18 parameters by gradients explains more of what it sees than
gradient-free searches with as much processor time, and predicts what it does not see at least as well.

A: spikes of the cell in all repeats (black) and of the fitted model (red), in the part that the fit did not see. B:
voltage of the model, and of the cell where it was recorded. C: spike-triggered current and moving threshold that were
found, the refractory period in grey. D: coincidence factor on what was seen (dashed) and on what was held out, against
processor time: our fit (a point per stage) and gradient-free searches on the same forward pass, mean over seeds
(`benchmarks/results/fit_search.jsonl`). Without --run, A to C show a generated cell.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from _style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, label_panels, make, run_script
from brian2 import Network, SpikeMonitor, StateMonitor, TimedArray, ms, mV, nA, prefs, second
from matplotlib.figure import Figure

from brian2grad import RecordingArchive, Run, fit
from brian2grad.training.fit.neurons.ready import ready_model
from brian2grad.training.fit.runs import data_of, load_fit
from brian2grad.training.plots.style import above

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "fit_search.jsonl"
SEEN, LENGTH, WINDOW = 3.0, 4.5, 0.8  # seconds: the generated cell, and what is drawn
METHODS = {
    "gradient": ("gradient", RED), "scipy-de": ("DE (SciPy)", BLUE), "nevergrad-de": ("DE (nevergrad)", GREEN),
    "nevergrad-cma": ("CMA-ES", PURPLE),
}  # fmt: skip


def generated(seed=4):
    """Three repeats of a cell with one spike-triggered current and a moving threshold, for a frozen noise current."""
    rng, dt = np.random.default_rng(seed), 0.1 * ms
    noise, decay = np.zeros(round(LENGTH * second / dt)), np.exp(-dt / (3 * ms))
    for k in range(1, len(noise)):
        noise[k] = decay * noise[k - 1] + rng.normal(0, np.sqrt(1 - decay**2))
    current = (0.22 + 0.22 * noise) * nA
    model = ready_model("moving-threshold", True)
    values = model.start | {"b0": 6e-11, "c0": 6e-3, "tau_eta": 0.04, "tau_gamma": 0.02}
    group = model.group(TimedArray(current, dt=dt), values, dt=dt)[0]
    seen, spikes = StateMonitor(group, "v", record=0), SpikeMonitor(group)
    Network(group, seen, spikes).run(LENGTH * second)
    repeats = [np.sort(spikes.t + rng.normal(0, 0.4, len(spikes.t)) * ms) for _ in range(3)]
    voltage = np.repeat(np.asarray(seen.v)[:1], 3, axis=0) * 1e3 * mV
    return RecordingArchive.from_repeats(repeats, current, dt, voltage=voltage, name="generated")


def filters_of(found):
    """Spike-triggered current (A) and threshold (V) after a spike, from the model's own equations without input."""
    silent = RecordingArchive.from_repeats([[] * second], np.full(2000, 1e-6) * nA, 0.1 * ms)
    if found.scale is not None:
        return {}
    group = found.group(silent)
    kept = {}
    for state, weight, name in (("eta", "b", "current"), ("gamma", "c", "threshold")):
        buckets = [k for k in range(20) if f"{state}{k}" in group.variables]
        if buckets:
            setattr(group, f"{state}0", 1)
            kept[name] = [(f"{state}{k}", found.values[f"{weight}{k}"]) for k in buckets]
    if not kept:
        return {}
    seen = StateMonitor(group, [state for pairs in kept.values() for state, _ in pairs], record=0)
    Network(group, seen).run(150 * ms)
    total = {name: sum(w * np.asarray(getattr(seen, s)[0]) for s, w in pairs) for name, pairs in kept.items()}
    return {f"filter_{name}": value for name, value in total.items()} | {"filter_t": np.asarray(seen.t)}


def simulate(quick, run=None):
    """Fit, or open a fit; run the model; read the curves of the benchmark."""
    prefs.codegen.target = "numpy"
    if run is None:
        recording, until = generated(), SEEN
        options = {"starts": 1, "generations": 2, "population": 12, "steps": 6} if quick else {"starts": 2}
        found = fit("moving-threshold", recording, until=until * second, **options)
    else:
        opened = Run.open(run)
        found, recording = load_fit(run), data_of(opened)
        until = opened.config["data"].get("until_s") or 0.0
    begin = until if until + WINDOW <= float(recording.duration) else max(0.0, float(recording.duration) - WINDOW)
    group = found.group(recording)
    seen = StateMonitor(group, "v", record=0, dt=recording.dt_us * 1e-6 * second)
    Network(group, seen).run((begin + WINDOW) * second)
    spikes = np.asarray(found.spikes(recording))
    inside = lambda t: np.asarray(t)[(np.asarray(t) >= begin) & (np.asarray(t) < begin + WINDOW)]  # noqa: E731
    trains = [inside(recording.spike_times(k)) for k in range(len(recording))]
    steps = slice(round(begin / (recording.dt_us * 1e-6)), round((begin + WINDOW) / (recording.dt_us * 1e-6)))
    data = {
        "cell": np.concatenate([*trains, np.zeros(0)]), "offsets": np.cumsum([0, *map(len, trains)]),
        "model": inside(spikes), "t": np.asarray(seen.t)[steps], "begin": begin,
        "v": np.asarray(seen.v)[0][steps] + found.values.get("offset", 0.0), "t_ref": found.values.get("t_ref", 0.0),
        "gamma": found.evaluate(recording.part(until * second))["gamma"], "name": recording.name,
    }  # fmt: skip
    if recording.voltage_mV is not None:
        data["recorded"] = recording.voltage_mV[0, steps]
    return data | filters_of(found) | curves()


def curves(model="gif"):
    """Processor seconds and held-out coincidence factor of every method, mean over the seeds."""
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.is_file() else []
    data = {}
    for method in METHODS:
        found = [np.array(r["curve"]) for r in rows if r["method"] == method and r["model"] == model]
        if found:
            n = min(map(len, found))
            data[f"curve_{method}"] = np.mean([one[-n:, [1, 3, 4]] for one in found], axis=0)
    return data


def plot(data):
    """Draw the four panels."""
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    grid = figure.add_gridspec(3, 2, height_ratios=[1, 0.9, 1.25])
    raster, voltage = figure.add_subplot(grid[0, :]), figure.add_subplot(grid[1, :])
    filters, cost = figure.add_subplot(grid[2, 0]), figure.add_subplot(grid[2, 1])
    begin, offsets = float(data["begin"]), data["offsets"]
    trains = [data["cell"][a:b] - begin for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
    raster.eventplot(trains, colors="black", lineoffsets=-np.arange(len(trains)), linelengths=0.8, linewidths=0.8)
    raster.eventplot([data["model"] - begin], colors=RED, lineoffsets=[1.3], linelengths=1.2, linewidths=1.2)
    raster.set(yticks=[1.3, -(len(trains) - 1) / 2], yticklabels=["model", "cell"], xlim=(0, WINDOW), xticklabels=[])
    raster.set_title(f"{data['name']}: coincidence factor {float(data['gamma']):.2f} where the fit did not look")
    if "recorded" in data:
        n = min(len(data["recorded"]), len(data["t"]))
        voltage.plot(data["t"][:n] - begin, data["recorded"][:n], color=GREY, lw=0.8, label="cell")
    voltage.plot(data["t"] - begin, data["v"] * 1e3, color=BLUE, lw=0.8, label="model")
    voltage.set(xlabel="Time (s)", ylabel="Voltage (mV)", xlim=(0, WINDOW))
    above(voltage)
    if "filter_t" in data:
        t = data["filter_t"] * 1e3
        filters.axvspan(0, float(data["t_ref"]) * 1e3, color="0.93", zorder=-1)
        filters.axhline(0, color=GREY, lw=0.6)
        filters.plot(t, data["filter_current"] / 1e-12, color=ORANGE)
        filters.set(xlabel="After a spike (ms)", xlim=(0, t[-1]))
        filters.set_ylabel("Current (pA)", color=ORANGE)
        if "filter_threshold" in data:
            other = filters.twinx()
            other.plot(t, data["filter_threshold"] * 1e3, color=GREEN)
            other.set_ylabel("Threshold (mV)", color=GREEN)
            low = min(ax.get_ylim()[0] / ax.get_ylim()[1] for ax in (filters, other))
            for ax in (filters, other):  # one zero for both
                ax.set_ylim(max(-1.5, low) * ax.get_ylim()[1], ax.get_ylim()[1])
    else:
        filters.set_axis_off()
    for method, (label, colour) in METHODS.items():
        if f"curve_{method}" in data:
            seconds, fitted, gamma = data[f"curve_{method}"].T
            cost.plot(seconds, fitted, "--", color=colour, lw=0.9)
            cost.plot(seconds, gamma, ".-", color=colour, label=label, ms=4)
    cost.set(xlabel="Processor time (s)", ylabel="Coincidence factor", ylim=(0, 1))
    if cost.lines:
        cost.legend(loc="upper left", ncols=2)
    label_panels([raster, voltage], x=-0.075)
    label_panels([filters, cost], letters="CD")
    return figure


def main(quick=False, out=None, replot=False, run=None):
    """Draw the figure and return the paths of its files."""
    return make(
        "fit_recording", lambda quick: simulate(quick, run), plot, quick=quick, out=out, replot=replot
    )  # fmt: skip


if __name__ == "__main__":
    run_script(main, ("--run", {"help": "folder of a fit; default: a generated cell"}))
