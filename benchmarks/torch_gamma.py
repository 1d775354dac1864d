"""The SpikingGamma network and its filter gradient in PyTorch: what the compiled engine is compared with.

    python benchmarks/torch_gamma.py     spikes and gradients of both versions against the engine's

Two versions of the same network (published memory, bucket weights per neuron, constant threshold, one spike a step):

``plain``
    Dense tensors, a Python loop over the steps, everything else left to autograd. The sigma-delta code is passed
    straight through: the forward pass sends the spikes, the backward pass sees the decoded signal, whose event at
    step t is y(t) - alpha y(t-1).
``fused``
    Layer after layer over the whole sequence: one matrix product for all steps, loops over steps only where a state
    is carried, reversed by hand.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from brian2 import ms
from random_events import random_events

from brian2grad.models.events import StepEvents
from brian2grad.models.gamma.network import SpikingGammaNetwork


def dense(events: StepEvents, dtype=torch.float32) -> torch.Tensor:
    """Counts of a batch, shape (n_steps, n_samples, n_units)."""
    B, T = events.n_samples, events.n_steps
    rows = np.repeat(np.arange(B * T), np.diff(events.ptr))
    x = torch.zeros((T, B, events.n_units), dtype=dtype)
    values = torch.as_tensor(np.asarray(events.values, np.float64), dtype=dtype)
    x[rows % T, rows // T, torch.as_tensor(events.units.astype(np.int64))] = values
    return x


class Layer(torch.nn.Module):
    """Parameters and constants of one layer."""

    def __init__(self, network: SpikingGammaNetwork, index: int, dtype):
        super().__init__()
        get = lambda kind: torch.tensor(network.parameters[f"layer{index}.{kind}"], dtype=dtype)  # noqa: E731
        self.w, self.v, self.b = (torch.nn.Parameter(get(kind)) for kind in "wvb")
        self.alpha = [float(np.exp(-float(network.dt) / tau)) for tau in np.asarray(network.tau)]
        self.readout = index == len(network.sizes) - 1
        self.theta = None if self.readout else network.theta[index - 1]

    def update(self) -> torch.Tensor:
        """Matrix (K, K) of the buckets over one step."""
        alpha = torch.tensor(self.alpha, dtype=self.w.dtype)
        return torch.diag(alpha) + torch.diag(1 - alpha[1:], -1)


class TorchGamma(torch.nn.Module):
    """A `SpikingGammaNetwork` with the same parameters.

    Parameters
    ----------
    network : SpikingGammaNetwork
        ``memory='paper'``, ``buckets='neuron'``, with bias, without adaptation and trained time constants.
    dtype : torch.dtype
    """

    def __init__(self, network: SpikingGammaNetwork, dtype=torch.float32):
        super().__init__()
        if network.memory != "paper" or network.buckets != "neuron" or network.adaptation or not network.bias:
            raise ValueError("Only the published memory with bucket weights per neuron, bias and constant threshold.")
        self.layers = torch.nn.ModuleList(Layer(network, i, dtype) for i in range(1, len(network.sizes)))

    def plain(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Readout (n_steps, n_samples, n_out) and the spikes of each hidden layer, step by step."""
        states = [None] * len(self.layers)
        readout, spikes = [], [[] for _ in self.layers[:-1]]
        for events in x:
            for index, layer in enumerate(self.layers):
                drive = events @ layer.w
                if states[index] is None:
                    buckets, estimate, before = [torch.zeros_like(drive) for _ in layer.alpha], 0.0, 0.0
                else:
                    buckets, estimate, before = states[index]
                new = [layer.alpha[0] * buckets[0] + drive]
                for k in range(1, len(layer.alpha)):
                    new.append(layer.alpha[k] * buckets[k] + (1 - layer.alpha[k]) * buckets[k - 1])
                y = layer.b
                for k, z in enumerate(new):
                    y = y + layer.v[k] * z
                if layer.readout:
                    readout.append(y)
                    states[index] = new, None, None
                    continue
                y = torch.relu(y)
                with torch.no_grad():
                    estimate = layer.alpha[0] * estimate
                    spike = (y - estimate > layer.theta).to(y.dtype)
                    estimate = estimate + 2 * layer.theta * spike
                decoded = y - layer.alpha[0] * before
                events = 2 * layer.theta * spike + decoded - decoded.detach()
                spikes[index].append(spike)
                states[index] = new, estimate, y
        return torch.stack(readout), [torch.stack(s) for s in spikes]

    def fused(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The same, layer by layer."""
        spikes = []
        for layer in self.layers:
            drive = (x.flatten(0, 1) @ layer.w).view(*x.shape[:2], -1)
            signal = Memory.apply(drive, layer.v, layer.b, layer.update())
            if layer.readout:
                return signal, spikes
            x = SigmaDelta.apply(torch.relu(signal), layer.alpha[0], layer.theta)
            spikes.append((x > 0).to(x.dtype))
        raise AssertionError("a network ends with its readout")

    def loss(self, x, labels, first: int = 0, version: str = "plain") -> torch.Tensor:
        """Cross entropy per step, mean over samples and the steps from `first` on."""
        readout = getattr(self, version)(x)[0][first:]
        return torch.nn.functional.cross_entropy(readout.flatten(0, 1), labels.repeat(len(readout)))

    def gradients(self) -> dict[str, np.ndarray]:
        """Gradients by the names of `SpikingGammaNetwork.parameters`."""
        named = {f"layer{i}": layer for i, layer in enumerate(self.layers, start=1)}
        return {f"{n}.{kind}": getattr(layer, kind).grad.numpy() for n, layer in named.items() for kind in "wvb"}


class Memory(torch.autograd.Function):
    """Buckets of a layer over the whole sequence and the sum weighted by v, plus b."""

    @staticmethod
    def forward(ctx, drive, v, b, update):
        T, B, N = drive.shape
        K = len(update)
        buckets = drive.new_zeros((T + 1, K, B * N))
        flat = drive.view(T, B * N)
        for t in range(T):
            torch.mm(update, buckets[t], out=buckets[t + 1])
            buckets[t + 1, 0] += flat[t]
        buckets = buckets[1:].view(T, K, B, N)
        ctx.save_for_backward(buckets, v, update)
        out = b + v[0] * buckets[:, 0]
        for k in range(1, K):
            out.addcmul_(v[k], buckets[:, k])
        return out

    @staticmethod
    def backward(ctx, error):
        buckets, v, update = ctx.saved_tensors
        T, K, B, N = buckets.shape
        dv = torch.stack([(error * buckets[:, k]).sum((0, 1)) for k in range(K)])
        back = update.T.contiguous()
        drive = torch.empty_like(error)
        later = error.new_zeros((K, B * N))
        for t in range(T - 1, -1, -1):
            later = torch.addmm((v[:, None] * error[t]).view(K, B * N), back, later)
            drive[t] = later[0].view(B, N)
        return drive, dv, error.sum((0, 1)), None


class SigmaDelta(torch.autograd.Function):
    """Spikes of a signal over the whole sequence; decoded on the way back."""

    @staticmethod
    def forward(ctx, signal, alpha, theta):
        ctx.alpha = alpha
        out = torch.empty_like(signal)
        estimate = torch.zeros_like(signal[0])
        for t in range(len(signal)):
            estimate *= alpha
            torch.mul(signal[t] - estimate > theta, 2 * theta, out=out[t])
            estimate += out[t]
        return out

    @staticmethod
    def backward(ctx, error):
        decoded = error.clone()
        decoded[:-1] -= ctx.alpha * error[1:]
        return decoded, None, None


def check(sizes=(60, 40, 30, 5), n_samples=6, n_steps=120, density=0.05, seed=0, report=print) -> None:
    """Assert that both versions give the engine's spikes and gradients.

    Raises
    ------
    AssertionError
        If a spike differs or a gradient by more than 1e-9 (float64) or 1e-4 (float32) of its largest entry.
    """
    events = random_events(n_samples, n_steps, sizes[0], density, seed=seed)
    labels = np.arange(n_samples) % sizes[-1]
    for dtype, bound in (("float64", 1e-9), ("float32", 1e-4)):
        network = SpikingGammaNetwork(sizes, K=4, tau=10 * ms, dt=1 * ms, theta=0.5, seed=seed, dtype=dtype)
        network.calibrate(events)
        ours = network.gradient(events, labels)
        recorded = network.forward(events, record=True).recorded
        for version in ("plain", "fused"):
            peer = TorchGamma(network, getattr(torch, dtype))
            x = dense(events, getattr(torch, dtype))
            peer.loss(x, torch.as_tensor(labels), version=version).backward()
            with torch.no_grad():
                spikes = [s.numpy() for s in getattr(peer, version)(x)[1]]
            for sample, layers in enumerate(recorded):
                for layer, (steps, units, _) in enumerate(layers):
                    theirs = np.nonzero(spikes[layer][:, sample])
                    assert np.array_equal(theirs, (steps, units)), f"{dtype} {version}: spikes differ"
            error = 0.0
            for name, gradient in peer.gradients().items():
                error = max(error, np.abs(gradient - ours.gradients[name]).max() / np.abs(gradient).max())
            assert error < bound, f"{dtype} {version}: gradients differ by {error:.1e}"
            n_spikes = int(sum(s.sum() for s in spikes))
            report(f"{dtype} {version:5s}: {n_spikes} spikes equal, largest difference of a gradient {error:.1e}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    check()
