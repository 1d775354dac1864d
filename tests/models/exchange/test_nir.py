"""NIR: an independent simulator gives the graph's output as we do, and a graph read again is the network."""

import numpy as np
import pytest
from brian2 import ms
from nir_interpreter import simulate

from brian2grad.models import AsynchronousNetwork, NetworkError, SpikingGammaNetwork, StepEvents
from brian2grad.models.exchange.quantise import RoundedNetwork, channel_scale, quantised, rounded
from brian2grad.models.exchange.reading import from_nir, read_nir
from brian2grad.models.exchange.writing import to_nir, write_nir
from brian2grad.models.order.schedulers import LayerSynchronous
from brian2grad.models.topology.layers import Recurrent

nir = pytest.importorskip("nir", reason="the package nir is not installed")
MAPS = {"input": (2, 9, 8), "layers": "3c3-p2-4c2p1-5-2"}
GAMMA = {
    "dense": {"sizes": (12, 9, 7, 3)},
    "per synapse": {"sizes": (12, 9, 3), "buckets": "synapse"},
    "no bias": {"sizes": (12, 9, 3), "bias": False},
    "maps": MAPS,
    "dense over maps": {"input": (2, 9, 8), "layers": "p2-6-2"},
    "recurrent": {"input": 12, "layers": [Recurrent(8), 3]},
}
ASYNC = {"dense": ((12, 9, 7, 3), {}), "maps": (None, MAPS)}


def events_of(network, n_steps=25, seed=3):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.3 if network.sizes[0] < 20 else 0.1, (2, n_steps, network.sizes[0]))
    return counts, StepEvents.from_dense(counts, float(network.dt))


def gamma_network(options, **more):
    sizes = options.get("sizes")
    rest = {name: value for name, value in options.items() if name != "sizes"}
    network = SpikingGammaNetwork(
        sizes, K=3, tau=[20, 31, 27] * ms, theta=0.2, dt=5 * ms, dtype="float64", seed=4, **rest, **more
    )
    rng = np.random.default_rng(5)
    for name, value in network.parameters.items():
        if name.endswith(".b"):
            value += rng.normal(scale=0.2, size=value.shape)
    return network


def frames(network, counts):
    """Counts in the shape of the graph's input."""
    channels, height, width = network.plan.input if network.plan is not None else (counts.shape[-1], 1, 1)
    return counts.reshape(*counts.shape[:2], *((channels, height, width) if height * width > 1 else (channels,)))


@pytest.mark.parametrize("case", GAMMA)
@pytest.mark.parametrize("whole", [False, True], ids=["", "int8"])
def test_another_simulator_gives_the_readout(case, whole, tmp_path):
    network = gamma_network(GAMMA[case])
    if whole:
        network.parameters = quantised(network)
    graph = nir.read(write_nir(network, tmp_path / "network.nir", whole=whole))
    counts, events = events_of(network)
    ours = network.forward(events)
    assert ours.spikes.sum() > 25
    for sample, frame in enumerate(frames(network, counts)):
        np.testing.assert_allclose(simulate(graph, frame, 5e-3), ours.readout[sample], rtol=1e-6, atol=1e-9)
    if whole:
        assert {nir_node.weight.dtype for name, nir_node in graph.nodes.items() if f"{name}_scale" in graph.nodes} == {
            np.dtype(np.int8)
        }


@pytest.mark.parametrize("case", ASYNC)
@pytest.mark.parametrize("whole", [False, True], ids=["", "int8"])
def test_another_simulator_gives_the_spikes(case, whole, tmp_path):
    sizes, options = ASYNC[case]
    network = AsynchronousNetwork(
        sizes, tau_m=12 * ms, V_th=0.15, dt=5 * ms, scheduler=LayerSynchronous(), forward_group=None, dtype="float64",
        seed=4, **options,
    )  # fmt: skip
    if whole:
        network.parameters = quantised(network)
    graph = nir.read(write_nir(network, tmp_path / "network.nir", whole=whole))
    counts, events = events_of(network)
    outputs = network.run(events).outputs
    assert outputs.sum() > 10
    for sample, frame in enumerate(frames(network, counts)):
        np.testing.assert_array_equal(simulate(graph, frame, 5e-3), outputs[sample])


