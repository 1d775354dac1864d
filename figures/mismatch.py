"""A network trained with a layer barrier, run without one: what it loses, and whether asynchrony or early exit saves.

Columns: three ways of training the same network, with a barrier and a loss of the final counts only, with a barrier
and the recipe's loss (which also asks for a right first output spike), and in momentum order (F = 8) with that loss.
Rows of `mismatch_orders`, against the forward group F: (A) accuracy when the queue is drained, (B) at the first output
spike, (C) spikes per neuron, drained, (D) median network spikes until the first output spike. Layered order and
continuous time (served: by a core that is busy 20 us with every spike) have no F. Lines: mean over networks; bands:
smallest and largest, of accuracies of a single network one standard error of the test set.

`mismatch_exit`: (A-C) accuracy against the spikes spent, for spike budgets, with the first output spike (triangle) and
the drained run (circle), F = 8; (D) accuracy M forward steps after the first output spike (random order, F = 8); (E)
accuracy of one network in 30 random orders, with one standard error of the test set; (F) accuracy of the answer at hand
after some time, frames of 10 ms (random order, F = 8) against continuous time. Forward steps take no time: a spike of a
frame is as late as the end of its timestep.

Claim: trained with a barrier, a network loses up to 2 points in any order at F = 8, but 6 (random, momentum) to 23
(last in first out) at F = 1, and 21 in continuous time; trained in one asynchronous order, less than 1 in all of them
and 2 in continuous time. What is saved is early exit, and what training has made of the network: hardly any order lets
a network exit with fewer spikes than layered order does.
"""

import functools
import json
from pathlib import Path

import numpy as np
from _stops import NEVER, Spikes, further
from _style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, label_panels, run_script
from _timing import make_from_points
from brian2 import ms
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from brian2grad.models.order.schedulers import FifoScheduler, PerCoreScheduler, TimedScheduler
from brian2grad.training import load_splits, make_task, train
from brian2grad.training.asynchronous.configuration import AsyncConfiguration
from brian2grad.training.asynchronous.configuration import build as build_async
from brian2grad.training.configuration import make_scheduler, merged, read_recipe, recipe_path

NAME = "mismatch"
BARRIER = {"scheduler": "layered", "forward_group": "all"}
TRAININGS = {
    "barrier, counts": {"network": BARRIER, "loss": {"first": 0.0}},
    "barrier": {"network": BARRIER},
    "momentum": {"network": {"scheduler": "momentum", "forward_group": 8}},
}
GROUPS = (1, 2, 4, 8, 16, 32, 64, 128, None)
GROUPED = {"random": BLUE, "momentum": RED, "fifo": GREEN, "lifo": PURPLE, "per core": SKY}
COLOURS = GROUPED | {"layered": "black", "timed": ORANGE, "served": GREY}
M = (0, 1, 2, 4, 8, 16, 32)  # forward steps after the first output spike
BUDGETS = np.unique(np.geomspace(4, 2048, 19).astype(int))
# A frame of 10 ms leaves a timed spike 0.1 ms per layer; "served" adds one core that spends 20 us on every spike.
TIMED = {"timed": TimedScheduler(axonal=0.1 * ms, refractory=10 * ms),
         "served": TimedScheduler(axonal=0.1 * ms, refractory=10 * ms, service=0.02 * ms)}  # fmt: skip
SHOWN = 8


