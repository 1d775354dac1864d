"""An independent simulator of NIR graphs: the primitives step by step, in NumPy; it knows nothing of brian2grad."""

import graphlib

import numpy as np
from scipy.signal import correlate2d


def simulate(graph, inputs, dt):
    """Output of every step, (n_steps, ...), of one sample (n_steps, ...)."""
    nodes, into = graph.nodes, {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        into[target].append(source)
    kind = {name: type(node).__name__ for name, node in nodes.items()}
    now = {name: [] if kind[name] == "Delay" else sources for name, sources in into.items()}
    order, state, late, found = list(graphlib.TopologicalSorter(now).static_order()), {}, {}, []
    for frame in inputs:
        value = {}
        for name in order:
            node = nodes[name]
            if kind[name] == "Input":
                value[name] = np.asarray(frame, float)
            elif kind[name] == "Delay":
                assert np.allclose(node.delay, dt)
                value[name] = late.get(name, np.zeros(node.delay.shape))
            else:
                value[name] = step(kind[name], node, sum(value[s] for s in into[name]), name, state, dt)
        late = {name: sum(value[s] for s in into[name]) for name in nodes if kind[name] == "Delay"}
        found.append(value[next(name for name in nodes if kind[name] == "Output")])
    return np.array(found)


def step(kind, node, x, name, state, dt):
    if kind == "Output":
        return x
    if kind == "Linear":
        return node.weight.astype(float) @ x
    if kind == "Affine":
        return node.weight @ x + node.bias
    if kind == "Scale":
        return node.scale * x
    if kind == "Flatten":
        return x.ravel()
    if kind == "Threshold":
        return (x > node.threshold).astype(float)
    if kind == "SumPool2d":
        size = int(node.kernel_size[0])
        rows, columns = (n // size for n in x.shape[1:])
        return x[:, : rows * size, : columns * size].reshape(len(x), rows, size, columns, size).sum(axis=(2, 4))
    if kind == "Conv2d":
        return convolved(node, x)
    assert kind in ("LI", "LIF")
    a = np.exp(-dt / node.tau)
    v = a * state.get(name, 0.0) + (1 - a) * (node.v_leak + node.r * x)
    if kind == "LI":
        state[name] = v
        return v
    spikes = v > node.v_threshold
    state[name] = np.where(spikes, node.v_reset, v)
    return spikes.astype(float)


def convolved(node, x):
    pad, stride = np.ravel(node.padding), np.ravel(node.stride)
    x = np.pad(x, ((0, 0), (pad[0], pad[0]), (pad[-1], pad[-1])))
    maps = [
        sum(correlate2d(c, k, "valid") for c, k in zip(x, kernel, strict=True)) for kernel in node.weight.astype(float)
    ]
    return np.array(maps)[:, :: stride[0], :: stride[-1]] + node.bias[:, None, None]
