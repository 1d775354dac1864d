"""Fit a neuron to a recording: the stages one after the other, from several starts, over threads."""

from __future__ import annotations

import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from brian2 import second
from brian2.units.fundamentalunits import fail_for_dimension_mismatch
from threadpoolctl import threadpool_limits

from ...models.checks import processors
from ..data.recordings import RecordingArchive, read_recording
from ..errors import TrainingError
from .forced.likelihood import Likelihood
from .forced.voltage import OFFSET, VoltageDistance, membrane_of
from .neurons.models import SPREAD, FittingModel
from .neurons.parameters import Coordinates
from .neurons.ready import ready_model
from .options import FitOptions
from .result import FitResult
from .running import Running
from .search import (
    FAILED,
    Judge,
    cost_of,
    descend,
    evolve,
    minimise,
    place_threshold,
    spike_metric,
    spike_sensitivity,
    uncertainties,
)
from .target import is_current, target_of

TRIED = 6  # points that are looked at for every start
FOLLOWED = 2  # points from which the exact gradient is followed


@dataclass
class State:
    """Where a fit stands: the stages done, and the values of every start that goes on."""

    stages: int = 0
    values: list = field(default_factory=list)
    records: list = field(default_factory=list)


class Fit:
    """A fit in progress.

    Parameters
    ----------
    model : FittingModel
    recording : RecordingArchive
    seed : int
    until : Quantity, optional
        Fit to what comes before.
    options : FitOptions
    threads : int, optional
    state : State, optional
        Where to go on.
    """

    def __init__(self, model, recording, seed=1, until=None, options=None, threads=None, state=None):
        self.model, self.seed, self.options = model, seed, options or FitOptions()
        if self.options.voltage is None:
            seen = recording.voltage_mV is not None and membrane_of(model) is not None
            self.options = replace(self.options, voltage=seen)
        target, self.scale = target_of(recording)
        if until is not None:
            fail_for_dimension_mismatch(until, second, "until must be a time")
            if not target.scored_from < float(until) <= target.duration + 1e-9:
                raise TrainingError(
                    f"until = {until}: the recording is scored from {target.scored_from:g} s to {target.duration:g} s."
                )
            target = target.part(target.scored_from, float(until))
        self.target = target
        if not any(len(one) for one in target.scored_repeats):
            raise TrainingError(f"'{recording.name}' has no spikes where it is scored; there is nothing to fit.")
        self.threads = threads or processors()
        self.state = state or State()
        self.coordinates = Coordinates(model.parameters)
        self.running, self._called_off = [Running(model, target)], threading.Event()
        self.running[0].called_off = self._called_off
        self.bin_width, tau = self.options.widths(target.scored_repeats)
        self.judges = [Judge(self.running[0], tau)]

    @property
    def done(self) -> bool:
        """Whether all stages are."""
        return self.state.stages == len(self.options.stages)

    # sums of a BLAS depend on its threads, the search on their last bits: a fit is the same on any number of processors
    @threadpool_limits.wrap(limits=1, user_api="blas")
    def advance(self) -> dict:
        """Do the next stage; returns its record."""
        name, begun, cpu = self.options.stages[self.state.stages], time.perf_counter(), time.process_time()
        passes = getattr(self, f"_{name}")()
        scores = [self.judges[0](values) for values in self.state.values]
        order = sorted(range(len(scores)), key=lambda k: scores[k].loss)
        self.state.values = [self.state.values[k] for k in order]
        best = scores[order[0]]
        if best.loss >= FAILED:
            raise TrainingError(f"'{self.model.name}' cannot be run from any start; move its start values or bounds.")
        record = {
            "epoch": self.state.stages + 1, "stage": name, "loss": best.loss, "gamma": best.gamma,
            "n_spikes": len(self.target.scored(best.spikes)), **passes,
            "seconds": time.perf_counter() - begun, "processor_seconds": time.process_time() - cpu,
        }  # fmt: skip
        self.state.records.append(record)
        self.state.stages += 1
        return record

    def _over(self, function, items) -> list:
        """Results in the order of the items, whatever the threads."""
        if self.threads == 1 or len(items) == 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                return list(pool.map(function, items))
            except BaseException:  # an interrupt: the pool waits for its threads
                self._called_off.set()
                raise

    def _starts(self, coordinates, start, number) -> list[dict]:
        rng, middle = np.random.default_rng([self.seed, 0]), coordinates.of(start)
        low, high = coordinates.bounds.T
        drawn = middle + rng.normal(0, 0.8, (number - 1, len(middle)))
        return [start, *(start | coordinates.values(np.clip(x, low, high)) for x in drawn)]

    def _first(self):
        """The model of the stages under teacher forcing, and what turns its values into those of the fitted one."""
        if self.model.threshold is None and self.model.before is not None:
            return self.model.before()
        return self.model, None

    def _voltage(self) -> dict:
        distance = self._voltage_distance(self._first()[0])
        for cost, *_ in distance.parts:
            cost.called_off = self._called_off
        values, left = minimise(distance, distance.start, self.options.iterations, self.options.method)
        self.state.values = [self.model.start | values]
        return {"gradients": distance.passes, "runs": 0, "voltage_mV": left**0.5}

    def _voltage_distance(self, model) -> VoltageDistance:
        return VoltageDistance(model, self.target, self.bin_width, self.options.repeats)

    def _likelihood(self) -> dict:
        model, translate = self._first()
        if model.threshold is None:  # nothing to say about a distance from the threshold
            start = self.state.values[0] if self.options.voltage else self.model.start
            self.state.values = self._starts(self.coordinates, start, self.options.starts)
            return {"gradients": 0, "runs": 0}
        repeats = min(self.options.repeats, len(self.target.repeats))
        likelihood = Likelihood(model, self.target, self.bin_width, repeats)
        likelihood.cost.called_off = self._called_off
        ways, n_starts = [likelihood], self.options.starts
        if self.options.voltage:
            # a threshold that stays keeps the likelihood from optima so sharp that no neuron near them fires alike
            known, n_starts = self._voltage_distance(model).determined, 1
            likelihood.start |= {name: self.state.values[0][name] for name in (*known, OFFSET)}
            ways = [likelihood.fixing(*known), likelihood.fixing(*known, model.threshold)]
        jobs = []
        for way in ways:
            # a start at which the neuron is far too excitable is thrown so far by its gradient that it never comes back
            starts = self._starts(way.coordinates, way.start, TRIED * n_starts)
            costs = self._over(functools.partial(cost_of, way), starts)
            jobs += [(way, starts[k]) for k in np.argsort(costs, kind="stable")[:n_starts]]
        iterations, method = self.options.iterations, self.options.method
        found = self._over(lambda job: minimise(*job, iterations, method), jobs)
        values = [one for one, _ in found]
        gradients, runs = sum(way.passes for way in ways), 0
        if translate is not None:
            judge = Judge(Running(model, self.target), self.judges[0].tau)
            placed = [place_threshold(judge, one, model.threshold)[0] for one in values]
            values = [self.model.start | translate(one) for one in placed]
            values = [one | self.coordinates.values(self.coordinates.of(one)) for one in values]
            runs = judge.running.passes
        self.state.values = values
        return {"gradients": gradients, "runs": runs, "likelihood": [-cost for _, cost in found]}

    def _threshold(self) -> dict:
        if self.model.level is None or any(SPREAD not in one for one in self.state.values):
            return self._counted(lambda: None)

        def place():
            place = lambda one: place_threshold(self.judges[0], one, self.model.level)[0]  # noqa: E731
            found = self._over(place, self.state.values)
            self.state.values = [one | self.coordinates.values(self.coordinates.of(one)) for one in found]

        return self._counted(place)

    def _search(self) -> dict:
        options, judge = self.options, self.judges[0]
        n_searches = options.searches if options.generations else 1

        def search(item):
            number, values = item
            rng = np.random.default_rng([self.seed, 1, number])
            sensitivity = spike_sensitivity(judge.running, self.coordinates, values)
            metric = spike_metric(sensitivity, options.shift_ms * 1e-3)
            best = [values]
            evolution = evolve(judge, self.coordinates, values, metric, rng, options.generations, options.population)
            for found, _, mean in evolution:
                best = [found, mean]
            return best

        def every():
            items = list(enumerate(one for one in self.state.values[: options.kept] for _ in range(n_searches)))
            self.state.values = [one for best in self._over(search, items) for one in best]

        return self._counted(every)

    def _gradient(self) -> dict:
        def follow(values):
            for found, _ in descend(self.judges[0], self.coordinates, values, self.options.steps):
                values = found
            return values

        def every():
            self.state.values = self._over(follow, self.state.values[:FOLLOWED])

        return self._counted(every)

    def _counted(self, work) -> dict:
        """Passes that some work takes: forward with the adjoint, and forward alone."""
        running = self.running[0]
        gradients, runs = running.gradients, running.passes
        work()
        done = running.gradients - gradients
        return {"gradients": done, "runs": running.passes - runs - done}

    def result(self, origin: str = "") -> FitResult:
        """The best values so far, with their uncertainty."""
        values = self.state.values[0] if self.state.values else self.model.start
        kept = [p for p in self.model.parameters if p.name != self.model.threshold]
        coordinates, judge = Coordinates(kept), self.judges[0]
        errors = uncertainties(
            spike_sensitivity(judge.running, coordinates, values), self._timing_error(judge(values).spikes)
        )
        spread = {p.name: float(e * p.slope(values[p.name])) for p, e in zip(kept, errors, strict=True)}
        return FitResult(self.model, values, spread, self.scale, self.state.records, self.seed, origin)

    def _timing_error(self, spikes) -> float:
        """Root mean square distance of the model's spikes from the nearest recorded ones that are within 5 ms."""
        gaps = []
        for one in self.target.scored_repeats:
            if len(one) and len(spikes):
                at = np.clip(np.searchsorted(one, spikes), 1, max(len(one) - 1, 1))
                near = np.minimum(abs(spikes - one[at - 1]), abs(spikes - one[np.minimum(at, len(one) - 1)]))
                gaps.append(near[near < 5e-3])
        every = np.concatenate(gaps) if gaps else np.zeros(0)
        return float(np.sqrt(np.mean(every**2))) if len(every) else 5e-3


