"""Memory of results is used again once nobody holds it, and never before."""

import numpy as np
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, StepEvents
from brian2grad.models.native.recycled import Recycled


def test_memory_comes_back_when_it_is_let_go():
    memory = Recycled()
    first = memory.empty("a", 100, "float32")
    where = first.ctypes.data
    assert memory.empty("a", 50, "float32").ctypes.data != where
    part = first[10:20]
    del first
    assert memory.empty("a", 50, "float32").ctypes.data != where, "a part of it is held"
    del part
    again = memory.empty("a", 120, "float32")  # there was a quarter to spare
    assert again.ctypes.data == where
    assert again.shape == (120,)
    assert memory.empty("a", 50, "float64").ctypes.data != where


def test_little_is_kept():
    memory = Recycled()
    memory.most = 1000
    memory.empty("large", 1000, "float64")
    assert not memory._held["large"]
    held = [memory.empty("a", 10, "float64") for _ in range(9)]
    assert len({array.ctypes.data for array in held}) == 9
    assert len(memory._held["a"]) == 2


def test_later_runs_leave_tapes_alone():
    rng = np.random.default_rng(0)
    network = AsynchronousNetwork([20, 30, 5], V_th=0.3, dt=1 * ms, threads=1)
    batches = [StepEvents.from_dense(rng.poisson(0.3, (3, 4, 20)), 1 * ms) for _ in range(5)]
    tapes = [network.run(batch, record="tape").tape for batch in batches]
    fields = ("steps", "step_ptr", "group", "received", "membrane", "spikes", "flags", "received_ptr")
    copies = [[getattr(tape, name).copy() for name in fields] for tape in tapes]
    assert all(len(tape.spikes) for tape in tapes)
    views, tapes = [tape.membrane[2:5] for tape in tapes], tapes[:3]
    for batch in batches:
        network.gradient(batch, np.zeros(3, int))
    for tape, copy in zip(tapes, copies, strict=False):
        for name, before in zip(fields, copy, strict=True):
            np.testing.assert_array_equal(getattr(tape, name), before)
    for view, copy in zip(views, copies, strict=True):
        np.testing.assert_array_equal(view, copy[fields.index("membrane")][2:5])
