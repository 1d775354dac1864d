"""Continuous time over long recordings: what runs away, what does not, and which times are refused."""

from types import SimpleNamespace

import numpy as np
import pytest
from brian2 import Hz, kHz, ms, us

from brian2grad.models import AsynchronousNetwork, NetworkError
from brian2grad.models.asynchronous.connectivity import Connectivity, Projection
from brian2grad.models.asynchronous.timed.engine import ticks_of
from brian2grad.models.order.schedulers import TimedScheduler
from brian2grad.models.order.stopping import spike_budget


def recording(times, unit=1.0, n_units=1):
    times = np.asarray(times)
    return SimpleNamespace(
        units=np.zeros(len(times), int),
        times=times,
        offsets=np.array([0, len(times)]),
        n_units=n_units,
        time_unit_us=unit,
    )


def network(recurrent=None, delay=0 * ms, n=1, **options):
    """One input above threshold to n neurons, which excite each other with weight `recurrent`."""
    projections = [Projection(0, 1, np.full((1, n), 2.0))]
    if recurrent is not None:
        projections.append(Projection(1, 1, np.full((n, n), recurrent)))
    scheduler = TimedScheduler(synaptic=delay)
    return AsynchronousNetwork(
        Connectivity([1, n], projections), scheduler=scheduler, threads=1, dtype="float64", **options
    )


def both(net, events, **options):
    return net.run(events, **options), net.brian2(events, mode="event", **options)


def test_a_long_sample_is_no_runaway_excitation():
    """16 and 200 Hz for many minutes: one spike per input, however many; formerly refused from the hundredth on."""
    for rate, seconds in ((16, 3600), (200, 600)):
        events = recording(np.arange(rate * seconds) * (10**6 // rate))
        assert len(network().run(events).times) == rate * seconds
    run, brian = both(network(), recording(np.arange(0, 10**7, 62_500)))
    assert len(run.times) == len(brian.times) == 160


def test_a_burst_above_the_limit_is_refused_and_the_option_named():
    """100 input spikes within 10 ms are 5 kHz in a window of 20 ms."""
    events = recording(np.r_[np.arange(100) * 100, 10**6])
    assert len(network(max_rate=5 * kHz).run(events).times) == 101
    for net in (network(max_rate=4.9 * kHz), network(max_rate=4.9 * kHz, n=3)):
        for run in (net.run, lambda events, net=net: net.brian2(events, mode="event")):
            with pytest.raises(NetworkError, match=r"sample 0 passed max_rate = 4900 Hz .* raise max_rate"):
                run(events)


@pytest.mark.parametrize("delay", [0 * ms, 1 * us, 10 * ms])
def test_a_loop_that_never_ends_is_refused(delay):
    """Without delay time stands still; with 10 ms each neuron spikes at 100 Hz, for ever."""
    net = network(recurrent=2.0, delay=delay)
    for events in (recording([0, 500_000]), recording([3])):
        for run in (net.run, lambda events: net.brian2(events, mode="event")):
            with pytest.raises(NetworkError, match="Runaway excitation: sample 0 passed max_rate = 10000 Hz"):
                run(events)
    assert len(net.run(recording([0]), stop=spike_budget(1000)).times) == 1000  # asked for


def test_activity_that_outlasts_its_input_may_end_by_itself():
    """Twelve neurons in a chain with 5 ms each: nearly all spikes come after the last input."""
    chain = [Projection(k, k + 1, np.array([[2.0]])) for k in range(12)]
    net = AsynchronousNetwork(Connectivity([1] * 13, chain), scheduler=TimedScheduler(synaptic=5 * ms), threads=1)
    run, brian = both(net, recording(np.arange(1000) * 1000))
    assert len(run.times) == len(brian.times) == 12_000


def test_the_lowest_of_several_runaway_samples_is_named():
    net = network(recurrent=2.0, delay=1 * ms)
    net.threads = 2
    events = recording([0, 0, 0], n_units=1)
    events.offsets = np.array([0, 0, 1, 2, 3])
    with pytest.raises(NetworkError, match="sample 1 passed"):
        net.run(events)


@pytest.mark.parametrize("rate", [0 * Hz, -1 * Hz, 5, 3 * ms, np.inf * Hz, np.nan * Hz])
def test_a_rate_is_a_positive_rate(rate):
    with pytest.raises(NetworkError, match="max_rate = .* must be a positive rate such as"):
        network(max_rate=rate)


def test_the_limit_is_kept_in_the_file(tmp_path):
    net = network(max_rate=50 * kHz)
    net.save(tmp_path / "net.h5")
    assert AsynchronousNetwork.load(tmp_path / "net.h5").max_rate == 50 * kHz


# -- times ------------------------------------------------------------------------------------------------------------


def test_times_become_picoseconds_exactly():
    last = 2**53 // 10**6 * 500  # microseconds: beyond what floating point holds in picoseconds
    assert ticks_of(recording([last, last + 1])).tolist() == [last * 10**6, last * 10**6 + 10**6]
    assert ticks_of(recording([3, 5], unit=0.1)).tolist() == [300_000, 500_000]
    assert ticks_of(recording([3], unit=1e6 / 44_100)).tolist() == [68_027_211]
    assert ticks_of(recording([7], unit=1e-7)).tolist() == [1]  # 0.7 ps


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_times_from_another_origin_are_refused(unit):
    times = np.int64(1_764_200_000 * 10**6 / unit) + np.arange(500)
    for run in (network().run, lambda events: network().brian2(events, mode="event")):
        with pytest.raises(
            NetworkError, match=r"times of sample 0 start at 1\.7\d*e\+09 s, .*; subtract the first time"
        ):
            run(recording(times, unit))


def test_a_recording_that_is_too_long_is_refused():
    weeks = recording(np.array([0, 60 * 86_400]), 1e6)
    with pytest.raises(NetworkError, match="reach 5.184e\\+06 s; continuous time ends after 53 days"):
        network().run(weeks)
    with pytest.raises(NetworkError, match="reach 10800 s; in Brian 2 picoseconds are exact for 2.5 hours"):
        network().brian2(recording(np.array([0, 3 * 3600]), 1e6), mode="event")
