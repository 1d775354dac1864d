"""Synthetic timing tasks: delays, coincidences, precise spike times and gaps, at any time step.

Each generator takes times as Quantities and a seed and returns a `TimedBatch`: events on the time grid, what to learn,
and which steps count. A new seed gives new trials, so a learner that is fed one batch after another sees every trial
once.

Examples
--------
>>> from brian2 import ms
>>> batch = delayed_signal(2, 10*ms, 0.1*ms, seed=3)                                   # doctest: +SKIP
>>> loss, gradient = network.loss_and_grad(batch.events, rule="online", **batch.goal)   # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from brian2 import ms, second, us
from brian2.units.fundamentalunits import have_same_dimensions

from ...models.events import StepEvents
from ..errors import TrainingError


@dataclass(frozen=True)
class TimedBatch:
    """Trials of a timing task.

    Attributes
    ----------
    events : StepEvents
    goal : dict
        Arguments of `SpikingGammaNetwork.loss_and_grad`: ``loss`` with ``targets`` or ``labels``, and ``weight``.
    answers : (n_samples,) array of int, optional
        Class of each trial.
    facts : dict of str to array
        What else is known about the trials (seconds, or as named by the generator).
    """

    events: StepEvents
    goal: dict
    answers: np.ndarray | None = None
    facts: dict = field(default_factory=dict)


def grid_events(steps, units, samples, n_samples: int, n_steps: int, n_units: int, dt) -> StepEvents:
    """Events of (step, unit, sample) triples; those outside the recording are left out, equal ones add up."""
    steps, units, samples = (np.asarray(a, np.int64).ravel() for a in (steps, units, samples))
    inside = (steps >= 0) & (steps < n_steps)
    places = samples[inside], steps[inside], units[inside]
    return StepEvents.from_triples(*places, (n_samples, n_steps, n_units), _seconds(dt))


# -- delay -----------------------------------------------------------------------------------------------------------


def delayed_signal(n_samples: int, delay, dt, *, duration=None, spacing=1.5, width=0.15, seed=0) -> TimedBatch:
    """Random spikes; the target is the same train, each spike a smooth bump, delayed.

    Parameters
    ----------
    n_samples : int
    delay : Quantity, second
        From a spike to the peak of its bump.
    dt : Quantity, second
    duration : Quantity, second, optional
        Of a recording; by default 12 delays. Everything before the first two delays has no weight.
    spacing : float
        Mean interval of the spikes, in delays; at least half of it lies between any two.
    width : float
        Standard deviation of the bump, in delays (at least a third of a step); its peak is one.
    seed : int
    """
    d, step = _seconds(delay), _seconds(dt)
    T = round((12 * d if duration is None else _seconds(duration)) / step)
    rng = np.random.default_rng(seed)
    mean = spacing * d / step
    gaps = mean * (0.5 + rng.exponential(0.5, size=(n_samples, int(2 * T / mean) + 4)))
    steps = np.round(np.cumsum(gaps, axis=1) - 0.5 * mean).astype(np.int64)
    samples = np.repeat(np.arange(n_samples), steps.shape[1])
    events = grid_events(steps, np.zeros_like(samples), samples, n_samples, T, 1, dt)
    targets = np.zeros((n_samples, T, 1), np.float32)
    for row, times in enumerate(steps):
        targets[row, :, 0] = bumps(times[times < T] * step + d, width * d, T, dt)
    weight = np.ones((n_samples, T))
    weight[:, : min(T - 1, round(2 * d / step))] = 0
    return TimedBatch(events, {"loss": "squared_error", "targets": targets, "weight": weight})


def bumps(times, width, n_steps: int, dt) -> np.ndarray:
    """Sum of Gaussians of height one at `times`, on the grid; `width` is at least a third of a step."""
    step = _seconds(dt)
    width = max(_seconds(width), step / 3)
    half = int(np.ceil(5 * width / step))
    signal = np.zeros(n_steps)
    for time in np.atleast_1d(times):
        centre = round(_seconds(time) / step)
        here = np.arange(max(0, centre - half), min(n_steps, centre + half + 1))
        signal[here] += np.exp(-0.5 * ((here * step - _seconds(time)) / width) ** 2)
    return signal


# -- interaural time difference ----------------------------------------------------------------------------------------


def interaural_directions(n: int = 21, largest=250 * us):
    """Time differences of `n` directions, evenly from -`largest` to `largest`; positive: the left ear is first."""
    return np.linspace(-1, 1, n) * _seconds(largest) * second


def interaural(
    n_samples: int,
    *,
    n_directions: int = 21,
    largest=250 * us,
    dt=5 * us,
    n_clicks: int = 1,
    interval=1000 * us,
    jitter=0 * us,
    answer=(40 * us, 60 * us),
    pause=60 * us,
    emphasis=10.0,
    seed=0,
) -> TimedBatch:
    """Clicks that reach two ears one after the other: unit 0 is the left ear, unit 1 the right one.

    The directions are balanced: their numbers of trials differ by one at most. The first ear hears a click at a random
    time; the second one exactly the direction's time difference later (before jitter).

    Parameters
    ----------
    n_samples, n_directions : int
    largest : Quantity, second
        The directions lie evenly between minus and plus this time difference, which must fall on the grid.
    dt : Quantity, second
    n_clicks : int
        Clicks per trial.
    interval : Quantity, second
        From one click to the next (a fifth of it more or less, at random: clicks are not periodic).
    jitter : Quantity, second
        Standard deviation of each spike's time.
    answer : two Quantities, second
        The label is the direction in the steps between these two times behind the later ear; in all others it is
        ``n_directions``: no answer.
    pause : Quantity, second
        Steps this long behind the answer have no weight: decoded spikes need time to decay.
    emphasis : float
        Weight of the steps with an answer.
    seed : int

    Returns
    -------
    TimedBatch
        ``answers``: direction; ``facts``: ``difference`` of each trial and ``clicks``, times at the first ear (second).
    """
    step = _seconds(dt)
    shifts = np.linspace(-1, 1, n_directions) * _seconds(largest) / step
    if np.abs(shifts - np.round(shifts)).max() > 1e-6:
        raise TrainingError(
            f"dt = {step:g} s does not divide the time differences of {n_directions} directions up to "
            f"{_seconds(largest):g} s; choose another number or step."
        )
    shifts = np.round(shifts).astype(np.int64)
    rng = np.random.default_rng(seed)
    answers = rng.permutation(np.arange(n_samples) % n_directions)
    every = _seconds(interval) / step
    T = round(n_clicks * every)
    first, last = (round(_seconds(time) / step) for time in answer)
    free = last + round(_seconds(pause) / step)
    rest = max(0.0, every - _seconds(largest) / step - free)  # room for the answer
    begin = np.arange(n_clicks) * every + rng.uniform(0, 0.2 * every, (n_samples, n_clicks)).clip(max=rest)
    begin = np.round(begin).astype(np.int64)
    shift = shifts[answers][:, None]
    ears = np.stack([begin + np.maximum(0, -shift), begin + np.maximum(0, shift)])
    later = ears.max(axis=0)
    heard = np.round(ears + rng.normal(scale=_seconds(jitter) / step, size=ears.shape)).astype(np.int64).clip(0)
    samples = np.broadcast_to(np.arange(n_samples)[None, :, None], ears.shape)
    events = grid_events(heard, np.broadcast_to(np.arange(2)[:, None, None], ears.shape), samples, n_samples, T, 2, dt)
    since = np.arange(T) - later[:, :, None]
    asked = ((since >= first) & (since < last)).any(axis=1)
    idle = ((since >= last) & (since < free)).any(axis=1)
    labels = np.where(asked, answers[:, None], n_directions)
    return TimedBatch(
        events,
        {"loss": "cross_entropy", "labels": labels, "weight": np.where(asked, emphasis, 1.0 - idle)},
        answers,
        {"difference": shifts[answers] * step, "clicks": begin * step},
    )


# -- spike patterns to spike times -------------------------------------------------------------------------------------


def pattern_to_times(
    n_samples: int,
    *,
    n_patterns: int = 4,
    n_units: int = 40,
    n_outputs: int = 1,
    n_times: int = 3,
    duration=100 * ms,
    dt=0.1 * ms,
    rate=30.0,
    jitter=0 * ms,
    tau=5 * ms,
    theta=0.5,
    pattern_seed=0,
    seed=0,
) -> TimedBatch:
    """Frozen spike patterns, each to be answered by spikes at its own precise times.

    The target is the train of wanted spikes as a SpikingGamma receiver decodes it: jumps of ``2*theta`` that decay
    with `tau`. The squared error is then a van Rossum distance of spike trains.

    Parameters
    ----------
    n_samples : int
    n_patterns, n_units, n_outputs, n_times : int
        Patterns, input units, output neurons, wanted spikes per pattern and output.
    duration, dt : Quantity, second
    rate : float
        Spikes per second of an input unit.
    jitter : Quantity, second
        Standard deviation of the time of each input spike, anew in every trial.
    tau, theta : Quantity (second), float
        Of the receiver.
    pattern_seed, seed : int
        Of the patterns with their wanted times, and of the trials.

    Returns
    -------
    TimedBatch
        ``answers``: pattern; ``facts``: ``times`` (n_patterns, n_outputs, n_times), second.
    """
    step, length = _seconds(dt), _seconds(duration)
    T = round(length / step)
    fixed = np.random.default_rng([pattern_seed, 1])
    patterns = []
    for _ in range(n_patterns):
        count = fixed.poisson(rate * length, n_units)
        patterns.append((fixed.uniform(0, length, count.sum()), np.repeat(np.arange(n_units), count)))
    # One wanted spike in each equal part of the trial, behind its first fifth: an answer needs something to go on.
    part = 0.75 * length / n_times
    times = 0.2 * length + part * (np.arange(n_times) + fixed.uniform(0.1, 0.9, (n_patterns, n_outputs, n_times)))
    times = np.round(times / step) * step
    rng = np.random.default_rng(seed)
    answers = rng.permutation(np.arange(n_samples) % n_patterns)
    parts = [patterns[a] for a in answers]
    moments = np.concatenate([p[0] for p in parts])
    moments = (moments + rng.normal(scale=_seconds(jitter), size=moments.shape)).clip(0, length - step / 2)
    samples = np.repeat(np.arange(n_samples), [len(p[0]) for p in parts])
    events = grid_events(
        np.floor(moments / step), np.concatenate([p[1] for p in parts]), samples, n_samples, T, n_units, dt
    )
    wanted = np.zeros((n_patterns, T, n_outputs), np.float32)
    t = np.arange(T) * step
    for p, o, k in np.ndindex(*times.shape):
        since = t - times[p, o, k]
        wanted[p, :, o] += 2 * theta * np.exp(-np.maximum(since, 0) / _seconds(tau)) * (since > -step / 2)
    return TimedBatch(events, {"loss": "squared_error", "targets": wanted[answers]}, answers, {"times": times})


# -- delayed match to sample -------------------------------------------------------------------------------------------


def match_to_sample(
    n_samples: int,
    gap,
    dt,
    *,
    n_stimuli: int = 2,
    n_units: int = 5,
    cue=50 * ms,
    answer=100 * ms,
    rate=200.0,
    spread=0.2,
    noise=0.0,
    seed=0,
) -> TimedBatch:
    """A stimulus, a silent gap and a probe: is the probe the same stimulus (class 1) or not (class 0)?

    Stimulus s is a burst of units ``s*n_units ... (s+1)*n_units - 1``. The question is asked in every step from the
    end of the probe on. Half of the trials match; stimuli are balanced too, within each half.

    Parameters
    ----------
    n_samples : int
    gap, dt : Quantity, second
        The mean gap; time step.
    n_stimuli, n_units : int
        Number of stimuli, and units of each.
    cue, answer : Quantity, second
        Duration of sample and probe, and of the time for an answer behind it.
    rate, noise : float
        Spikes per second of a unit during its stimulus, and at any time.
    spread : float
        Gaps lie uniformly within this fraction of the mean to either side.
    seed : int

    Returns
    -------
    TimedBatch
        ``facts``: ``gap`` (second), ``sample`` and ``probe`` of each trial.
    """
    step = _seconds(dt)
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.arange(n_samples))
    match, sample = order % 2, order // 2 % n_stimuli
    probe = np.where(match == 1, sample, (sample + rng.integers(1, max(2, n_stimuli), n_samples)) % n_stimuli)
    gaps = np.round(_seconds(gap) / step * rng.uniform(1 - spread, 1 + spread, n_samples)).astype(np.int64)
    length, late = round(_seconds(cue) / step), round(_seconds(answer) / step)
    longest = int(np.ceil(_seconds(gap) / step * (1 + spread)))
    T = 2 * length + longest + late
    begin = T - late - length - gaps - length  # all trials end together
    n_all = n_stimuli * n_units
    intensity = np.full((n_samples, T, n_all), noise * step)
    for row in range(n_samples):
        for stimulus, first in ((sample[row], begin[row]), (probe[row], T - late - length)):
            intensity[row, first : first + length, stimulus * n_units : (stimulus + 1) * n_units] += rate * step
    counts = rng.poisson(intensity)
    rows, steps, units = np.nonzero(counts)
    times = counts[rows, steps, units]
    events = grid_events(*(np.repeat(a, times) for a in (steps, units, rows)), n_samples, T, n_all, dt)
    weight = np.zeros((n_samples, T))
    weight[:, T - late :] = 1
    return TimedBatch(
        events,
        {"loss": "cross_entropy", "labels": match, "weight": weight},
        match,
        {"gap": gaps * step, "sample": sample, "probe": probe},
    )


# -- networks whose answer is spikes -----------------------------------------------------------------------------------


def _seconds(time) -> float:
    if isinstance(time, int | float | np.floating | np.integer):
        return float(time)
    if not have_same_dimensions(time, second):
        raise TrainingError(f"{time!r} is no time; give one such as 5*ms.")
    return float(time)
