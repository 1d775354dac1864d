"""Asynchronous execution in PyTorch, forward only: as published (dense), and as lean as tensors allow.

``dense`` sorts all neurons and multiplies by the whole weight matrix at every forward step, as the published code does;
``rows`` takes the group by `topk` and adds its rows of weights by a gather. Both go on with a batch until its slowest
sample is done, in random order with input first.
"""

from __future__ import annotations

import numpy as np
import torch


class TorchAsynchronous:
    """A network of LIF neurons with one threshold and time constant.

    Parameters
    ----------
    network : AsynchronousNetwork
    """

    def __init__(self, network, dtype=torch.float32):
        w_in, w = network.connectivity.dense()
        self.w_in, self.w = torch.tensor(w_in, dtype=dtype), torch.tensor(w, dtype=dtype)
        self.leak = float(np.exp(-float(network.dt) / float(network.model.constants["tau_m"])))
        self.theta = float(network.model.constants["V_th"])

    def frames(self, steps) -> torch.Tensor:
        """Dense input (T, n_samples, n_in)."""
        dense = np.stack([steps.dense(s) for s in range(len(steps))], 1)
        return torch.as_tensor(dense, dtype=self.w.dtype)

    def dense(self, queue, F):
        """Current of a random group, and what still waits."""
        keys = torch.rand_like(queue).masked_fill(queue == 0, 2.0)
        group = (keys.argsort(1).argsort(1) < F) & (queue > 0)
        return (queue * group) @ self.w, queue.masked_fill(group, 0.0)

    def rows(self, queue, F):
        """The same by `topk` and a gather."""
        taken, group = (torch.rand_like(queue) * queue).topk(min(F, queue.shape[1]), 1, sorted=False)
        present = (taken > 0).to(queue.dtype)
        if group.shape[1] == 1:
            current = self.w[group[:, 0]] * present
        else:
            current = torch.bmm(present[:, None], self.w[group])[:, 0]
        return current, queue.scatter(1, group, 0.0)

    @torch.no_grad()
    def run(self, frames, F: int, version: str = "rows") -> torch.Tensor:
        """Spikes of each neuron (n_samples, N)."""
        select = getattr(self, version)
        U = frames.new_zeros(frames.shape[1], len(self.w))
        total = torch.zeros_like(U)
        for t, frame in enumerate(frames):
            U = U * self.leak if t else U
            alive, queue = torch.ones_like(U), torch.zeros_like(U)
            current = frame @ self.w_in
            while True:
                U = U + current * alive
                fire = (U > self.theta).to(U.dtype)
                U, alive = U * (1 - fire), alive - fire
                queue, total = queue + fire, total + fire
                if not queue.any():
                    break
                current, queue = select(queue, F)
        return total