class Study:
    """The networks and their tests; every method is a point that an interrupted run does not compute again."""

    def __init__(self, points, quick, data, data_root, epochs, recipe=None):
        self.points, self.quick = points, quick
        recipe = read_recipe(recipe or recipe_path("async", data))
        config = merged(recipe, {"training": {"epochs": 3 if quick else epochs}})
        settings = json.dumps([data, quick, config], sort_keys=True)
        if str(points.results.setdefault("settings", settings)) != settings:
            raise SystemExit(f"{points.path} holds points of another recipe; delete it, or choose another --out.")
        duration = config["data"].get("duration_ms")
        archives = load_splits(data, data_root)
        limits = (400, 100) if quick else (None, None)
        self.task, self.test = (make_task(a, 10 * ms, duration and duration * ms, n)
                                for a, n in zip(archives, limits, strict=True))  # fmt: skip
        self.config, self.groups = config, (1, SHOWN, None) if quick else GROUPS
        duration = 1e3 * self.test.events.n_steps * float(self.test.events.dt)
        self.times = np.linspace(duration / 40, duration, 40)
        self.archive = archives[1][: len(self.test)].until(self.test.events.n_steps * self.test.events.dt)

    def weights(self, training: str, seed: int) -> dict:
        """Train a network."""
        network = self._built(training, seed)
        config = merged(merged(self.config, TRAININGS[training]), {"training": {"seed": seed}})
        options = AsyncConfiguration.read(config).options()
        for _ in train(network, self.task, options):
            pass
        return network.parameters

    def _built(self, training, seed):
        return build_async(merged(self.config, TRAININGS[training]), self.task, seed, threads=1)

    @functools.cache  # noqa: B019 - one study per process
    def network(self, training, seed):
        """The trained network."""
        network = self._built(training, seed)
        network.set_parameters(self.points(self.weights, training=training, seed=seed))
        return network

    def spikes(self, training, seed, order, group, order_seed=0) -> Spikes:
        """A drained run over the test recordings."""
        network = self.network(training, seed)
        if order in TIMED:
            result = network.run(self.archive, scheduler=TIMED[order])
        else:
            scheduler = PerCoreScheduler(4, order=FifoScheduler()) if order == "per core" else make_scheduler(order)
            result = network.run(self.test.events, record=True, scheduler=scheduler, forward_group=group,
                                 seed=order_seed)  # fmt: skip
        return Spikes.of(result, network.connectivity.n_outputs)

    def order(self, training: str, seed: int, order: str) -> dict:
        """Run a network in one order under every F and stop rule; first axis F, last axis the stop."""
        rows = []
        for group in self.groups if order in GROUPED else (None,):
            spikes = self.spikes(training, seed, order, group)
            first, correct = spikes.first_output(), spikes.first_output(self.test.labels)
            drained = np.full(len(first), NEVER)
            decided = {name: spikes.stopped(stop) for name, stop in (("first", first), ("correct", correct))}
            rows.append(
                self._tested(spikes, "stop", [drained, *(further(first, m) for m in M)])
                | self._tested(spikes, "budget", [spikes.spent(n) for n in BUDGETS])
                | self._tested(spikes, "time", [spikes.until(t) for t in self.times])
                | {f"until_{name}_{what}": np.median(found[what][np.isfinite(found["ms"])])
                   for name, found in decided.items() for what in ("spikes", "forward_steps", "ms")}
                | {"decided": np.mean(first < NEVER)}
            )  # fmt: skip
        return {key: np.array([row[key] for row in rows]) for key in rows[0]}

    def _tested(self, spikes, kind, stops) -> dict:
        found = [spikes.stopped(stop) for stop in stops]
        return {
            f"{kind}_accuracy": [np.mean(f["predictions"] == self.test.labels) for f in found],
            f"{kind}_spikes": [np.mean(f["spikes"]) for f in found],
            f"{kind}_steps": [np.mean(f["forward_steps"]) for f in found],
        }

    def variance(self, training: str, group) -> dict:
        """Run the first network in many random orders: accuracies, and recordings whose answer depends on the order."""
        answers = {"drained": [], "first": []}
        for order_seed in range(4 if self.quick else 30):
            spikes = self.spikes(training, 1, "random", group, order_seed)
            first = spikes.first_output()
            for name, stop in (("drained", np.full(len(first), NEVER)), ("first", first)):
                answers[name].append(spikes.stopped(stop)["predictions"])
        answers = {name: np.array(values) for name, values in answers.items()}
        return {f"{name}_accuracy": (values == self.test.labels).mean(axis=1) for name, values in answers.items()} | {
            f"{name}_unstable": np.mean((values != values[0]).any(axis=0)) for name, values in answers.items()
        }


def simulate(quick, points, data="digits", data_root=None, epochs=None, seeds=3, recipe=None):
    study = Study(points, quick, data, data_root, epochs, recipe)
    seeds = range(1, 2 if quick else seeds + 1)
    n_neurons = sum(study._built("barrier", 1).sizes[1:])
    found = {"seeds": list(seeds), "n_neurons": n_neurons, "n_test": len(study.test), "data": data}
    found |= {"groups": [group or 0 for group in study.groups], "times": study.times}
    # Seeds outermost: what an interrupted run has left is a complete study of fewer networks.
    rows = {(training, order, seed): points(study.order, training=training, seed=seed, order=order)
            for seed in seeds for training in TRAININGS for order in COLOURS}  # fmt: skip
    for training in TRAININGS:
        for order in COLOURS:
            own = [rows[training, order, seed] for seed in seeds]
            found |= {f"{training}/{order}/{key}": [row[key] for row in own] for key in own[0]}
        for group in (1, SHOWN):
            row = points(study.variance, training=training, group=group)
            found |= {f"{training}/variance {group}/{key}": value for key, value in row.items()}
    return found


