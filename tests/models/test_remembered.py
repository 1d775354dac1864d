"""What is kept between runs is what the network holds now: arrays changed in place, replaced, or written elsewhere."""

import pickle

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, SpikingGammaNetwork, StepEvents
from brian2grad.models.errors import NetworkError
from brian2grad.models.native.remembered import Remembered

EVENTS = StepEvents.from_dense(np.random.default_rng(0).poisson(0.5, (3, 8, 6)), 1 * ms)


def gamma():
    return SpikingGammaNetwork([6, 16, 3], K=2, dt=1 * ms, theta=0.1, seed=1)


def asynchronous():
    return AsynchronousNetwork([6, 16, 3], V_th=0.1, dt=1 * ms, seed=1)


def answer(network):
    found = network.forward(EVENTS)
    return found if isinstance(found, np.ndarray) else found.readout


@pytest.mark.parametrize(("make", "name"), [(gamma, "layer1.w"), (asynchronous, "projection0.w")])
def test_runs_follow_the_arrays(make, name):
    network, changed = make(), make()
    before = answer(network)
    old = network.parameters[name]
    network.parameters[name] = old.copy()
    old[:] = 0  # belongs to the network no more
    np.testing.assert_array_equal(answer(network), before)
    changed.parameters[name] *= -1
    network.parameters[name] *= -1
    expected = answer(changed)
    assert not np.array_equal(expected, before)
    np.testing.assert_array_equal(answer(network), expected)
    np.testing.assert_array_equal(answer(pickle.loads(pickle.dumps(network))), expected)
    network.parameters[name][0, 0] = np.nan
    for _ in range(2):
        with pytest.raises(NetworkError, match="finite"):
            network.forward(EVENTS)


def test_gamma_runs_follow_the_settings():
    network = gamma()
    before = answer(network)
    network.theta = (0.3,)
    after = answer(network)
    assert not np.array_equal(after, before)
    network.theta = (0.1,)
    np.testing.assert_array_equal(answer(network), before)


def test_same_means_bytes_types_and_shapes():
    w = np.arange(6.0).reshape(2, 3)
    kept = Remembered({"w": w})
    assert kept.same({"w": w})
    assert kept.same({"w": np.asfortranarray(w)})
    assert not kept.same({"v": w})
    assert not kept.same({"w": w.ravel()})
    assert not kept.same({"w": w.astype("f4")})
    w[0, 0] = 1
    assert not kept.same({"w": w})
    with pytest.raises(ValueError, match="read-only"):
        kept.arrays["w"][0, 0] = 1
