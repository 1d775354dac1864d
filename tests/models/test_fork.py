"""Engines that ran on several threads run on in a forked child, in its children, and in the parent."""

import multiprocessing
import os
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, AsynchronousSpikingGamma, SpikingGammaNetwork, StepEvents
from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.models.order.schedulers import TimedScheduler
from brian2grad.training.exact.origin import open_origin, ready_origin
from brian2grad.training.exact.samples import Samples

pytestmark = [
    pytest.mark.threads,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="forking is for POSIX systems"),
]
RNG = np.random.default_rng(0)
EVENTS = StepEvents.from_dense(RNG.integers(0, 2, (40, 12, 6)), 1e-3)
LABELS = np.arange(40) % 3
TIMED = SimpleNamespace(
    units=RNG.integers(0, 6, 4000), times=np.tile(np.sort(RNG.integers(0, 9000, 100)), 40),
    offsets=np.arange(0, 4001, 100), n_units=6, time_unit_us=1.0,
)  # fmt: skip
GAMMA = SpikingGammaNetwork([6, 20, 3], K=2, dt=1 * ms, threads=2)
ASYNC = AsynchronousNetwork([6, 20, 3], V_th=0.2, dt=1 * ms, threads=2)
CONTINUOUS = AsynchronousNetwork([6, 20, 3], V_th=0.2, scheduler=TimedScheduler(synaptic=1 * ms), threads=2)
MIXED = AsynchronousSpikingGamma([6, 20, 3], K=2, theta=0.3, dt=1 * ms, threads=2)
EXACT = open_origin(
    ready_origin(
        "lif", 6, 3, {"hidden": [8], "weight_pa": [9000.0, 500.0], "output_weight_pa": [500.0, 200.0]}, 0.03, 0
    ),
    threads=2,
)
SPIKES = Samples(SampleSpikes.of([(np.arange(6), np.arange(6) * 1e-3)] * 8), 6, 0.03)


def everything(_=None):
    """Numbers of every compiled engine, all of them on two threads."""
    return [
        float(GAMMA.gradient(EVENTS, LABELS).gradients["layer1.w"].sum()),
        float(np.abs(ASYNC.gradient(EVENTS, LABELS).gradients["projection0.w"]).sum()),
        int(ASYNC.run(EVENTS, record=True).spikes.neuron.sum()),
        int(CONTINUOUS.run(TIMED).times.sum()),
        int(MIXED.run(EVENTS).spikes.sum()),
        float(EXACT.gradient(SPIKES, np.arange(8) % 3).gradients["to_hidden.w"].sum()),
    ]


def in_child(function, seconds=60):
    """What `function` returns in a forked child."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(function()))
    child.start()
    try:
        assert receiver.poll(seconds), "the child hangs"
        return receiver.recv()
    finally:
        child.kill()
        child.join()


def test_a_forked_pool_computes_what_the_parent_does():
    expected = everything()
    assert min(map(abs, expected)) > 0
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(everything, range(4)).get(timeout=120) == [expected] * 4
    assert everything() == expected


def test_a_child_of_a_child_computes_too():
    expected = everything()
    assert in_child(lambda: (everything(), in_child(everything), everything())) == (expected,) * 3


@pytest.mark.parametrize("from_thread", [False, True])
def test_a_fork_while_another_thread_computes(from_thread):
    """The lock that the other thread holds, and the state it is changing, do not reach the child's own runs."""
    expected, stop, found = everything(), threading.Event(), []

    def compute():
        while not stop.is_set():
            everything()

    def fork():
        found.extend(in_child(everything) for _ in range(3))

    busy = threading.Thread(target=compute)
    busy.start()
    try:
        if from_thread:
            forking = threading.Thread(target=fork)
            forking.start()
            forking.join()
        else:
            fork()
    finally:
        stop.set()
        busy.join()
    assert found == [expected] * 3
