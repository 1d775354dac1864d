"""The convolutional SpikingGamma network and its gradient beside PyTorch with convolutions fused over time.

    python benchmarks/convolution_torch.py --data-root DIR

2x34x34-16c5-p2-32c3-p2-128-8, K = 3, 20 ms steps, several spikes a step: the settings of `gamma-nmnist8-convolution`.
The PyTorch version computes a layer over all steps of a batch at once (one convolution, channels last, for all steps
and samples), loops over the steps only where a state is carried, and has its backward passes written by hand. First
both are shown to be the same network: spikes equal, gradients alike. Then training steps are timed on the same batches,
whose dense input is made before. How it is measured says ``fair.py``.
"""

from __future__ import annotations

import argparse
import itertools

import fair

if __name__ == "__main__":
    fair.prepare()

import numpy as np
import torch
from brian2 import ms
from torch_gamma import Memory, SigmaDelta, dense

from brian2grad.models import SpikingGammaNetwork
from brian2grad.training.data import load
from brian2grad.training.optimisers import Adam
from brian2grad.training.tasks import make_task

LAYERS, SETTINGS = "16c5-p2-32c3-p2-128-8", {"K": 3, "tau": 30 * ms, "dt": 20 * ms, "read_from": 50 * ms}


class Code(SigmaDelta):
    """Spikes of a signal, several a step, as decoded increments; decoded on the way back as one a step is."""

    @staticmethod
    def forward(ctx, signal, alpha, theta):
        ctx.alpha = alpha
        out, estimate = torch.empty_like(signal), torch.zeros_like(signal[0])
        for t in range(len(signal)):
            estimate *= alpha
            gap = (signal[t] - estimate - theta) / (2 * theta)
            torch.mul((torch.floor(gap) + 1) * (gap > 0), 2 * theta, out=out[t])
            estimate += out[t]
        return out


class TorchConvolution(torch.nn.Module):
    """A chain of convolutions, pooling and dense layers with the parameters of a `SpikingGammaNetwork`."""

    def __init__(self, network: SpikingGammaNetwork, dtype):
        super().__init__()
        alpha = torch.exp(torch.as_tensor(-float(network.dt) / np.asarray(network.tau))).to(dtype)
        self.update = torch.diag(alpha) + torch.diag(1 - alpha[1:], -1)
        self.alpha, self.theta, self.input = float(alpha[0]), network.theta[0], network.plan.input
        self.weights, self.others, self.pools = torch.nn.ParameterList(), torch.nn.ParameterList(), []
        for index, layer in enumerate(network.plan.layers, start=1):
            (connection,) = layer.connections
            w = torch.tensor(network.parameters[f"layer{index}.w"], dtype=dtype)
            if connection.patches is not None:
                w = w.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
            self.weights.append(torch.nn.Parameter(w))
            for kind in "vb":
                value = torch.tensor(network.parameters[f"layer{index}.{kind}"], dtype=dtype)
                self.others.append(torch.nn.Parameter(value))
            cells = connection.view.cells
            self.pools.append(index > 1 and cells is not None)

    def forward(self, x):
        """Readout (n_steps, n_samples, n_out) and the spikes of each hidden layer, of (n_steps, n_samples, n_units)."""
        T, B = x.shape[:2]
        x = x.view(T * B, *self.input).contiguous(memory_format=torch.channels_last)
        spikes = []
        for index, w in enumerate(self.weights):
            v, b = self.others[2 * index : 2 * index + 2]
            if self.pools[index]:
                x = torch.nn.functional.avg_pool2d(x, 2, divisor_override=1)
            if w.ndim == 4:
                drive = torch.nn.functional.conv2d(x, w).permute(0, 2, 3, 1)
            else:
                drive = (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).flatten(1) @ w
            places = drive.shape[1:-1]
            signal = Memory.apply(drive.reshape(T, -1, w.shape[0] if w.ndim == 4 else w.shape[1]), v, b, self.update)
            if index == len(self.weights) - 1:
                return signal, spikes
            x = Code.apply(torch.relu(signal), self.alpha, self.theta)
            spikes.append(x.detach() / (2 * self.theta))
            x = x.view(T * B, *places, -1)
            x = x.permute(0, 3, 1, 2) if places else x
        raise AssertionError("a network ends with its readout")

    def loss(self, x, labels, first: int):
        """Cross entropy per step, from `first` on."""
        readout = self(x)[0][first:]
        return torch.nn.functional.cross_entropy(readout.flatten(0, 1), labels.repeat(len(readout)))

    def gradients(self) -> dict[str, np.ndarray]:
        """Gradients by the names of `SpikingGammaNetwork.parameters`."""
        found = {}
        for index, w in enumerate(self.weights, start=1):
            grad = w.grad.permute(2, 3, 1, 0) if w.ndim == 4 else w.grad
            found[f"layer{index}.w"] = grad.numpy()
            for kind, value in zip("vb", self.others[2 * index - 2 : 2 * index], strict=True):
                found[f"layer{index}.{kind}"] = value.grad.numpy()
        return found


