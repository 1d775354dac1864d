"""What the benchmarks compare with computes the same thing."""

import sys
from pathlib import Path

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, SpikingGammaNetwork, StepEvents
from brian2grad.models.gradients import Unlayered
from brian2grad.models.order.schedulers import FifoScheduler, MomentumScheduler, RandomScheduler
from brian2grad.training.optimisers import Adam

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
from random_events import dense, random_events  # noqa: E402

SEEDS = 60
pytestmark = pytest.mark.long  # numba and JAX compile


@pytest.fixture(scope="module")
def asynchronous():
    """A network, and events that make it spike."""
    network = AsynchronousNetwork(
        [20, 17, 13, 5], tau_m=8 * ms, V_th=0.3, dt=10 * ms, seed=1, threads=1, dtype="float64"
    )
    frames = np.random.default_rng(0).poisson(0.3, (6, 4, 20))
    return network, StepEvents.from_dense(frames, 10e-3)


@pytest.mark.parametrize("F", [1, 3, 1000])
@pytest.mark.parametrize("scheduler", [FifoScheduler(), MomentumScheduler(noise=0.0), RandomScheduler()])
@pytest.mark.parametrize("threads", [1, 2])
def test_numba_loop_runs_the_asynchronous_network(asynchronous, scheduler, F, threads):
    pytest.importorskip("numba", reason="numba is not installed")
    from numba_asynchronous import NumbaAsynchronous

    network, events = asynchronous
    loop = NumbaAsynchronous(network)
    loop.set_threads(threads)
    outputs, spikes = loop.run(events, scheduler, F)
    if isinstance(scheduler, RandomScheduler) and F < 1000:  # other random numbers: the same only on average
        same_on_average(network, events, F, lambda seed: loop.run(events, scheduler, F, seed)[1].sum())
        return
    found = network.run(events, scheduler=scheduler, forward_group=F)
    np.testing.assert_array_equal(outputs, found.outputs)
    np.testing.assert_array_equal(spikes, found.counters["spikes"].sum(1))
    assert spikes.min() > 0


def same_on_average(network, events, F, theirs):
    """Means over seeds within four standard errors, which themselves are a small part."""
    run = lambda seed: network.run(events, scheduler=RandomScheduler(), forward_group=F, seed=seed)  # noqa: E731
    ours = np.array([run(seed).counters["spikes"].sum() for seed in range(SEEDS)])
    theirs = np.array([theirs(seed) for seed in range(SEEDS)])
    error = np.hypot(ours.std(), theirs.std()) / np.sqrt(SEEDS)
    assert error < 0.04 * ours.mean()
    assert abs(ours.mean() - theirs.mean()) < 4 * error + 1e-9


