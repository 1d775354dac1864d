"""NIR graphs as networks: those that `write_nir` made, with the numbers that the graph holds now."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ..asynchronous.connectivity import layered
from ..asynchronous.network import AsynchronousNetwork
from ..errors import NetworkError
from ..gamma.network import SpikingGammaNetwork
from ..topology.plan import plan_of
from .graph import Site, nir_module, prefix, rows_in_graph
from .quantise import without_zeros
from .writing import FORMAT

KINDS = ("gamma", "async")


def read_nir(path):
    """Read a network from a ``.nir`` file.

    Parameters
    ----------
    path : path
        Written by `write_nir`; another program may have changed the numbers of its nodes.

    Returns
    -------
    SpikingGammaNetwork or AsynchronousNetwork

    Raises
    ------
    NetworkError
        If the file is none, or not such a network.
    """
    nir, path = nir_module(), Path(path)
    if not path.is_file():
        raise NetworkError(f"{path} does not exist; give a NIR file.")
    try:
        graph = nir.read(path)
    except Exception as error:  # whatever a damaged file makes of it
        raise NetworkError(f"{path} is no NIR file ({' '.join(str(error).split())[:200]}).") from None
    try:
        return from_nir(graph)
    except NetworkError as error:
        raise NetworkError(f"{path}: {error}") from None


def from_nir(graph):
    """A network from a NIR graph that `to_nir` made.

    Parameters
    ----------
    graph : nir.NIRGraph

    Raises
    ------
    NetworkError
        If it has no metadata of ours, or a node is missing.
    """
    note = (getattr(graph, "metadata", None) or {}).get("brian2grad")
    if note is None:
        raise NetworkError("this graph was not written by brian2grad: layers and neurons can't be told from its nodes.")
    note = json.loads(note.decode() if isinstance(note, bytes) else str(note))
    if note.get("format") != FORMAT or note.get("kind") not in KINDS:
        raise NetworkError(f"format {note.get('format')} of a {note.get('kind')!r} network is unknown; write it anew.")
    try:
        return (_gamma if note["kind"] == "gamma" else _lif)(note["config"], graph.nodes)
    except KeyError as error:
        raise NetworkError(f"node {error} is missing.") from None


def _gamma(config: dict, nodes) -> SpikingGammaNetwork:
    network, found = SpikingGammaNetwork.from_config(config), {}
    for index, layer in enumerate(network.plan.layers, start=1):
        site = Site(layer.shape)
        for connection in layer.connections:
            title, name = prefix(index, connection), f"layer{index}.{connection.name}"
            if network.buckets == "synapse":
                found[name] = np.stack([_weights(nodes, f"{title}_{k}", connection, site) for k in range(network.K)])
            else:
                found[name] = _weights(nodes, title, connection, site)
        found |= _neurons(network, nodes, index, site)
    network.set_parameters(found, source="NIR")
    return network


def _lif(config: dict, nodes) -> AsynchronousNetwork:
    layers = "layers" in config
    plan = plan_of(input=config["input"], layers=config["layers"]) if layers else plan_of(config["sizes"])
    weights, constants = [], {"tau_m": [], "V_th": []}
    for index, layer in enumerate(plan.layers, start=1):
        site = Site(layer.shape)
        for connection in layer.connections:
            w = _weights(nodes, prefix(index, connection), connection, site)
            shared = connection.patches is not None or connection.view.cells is not None
            weights.append(without_zeros(w) if shared else w)
        for name, field in (("V_th", "v_threshold"), ("tau_m", "tau")):
            constants[name].append(site.to_neurons(getattr(nodes[f"layer{index}_lif"], field)))
    if layers:
        found = {f"projection{k}.w": w for k, w in enumerate(weights)}
    else:
        found = layered(config["sizes"]).with_weights(weights).arrays()
    found |= {name: np.concatenate(values) for name, values in constants.items()}
    return AsynchronousNetwork.of_file(dict(config), found | {"sigma": np.zeros(len(found["V_th"]))}, {})


def _weights(nodes, title: str, connection, site: Site) -> np.ndarray:
    """Weights of a connection in our order, whole numbers times their scale."""
    w = np.asarray(nodes[title].weight, float)
    if f"{title}_scale" in nodes:
        scale = np.asarray(nodes[f"{title}_scale"].scale, float)
        scale = scale[:, 0, 0] if site.is_map else scale
        w = w * scale.reshape(-1, *[1] * (w.ndim - 1))
    if connection.patches is not None:
        return w.transpose(2, 3, 1, 0)
    ours = np.empty((w.shape[1], w.shape[0]))
    ours[rows_in_graph(connection)] = w.T
    return ours


def _neurons(network, nodes, index: int, site: Site) -> dict[str, np.ndarray]:
    """Bucket weights, bias and time constants of a layer."""
    name, found, v = f"layer{index}", {}, []
    for k in range(network.K if network.buckets == "neuron" else 1):
        node = nodes[f"{name}_v{k}"]
        if k == 0 and network.bias:
            w = np.asarray(node.weight, float)
            v.append(np.diagonal(w[:, :, 0, 0] if w.ndim == 4 else w))
            found[f"{name}.b"] = np.asarray(node.bias, float)
        else:
            scale = np.asarray(node.scale, float)
            v.append(scale[:, 0, 0] if site.is_map else scale)
    if network.buckets == "neuron":
        found[f"{name}.v"] = np.stack(v)
    if network.train_tau:
        found[f"{name}.tau"] = np.array([np.ravel(nodes[f"{name}_z{k}"].tau)[0] for k in range(network.K)])
    return found
