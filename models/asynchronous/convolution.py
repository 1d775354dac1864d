"""Convolution and pooling as sparse weight matrices: what a spike does downstream is linear, so both fold
into one."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ..errors import NetworkError


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
    n_out, _, kh, kw = kernel.shape
    rows = (height + 2 * padding - kh) // stride + 1
    columns = (width + 2 * padding - kw) // stride + 1
    if rows < pool or columns < pool or min(stride, pool) < 1 or padding < 0:
        raise NetworkError(f"A {kh}x{kw} kernel, stride {stride}, pool {pool} leave nothing of {height}x{width}.")
    o, c, y, x, dy, dx = np.meshgrid(
        *(np.arange(n) for n in (n_out, channels, rows, columns, kh, kw)), indexing="ij", sparse=True
    )
    in_y, in_x = y * stride + dy - padding, x * stride + dx - padding
    inside = (in_y >= 0) & (in_y < height) & (in_x >= 0) & (in_x < width)
    full = (n_out, channels, rows, columns, kh, kw)
    inside = np.broadcast_to(inside, full)
    source = np.broadcast_to((c * height + in_y) * width + in_x, full)[inside]
    target = np.broadcast_to((o * rows + y) * columns + x, full)[inside]
    value = np.broadcast_to(kernel[:, :, None, None], full)[inside]
    size = (channels * height * width, n_out * rows * columns)
    weights = sparse.csr_array((value, (source, target)), shape=size)
    if pool == 1:
        return weights, (n_out, rows, columns)
    pooled, out = average_pool((n_out, rows, columns), pool)
    return sparse.csr_array(weights @ pooled), out


def average_pool(shape, size: int) -> tuple[sparse.csr_array, tuple[int, int, int]]:
    """Return the weights of average pooling over ``size x size`` windows, and the shape of its output."""
    channels, height, width = shape
    rows, columns = height // size, width // size
    c, y, x = np.meshgrid(np.arange(channels), np.arange(rows * size), np.arange(columns * size), indexing="ij")
    source = ((c * height + y) * width + x).ravel()
    target = ((c * rows + y // size) * columns + x // size).ravel()
    value = np.full(len(source), 1 / size**2)
    full = (channels * height * width, channels * rows * columns)
    matrix = sparse.csr_array((value, (source, target)), shape=full)
    return matrix, (channels, rows, columns)
