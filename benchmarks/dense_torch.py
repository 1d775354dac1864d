"""Dense PyTorch transcription of asynchronous execution and of its surrogate gradient: plain autograd over the unrolled
forward steps. Slow; what the event-driven engine is compared with, in the tests and in ``unlayered.py``.

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


def arctan_slope(x, steepness=2.0, gain=None):
    """snnTorch's arctan, slope 1 at threshold for steepness 2; with ``gain=1/pi`` that of the later code."""
    peak = steepness / 2 if gain is None else gain
    return peak / (1 + (math.pi * steepness * x / 2) ** 2)


class DenseUnlayered:
    """A batch of asynchronous networks as dense tensors.

    Parameters
    ----------
    W_in, W : (n_in, N) and (N, N) tensors
        Source first; may require gradients, as may `leak`, `theta` and `sigma`.
    leak, theta, sigma : (N,) tensors
        `sigma` may be ``None``.
    choose : callable
        Given (q, P, timestep, step), the mask (B, N) of the group that is delivered next, fillers included.
    slope : callable
        Surrogate derivative.
    every : bool
        Variant v2: a surrogate term for every neuron in every step.
    refractory, cut, detach_reset : bool
    rests, keeps : callable, optional
        Given (timestep, step), masks (B, N): whether a spike makes its neuron rest, and whether it is emitted.
    sigma_mask : (N,) tensor, optional
        Neurons whose synchronisation threshold has a gradient.
    """

    def __init__(
        self, W_in, W, leak, theta, choose, slope, *, sigma=None, every=False, refractory=True, cut=False,
        detach_reset=False, rests=None, keeps=None, sigma_mask=None,
    ):  # fmt: skip
        self.W_in, self.W, self.leak, self.theta, self.sigma = W_in, W, leak, theta, sigma
        self.choose, self.slope, self.every, self.refractory = choose, slope, every, refractory
        self.cut, self.detach_reset, self.rests, self.keeps = cut, detach_reset, rests, keeps
        self.sigma_mask = sigma_mask
        self.spikes = 0

    def run(self, frames):
        """Run frames (T, B, n_in); returns counts (T, B, N), membranes (T, B, N) and the spikes of every step."""
        T, B, _ = frames.shape
        N = self.W.shape[0]
        U, q = frames.new_zeros(B, N), frames.new_zeros(B, N)
        counts, membranes, history = [], [], []
        for t in range(T):
            U = U * self.leak
            count, U, q = self._timestep(t, frames[t], U, q, history)
            counts.append(count)
            membranes.append(U)
        return torch.stack(counts), torch.stack(membranes), history

    def _timestep(self, t, x, U, q, history):
        B, N = U.shape
        R, P, S = torch.zeros(B, N, dtype=torch.bool), U.new_zeros(B, N), U.new_zeros(B, N)
        count = U.new_zeros(B, N)
        current, received, step = x @ self.W_in, None, 0
        if self.sigma is not None:
            received = x @ (self.W_in != 0).to(x.dtype)
        while step == 0 or bool(((q != 0).any() | (current != 0).any()).item()):
            U = (U.detach() if self.cut else U) + current
            if self.refractory:
                U = torch.where(R, torch.zeros_like(U), U)
            margin = U - self.theta
            fire = Spike.apply(margin, self.slope)
            if self.sigma is not None:
                S = S + received.detach()
                threshold = torch.where(self.sigma_mask, self.sigma, self.sigma.detach())
                fire = fire * Spike.apply(S - threshold, self.slope)
            if not self.every:
                fire = fire * (current != 0)
            if self.refractory:
                fire = fire * ~R
            P = torch.where(fire > 0, U.detach(), P)
            U = U * (1 - (fire.detach() if self.detach_reset else fire))
            rests = (fire > 0) if self.rests is None else (fire > 0) & self.rests(t, step)
            R = R | rests
            if self.keeps is not None:
                fire = fire * self.keeps(t, step)
            self.spikes += int(fire.detach().sum())
            history.append(fire)
            count, q = count + fire, q + fire
            group = self.choose(q.detach(), P, t, step)
            taken = q * group
            current = taken @ self.W
            if self.sigma is not None:
                received = taken @ (self.W != 0).to(q.dtype)
            q = q * (1 - group)
            step += 1
        return count, U, q


def by_keys(queued, key, forward_group):
    """Mask of the `forward_group` smallest keys of each sample; what does not wait comes last, by number."""
    order = torch.argsort(torch.where(queued, key, torch.full_like(key, math.inf)), dim=1, stable=True)
    mask = torch.zeros_like(key)
    return mask.scatter_(1, order[:, :forward_group], 1.0)
