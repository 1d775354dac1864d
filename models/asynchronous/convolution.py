"""Convolution and pooling as sparse weights: folded into free ones, or shared by the synapses of a kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ..errors import NetworkError
from ..topology.geometry import patches, pooled
from ..topology.plan import Plan
from .connectivity import Connectivity, Projection


def conv2d(shape, kernel, *, stride=1, padding=0, pool=1) -> tuple[sparse.csr_array, tuple[int, int, int]]:
    """Return the weights of a convolution, followed by average pooling, and the shape of its output.

    Parameters
    ----------
    shape : (channels, height, width)
        Of the source layer, flattened in this order.
    kernel : (n_out, channels, kernel_height, kernel_width) array
        Cross-correlation, as in the usual deep-learning libraries.
    stride, padding : int
    pool : int
        Side and stride of the average pooling; rows and columns that do not fill a window are left out.

    Returns
    -------
    weights : (n_pre, n_post) csr_array
    shape : (n_out, height, width)

    Raises
    ------
    NetworkError
        If the shapes do not fit.
    """
    kernel = np.asarray(kernel, dtype=float)
    if len(shape) != 3 or kernel.ndim != 4 or kernel.shape[1] != shape[0]:
        raise NetworkError(
            f"shape {tuple(shape)} and kernel {kernel.shape} must be (channels, height, width) and "
            "(n_out, channels, kernel_height, kernel_width)."
        )
    channels, height, width = shape
    n_out = len(kernel)
    made, n_places = patches(height, width, kernel.shape[2:], stride, padding), height * width
    c, o = np.ix_(range(channels), range(n_out))
    source = c[..., None] * n_places + made.sources
    target = o[..., None] * np.prod(made.shape) + made.places
    value = kernel.reshape(n_out, channels, -1).transpose(1, 0, 2)[:, :, made.taps]
    size = (channels * n_places, n_out * int(np.prod(made.shape)))
    source, target = (np.broadcast_to(index, value.shape).ravel() for index in (source, target))
    weights = sparse.csr_array((value.ravel(), (source, target)), shape=size)
    if pool == 1:
        return weights, (n_out, *made.shape)
    folded, out = average_pool((n_out, *made.shape), pool)
    return sparse.csr_array(weights @ folded), out


def average_pool(shape, size: int) -> tuple[sparse.csr_array, tuple[int, int, int]]:
    """Return the weights of average pooling over ``size x size`` windows, and the shape of its output."""
    channels, height, width = shape
    window, (rows, columns) = pooled(height, width, size)
    source = np.arange(channels * len(window)).reshape(channels, -1)[:, window >= 0]
    target = np.arange(channels)[:, None] * rows * columns + window[window >= 0]
    full = (channels * height * width, channels * rows * columns)
    value = np.full(source.size, 1 / size**2)
    return sparse.csr_array((value, (source.ravel(), target.ravel())), shape=full), (channels, rows, columns)


@dataclass(frozen=True, eq=False)
class Shared:
    """Weights of a projection that are shared by many synapses.

    Attributes
    ----------
    kernel : array
        First values, in the shape of the parameter: (height, width, channels, n_post channels).
    index : (n_synapses,) array of int
        Place in the kernel of every stored weight of the projection.
    indices, indptr : arrays
        Of the projection's csr_array.
    """

    kernel: np.ndarray
    index: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray

    def rows(self, kernel: np.ndarray, shape) -> sparse.csr_array:
        """Weights of all synapses, (n_pre, n_post)."""
        if not kernel.all():
            raise NetworkError("A shared weight is exactly zero; zeros connect nothing: give it a small value.")
        return sparse.csr_array((kernel.ravel()[self.index], self.indices, self.indptr), shape=shape)

    def gathered(self, gradient: np.ndarray) -> np.ndarray:
        """Gradient of the kernel from that of every synapse."""
        total = np.bincount(self.index, gradient, minlength=self.kernel.size)
        return total.reshape(self.kernel.shape).astype(gradient.dtype)


def laid_out(plan: Plan, *, seed: int = 0, scale=1.0) -> tuple[Connectivity, dict[int, Shared]]:
    """Connectivity of layers, and which of its projections share their weights.

    Weights are Xavier-uniform times `scale`, one or one per projection. The spikes of a pooling window act through one
    weight, as everywhere in `brian2grad.models.topology`; average pooling of currents is what `conv2d` folds in.
    """
    rng, sizes, projections, shared = np.random.default_rng(seed), plan.sizes, [], {}
    scale = np.broadcast_to(scale, sum(len(layer.connections) for layer in plan.layers))
    for target, layer in enumerate(plan.layers, start=1):
        for connection in layer.connections:
            n_pre, n_post = connection.matrix
            fan_out = n_post * (n_pre // connection.view.shape[0] if connection.patches is not None else 1)
            w = rng.uniform(-1, 1, connection.shape) * np.sqrt(6 / (n_pre + fan_out)) * scale[len(projections)]
            if connection.patches is not None or connection.view.cells is not None:
                pre, post, index = connection.synapses(sizes[connection.source])
                order = np.lexsort((post, pre))
                indptr = np.concatenate([[0], np.cumsum(np.bincount(pre, minlength=sizes[connection.source]))])
                made = Shared(w, index[order], post[order].astype(np.int32), indptr.astype(np.int32))
                shared[len(projections)] = made
                w = made.rows(w, (sizes[connection.source], sizes[target]))
            projections.append(Projection(connection.source, target, w))
    return Connectivity(sizes, projections), shared
