"""The SpikingGamma network in PyTorch, as fast as we could write it without a kernel of our own.

Against ``torch_gamma``'s fused version: input as compressed sparse rows (`embedding_bag` adds them faster than a CSR
product; its transpose serves the gradient of the first weights), and a layer's memory in blocks of steps, each one
matrix product. The sigma-delta code is not linear: it stays a loop over the steps, of four calls.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch_gamma import SigmaDelta, TorchGamma

BLOCK = 8


class Rows:
    """Events of a batch as sparse rows (sample, step), and the transpose.

    Parameters
    ----------
    events : StepEvents
    """

    def __init__(self, events, dtype=torch.float32):
        self.shape = events.n_samples, events.n_steps
        values = np.asarray(events.values, np.float32)
        table = csr_matrix(
            (values, events.units.astype(np.int32), events.ptr.astype(np.int32)), (len(events.ptr) - 1, events.n_units)
        )
        self.own, self.transposed = (self._bags(m, dtype) for m in (table, table.T.tocsr()))

    @staticmethod
    def _bags(table, dtype):
        indices, starts = (torch.from_numpy(a.astype(np.int64)) for a in (table.indices, table.indptr[:-1]))
        return indices, starts, torch.from_numpy(table.data).to(dtype)


def add_rows(bags, weights):
    """A sparse matrix times a dense one."""
    indices, starts, values = bags
    return torch.nn.functional.embedding_bag(indices, weights, starts, mode="sum", per_sample_weights=values)


class Product(torch.autograd.Function):
    """Drive of the first layer (n_steps, n_samples, N)."""

    @staticmethod
    def forward(ctx, weights, rows):
        ctx.rows = rows
        return add_rows(rows.own, weights).view(*rows.shape, -1).transpose(0, 1).contiguous()

    @staticmethod
    def backward(ctx, error):
        return add_rows(ctx.rows.transposed, error.transpose(0, 1).reshape(-1, error.shape[-1])), None


@cache
def block(alpha: tuple, n: int, dtype):
    """Of n steps: all buckets from the drives and from the buckets before; and the same backwards, see `Memory`."""
    K = len(alpha)
    update = np.diag(alpha) + np.diag(1 - np.array(alpha[1:]), -1)
    powers = [np.linalg.matrix_power(update, i) for i in range(n + 1)]
    ahead, since = np.zeros((n, K, n)), np.stack(powers[1:])
    back = np.zeros((n + K, n + 1, K))  # rows: drive of each step, then the state handed to the block before
    for i in range(n):
        for j in range(i, n):
            ahead[j, :, i] = powers[j - i][:, 0]
            back[i, j] = powers[j - i].T[0]
        back[i, n] = powers[n - i].T[0]
        back[n:, i] = powers[i].T
    back[n:, n] = powers[n].T
    shaped = ahead.reshape(n * K, n), since.reshape(n * K, K), back.reshape(n + K, (n + 1) * K)
    return tuple(torch.tensor(m, dtype=dtype) for m in shaped)


class Memory(torch.autograd.Function):
    """Buckets of a layer over the whole sequence and the sum weighted by v, plus b."""

    @staticmethod
    def forward(ctx, drive, v, b, alpha):
        T, B, N = drive.shape
        K, flat = len(alpha), drive.view(T, B * N)
        buckets = drive.new_empty((T, K, B * N))
        for t in range(0, T, BLOCK):
            n = min(BLOCK, T - t)
            ahead, since, _ = block(alpha, n, drive.dtype)
            here = buckets[t : t + n].view(n * K, B * N)
            torch.mm(ahead, flat[t : t + n], out=here)
            if t:
                here.addmm_(since, buckets[t - 1])
        ctx.save_for_backward(buckets, v)
        ctx.alpha = alpha
        seen = buckets.view(T, K, B, N)
        out = torch.addcmul(b, v[0], seen[:, 0])
        for k in range(1, K):
            out.addcmul_(v[k], seen[:, k])
        return out

    @staticmethod
    def backward(ctx, error):
        buckets, v = ctx.saved_tensors
        T, B, N = error.shape
        K, seen = len(v), buckets.view(T, -1, B, N)
        product = torch.empty_like(error)
        dv = torch.stack([torch.mul(error, seen[:, k], out=product).sum((0, 1)) for k in range(K)])
        drive, later = torch.empty_like(error), error.new_zeros((K, B * N))
        for t in range((T - 1) // BLOCK * BLOCK, -1, -BLOCK):
            n = min(BLOCK, T - t)
            given = error.new_empty((n + 1, K, B, N))
            torch.mul(v[:, None], error[t : t + n, None], out=given[:n])
            given[n] = later.view(K, B, N)
            found = block(ctx.alpha, n, error.dtype)[2] @ given.view(-1, B * N)
            drive[t : t + n], later = found[:n].view(n, B, N), found[n:]
        return drive, dv, error.sum((0, 1)), None


class TorchSparse(TorchGamma):
    """As `torch_gamma.TorchGamma`; the input is `Rows`."""

    def sparse(self, rows: Rows) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Readout (n_steps, n_samples, n_out) and the events of each hidden layer."""
        hidden, x = [], rows
        for layer in self.layers:
            drive = Product.apply(layer.w, rows) if x is rows else (x.flatten(0, 1) @ layer.w).view(*x.shape[:2], -1)
            signal = Memory.apply(drive, layer.v, layer.b, tuple(layer.alpha))
            if layer.readout:
                return signal, hidden
            x = SigmaDelta.apply(torch.relu(signal), layer.alpha[0], layer.theta)
            hidden.append(x)
        raise AssertionError("a network ends with its readout")
