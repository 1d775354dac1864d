"""The decoded gradient of an asynchronous run: against a dense adjoint of what happened, and against differences."""

import gamma_dense as layered
import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousSpikingGamma, NetworkError, SpikingGammaNetwork
from brian2grad.models.order.schedulers import FifoScheduler, LayerSynchronous, MomentumScheduler, RandomScheduler

ORDERS = [
    pytest.param({"scheduler": RandomScheduler(), "forward_group": 1}, id="RS"),
    pytest.param({"scheduler": MomentumScheduler(), "forward_group": 2, "once_per_timestep": False}, id="MS-free"),
    pytest.param({"scheduler": FifoScheduler(), "forward_group": 1, "idle": "start"}, id="FIFO-early"),
]
KINDS = [
    pytest.param({}, id="unsigned"),
    pytest.param(
        {"signed": True, "buckets": "synapse", "adaptation": 0.2}, id="signed-synapse", marks=pytest.mark.long
    ),
    pytest.param({"memory": "continuous", "adaptation": 0.2}, id="continuous-adaptive", marks=pytest.mark.long),
]
SIZES = (6, 5, 6, 4, 3)
LABELS = np.array([0, 2, 1])


def make(random_network, order, **kind):
    options = {"tau": [20, 35, 27] * ms, "train_tau": True, "gain": 3.0} | kind
    return AsynchronousSpikingGamma.of(random_network(SIZES, **options), **order)


def dense_gradient(network, events, sent, labels):
    """Loss and gradient of one sample from its input (T, n_in) and the spikes (T, n) that its layers sent."""
    T, n_layers = len(events), len(network.sizes) - 1
    inputs = [events, *sent]
    layers = [layered.Dense(network, index, T) for index in range(1, n_layers + 1)]
    signals = [layer.signal(x) for layer, x in zip(layers, inputs, strict=True)]
    p = np.exp(signals[-1] - signals[-1].max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss, g, gradients = -np.log(p[np.arange(T), labels]).sum(), p - np.eye(p.shape[1])[labels], {}
    for index in range(n_layers, 0, -1):
        gradient, by_event = layers[index - 1].reverse(inputs[index - 1], g)
        gradients |= {f"layer{index}.{kind}": value for kind, value in gradient.items()}
        if index > 1:  # transparent code: an event is what the estimate lacks, y(t) - alpha y(t - dt)
            alpha = np.exp(-float(network.dt / network.taus(index - 1)[0]))
            g = by_event - alpha * np.vstack([by_event[1:], np.zeros(by_event.shape[1])])
            g = g if network.signed else g * (signals[index - 2] > 0)
    return loss, gradients


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_the_dense_adjoint_of_what_happened(kind, order, random_network, random_events):
    events, network = random_events(n_samples=3, n_steps=20), make(random_network, order, **kind)
    found = network.gradient(events, LABELS)
    happened = network.run(events, **network.batch_order())
    wanted = [
        dense_gradient(network, events.dense(s), [layer.dense(s) for layer in happened.delivered], LABELS[s])
        for s in range(3)
    ]
    assert found.loss == pytest.approx(sum(loss for loss, _ in wanted) / 60, rel=1e-12)
    np.testing.assert_array_equal(found.outcome.spikes, happened.spikes)
    assert happened.spikes.min() > 5
    for name, value in found.gradients.items():
        target = sum(gradients[name] for _, gradients in wanted) / 60
        assert np.abs(target).max() > 1e-4, name
        tolerance = 1e-10 if name.endswith("tau") else 1e-12
        np.testing.assert_allclose(value, target, rtol=tolerance, atol=tolerance * np.abs(target).max(), err_msg=name)


@pytest.mark.parametrize("order", ORDERS)
def test_readout_parameters_against_differences_of_the_spiking_run(order, random_network, random_events):
    """No spike depends on the readout, so there the gradient is that of the network that really ran."""
    events, network = random_events(n_samples=3, n_steps=20), make(random_network, order)
    _, gradient = network.loss_and_grad(events, LABELS)
    last = f"layer{len(SIZES) - 1}"
    for kind in ("w", "v", "b", "tau"):
        name = f"{last}.{kind}"
        chosen, wanted = layered.difference_quotients(network, name, lambda: network.loss_and_grad(events, LABELS)[0])
        np.testing.assert_allclose(gradient[name].flat[chosen], wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("order", ORDERS)
def test_every_parameter_against_differences_of_the_analog_network(order, random_network, random_events):
    """Without spikes there is no order: in analog mode the decoded gradient is exact."""
    events = random_events(n_samples=3, n_steps=12)
    layered.assert_gradient_is_differences(make(random_network, order), events, labels=LABELS)


def test_layer_order_gives_the_layered_gradient(random_network, random_events):
    events = random_events(n_samples=3, n_steps=70)
    network = make(random_network, {"scheduler": LayerSynchronous()})
    plain = SpikingGammaNetwork.from_config(network.config(), threads=1)
    plain.parameters = network.parameters
    for rule in ("filter", "direct", "detached"):
        found, wanted = (net.gradient(events, LABELS, rule=rule, activity=0.3) for net in (network, plain))
        assert found.loss == wanted.loss
        for name, value in wanted.gradients.items():
            np.testing.assert_array_equal(found.gradients[name], value)


def test_a_batch_draws_its_own_order_and_repeats_it(random_network, random_events):
    events, network = random_events(n_samples=3), make(random_network, {"forward_group": 1})
    spikes = []
    for iteration in (0, 1, 0):
        network.begin(iteration, 0.0)
        spikes.append(network.gradient(events, LABELS).outputs)
    np.testing.assert_array_equal(spikes[0], spikes[2])
    assert np.abs(spikes[0] - spikes[1]).max() > 1e-3


def test_bad_spikes_and_rules_are_refused(random_network, random_events):
    events, network = random_events(n_samples=3), make(random_network, {})
    with pytest.raises(NetworkError, match="it takes Filter, Direct, Detached"):
        network.gradient(events, LABELS, rule="online")
    with pytest.raises(NetworkError, match=r"given spikes have .*3, 20, 5.* the network's are \[\(2, 20, 5\)"):
        network.replay(random_events(n_samples=2), network.run(events))