@pytest.mark.parametrize("case", GAMMA)
def test_a_graph_read_again_is_the_network(case, tmp_path):
    network = gamma_network(GAMMA[case])
    again = read_nir(write_nir(network, tmp_path / "network.nir"))
    assert again.config() == network.config()
    for name, value in network.parameters.items():
        np.testing.assert_allclose(again.parameters[name], value, rtol=1e-12, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("case", ASYNC)
def test_trained_constants_and_whole_numbers_come_back(case, tmp_path):
    sizes, options = ASYNC[case]
    network = AsynchronousNetwork(
        sizes, V_th=0.15, dt=5 * ms, dtype="float64", seed=4, trained=("w", "V_th", "tau_m"), **options
    )
    network.parameters = quantised(network)
    rng = np.random.default_rng(1)
    network.parameters["neurons.V_th"] *= rng.uniform(0.5, 1.5, network.n_neurons)
    network.parameters["neurons.tau_m"] *= rng.uniform(0.5, 1.5, network.n_neurons)
    again = read_nir(write_nir(network, tmp_path / "network.nir", whole=True))
    assert again.config() == network.config()
    for ours, theirs in zip(network.weights, again.weights, strict=True):
        ours, theirs = (w.toarray() if hasattr(w, "toarray") else w for w in (ours, theirs))
        np.testing.assert_allclose(theirs, ours, rtol=1e-6, atol=1e-12)
    for name in ("V_th", "tau_m"):
        found = np.asarray(again.model.constants[name])
        np.testing.assert_allclose(found, network.parameters[f"neurons.{name}"], rtol=1e-12)


def test_numbers_changed_in_the_graph_are_read():
    network = gamma_network(GAMMA["dense"])
    graph = to_nir(network)
    graph.nodes["layer2_w"].weight[3, 1] = 5.0
    assert from_nir(graph).parameters["layer2.w"][1, 3] == 5.0


def test_weights_are_whole_numbers_of_their_channels():
    w = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype(np.float32)
    w[..., 2] = 0
    near = rounded(w)
    units = near / channel_scale(near)
    assert np.abs(units).max() == pytest.approx(127)
    assert np.abs(units - np.rint(units)).max() < 1e-4
    assert np.abs(near - w).max() <= 0.5001 * channel_scale(w).max()
    np.testing.assert_array_equal(rounded(near), near)


def test_training_moves_the_weights_before_rounding():
    """The gradient is that at the rounded weights, and the optimiser sees the others."""
    network = gamma_network(GAMMA["dense"])
    _, events = events_of(network)
    labels = np.array([0, 2])
    precise = {name: value.copy() for name, value in network.parameters.items()}
    learner = RoundedNetwork(network)
    [found] = learner.gradients(events, labels)
    network.parameters = quantised(network, precise)
    [expected] = network.gradients(events, labels)
    for name, value in expected.gradients.items():
        np.testing.assert_array_equal(found.gradients[name], value)
    learner.parameters = precise
    learner.parameters["layer1.w"] += 0.01
    assert (learner.finish().parameters["layer1.w"] == rounded(precise["layer1.w"])).all()


@pytest.mark.parametrize(
    ("network", "text"),
    [
        (lambda: gamma_network(GAMMA["dense"], memory="continuous"), "memory = 'continuous' has no counterpart"),
        (lambda: gamma_network(GAMMA["dense"], adaptation=0.1), "adaptation = 0.1 has no counterpart"),
        (lambda: AsynchronousNetwork(input=12, layers=[Recurrent(8), 3]), "layer 1 is recurrent"),
    ],
    ids=["continuous", "adaptation", "recurrent"],
)
def test_what_nir_cannot_express_is_refused(network, text):
    with pytest.raises(NetworkError, match=text):
        to_nir(network())


def test_foreign_and_damaged_files_are_refused(tmp_path):
    foreign = nir.NIRGraph({"input": nir.Input({"input": np.array([2])})}, [], {}, type_check=False)
    with pytest.raises(NetworkError, match="was not written by brian2grad"):
        from_nir(foreign)
    (tmp_path / "no.nir").write_bytes(b"nothing")
    with pytest.raises(NetworkError, match="is no NIR file"):
        read_nir(tmp_path / "no.nir")
    with pytest.raises(NetworkError, match="quantise the network first"):
        write_nir(gamma_network(GAMMA["dense"]), tmp_path / "w.nir", whole=True)
    graph = to_nir(gamma_network(GAMMA["dense"]))
    del graph.nodes["layer1_v2"]
    with pytest.raises(NetworkError, match="node 'layer1_v2' is missing"):
        from_nir(graph)
