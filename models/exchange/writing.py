"""Trained networks as NIR graphs (Pedersen et al. 2024, doi:10.1038/s41467-024-52259-9).

In a graph every step evaluates each node once, from sources to targets, and `Delay` hands over what was there a step
before. A leaky integrator takes an exponential Euler step, ``v <- a v + (1 - a)(v_leak + r I)`` with
``a = exp(-dt/tau)``, so a unit spike that is to raise it by w arrives as ``w/(1 - a)``: node ``..._gain``.

A gamma memory is a chain of leaky integrators with delays between them (the published recursion reads the bucket
before as it was). The sigma-delta code is a threshold on the signal less its estimate, and the estimate a leaky
integrator behind the delayed spikes; a signal below zero stays below the estimate, so the rectifier needs no node.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np

from ...equations.errors import ModelError
from ..errors import NetworkError
from ..files import write_file
from ..gamma.network import SpikingGammaNetwork
from .graph import Site, nir_module, plan_of_network, prefix, rows_in_graph, window
from .quantise import channel_scale, is_whole

FORMAT = 1


def to_nir(network, *, whole: bool = False):
    """A network as a NIR graph.

    Parameters
    ----------
    network : SpikingGammaNetwork or AsynchronousNetwork
        Gamma networks with ``memory='paper'`` and the plain sigma-delta code.
    whole : bool
        Write weights as int8 with a scale per channel; the network's are such already, see `quantised`.

    Returns
    -------
    nir.NIRGraph
        Its metadata, ``brian2grad``, are JSON: kind and configuration of the network, the order of an asynchronous
        one among them, which NIR cannot express.

    Raises
    ------
    NetworkError
        If something of the network has no counterpart in NIR.
    """
    if network.kind == "gamma":
        _check_gamma(network)
    elif network.kind == "async" and np.any(network.sigma):
        raise NetworkError("sigma, a number of spikes to be received, has no counterpart in NIR.")
    elif network.kind != "async":
        raise NetworkError(f"A network of kind '{network.kind}' is not written to NIR: gamma and async are.")
    return _Writer(network, whole).graph()


def write_nir(network, path, *, whole: bool = False) -> Path:
    """Write a network to a ``.nir`` file, whole or not at all.

    Parameters
    ----------
    network, whole
        As of `to_nir`.
    path : path

    Returns
    -------
    Path
    """
    graph, path = to_nir(network, whole=whole), Path(path)
    with tempfile.TemporaryDirectory() as folder:
        temporary = os.path.join(folder, "network.nir")
        nir_module().write(temporary, graph)
        write_file(path, Path(temporary).read_bytes())
    return path


def _check_gamma(network) -> None:
    for name, plain in (("memory", "paper"), ("adaptation", 0.0), ("multiple", False), ("signed", False)):
        if getattr(network, name) != plain:
            raise NetworkError(f"{name} = {getattr(network, name)!r} has no counterpart in NIR, {plain!r} has.")
    if type(network) is not SpikingGammaNetwork:
        raise NetworkError("The order of an asynchronous gamma network has no counterpart in NIR: save it layered.")


class _Writer:
    """A graph under construction."""

    def __init__(self, network, whole: bool):
        self.network, self.whole, self.nir = network, whole, nir_module()
        self.plan, self.dt = plan_of_network(network), float(network.dt)
        self.nodes, self.edges = {}, []

    def add(self, name: str, node, *sources: str) -> str:
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        return name

    def graph(self):
        source = Site(self.plan.input)
        carries = [self.add("input", self.nir.Input({"input": np.array(source.array)}))]
        build = self._gamma if self.network.kind == "gamma" else self._lif
        names = self._parameter_names()
        for index, layer in enumerate(self.plan.layers, start=1):
            carries.append(build(index, layer, carries, names))
        last = Site(self.plan.layers[-1].shape)
        ends = carries[-1] if isinstance(carries[-1], list) else [carries[-1]]
        self.add("output", self.nir.Output({"output": np.array(last.array)}), *ends)
        note = {"format": FORMAT, "kind": self.network.kind, "config": self.network.config(), "dt": self.dt}
        return self.nir.NIRGraph(self.nodes, self.edges, {"brian2grad": json.dumps(note)}, type_check=False)

    def _parameter_names(self) -> dict:
        """Name of the weights of every connection."""
        pairs = [(k, c) for k, layer in enumerate(self.plan.layers, start=1) for c in layer.connections]
        if self.network.kind == "gamma":
            return {prefix(k, c): f"layer{k}.{c.name}" for k, c in pairs}
        return {prefix(k, c): f"projection{number}.w" for number, (k, c) in enumerate(pairs)}

    # -- connections -----------------------------------------------------------------------------------------------

    def weights(self, index: int, connection, w, source: str, name: str) -> str:
        """Nodes from a source through pooling and weights to what arrives at a layer's neurons."""
        nir, site = self.nir, Site(self.plan.layers[index - 1].shape)
        origin = Site(self.plan.input if connection.source == 0 else self.plan.layers[connection.source - 1].shape)
        if connection.source == index:
            source = self.add(f"{name}_delay", nir.Delay(np.full(origin.array, self.dt)), source)
        size = window(self.plan, connection)
        if size > 1:
            both = np.array([size, size])
            source = self.add(f"{name}_pool", nir.SumPool2d(both, both, np.array([0, 0])), source)
        w, scale = np.asarray(w, float), None
        if self.whole:
            scale = channel_scale(w)
            if not is_whole(w, scale):
                raise NetworkError(f"{name}: the weights are no whole numbers of a scale; quantise the network first.")
            w = np.rint(w / scale).astype(np.int8)
        if connection.patches is None:
            seen = Site(connection.view.shape)
            if seen.is_map:
                shape = {"input": np.array(seen.array)}
                source = self.add(f"{name}_flatten", nir.Flatten(shape, start_dim=0, end_dim=-1), source)
            node = nir.Linear(np.ascontiguousarray(w[rows_in_graph(connection)].T))
        else:
            conv = self.plan.layer_values[index - 1]
            node = nir.Conv2d(
                connection.view.shape[1:], np.ascontiguousarray(w.transpose(3, 2, 0, 1)), (conv.stride, conv.stride),
                (conv.padding, conv.padding), (1, 1), 1, np.zeros(w.shape[-1]),
            )  # fmt: skip
        source = self.add(name, node, source)
        return source if scale is None else self.add(f"{name}_scale", nir.Scale(site.spread(scale)), source)

    # -- layers ----------------------------------------------------------------------------------------------------

    def _gamma(self, index: int, layer, carries, names):
        """Buckets, signal and sigma-delta code of a layer; returns what carries its spikes, or the readout's parts."""
        nir, network, site, name = self.nir, self.network, Site(layer.shape), f"layer{index}"
        tau = np.asarray(network.taus(index), float)
        own, K, per_synapse = network.parameters, network.K, network.buckets == "synapse"
        arriving: dict[int, list[str]] = {}
        jump = f"{name}_jump"
        for connection in layer.connections:
            w = own[names[prefix(index, connection)]]
            source = jump if connection.source == index else carries[connection.source]
            for k, each in enumerate(w) if per_synapse else [(0, w)]:
                title = prefix(index, connection) + (f"_{k}" if per_synapse else "")
                arriving.setdefault(k, []).append(self.weights(index, connection, each, source, title))
        order = range(K - 1, -1, -1) if per_synapse else range(K)
        before = None
        for k in order:
            inflow = []
            if k in arriving:
                gain = (tau[0] / tau[k]) / -np.expm1(-self.dt / tau[k])
                inflow.append(self.add(f"{name}_gain{k}", nir.Scale(site.spread(gain)), *arriving[k]))
            if before is not None:
                inflow.append(self.add(f"{name}_delay{k}", nir.Delay(np.full(site.array, self.dt)), before))
            before = self.add(f"{name}_z{k}", self._leaky(site, tau[k], 1.0), *inflow)
        parts = []
        bias = own.get(f"{name}.b")
        v = np.ones((1, layer.shape[0])) if per_synapse else own[f"{name}.v"]
        for k, values in enumerate(v):
            title = f"{name}_v{k}"
            node = self._diagonal(site, values, bias) if k == 0 and bias is not None else nir.Scale(site.spread(values))
            parts.append(self.add(title, node, f"{name}_z{k}"))
        if index == len(self.plan.layers):
            return parts
        theta, a = network.theta[index - 1], np.exp(-self.dt / tau[0])
        minus = f"{name}_minus"
        spike = self.add(f"{name}_spike", nir.Threshold(site.spread(theta)), *parts, minus)
        self.add(jump, nir.Scale(site.spread(2 * theta)), spike)
        back = self.add(f"{name}_back", nir.Delay(np.full(site.array, self.dt)), jump)
        estimate = self.add(f"{name}_yhat", self._leaky(site, tau[0], a / (1 - a)), back)
        self.add(minus, nir.Scale(site.spread(-1.0)), estimate)
        return jump

    def _leaky(self, site: Site, tau: float, r: float):
        return self.nir.LI(site.spread(tau), site.spread(r), site.spread(0.0))

    def _diagonal(self, site: Site, values, bias):
        """``values*z + bias``, by channel."""
        if not site.is_map:
            return self.nir.Affine(np.diag(np.asarray(values, float)), np.asarray(bias, float))
        kernel = np.diag(np.asarray(values, float))[:, :, None, None]
        return self.nir.Conv2d(site.shape[1:], kernel, (1, 1), (0, 0), (1, 1), 1, np.asarray(bias, float))

    def _lif(self, index: int, layer, carries, names) -> str:
        """A layer of leaky integrate-and-fire neurons; leak between steps, one test a step."""
        nir, network, site, name = self.nir, self.network, Site(layer.shape), f"layer{index}"
        arriving = []
        for connection in layer.connections:
            if connection.source == index:
                raise NetworkError(f"layer {index} is recurrent: its order within a step has no counterpart in NIR.")
            w = network.parameters[names[prefix(index, connection)]]
            title = prefix(index, connection)
            arriving.append(self.weights(index, connection, w, carries[connection.source], title))
        tau, V_th = (self._neurons(constant, index) for constant in ("tau_m", "V_th"))
        if not (V_th > 0).all():
            raise ModelError(f"layer {index} has thresholds that are not positive: it would spike without input.")
        tau, V_th = site.of_neurons(tau), site.of_neurons(V_th)
        zeros = np.zeros(site.array)
        gain = self.add(f"{name}_gain", nir.Scale(1 / -np.expm1(-self.dt / tau)), *arriving)
        return self.add(f"{name}_lif", nir.LIF(tau, np.ones(site.array), zeros, V_th, zeros), gain)

    def _neurons(self, name: str, index: int) -> np.ndarray:
        """A constant of the neurons of a layer."""
        network = self.network
        network.weights  # noqa: B018 (hands trained constants over)
        starts = np.cumsum((0, *network.sizes[1:]))
        whole = np.broadcast_to(np.asarray(network.model.constants[name], float), (network.n_neurons,))
        return whole[starts[index - 1] : starts[index]]
