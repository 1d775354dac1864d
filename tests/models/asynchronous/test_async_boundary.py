"""What is wrong with the arguments of a run is refused in one line that names argument, found and expected."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, AsynchronousSpikingGamma, EngineError, NetworkError, StepEvents
from brian2grad.models.asynchronous.engine import AsynchronousEngine, LoopArguments
from brian2grad.models.asynchronous.packing import HEADER
from brian2grad.models.asynchronous.unlayered import UnlayeredEngine
from brian2grad.models.gradients import Online, Unlayered
from brian2grad.models.native.interface import Arrays, check_status, interface
from brian2grad.models.order.stopping import Stop, spike_budget

EVENTS = StepEvents.from_dense(np.random.default_rng(0).integers(0, 2, (2, 3, 4)), 1 * ms)
N_EVENTS = len(EVENTS.units)


@pytest.fixture(scope="module")
def network():
    return AsynchronousNetwork([4, 3, 2], V_th=0.5, dt=1 * ms, threads=1)


@pytest.fixture(scope="module")
def gamma():
    return AsynchronousSpikingGamma([4, 3, 2], K=2, tau=5 * ms, dt=1 * ms, theta=0.5, threads=1)


def changed(name, index, value, dtype=None):
    array = getattr(EVENTS, name).astype(dtype or getattr(EVENTS, name).dtype)
    array[index] = value
    return replace(EVENTS, **{name: array})


WRONG_EVENTS = [
    (changed("units", 1, -1, int), r"units\[1\] = -1; expected values at least 0 and below 4\."),
    (changed("units", 2, 4), r"units\[2\] = 4; expected values at least 0 and below 4\."),
    (changed("units", 0, 0, float), r"units has type float64, expected int32\."),
    (changed("values", 1, np.nan, float), r"values\[1\] = nan; expected finite numbers\."),
    (changed("values", 1, np.inf, float), r"values\[1\] = inf; expected finite numbers\."),
    (replace(EVENTS, values=EVENTS.values[1:]), rf"values has shape \({N_EVENTS - 1},\), expected \({N_EVENTS},\)\."),
    (changed("ptr", 0, 1), rf"ptr runs from 1 to {N_EVENTS}, expected 0 to {N_EVENTS}\."),
    (changed("ptr", -1, 99), rf"ptr runs from 0 to 99, expected 0 to {N_EVENTS}\."),
    (changed("ptr", 1, N_EVENTS), rf"ptr\[2\] = {EVENTS.ptr[2]}, expected at least ptr\[1\] = {N_EVENTS}\."),
    (replace(EVENTS, ptr=EVENTS.ptr[1:]), r"ptr has shape \(6,\), expected \(7,\)\."),
]


@pytest.mark.parametrize(("events", "message"), WRONG_EVENTS)
def test_malformed_events_are_refused(network, gamma, events, message):
    for net in (network, gamma):
        with pytest.raises(NetworkError, match=f"^{message}$"):
            net.run(events)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_ids": [1]}, r"sample_ids has shape \(1,\), expected \(2,\)\."),
        ({"sample_ids": [0.5, 1.5]}, r"sample_ids has type float64, expected int64\."),
        ({"stop": spike_budget(2**63)}, r"stop value = 9223372036854775808; expected a number from 0 to \d+\."),
    ],
)
def test_malformed_options_are_refused(network, gamma, options, message):
    for net in (network, gamma):
        with pytest.raises(NetworkError, match=f"^{message}$"):
            net.run(EVENTS, **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"seed": -1}, "seed = -1; expected a whole number at least 0"),
        ({"seed": 0.5}, "seed = 0.5; expected"),
        ({"threads": -1}, "threads = -1; expected a whole number at least 1"),
        ({"threads": 0}, "threads = 0; expected"),
        ({"max_spikes": 0}, "max_spikes = 0; expected a whole number at least 1"),
        ({"max_spikes": 1.5}, "max_spikes = 1.5; expected"),
        ({"sigma": np.nan}, "sigma = nan; a number of received spikes is finite and not negative"),
        ({"sigma": -1}, "sigma = -1; a number"),
        ({"spike_dropout": None}, "spike_dropout = None must lie in"),
        ({"refractory_dropout": np.ones(3) / 2}, "refractory_dropout = .* must lie in"),
    ],
)
def test_options_of_a_network_are_checked(options, text):
    with pytest.raises(NetworkError, match=text):
        AsynchronousNetwork([4, 3, 2], **options)


def test_nothing_is_cut_to_whole_numbers(network):
    for labels in ([0.5, 1.0], [True, False]):
        with pytest.raises(NetworkError, match="labels have type .*; expected whole numbers"):
            network.gradient(EVENTS, labels)
    with pytest.raises(NetworkError, match="first_step = 1.5; expected a whole number"):
        network.run(EVENTS, state=np.zeros((2, 5)), first_step=1.5)
    with pytest.raises(NetworkError, match="window = 1.5: give a number"):
        Online(window=1.5)
    with pytest.raises(
        NetworkError, match=r"sample_ids\[0\] = 9223372036854775808; expected values .* below 9223372036854775808"
    ):
        network.run(EVENTS, sample_ids=np.full(2, 2**63, np.uint64))


def test_a_batch_of_nothing_has_no_gradient(network):
    for events in (EVENTS.take([]), EVENTS.steps(0, 0)):
        with pytest.raises(NetworkError, match="there is nothing to learn from"):
            network.gradient(events, np.zeros(events.n_samples, int))
    with pytest.raises(NetworkError, match="n_samples of the events = -2; expected a whole number at least 0"):
        replace(EVENTS, n_samples=-2)
    lists = StepEvents(*(getattr(EVENTS, n).tolist() for n in ("ptr", "units", "values")), 4, 3, 2, 1e-3)
    np.testing.assert_array_equal(network.run(lists).outputs, network.run(EVENTS).outputs)


def test_membranes_and_numbers_of_a_run_are_checked(network):
    engine = network.engine()
    assert isinstance(engine, AsynchronousEngine)
    numbers = {"connectivity": network.connectivity, "model": network.model, "sigma": network.sigma}
    for arguments, message in [
        (LoopArguments(1, 100, state=np.zeros((2, 4))), r"state has shape \(2, 4\), expected \(2, 5\)\."),
        (LoopArguments(1, 100, state=np.full((2, 5), np.nan)), r"state\[0, 0\] = nan; expected finite numbers\."),
        (LoopArguments(2**63, 100), r"forward_group = \d+; expected a number from 0 to \d+\."),
        (LoopArguments(1, 2**63), r"max_spikes = \d+; expected a number from 0 to \d+\."),
        (LoopArguments(1, 100, first_timestep=-1), r"first_timestep = -1; expected a number from 0 to \d+\."),
    ]:
        with pytest.raises(NetworkError, match=message):
            engine.run(EVENTS, 1e-3, network.scheduler, arguments, **numbers)
    good = engine.run(EVENTS, 1e-3, network.scheduler, LoopArguments(1, 100, stop=Stop()), **numbers)
    assert good["counters"].shape == (2, 3, 9)


def test_numbers_are_passed_with_every_run(network):
    """One engine serves networks that differ in weights, thresholds and timestep."""
    engine = network.engine()
    for V_th, dt in ((0.5, 1), (0.9, 3), (0.2, 1)):
        other = AsynchronousNetwork([4, 3, 2], V_th=V_th, dt=dt * ms, seed=dt, threads=1)
        numbers = {"connectivity": other.connectivity, "model": other.model, "sigma": other.sigma}
        events = replace(EVENTS, dt=dt * 1e-3)
        arguments = LoopArguments(other.checked_group(8), other.max_spikes)
        found = engine.run(events, float(other.dt), other.scheduler, arguments, **numbers)
        np.testing.assert_array_equal(found["outputs"], other.run(events, seed=0).outputs)


def test_malformed_derivatives_and_tapes_are_refused_by_the_reverse_pass(network):
    tape = network.run(EVENTS, record="tape").tape
    engine = UnlayeredEngine(network.model, "arctan", network.dtype, 1)

    def reverse(tape=tape, by_count=None, **options):
        by_count = np.zeros((2, 3, 2)) if by_count is None else by_count
        options |= {"slots": 8, "seed": 0, "by_count": by_count}
        return engine.reverse(tape, network.connectivity, network.model, 1e-3, Unlayered(), **options)

    assert reverse()["weights"][0].shape == (4, 3)
    for arguments, message in [
        ({"by_count": np.zeros((2, 3, 3))}, r"by_count has shape \(2, 3, 3\), expected \(2, 3, 2\)\."),
        ({"by_latency": np.full((2, 2), np.nan)}, r"by_latency\[0, 0\] = nan; expected finite numbers\."),
        ({"initial": np.zeros((2, 4))}, r"initial has shape \(2, 4\), expected \(2, 5\)\."),
        ({"tape": replace(tape, group=tape.group - 1)}, r"tape.group\[\d+\] = -1; expected values at least 0"),
        ({"tape": replace(tape, spike_ptr=tape.spike_ptr + 1)}, r"tape.spike_ptr runs from 1"),
    ]:
        with pytest.raises(NetworkError, match=message):
            reverse(**arguments)


def test_what_the_library_caught_is_one_line():
    check_status(0, "nothing")
    with pytest.raises(EngineError, match=r"^Out of memory in the compiled engine: run fewer samples\.$"):
        check_status(1, "run fewer samples")
    with pytest.raises(EngineError, match=r"^The compiled engine failed \(2\): .*\.$"):
        check_status(2, "run fewer samples")


def test_memory_that_runs_out_is_an_error_of_the_engine(network):
    """The record of an absurd batch cannot be allocated: the exception stays inside the library."""
    ffi, lib = network.engine()._ffi, network.engine()._lib
    arrays = Arrays(ffi, network.dtype)
    packed = network.connectivity.packed(network.dtype)
    arguments = ffi.new("LoopArguments*", {"n_samples": 2**50, "detail": 1, "threads": 1})
    status = lib.engine_run(network.engine()._handle, ffi.new("Network*", packed.fields), arguments)
    assert status in (1, 2)
    assert arrays.input("nothing", None) == ffi.NULL
    assert network.run(EVENTS).outputs.shape == (2, 3, 2)  # and the engine is as good as before


def test_a_field_that_the_header_does_not_have_is_refused():
    ffi = interface(HEADER, "float32")
    with pytest.raises(KeyError):
        ffi.new("LoopArguments*", {"n_sample": 1})
    assert ffi.sizeof("float") == ffi.sizeof("R")
