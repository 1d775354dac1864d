"""Asynchronous networks with shared kernels: the same as with every synapse's weight written out, gradient included."""

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, NetworkError
from brian2grad.models.events import StepEvents

INPUT, LAYERS = (2, 7, 6), ["a:3c3p1", "p2", "4c2", "5<a", "3"]
OPTIONS = {"V_th": 0.3, "tau_m": 20 * ms, "dt": 10 * ms, "forward_group": 4, "dtype": "float64", "seed": 3}


@pytest.fixture
def events():
    hit = np.random.default_rng(0).random((4, 5, int(np.prod(INPUT)))) < 0.3
    return StepEvents.from_dense(hit * 1, 1e-2)


@pytest.fixture
def network():
    return AsynchronousNetwork(input=INPUT, layers=["3c3p1", "p2", "4c2", "5", "3"], weight_scale=3.0, **OPTIONS)


def test_kernels_are_shared_in_runs_and_gradients(network, events):
    free = AsynchronousNetwork(network.connectivity, **OPTIONS)
    assert network.sizes == free.sizes == (84, 126, 16, 5, 3)
    assert network.parameters["projection0.w"].shape == (3, 3, 2, 3)
    labels = np.arange(4) % 3
    shared, every = network.gradient(events, labels), free.gradient(events, labels)
    assert shared.n_spikes == every.n_spikes > 100
    assert shared.loss == every.loss
    np.testing.assert_array_equal(shared.outputs, every.outputs)
    norm = shared.norm / every.norm  # of clipping, which sees fewer and larger entries
    for k, connection in enumerate(layer.connections[0] for layer in network.plan.layers):
        name = f"projection{k}.w"
        gradient = every.gradients[name] * max(1, every.norm) / max(1, shared.norm)
        if k in network.shared:
            pre, post, place = connection.synapses(network.sizes[k])
            rows = free.weights[k].copy()
            rows.data = gradient
            gradient = np.bincount(place, rows.toarray()[pre, post]).reshape(connection.shape)
        np.testing.assert_allclose(shared.gradients[name], gradient, rtol=1e-9, atol=1e-12, err_msg=name)
    assert norm != 1


def test_a_changed_kernel_changes_every_synapse(network, events):
    network.parameters["projection0.w"][1, 2, 0, 1] = 7
    pre, post, place = network.plan.layers[0].connections[0].synapses(84)
    chosen = place == np.ravel_multi_index((1, 2, 0, 1), (3, 3, 2, 3))
    weights = network.weights[0].toarray()
    assert (weights[pre[chosen], post[chosen]] == 7).all()
    assert (weights == 7).sum() == chosen.sum() > 20


def test_saved_layers_are_layers_again(network, events, tmp_path):
    network.parameters["projection0.w"][:] *= 1.5
    network.save(tmp_path / "network.h5")
    again = AsynchronousNetwork.load(tmp_path / "network.h5")
    assert again.plan.values == network.plan.values
    np.testing.assert_array_equal(again.forward(events), network.forward(events))
    assert again.forward(events).sum() > 0


def test_named_inputs_make_more_projections():
    network = AsynchronousNetwork(input=INPUT, layers=LAYERS, **OPTIONS)
    assert [(p.source, p.target) for p in network.connectivity.projections] == [(0, 1), (1, 2), (1, 3), (3, 4)]


def test_what_cannot_be_is_refused(network):
    with pytest.raises(NetworkError, match="Projection 0 shares its weights"):
        network.set_weights(network.weights)
    with pytest.raises(NetworkError, match="either sizes or a Connectivity, or input and layers"):
        AsynchronousNetwork([3, 2], input=3, layers="2")
    network.parameters["projection0.w"][0, 0, 0, 0] = 0
    with pytest.raises(NetworkError, match="exactly zero"):
        _ = network.weights


@pytest.mark.long
def test_brian2_has_the_same_spikes(network, events):
    native, brian = network.run(events, record=True), network.brian2(events)
    assert native.outputs.sum() > 0
    np.testing.assert_array_equal(brian.outputs, native.outputs)