def fit(model, recording, *, seed=1, until=None, threads=None, progress=None, **options) -> FitResult:
    """Fit a neuron to recorded spikes.

    First, with the model reset at the recorded spikes (teacher forcing), its voltage is brought near the recorded one
    where there is one, and the likelihood of the recorded spikes is maximised by what moves no voltage; then the
    threshold is placed, all parameters are searched near by in the metric of the model's own spike times, and the exact
    gradient of a smooth distance of spike trains is followed.

    Parameters
    ----------
    model : str or FittingModel
        A ready neuron (``'lif'``, ``'alif'``, ``'moving-threshold'``, ``'gif'``, ``'adex'``, ``'qif'``), or one's own.
    recording : RecordingArchive or path-like
    seed : int
        Of starts and search: the same seed gives the same fit.
    until : Quantity, optional
        Fit to what comes before this time; the rest is for a test.
    threads : int, optional
        Over which the starts are spread; results do not depend on it.
    progress : callable, optional
        Called with the record of every stage.
    **options
        Fields of `FitOptions`.

    Returns
    -------
    FitResult

    Raises
    ------
    DataError, NetworkError, TrainingError

    References
    ----------
    Paninski 2004, Network 15:243; Mensi et al. 2012, J. Neurophysiol. 107:1756
    """
    recording = recording if isinstance(recording, RecordingArchive) else read_recording(recording)
    if isinstance(model, str):
        model = ready_model(model, is_current(recording.input_unit))
    if not isinstance(model, FittingModel):
        raise TrainingError(f"model = {model!r}; give the name of a ready neuron or a FittingModel.")
    running = Fit(model, recording, seed, until, FitOptions(**options), threads)
    while not running.done:
        record = running.advance()
        if progress is not None:
            progress(record)
    return running.result(model.name)