def make(events, rms, dtype="float32", threads=1) -> SpikingGammaNetwork:
    """The calibrated network."""
    made = SpikingGammaNetwork(
        input=(2, 34, 34), layers=LAYERS, multiple=True, dtype=dtype, threads=threads, **SETTINGS
    )
    made.calibrate(events.take(slice(0, 32)), rms)
    return made


def check(task, rms) -> dict:
    """Largest relative difference of a gradient in double precision, and spikes that differ."""
    network, events = make(task.events, rms, "float64"), task.events.take(slice(0, 4))
    labels = task.labels[:4]
    ours, peer = network.gradient(events, labels), TorchConvolution(network, torch.float64)
    x = dense(events, torch.float64)
    peer.loss(x, torch.as_tensor(labels), network.first_step()).backward()
    with torch.no_grad():
        theirs = [int(s.sum().round()) for s in peer(x)[1]]
    counted = network.forward(events).spikes.sum(axis=0)
    worst = max(np.abs(g - ours.gradients[n]).max() / np.abs(g).max() for n, g in peer.gradients().items())
    return {"largest_difference": float(worst), "spikes_differ": int(np.abs(counted - theirs).sum())}


def contenders(network: SpikingGammaNetwork, batches: list) -> dict:
    """A training step of each side; both take the same batches, again and again."""
    peer, ours = TorchConvolution(network, torch.float32), Adam(2e-3)
    theirs = torch.optim.Adam(peer.parameters(), lr=2e-3, fused=True)

    def engine(events, labels, x):
        found = network.gradient(events, labels)
        ours.step(network.parameters, found.gradients, info=network.info)

    def pytorch(events, labels, x):
        theirs.zero_grad()
        peer.loss(x, torch.as_tensor(labels), network.first_step()).backward()
        theirs.step()

    def side(step):
        turns = itertools.cycle(batches)
        return fair.Side(lambda: step(*next(turns)))

    return {"brian2grad": side(engine), "PyTorch, convolutions fused over time": side(pytorch)}


def main() -> None:
    """Compare, print and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root")
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rms", type=float, default=0.7, help="signal of the calibrated layers: how much they spike")
    options = parser.parse_args()
    archive = load("nmnist8", options.data_root, "train")
    size, n = options.batch_size, options.batches
    chosen = np.random.default_rng(0).permutation(np.linspace(0, len(archive) - 1, n * size).astype(int))
    task = make_task(archive[chosen], 20 * ms, 320 * ms)
    network, parts = make(task.events, options.rms), np.split(np.arange(n * size), n)
    spikes = network.forward(task.events).spikes.sum() / len(task) / network.n_spiking
    about = {"rms": options.rms, "batch_size": size, "spikes_per_neuron": fair.digits(float(spikes))}
    about |= check(task, options.rms)
    print(*(f"{name} {value}" for name, value in about.items()))
    batches = [(events := task.events.take(part), task.labels[part], dense(events)) for part in parts]
    rows = fair.compare(contenders(network, batches), at_least=0, rounds=(n, n))
    fair.show(rows, f"a training step with {size} recordings")
    print("an epoch of 12 000:", ", ".join(f"{row['side']} {12000 / size * row['seconds']:.0f} s" for row in rows))
    fair.save(f"convolution_rms_{options.rms:g}", rows, **about)


if __name__ == "__main__":
    main()
