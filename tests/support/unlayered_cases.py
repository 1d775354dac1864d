"""Random asynchronous networks with a gradient, shared by the tests of unlayered backprop."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from brian2 import ms

from brian2grad.models import AsynchronousNetwork
from brian2grad.models.asynchronous.connectivity import Connectivity, Projection
from brian2grad.models.asynchronous.losses import AsyncLoss
from brian2grad.models.events import StepEvents
from brian2grad.models.gradients import Unlayered
from brian2grad.models.order.schedulers import FifoScheduler, LayerSynchronous, MomentumScheduler, RandomScheduler

SIZES, N_IN, N_OUT, T, NOISE = [5, 7, 6, 4], 5, 4, 5, 0.3
SCHEDULERS = {
    "RS": RandomScheduler(keyed=True),
    "MS": MomentumScheduler(noise=NOISE),
    "FIFO": FifoScheduler(),
    "layered": LayerSynchronous(),
}
LOSS = {"activity": 0.3, "total": 0.7, "haste": 0.2, "smoothing": 0.1}


def step_events(frames):
    """Events of dense counts (n_samples, T, n_in)."""
    return StepEvents.from_dense(frames, 1e-3)


@dataclass
class Case:
    """A network with two inputs' worth of everything: skip connection, own time constants and thresholds."""

    seed: int
    policy: str = "RS"
    F: int | None = 4
    refractory: bool = True
    refractory_dropout: float = 0.0
    spike_dropout: float = 0.0
    sigma: float = 0.0
    recurrent: bool = False
    kind: str = "counts"
    threads: int = 1
    n_samples: int = 3
    unlayered: Unlayered = field(default_factory=Unlayered)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        pairs = [(0, 1), (1, 2), (2, 3), (1, 3)] + [(2, 1)] * self.recurrent
        self.connectivity = Connectivity(
            SIZES,
            [Projection(a, b, rng.normal(0.15 if a < b else -0.2, 0.5, (SIZES[a], SIZES[b]))) for a, b in pairs],
        )
        self.N = self.connectivity.n_neurons
        self.tau, self.theta = rng.uniform(0.5e-3, 5e-3, self.N), rng.uniform(0.2, 0.6, self.N)
        self.frames = rng.poisson(0.6, (self.n_samples, T, N_IN)).astype(float)
        self.labels = rng.integers(0, N_OUT, self.n_samples)
        self.loss = AsyncLoss(kind=self.kind, first=0.5 if self.kind == "counts" else 0.0, **LOSS)

    def network(self) -> AsynchronousNetwork:
        """The network, in double precision."""
        trained = ("w", "V_th", "tau_m") + ("sigma",) * bool(self.sigma)
        return AsynchronousNetwork(
            self.connectivity, tau_m=self.tau * 1e3 * ms, V_th=self.theta, dt=1 * ms,
            scheduler=SCHEDULERS[self.policy], forward_group=self.F, refractory=self.refractory,
            refractory_dropout=self.refractory_dropout, spike_dropout=self.spike_dropout, sigma=self.sigma,
            seed=self.seed, dtype="float64", threads=self.threads, trained=trained,
        )  # fmt: skip

    def gradient(self):
        """Gradient by the compiled reverse pass, in the run drawn from the case's seed."""
        options = {"scheduler": SCHEDULERS[self.policy], "forward_group": self.F, "seed": self.seed}
        options |= {"goal": self.loss, "rule": replace(self.unlayered, clip=None)}
        return self.network().gradient(step_events(self.frames), self.labels, **options)