def plot(data):
    return {f"{NAME}_orders": plot_orders(data), f"{NAME}_exit": plot_exit(data)}


def plot_orders(data):
    figure = Figure(figsize=(7.1, 7.4), layout="constrained")
    axes = figure.subplots(4, 3, sharex=True, sharey="row")
    at, n = np.arange(len(data["groups"])), int(data["n_neurons"])
    rows = (("stop_accuracy", 0, 100, "Accuracy (%),\ndrained"),
            ("stop_accuracy", 1, 100, "Accuracy (%),\nfirst output"),
            ("stop_spikes", 0, 1 / n, "Spikes per neuron,\ndrained"),
            ("until_first_spikes", None, 1, "Spikes until\nfirst output"))  # fmt: skip
    for column, training in zip(axes.T, TRAININGS, strict=True):
        column[0].set_title(f"Trained: {training}")
        for ax, (key, stop, factor, _) in zip(column, rows, strict=True):
            for order, colour in COLOURS.items():
                values = factor * data[f"{training}/{order}/{key}"]
                values = values if stop is None else values[..., stop]
                mean = values.mean(axis=0)
                if order in GROUPED:
                    ax.plot(at, mean, ".-", color=colour, label=order)
                    low, high = values.min(axis=0), values.max(axis=0)
                    if len(values) == 1 and key.endswith("accuracy"):
                        error = np.sqrt(mean * (100 - mean) / int(data["n_test"]))
                        low, high = mean - error, mean + error
                    ax.fill_between(at, low, high, color=colour, alpha=0.12, lw=0)
                else:
                    ax.axhline(mean[0], color=colour, ls="--" if order == "layered" else ":", label=order)
        column[-1].set(xlabel="Forward group F")
        column[-1].set_xticks(at, [g or "all" for g in data["groups"]])
    for ax, (key, *_, label) in zip(axes[:, 0], rows, strict=True):
        ax.set_ylabel(label)
        if key.endswith("spikes"):  # only now: it holds for the whole row
            ax.set_ylim(0, None)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=8)
    label_panels(axes[:, 0], x=-0.34)
    return figure


def plot_exit(data):
    figure = Figure(figsize=(7.1, 5.2), layout="constrained")
    axes = figure.subplots(2, 3)
    n, shown = int(data["n_neurons"]), list(data["groups"]).index(SHOWN)

    def mean(training, order, key):
        return data[f"{training}/{order}/{key}"].mean(axis=0)[shown if order in GROUPED else 0]

    for ax, training in zip(axes[0], TRAININGS, strict=True):
        for order in ("random", "momentum", "fifo", "layered", "timed"):
            x, y = (mean(training, order, f"budget_{what}") for what in ("spikes", "accuracy"))
            ax.plot(x / n, 100 * y, color=COLOURS[order], label=order)
            for stop, marker in ((0, "o"), (1, "^")):
                x, y = (mean(training, order, f"stop_{what}")[stop] for what in ("spikes", "accuracy"))
                ax.plot(x / n, 100 * y, marker, color=COLOURS[order], ms=4)
        ax.set(xscale="log", xlabel="Spikes per neuron", ylim=(0, 101), title=f"Trained: {training}")
        ax.xaxis.set_major_formatter("{x:g}")
    axes[0, 0].set_ylabel("Accuracy (%)")
    stops = [Line2D([], [], color="black", marker=marker, ls="", ms=4, label=name)
             for marker, name in (("^", "first output"), ("o", "drained"))]  # fmt: skip
    handles, _ = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles=[*handles, *stops], loc="outside upper center", ncols=7)
    D, E, F = axes[1]
    colours = dict(zip(TRAININGS, (GREY, "black", RED), strict=True))
    for training, colour in colours.items():
        D.plot(range(len(M)), 100 * mean(training, "random", "stop_accuracy")[1:], ".-", color=colour, label=training)
        for order, style in (("random", "-"), ("timed", ":")):
            F.plot(data["times"], 100 * mean(training, order, "time_accuracy"), style, color=colour,
                   label={"random": "frames", "timed": "timed"}[order] if training == "barrier" else None)  # fmt: skip
    D.set_xticks(range(len(M)), M)
    D.set(xlabel="Forward steps after first output", ylabel="Accuracy (%)")
    trained = [Line2D([], [], color=colour, label=f"trained: {training}") for training, colour in colours.items()]
    figure.legend(handles=trained, loc="outside lower center", ncols=3)
    _plot_variance(E, data, colours)
    F.set(xlabel="Time (ms)", ylabel="Accuracy (%)", ylim=(0, 101))
    F.legend(loc="lower right")
    label_panels(axes.flat, x=-0.2)
    return figure


