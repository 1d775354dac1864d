"""Dense PyTorch transcription of asynchronous execution and of its surrogate gradient: plain autograd over the unrolled
forward steps. Slow; what the event-driven engine is timed against in ``unlayered.py``.

Koopman, Yousefzadeh, Shahsavari, Tang & Sifalakis 2024, arXiv 2408.05098, with the current of the last group kept.
"""

from __future__ import annotations

import math

import torch


class Spike(torch.autograd.Function):
    """Heaviside step with a surrogate derivative."""

    @staticmethod
    def forward(ctx, x, slope):
        ctx.save_for_backward(x)
        ctx.slope = slope
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * ctx.slope(x), None


def arctan_slope(x):
    """snnTorch's arctan of steepness 2, slope 1 at threshold."""
    return 1 / (1 + (math.pi * x) ** 2)


class DenseUnlayered:
    """A batch of asynchronous networks as dense tensors.

    Parameters
    ----------
    W_in, W : (n_in, N) and (N, N) tensors
        Source first; may require gradients.
    leak, theta : (N,) tensors
    choose : callable
        Given (q, P, timestep, step), the mask (B, N) of the group that is delivered next, fillers included.
    slope : callable
        Surrogate derivative.
    """

    def __init__(self, W_in, W, leak, theta, choose, slope):
        self.W_in, self.W, self.leak, self.theta, self.choose, self.slope = W_in, W, leak, theta, choose, slope
        self.spikes = 0

    def run(self, frames):
        """Run frames (T, B, n_in); returns counts (T, B, N)."""
        T, B, _ = frames.shape
        N = self.W.shape[0]
        U, q = frames.new_zeros(B, N), frames.new_zeros(B, N)
        counts = []
        for t in range(T):
            count, U, q = self._timestep(t, frames[t], U * self.leak, q)
            counts.append(count)
        return torch.stack(counts)

    def _timestep(self, t, x, U, q):
        R, P, count, step = torch.zeros_like(U, dtype=torch.bool), torch.zeros_like(U), torch.zeros_like(U), 0
        current = x @ self.W_in
        while step == 0 or bool(((q != 0).any() | (current != 0).any()).item()):
            U = torch.where(R, torch.zeros_like(U), U + current)
            fire = Spike.apply(U - self.theta, self.slope) * (current != 0) * ~R
            P = torch.where(fire > 0, U.detach(), P)
            U = U * (1 - fire)
            R = R | (fire > 0)
            self.spikes += int(fire.detach().sum())
            count, q = count + fire, q + fire
            group = self.choose(q.detach(), P, t, step)
            current, q, step = (q * group) @ self.W, q * (1 - group), step + 1
        return count, U, q


def by_keys(queued, key, forward_group):
    """Mask of the `forward_group` smallest keys of each sample; what does not wait comes last, by number."""
    order = torch.argsort(torch.where(queued, key, torch.full_like(key, math.inf)), dim=1, stable=True)
    mask = torch.zeros_like(key)
    return mask.scatter_(1, order[:, :forward_group], 1.0)
