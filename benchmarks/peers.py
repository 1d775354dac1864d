"""The implementations that ``speed.py`` times, each with the same methods.

``load(events, labels)`` prepares a batch, ``gradient()`` computes a loss and its gradient, ``forward()`` runs the batch
without a gradient, ``set_threads(n)``, where there is one, takes a number of threads. These run the SpikingGamma
network; libraries without that neuron are in ``lif_libraries.py``.
"""

from __future__ import annotations

from lif_libraries import SIZES, Braintrace, Jax, Norse, SnnTorch, SpikingJelly, Torch

K = 4


class Engine:
    """This project."""

    title, network = "brian2grad", "SpikingGamma"

    def __init__(self, threads, dtype="float32"):
        from brian2 import ms
        from random_events import random_events

        from brian2grad.models.gamma.network import SpikingGammaNetwork

        self.net = SpikingGammaNetwork(SIZES, K=K, tau=20 * ms, dt=1 * ms, theta=0.5, dtype=dtype, threads=threads)
        self.net.calibrate(random_events(4, 300, SIZES[0], 0.01, seed=1))

    def load(self, events, labels):
        self.events, self.labels = events, labels

    def set_threads(self, threads):
        for engine in self.net._engines.values():
            engine.threads = threads

    def gradient(self):
        return self.net.gradient(self.events, self.labels)

    def forward(self):
        return self.net.forward(self.events)

    def density(self):
        """Fraction of hidden neurons that spike in a step."""
        counts = self.forward().spikes.sum(0)
        return [
            float(c) / (len(self.events) * self.events.n_steps * n) for c, n in zip(counts, SIZES[1:], strict=False)
        ]


class EngineOnline(Engine):
    """This project, one pass with memory that does not grow with the number of steps."""

    title = "brian2grad, rule online"

    def gradient(self):
        return self.net.gradient(self.events, self.labels, rule="online")


class Bare(Engine):
    """The floor."""

    title, network = "floor: rows and products alone", "none"

    def __init__(self, threads):
        super().__init__(threads)
        self.threads = threads

    def set_threads(self, threads):
        self.threads = threads

    def load(self, events, labels):
        from floor import Floor

        super().load(events, labels)
        self.bare = Floor(self.net, events)

    def gradient(self):
        self.bare.run(self.threads, True)

    def forward(self):
        self.bare.run(self.threads, False)

    def density(self):
        return []


class TorchPlain(Torch):
    """The same network, step by step."""

    title, network, version = "PyTorch, plain", "SpikingGamma", "plain"

    def __init__(self, threads):
        super().__init__(threads)
        from torch_gamma import TorchGamma

        self.model = TorchGamma(Engine(threads).net)

    def run(self):
        return getattr(self.model, self.version)(self.x)


class TorchFused(TorchPlain):
    """The same network, layer by layer."""

    title, version = "PyTorch, fused", "fused"


class TorchSparse(TorchPlain):
    """The same network: sparse input, memory in blocks of steps."""

    title, version = "PyTorch, fused over time, sparse rows", "sparse"

    def __init__(self, threads):
        super().__init__(threads)
        import torch_sparse

        self.model, self.rows = torch_sparse.TorchSparse(Engine(threads).net), torch_sparse.Rows

    def load(self, events, labels):
        self.x, self.labels = self.rows(events), self.torch.as_tensor(labels)

    def density(self):
        return [float((s > 0).float().mean()) for s in self.forward()[1]]


class JaxGamma(Jax):
    """The same network, compiled; products hoisted out of the scans."""

    title, network = "JAX, the same network", "SpikingGamma"

    def __init__(self, threads):
        import jax
        import jax.numpy as jnp
        from jax_gamma import JaxGamma as Same

        self.jax, self.jnp, self.same = jax, jnp, Same(Engine(threads).net)

    def gradient(self):
        return self.jax.block_until_ready(self.same.value_and_grad(self.same.parameters, self.x, self.labels))

    def forward(self):
        return self.jax.block_until_ready(self.same.forward(self.same.parameters, self.x))

    def density(self):
        return [float((s > 0).mean()) for s in self.forward()[1]]


class Numba(Engine):
    """Inference as an event loop in numba."""

    title, gradient = "numba event loop", None

    def __init__(self, threads):
        super().__init__(threads)
        from numba_gamma import NumbaGamma

        self.loop = NumbaGamma(self.net)
        self.set_threads(threads)

    def set_threads(self, threads):
        self.loop.set_threads(threads)

    def forward(self):
        return self.loop.run(self.events)

    def density(self):
        counts = self.forward()[1].sum(0)
        return [
            float(c) / (len(self.events) * self.events.n_steps * n) for c, n in zip(counts, SIZES[1:], strict=False)
        ]


PEERS = {
    "ours": Engine,
    "ours_online": EngineOnline,
    "floor": Bare,
    "torch_plain": TorchPlain,
    "torch_fused": TorchFused,
    "torch_sparse": TorchSparse,
    "jax_gamma": JaxGamma,
    "numba": Numba,
    "snntorch": SnnTorch,
    "norse": Norse,
    "spikingjelly": SpikingJelly,
    "jax": Jax,
    "braintrace": Braintrace,
}