def _plot_variance(ax, data, colours):
    """Accuracies of one network in many random orders, as dots, and one standard error of the test set, as a bar."""
    place, ticks = 0, []
    for group in (1, SHOWN):
        for read in ("drained", "first"):
            for k, (training, colour) in enumerate(colours.items()):
                values = 100 * data[f"{training}/variance {group}/{read}_accuracy"]
                x = place + 0.25 * (k - 1)
                ax.plot(x + np.linspace(-0.08, 0.08, len(values)), values, ".", color=colour, ms=2)
                p = values.mean()
                ax.errorbar(x + 0.12, p, np.sqrt(p * (100 - p) / int(data["n_test"])), color=colour, lw=0.6, capsize=2)
            ticks.append(f"{read}\nF = {group}")
            place += 1
    ax.set_xticks(range(place), ticks)
    ax.set_ylabel("Accuracy (%)")


def table(data) -> str:
    """What the figure shows, as text: means over networks."""
    groups, n = list(data["groups"]), int(data["n_neurons"])
    head = f"{'run':<14}{'drained %':>10}{'first %':>9}{'+4 %':>7}{'spikes/neuron':>15}{'at first':>10}"
    head += f"{'spikes to first':>17}{'steps':>8}{'ms':>7}{'decided %':>11}"
    lines = []
    for training in TRAININGS:
        lines += [f"\ntrained: {training}", head]
        for order in COLOURS:
            for index in (0, groups.index(SHOWN), len(groups) - 1) if order in GROUPED else (0,):
                get = lambda key: data[f"{training}/{order}/{key}"].mean(axis=0)[index]  # noqa: B023, E731
                name = f"{order} {groups[index] or 'all'}" if order in GROUPED else order
                accuracy, spikes = 100 * get("stop_accuracy"), get("stop_spikes") / n
                accuracy = np.where(np.arange(len(accuracy)) < 2, accuracy, np.nan) if order in TIMED else accuracy
                lines.append(
                    f"{name:<14}{accuracy[0]:>10.2f}{accuracy[1]:>9.2f}{accuracy[1 + M.index(4)]:>7.2f}"
                    f"{spikes[0]:>15.3f}{spikes[1]:>10.3f}{get('until_first_spikes'):>17.0f}"
                    f"{np.nan if order in TIMED else get('until_first_forward_steps'):>8.0f}"
                    f"{get('until_first_ms'):>7.1f}{100 * get('decided'):>11.2f}"
                )
        for group in (1, SHOWN):
            get = lambda key: data[f"{training}/variance {group}/{key}"]  # noqa: B023, E731
            lines += [f"random orders, F = {group}, one network, {read}: {100 * get(f'{read}_accuracy').mean():.2f} "
                      f"+- {100 * get(f'{read}_accuracy').std():.2f} %, "
                      f"{100 * float(get(f'{read}_unstable')):.1f} % of the recordings depend on the order"
                      for read in ("drained", "first")]  # fmt: skip
    return "\n".join(lines)


def main(quick=False, out=None, replot=False, show=False, **options):
    """Draw the figures and return the paths of their files; options as in `simulate`."""
    simulation = lambda quick, points: simulate(quick, points, **options)  # noqa: E731
    paths = make_from_points(NAME, simulation, plot, quick=quick, out=out, replot=replot)
    if show:
        with np.load(paths[0].with_name(f"{NAME}.npz")) as file:
            print(table(dict(file)))
    return paths


if __name__ == "__main__":
    run_script(
        main,
        ("--data", {"default": "digits", "help": "data set with an asynchronous recipe, such as nmnist8"}),
        ("--data-root", {"type": Path, "help": "folder of the data set (or BRIAN2GRAD_DATA)"}),
        ("--recipe", {"type": Path, "help": "TOML file (the recipe kept for the data set)"}),
        ("--epochs", {"type": int, "help": "instead of the recipe's"}),
        ("--seeds", {"type": int, "default": 3, "help": "networks per way of training"}),
        ("--show", {"action": "store_true", "help": "print the numbers as a table"}),
    )
