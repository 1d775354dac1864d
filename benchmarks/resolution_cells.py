"""One cell of the resolution study: a network trained at one time step and tested at others.

The same recordings, batches, epochs, augmentation and schedule for every method. The learning rates and decays in
`TUNED` were chosen at steps of 10 ms on 1000 held-out training recordings (``resolution.py --tune``); at 10 ms both
versions of FPTT, and of ES-D-RTRL, are the same. SpikingGamma's `GAMMA`, its penalty and the window of `online` were
chosen by trying about fifteen settings at 10 and 1 ms on the validation set, for an even number of spikes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from brian2 import ms
from resolution_peers import Fptt, LifNetwork, gradient

from brian2grad.models import SpikingGammaNetwork
from brian2grad.training import TrainingOptions, make_task, train
from brian2grad.training.optimisers import Adam, schedule_factor
from brian2grad.training.tasks import augment

DURATION, READ_FROM, HIDDEN = 320.0, 50.0, 128  # ms, ms, neurons
COMMON = {"epochs": 5, "batch_size": 50, "shift": 1}
# Bucket 0's time constant is long: at steps of 10 ms a signal costs about 10 ms / (2 tau_0) fewer spikes than at finer
# ones, because every spike is held for a whole step.
GAMMA = {"K": 5, "tau_ms": [100.0, 30.0, 30.0, 30.0, 30.0], "theta": 1.0, "memory": "paper", "multiple": True}
TUNED = {
    "filter": {"learning_rate": 5e-3, "activity": 0.05},
    "online": {"learning_rate": 5e-3, "activity": 0.05, "window_ms": 40.0},
    "bptt": {"learning_rate": 5e-3, "tau_ms": 30.0},
    "ottt": {"learning_rate": 2e-3, "tau_ms": 30.0},
    "es_d_rtrl": {"learning_rate": 5e-3, "tau_ms": 30.0, "trace_tau_ms": 30.0},
    # The decay of the traces as a number, the same at every step: 30 ms at 10 ms, 0.3 ms at 0.1 ms.
    "es_d_rtrl_step": {"learning_rate": 5e-3, "tau_ms": 30.0, "trace_steps": 3.0},
    "fptt": {"learning_rate": 1e-3, "tau_ms": 30.0, "alpha": 0.5},
    "fptt_10ms": {"learning_rate": 1e-3, "tau_ms": 30.0, "alpha": 0.5},
}
METHODS = tuple(TUNED)


@dataclass
class Data:
    """Recordings to train on and to test on, put on a time grid when asked for."""

    train: object
    test: object

    def __post_init__(self):
        self._tests = {}

    def task(self, dt: float):
        """Training task at `dt` milliseconds."""
        return make_task(self.train, dt * ms, DURATION * ms)

    def test_task(self, dt: float):
        """Test task at `dt` milliseconds (kept)."""
        if dt not in self._tests:
            self._tests[dt] = make_task(self.test, dt * ms, DURATION * ms)
        return self._tests[dt]


def run_cell(method: str, dt: float, seed: int, data: Data, test_dts, common=COMMON, **changed) -> dict:
    """Train at `dt` milliseconds, test at `test_dts`.

    Returns
    -------
    dict
        Parameters, ``tests`` (accuracy and spikes per neuron and recording at each step), ``seconds`` of training and
        number of ``updates``.
    """
    settings = TUNED[method] | changed
    task = data.task(dt)
    build = gamma_network if method in ("filter", "online") else lif_network
    sizes = (task.events.n_units, HIDDEN, task.n_classes)
    network = build(sizes, dt, seed, settings)
    began = time.perf_counter()
    if method in ("filter", "online"):
        chosen = {name: settings[name] for name in ("learning_rate", "activity", "window_ms") if name in settings}
        options = TrainingOptions(**common, **chosen, rule=method, seed=seed)
        for record in train(network, task, options):
            loss = record["loss"]
        updates = options.epochs * len(range(0, len(task), options.batch_size))
    else:
        loss, updates = train_lif(network, method, task, common, settings, seed)
    seconds = time.perf_counter() - began
    tests = []
    for test_dt in test_dts:
        accuracy, spikes = evaluate(network, data.test_task(test_dt), test_dt)
        tests.append({"dt_ms": test_dt, "accuracy": round(100 * accuracy, 3), "spikes_per_neuron": round(spikes, 4)})
    settings = common | settings | (GAMMA if method in ("filter", "online") else {}) | {"n_train": len(task)}
    return {
        "method": method, "dt_ms": dt, "steps": task.events.n_steps, "seed": seed, "loss": round(float(loss), 4),
        "seconds": round(seconds, 1), "updates": updates, "settings": settings, "tests": tests,
    }  # fmt: skip


def gamma_network(sizes, dt: float, seed: int, settings: dict) -> SpikingGammaNetwork:
    """SpikingGamma network of the study."""
    options = {name: value for name, value in GAMMA.items() if name != "tau_ms"}
    return SpikingGammaNetwork(
        sizes, **options, tau=np.array(GAMMA["tau_ms"]) * ms, dt=dt * ms, read_from=READ_FROM * ms, seed=seed, threads=1
    )


def lif_network(sizes, dt: float, seed: int, settings: dict) -> LifNetwork:
    """Network of the other rules."""
    return LifNetwork(sizes, tau=1e-3 * settings["tau_ms"], dt=1e-3 * dt, read_from=1e-3 * READ_FROM, seed=seed)


def lif_gradient(network: LifNetwork, events, labels, method: str, settings: dict):
    """Loss and gradient of a batch by the rules that make one update per batch."""
    if "trace_steps" in settings:
        trace_tau = settings["trace_steps"] * network.dt
    else:
        trace_tau = 1e-3 * settings.get("trace_tau_ms", settings["tau_ms"])
    return gradient(network, events, labels, method.removesuffix("_step"), trace_tau)


def train_lif(network: LifNetwork, method: str, task, common: dict, settings: dict, seed: int) -> tuple[float, int]:
    """Train as ``brian2grad.training.train`` does: same order of recordings, shifts, schedule and optimiser."""
    rng, optimiser = np.random.default_rng(seed), Adam(settings["learning_rate"])
    network.calibrate(task.events.take(rng.permutation(len(task))[:64]))
    learner = None
    if method.startswith("fptt"):
        part = 1 if method == "fptt" else max(1, round(10.0 / (1e3 * network.dt)))
        learner = Fptt(network, optimiser, part, settings["alpha"])
    size, done = common["batch_size"], 0
    total = common["epochs"] * -(-len(task) // size)
    for _ in range(common["epochs"]):
        order, losses = rng.permutation(len(task)), []
        for first in range(0, len(order), size):
            chosen = order[first : first + size]
            events, labels = augment(task.events.take(chosen), rng, shift=common["shift"]), task.labels[chosen]
            rate = schedule_factor("cosine", done, total)
            if learner:
                losses.append(learner.batch(events, labels, rate))
            else:
                loss, gradients = lif_gradient(network, events, labels, method, settings)
                optimiser.step(network.parameters, gradients, rate)
                losses.append(loss)
            done += 1
        if learner:
            learner.settle()
    return float(np.mean(losses)), optimiser.steps


def evaluate(network, task, dt: float, batch: int = 100) -> tuple[float, float]:
    """Accuracy and hidden spikes per neuron and recording of a network run at steps of `dt` milliseconds."""
    trained_at = network.dt
    try:
        if isinstance(network, LifNetwork):
            network.dt = 1e-3 * dt
            classes, spikes = network.predict(task.events, batch)
            return float(np.mean(classes == task.labels)), float(spikes.mean() / network.sizes[1])
        network.dt = dt * ms
        hits = spikes = 0
        for first in range(0, len(task), batch):
            result = network.forward(task.events.take(slice(first, first + batch)))
            hits += network.hits(result.readout, task.labels[first : first + batch])[0]
            spikes += result.spikes.sum()
        return hits / len(task), float(spikes / len(task) / sum(network.sizes[1:-1]))
    finally:
        network.dt = trained_at
