"""Timing tasks: events and targets lie where they should, and the first two are learned online."""

import numpy as np
import pytest
from brian2 import ms, us

from brian2grad.models import SpikingGammaNetwork
from brian2grad.training import Adam, TrainingError
from brian2grad.training.timing_tasks.synthetic import (
    bumps,
    delayed_signal,
    grid_events,
    interaural,
    interaural_directions,
    match_to_sample,
    pattern_to_times,
)
from brian2grad.training.timing_tasks.timing import decode_spikes, delay_lines, learn, most_spikes, output_spikes


def steps_and_units(events, sample):
    dense = events.dense(sample)
    steps, units = np.nonzero(dense)
    return steps, units, dense


def test_grid_events_adds_up_and_drops_what_lies_outside():
    events = grid_events([3, 3, 0, 9, -1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1], 2, 5, 2, 1 * ms)
    assert events.dense(0)[3, 1] == 2
    assert events.dense(0).sum() == 2
    assert events.dense(1)[0, 0] == events.dense(1).sum() == 1
    assert events.dt == 1e-3


@pytest.mark.parametrize("dt", [1 * ms, 0.1 * ms, 0.01 * ms])
def test_delayed_signal(dt):
    batch = delayed_signal(2, 10 * ms, dt, spacing=4, width=0.1, seed=3)
    target, weight = batch.goal["targets"][:, :, 0], batch.goal["weight"]
    assert batch.events.n_steps == round(120 * ms / dt)
    assert (weight[:, : round(20 * ms / dt)] == 0).all()
    for sample in range(2):
        steps, units, dense = steps_and_units(batch.events, sample)
        assert (units == 0).all()
        assert np.diff(steps).min() >= round(20 * ms / dt) - 1
        late = steps + round(10 * ms / dt)
        np.testing.assert_allclose(target[sample, late[late < batch.events.n_steps]], 1, atol=1e-6)
    again = delayed_signal(2, 10 * ms, dt, spacing=4, width=0.1, seed=3)
    np.testing.assert_array_equal(again.events.ptr, batch.events.ptr)
    assert (
        delayed_signal(2, 10 * ms, dt, seed=4).goal["targets"] != delayed_signal(2, 10 * ms, dt).goal["targets"]
    ).any()


def test_bumps_sum_and_keep_a_width():
    signal = bumps([5 * ms, 5 * ms], 0 * ms, 20, 1 * ms)
    assert signal.argmax() == 5
    assert signal[5] == pytest.approx(2)
    assert signal[4] == pytest.approx(2 * np.exp(-4.5))


@pytest.mark.parametrize("dt", [5 * us, 2.5 * us])
def test_interaural_differences_are_exact(dt):
    batch = interaural(64, dt=dt, n_clicks=2, seed=5)
    difference = np.asarray(interaural_directions())[batch.answers]
    np.testing.assert_allclose(batch.facts["difference"], difference, atol=1e-12)
    for sample in range(64):
        steps, units, _ = steps_and_units(batch.events, sample)
        left, right = steps[units == 0], steps[units == 1]
        np.testing.assert_array_equal(right - left, np.full(2, round(difference[sample] / float(dt))))
        labels = batch.goal["labels"][sample]
        later = np.maximum(left, right)
        first, last = round(40 * us / dt), round(60 * us / dt)
        for click in later:
            assert (labels[click + first : click + last] == batch.answers[sample]).all()
        assert (labels != 21).sum() == 2 * (last - first)
    count = np.bincount(batch.answers, minlength=21)
    assert count.min() == 3
    assert count.max() == 4


def test_interaural_jitter_and_grid():
    batch = interaural(420, jitter=10 * us, seed=1)
    errors = []
    for sample in range(420):
        steps, units, _ = steps_and_units(batch.events, sample)
        errors.append((steps[units == 1] - steps[units == 0])[0] * 5e-6 - batch.facts["difference"][sample])
    assert np.std(errors) == pytest.approx(10e-6 * np.sqrt(2), rel=0.1)
    with pytest.raises(TrainingError, match="does not divide"):
        interaural(2, dt=7 * us)
    with pytest.raises(TrainingError, match="no time"):
        interaural(2, dt=5 * us / us * ms * ms)


def test_patterns_are_frozen_and_their_targets_decoded_spikes():
    options = {"n_patterns": 3, "n_outputs": 2, "tau": 4 * ms, "theta": 0.25, "dt": 0.5 * ms}
    batch, other = pattern_to_times(9, seed=1, **options), pattern_to_times(9, seed=2, **options)
    np.testing.assert_array_equal(batch.facts["times"], other.facts["times"])
    assert (np.bincount(batch.answers) == 3).all()
    for answer in range(3):
        mine, theirs = np.flatnonzero(batch.answers == answer)[0], np.flatnonzero(other.answers == answer)[0]
        np.testing.assert_array_equal(batch.events.dense(mine), other.events.dense(theirs))
        for output in range(2):
            expected = np.zeros(200)
            for time in np.rint(batch.facts["times"][answer, output] / 0.5e-3).astype(int):
                expected[time:] += 0.5 * np.exp(-np.arange(200 - time) * 0.5 / 4)
            np.testing.assert_allclose(batch.goal["targets"][mine, :, output], expected, atol=1e-6)
    jittered = pattern_to_times(9, seed=1, jitter=1 * ms, **options)
    assert (jittered.events.dense(0) != batch.events.dense(0)).any()
    assert jittered.events.values.sum() == batch.events.values.sum()


