"""Who is connected to whom in an asynchronous network: layers, and weights between any two of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ..errors import NetworkError
from .packing import PackedConnectivity, at_cache_line


@dataclass(frozen=True)
class Projection:
    """Weights from one layer to another (or to itself).

    Attributes
    ----------
    source, target : int
        Layers; 0 is the input, the last one the output.
    weights : (n_pre, n_post) array or csr_array
        Dense weights may hold zeros, which connect nothing.
    """

    source: int
    target: int
    weights: np.ndarray | sparse.csr_array


class Connectivity:
    """Layers of neurons and the projections between them: chains, skips, recurrence, sparse or dense.

    Parameters
    ----------
    sizes : sequence of int
        Input units, then the neurons of every layer; the last layer is the output.

    Examples
    --------
    >>> net = Connectivity([4, 3, 2])
    >>> net = net.connect(0, 1, np.ones((4, 3))).connect(1, 2, np.ones((3, 2))).connect(0, 2, np.ones((4, 2)))
    >>> net.n_neurons, len(net.projections)
    (5, 3)

    Raises
    ------
    NetworkError
        If a size, a layer number, a shape or a weight is wrong.
    """

    def __init__(self, sizes, projections=()):
        sizes = [int(n) for n in np.atleast_1d(sizes)]
        if len(sizes) < 2 or min(sizes) < 1:
            raise NetworkError(f"sizes = {sizes}: give the input units and at least one layer, all of size >= 1.")
        self.sizes = tuple(sizes)
        self.projections: tuple[Projection, ...] = ()
        self._packed: dict = {}
        for p in projections:
            self.projections += (self._checked(p.source, p.target, p.weights),)

    @property
    def n_inputs(self) -> int:
        return self.sizes[0]

    @property
    def n_neurons(self) -> int:
        return sum(self.sizes[1:])

    @property
    def n_outputs(self) -> int:
        return self.sizes[-1]

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """First source of every layer; sources are the input units, then the neurons."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]])

    @property
    def n_synapses(self) -> int:
        """Stored weights that are not zero."""
        return sum(int(np.count_nonzero(_values(p.weights))) for p in self.projections)

    def layer_of(self) -> np.ndarray:
        """Layer of every source, shape (n_inputs + n_neurons,)."""
        return np.repeat(np.arange(len(self.sizes), dtype=np.int32), self.sizes)

    def fan_out(self) -> np.ndarray:
        """Weights that are not zero of every source, shape (n_inputs + n_neurons,)."""
        total = np.zeros(self.n_inputs + self.n_neurons, np.int64)
        for p in self.projections:
            total[self._slice(p.source)] += np.asarray((p.weights != 0).sum(axis=1)).ravel()
        return total

    def packed(self, dtype) -> PackedConnectivity:
        """This connectivity as compiled code reads it, packed on first use."""
        dtype = np.dtype(dtype)
        if dtype not in self._packed:
            self._packed[dtype] = PackedConnectivity(self, dtype)
        return self._packed[dtype]

    def __getstate__(self):
        return self.__dict__ | {"_packed": {}}

    def described(self) -> dict:
        """Sizes, and source, target and form of every projection, as plain values for a file."""
        return {
            "sizes": list(self.sizes),
            "projections": [[p.source, p.target, sparse.issparse(p.weights)] for p in self.projections],
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights under the names that they have in a file."""
        named = {}
        for k, p in enumerate(self.projections):
            parts = ("data", "indices", "indptr") if sparse.issparse(p.weights) else ()
            named |= {f"projection{k}.{part}": getattr(p.weights, part) for part in parts}
            if not parts:
                named[f"projection{k}.w"] = p.weights
        return named

    @classmethod
    def of_file(cls, config: dict, arrays: dict[str, np.ndarray]) -> Connectivity:
        """Connectivity of what `described` and `arrays` gave; takes its entries out of `config`."""
        sizes, projections = config.pop("sizes"), []
        for k, (source, target, is_sparse) in enumerate(config.pop("projections")):
            if is_sparse:
                parts = (arrays[f"projection{k}.{part}"] for part in ("data", "indices", "indptr"))
                weights = sparse.csr_array(tuple(parts), shape=(sizes[source], sizes[target]))
                weights.check_format(full_check=True)
            else:
                weights = arrays[f"projection{k}.w"]
            projections.append(Projection(source, target, weights))
        return cls(sizes, projections)

    def connect(self, source: int, target: int, weights) -> Connectivity:
        """Return this connectivity with one more projection."""
        return Connectivity(self.sizes, (*self.projections, Projection(source, target, weights)))

    def with_weights(self, weights) -> Connectivity:
        """Return the same layers with other weights, one entry per projection."""
        weights = list(weights)
        if len(weights) != len(self.projections):
            raise NetworkError(f"{len(weights)} weight matrices for {len(self.projections)} projections.")
        return Connectivity(
            self.sizes,
            [Projection(p.source, p.target, w) for p, w in zip(self.projections, weights, strict=True)],
        )

    def dense(self) -> tuple[np.ndarray, np.ndarray]:
        """Input weights (n_inputs, N) and neuron weights (N, N), source first; for tests and small
        networks."""
        full = np.zeros((self.n_inputs + self.n_neurons, self.n_inputs + self.n_neurons))
        for p in self.projections:
            rows, columns = self._slice(p.source), self._slice(p.target)
            full[rows, columns] += p.weights.toarray() if sparse.issparse(p.weights) else p.weights
        return full[: self.n_inputs, self.n_inputs :], full[self.n_inputs :, self.n_inputs :]

    def _slice(self, layer: int) -> slice:
        start = int(self.starts[layer])
        return slice(start, start + self.sizes[layer])

    def _checked(self, source, target, weights) -> Projection:
        last = len(self.sizes) - 1
        if not (0 <= source <= last and 1 <= target <= last):
            raise NetworkError(
                f"Projection {source} -> {target}: layers count from 0 (input, never a target) to {last}."
            )
        name = f"The weights {source} -> {target}"
        if sparse.issparse(weights):
            weights = _checked_csr(weights, name)
        else:
            weights = at_cache_line(np.asarray(weights, dtype=np.float32 if _is_single(weights) else np.float64))
            weights.flags.writeable = False  # the engine reads it
        expected = (self.sizes[source], self.sizes[target])
        if weights.shape != expected:
            raise NetworkError(f"{name} have shape {weights.shape}; (n_pre, n_post) is {expected}.")
        values = _values(weights)
        if not np.isfinite(values).all():
            first = int(np.flatnonzero(~np.isfinite(values.ravel()))[0])
            raise NetworkError(f"{name} hold {values.ravel()[first]} at flat index {first}; weights must be finite.")
        return Projection(int(source), int(target), weights)


def layered(sizes, weights=None, *, seed=0) -> Connectivity:
    """Chain of fully connected layers.

    Parameters
    ----------
    sizes : sequence of int
        Input units and layers, such as ``[2312, 64, 64, 64, 10]``.
    weights : sequence of (n_pre, n_post) arrays, optional
        Dense or sparse; by default Xavier-uniform, drawn from `seed`.
    seed : int

    Returns
    -------
    Connectivity
    """
    chain = Connectivity(sizes)
    pairs = list(zip(chain.sizes[:-1], chain.sizes[1:], strict=True))
    if weights is None:
        rng = np.random.default_rng(seed)
        weights = [rng.uniform(-1, 1, pair) * np.sqrt(6 / sum(pair)) for pair in pairs]
    if len(weights) != len(pairs):
        raise NetworkError(f"{len(weights)} weight matrices for {len(pairs)} pairs of layers {list(chain.sizes)}.")
    return Connectivity(sizes, [Projection(k, k + 1, w) for k, w in enumerate(weights)])


def general(weights_in, weights, n_outputs: int) -> Connectivity:
    """Any directed graph: one population of neurons, the last `n_outputs` of which are the output.

    Parameters
    ----------
    weights_in : (n_inputs, N) array or sparse
    weights : (N, N) array or sparse
        ``weights[i, j]`` leads from neuron i to neuron j.
    n_outputs : int
    """
    n_inputs, n = weights_in.shape
    if weights.shape != (n, n) or not 1 <= n_outputs <= n:
        raise NetworkError(
            f"weights_in {weights_in.shape} and weights {weights.shape} must be (n_inputs, N) and (N, N), "
            f"n_outputs = {n_outputs} between 1 and N."
        )
    cut = n - n_outputs
    sizes = [n_inputs, cut, n_outputs] if cut else [n_inputs, n]
    parts = [slice(0, cut), slice(cut, n)] if cut else [slice(0, n)]
    sources = [(0, weights_in)] + [(k + 1, weights[part]) for k, part in enumerate(parts)]
    blocks = [(s, k + 1, rows[:, part]) for s, rows in sources for k, part in enumerate(parts)]
    kept = [Projection(s, t, w) for s, t, w in blocks if np.count_nonzero(_values(w)) or not w.size]
    return Connectivity(sizes, kept)


def _is_single(weights) -> bool:
    return getattr(weights, "dtype", None) == np.float32


def _values(weights) -> np.ndarray:
    return weights.data if sparse.issparse(weights) else weights


def _checked_csr(weights, name: str) -> sparse.csr_array:
    """CSR form without duplicates or zeros; refuses indices out of range, which SciPy itself does not."""
    if weights.format in ("csr", "csc"):
        bound = weights.shape[1 if weights.format == "csr" else 0]
        indices = weights.indices
        if indices.size and not (0 <= indices.min() and indices.max() < bound):
            raise NetworkError(f"{name} hold the index {indices.max()}, but there are only {bound} units.")
    rows = sparse.csr_array(weights, copy=True)
    if rows.dtype not in (np.float32, np.float64):
        rows = rows.astype(float)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    rows.data.flags.writeable = False
    return rows