@pytest.mark.parametrize("F", [1, 3, 8, 1000])
@pytest.mark.parametrize("scheduler", [FifoScheduler(), RandomScheduler()])
@pytest.mark.parametrize("clip", [None, 0.01])
def test_numba_loop_has_the_gradient_of_the_asynchronous_network(asynchronous, scheduler, F, clip):
    pytest.importorskip("numba", reason="numba is not installed")
    from numba_unlayered import NumbaUnlayered

    network, events = asynchronous
    labels, rule, seed = np.arange(6) % 5, Unlayered(clip=clip), 2**61 + 3
    peer = NumbaUnlayered(network, events.n_steps, rule)
    found = network.gradient(events, labels, rule=rule, scheduler=scheduler, forward_group=F, seed=seed)
    for _ in range(2):  # nothing is left of the step before
        loss, outputs = peer.gradients(events, labels, scheduler, F, seed)
    np.testing.assert_array_equal(outputs, found.outputs)
    assert outputs.sum() > 30
    assert loss == pytest.approx(found.loss, rel=1e-12)
    wanted = np.concatenate([found.gradients[f"projection{k}.w"].ravel() for k in range(3)])
    np.testing.assert_allclose(peer.gradient, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())
    optimiser, weights = Adam(1e-3), {"w": peer.net.w.copy()}
    for _ in range(2):
        optimiser.step(weights, {"w": wanted})
        peer.update(1e-3)
    np.testing.assert_allclose(peer.net.w, weights["w"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("version", ["rows", "dense"])
def test_pytorch_runs_the_asynchronous_network(asynchronous, version):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from torch_asynchronous import TorchAsynchronous

    network, events = asynchronous
    peer = TorchAsynchronous(network, torch.float64)
    frames = peer.frames(events)
    found = network.run(events, scheduler=RandomScheduler(), forward_group=1000).counters["spikes"].sum(1)
    np.testing.assert_array_equal(peer.run(frames, 1000, version).sum(1), found)

    def theirs(seed):
        torch.manual_seed(seed)
        return float(peer.run(frames, 3, version).sum())

    same_on_average(network, events, 3, theirs)


@pytest.fixture(scope="module", params=["float64", "float32"])
def gamma(request):
    """A SpikingGamma network of two hidden layers, events, labels and the bound of rounding errors."""
    events = random_events(6, 121, 60, 0.05)  # no whole number of blocks
    network = SpikingGammaNetwork(
        (60, 40, 30, 5), K=4, tau=10 * ms, dt=1 * ms, theta=0.5, dtype=request.param, threads=1
    )
    network.calibrate(events)
    return network, events, np.arange(6) % 5, {"float64": 1e-12, "float32": 1e-5}[request.param]


def same(found, wanted, bound):
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        np.testing.assert_allclose(found[name], gradient, rtol=0, atol=bound * np.abs(gradient).max(), err_msg=name)


def test_numba_loop_runs_the_gamma_network(gamma):
    pytest.importorskip("numba", reason="numba is not installed")
    from numba_gamma import NumbaGamma

    network, events, _, bound = gamma
    readout, spikes = NumbaGamma(network).run(events)
    found = network.forward(events)
    np.testing.assert_array_equal(spikes, found.spikes)
    np.testing.assert_allclose(readout, found.readout, rtol=0, atol=bound * np.abs(found.readout).max())


def test_jax_has_the_gradient_of_the_gamma_network(gamma):
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    from jax_gamma import JaxGamma

    network, events, labels, bound = gamma
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", network.dtype == "float64")
    try:
        peer, x = JaxGamma(network), jax.numpy.asarray(dense(events).astype(network.dtype))
        spikes = [np.count_nonzero(s, axis=(0, 2)) for s in peer.forward(peer.parameters, x)[1]]
        np.testing.assert_array_equal(np.array(spikes).T, network.forward(events).spikes)
        same(peer.gradients(x, jax.numpy.asarray(labels)), network.gradient(events, labels).gradients, bound)
    finally:
        jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("version", ["sparse", "fused", "plain"])
def test_pytorch_has_the_gradient_of_the_gamma_network(gamma, version):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from torch_gamma import dense
    from torch_sparse import Rows, TorchSparse

    network, events, labels, bound = gamma
    dtype = getattr(torch, network.dtype)
    peer, x = TorchSparse(network, dtype), (Rows if version == "sparse" else dense)(events, dtype)
    peer.loss(x, torch.as_tensor(labels), version=version).backward()
    spikes = [np.count_nonzero(s.detach().numpy(), axis=(0, 2)) for s in getattr(peer, version)(x)[1]]
    np.testing.assert_array_equal(np.array(spikes).T, network.forward(events).spikes)
    same(peer.gradients(), network.gradient(events, labels).gradients, bound)


def test_exact_peers_have_the_same_loss_and_gradient():
    pytest.importorskip("jax", reason="JAX is not installed")
    from exact_peers import check

    errors, _ = check()
    assert max(errors["JAX, event-exact"]) < 1e-10
    for name, bound in (("jaxsnn", 1e-10), ("eventax", 1e-6)):
        assert name not in errors or max(errors[name]) < bound


def test_pytorch_on_a_fine_grid_has_the_spikes_of_the_event_located_network():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    import exact_peers
    from lif_peers import Bptt

    matrices, (neurons, times) = exact_peers.weights((30, 12, 4)), exact_peers.inputs(1, 30, 20)
    ours = exact_peers.Ours(matrices)
    ours.load(neurons, times)
    loss, _, spikes = ours.gradient()
    peer = Bptt(matrices, dt=5e-6)
    found = peer.gradient(peer.grid(neurons, times))[0].item()
    assert abs(int(peer.spikes.sum()) - spikes[1]) <= 0.02 * spikes[1] + 1
    assert found == pytest.approx(loss, abs=0.05 * spikes[1])


def test_surrogate_gradient_is_that_of_autograd():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from lif_peers import layer_of

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx, v):
            ctx.save_for_backward(v)
            return (v > 1).to(v.dtype)

        @staticmethod
        def backward(ctx, error):
            return error / (1 + 10 * (ctx.saved_tensors[0] - 1).abs()) ** 2

    drive = torch.rand(40, 3, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(40, 3, 5, dtype=torch.float64)
    a, b, c = 0.9, 0.8, 0.3
    spikes = layer_of(torch).apply(drive, a, b, c)
    (by_hand,) = torch.autograd.grad((spikes * weight).sum(), drive)
    v = current = torch.zeros(3, 5, dtype=torch.float64)
    loss = 0
    for x, factor in zip(drive, weight, strict=True):
        v = a * v + c * current
        s = Spike.apply(v)
        v, current, loss = v * (1 - s), b * current + x, loss + (s * factor).sum()
    (wanted,) = torch.autograd.grad(loss, drive)
    assert spikes.sum() > 10
    torch.testing.assert_close(by_hand, wanted, rtol=1e-12, atol=1e-14)