def test_match_to_sample_is_balanced():
    batch = match_to_sample(64, 300 * ms, 5 * ms, n_stimuli=4, n_units=2, spread=0.2, seed=2)
    sample, probe, gap = (batch.facts[name] for name in ("sample", "probe", "gap"))
    np.testing.assert_array_equal(sample == probe, batch.answers == 1)
    assert batch.answers.mean() == 0.5
    assert (np.bincount(sample[batch.answers == 1]) == 8).all()
    assert gap.min() >= 0.24 - 5e-3
    assert gap.max() <= 0.36 + 5e-3
    weight, T = batch.goal["weight"], batch.events.n_steps
    assert (weight.sum(axis=1) == 20).all()
    for row in range(64):
        steps, units, _ = steps_and_units(batch.events, row)
        end = T - 20 - 10
        assert set(units[steps >= end] // 2) <= {probe[row]}
        assert set(units[steps < end] // 2) <= {sample[row]}
        silent = (steps >= end - round(gap[row] / 5e-3)) & (steps < end)
        assert not silent.any()
        assert steps.max() < T - 20


def test_most_spikes_prefers_the_earliest_of_equals():
    spikes = [
        (np.array([1.0, 2, 3, 4]), np.array([2, 1, 1, 2])),
        (np.zeros(0), np.zeros(0, int)),
        (np.ones(1), np.array([0])),
    ]
    assert most_spikes(spikes, 3).tolist() == [2, -1, 0]


def test_decoder_returns_the_neurons_estimates():
    batch = delayed_signal(1, 5 * ms, 0.5 * ms, seed=1)
    network = SpikingGammaNetwork([1, 2, 2], K=4, tau=2 * ms, dt=0.5 * ms, theta=0.1, dtype="float64", threads=1)
    network.parameters["layer1.w"][:] = 3
    assert decode_spikes(network) == "layer2"
    run = network.forward(batch.events, traces=True)
    np.testing.assert_allclose(run.readout, run.estimates[0], atol=1e-12)
    assert len(output_spikes(network, batch.events)[0][0]) == run.spikes.sum() > 10
    with pytest.raises(TrainingError, match="as many outputs as neurons"):
        decode_spikes(SpikingGammaNetwork([1, 3, 2], K=4))
    with pytest.raises(TrainingError, match="need buckets='synapse'"):
        delay_lines(network)


@pytest.mark.parametrize("dt", [0.5 * ms, 0.1 * ms])
def test_delay_is_learned_online(dt):
    network = SpikingGammaNetwork([1, 1, 1], K=8, tau=1.5 * ms, dt=dt, theta=0.05, multiple=True, bias=False, threads=1)
    fixed = [decode_spikes(network)]
    network.parameters["layer1.w"][:] = 1
    decoder = {name: value.copy() for name, value in network.parameters.items() if name.startswith("layer2")}
    optimiser = Adam(0.05)
    for step in range(100):
        batch = delayed_signal(2, 8 * ms, dt, duration=64 * ms, width=0.25, seed=step)
        learn(network, optimiser, batch, fixed=fixed, factor=1 - step / 100)
    run = network.forward(grid_events([0], [0], [0], 1, round(40 * ms / dt), 1, dt), traces=True)
    peak = run.signals[0][0, :, 0].argmax() * dt
    assert abs(peak / (8 * ms) - 1) < 0.1
    assert run.readout.max() > 0.5
    for name, value in decoder.items():
        np.testing.assert_array_equal(network.parameters[name], value)


@pytest.mark.long
def test_directions_are_learned_online():
    options = {"n_directions": 5, "largest": 200 * us, "dt": 10 * us}
    network = SpikingGammaNetwork(
        [2, 24, 5, 6], K=8, tau=30 * us, dt=10 * us, theta=[0.1, 0.5], buckets="synapse", threads=1
    )
    delay_lines(network)
    network.parameters["layer2.b"][:] = 0.2
    fixed = [decode_spikes(network, gain=8)]
    optimiser = Adam(0.02)
    for step in range(40):
        learn(network, optimiser, interaural(20, seed=step, **options), fixed=fixed)
    test = interaural(50, seed=10**6, **options)
    spikes = output_spikes(network, test.events)
    assert (most_spikes(spikes, 5) == test.answers).mean() >= 0.8
    assert np.mean([len(times) for times, _ in spikes]) <= 5
