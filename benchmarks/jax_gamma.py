"""The SpikingGamma network and its filter gradient in JAX, compiled as a whole.

Products are hoisted out of the scans: one matrix product a layer for all steps and samples. Of a layer one scan runs
buckets and sigma-delta code together, and one scan runs back; in between is what XLA makes of it. ``unroll`` steps of a
scan are compiled as one.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

UNROLL = 1


def step(alpha, buckets, drive):
    """Buckets after a step, a tuple of (n_samples, N)."""
    later = [alpha[k] * buckets[k] + (1 - alpha[k]) * buckets[k - 1] for k in range(1, len(alpha))]
    return (alpha[0] * buckets[0] + drive, *later)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def layer(drive, v, b, alpha, theta):
    """Events of a hidden layer (T, n_samples, N); with ``theta = None`` the signal of a readout."""
    return forwards(drive, v, b, alpha, theta)[0]


def forwards(drive, v, b, alpha, theta):
    """A layer's output, and what the way back needs."""
    zero = jnp.zeros_like(drive[0])

    def one(state, given):
        buckets, estimate = state
        buckets = step(alpha, buckets, given)
        y = b + sum(v[k] * z for k, z in enumerate(buckets))
        if theta is None:
            return (buckets, estimate), (y, buckets, None)
        estimate = alpha[0] * estimate
        event = jnp.where(jax.nn.relu(y) - estimate > theta, jnp.asarray(2 * theta, y.dtype), jnp.zeros((), y.dtype))
        return (buckets, estimate + event), (event, buckets, y > 0)

    out, buckets, active = jax.lax.scan(one, ((zero,) * len(alpha), zero), drive, unroll=UNROLL)[1]
    return out, (buckets, active, v)


def backwards(alpha, theta, kept, error):
    """The filter run in reverse: d(loss)/d(drive), /dv, /db."""
    buckets, active, v = kept
    K, zero = len(alpha), jnp.zeros_like(error[0])

    def one(state, given):
        later, after = state
        error, z, on = given
        if theta is not None:  # decoded: an event is y(t) - alpha y(t-1)
            error, after = jnp.where(on, error - alpha[0] * after, 0), error
        back = [
            alpha[k] * later[k] + ((1 - alpha[k + 1]) * later[k + 1] if k + 1 < K else 0) + v[k] * error
            for k in range(K)
        ]
        return (tuple(back), after), (back[0], error)

    drive, error = jax.lax.scan(one, ((zero,) * K, zero), (error, buckets, active), reverse=True, unroll=UNROLL)[1]
    dv = jnp.stack([jnp.einsum("tbn,tbn->n", error, z) for z in buckets])
    return drive, dv, error.sum((0, 1))


layer.defvjp(forwards, backwards)


def run(parameters, x, alpha, theta):
    """Readout (T, n_samples, n_out) and the events of each hidden layer."""
    hidden = []
    for index, (w, v, b) in enumerate(parameters):
        drive = (x.reshape(-1, x.shape[-1]) @ w).reshape(*x.shape[:2], -1)
        x = layer(drive, v, b, alpha, theta[index])
        hidden.append(x)
    return hidden[-1], hidden[:-1]


class JaxGamma:
    """A `SpikingGammaNetwork` with the same parameters.

    Parameters
    ----------
    network : SpikingGammaNetwork
        As `torch_gamma.TorchGamma` asks for.
    """

    def __init__(self, network):
        get = lambda i: tuple(jnp.asarray(network.parameters[f"layer{i}.{name}"]) for name in "wvb")  # noqa: E731
        self.parameters = [get(i) for i in range(1, len(network.sizes))]
        alpha = tuple(float(np.exp(-float(network.dt) / tau)) for tau in np.asarray(network.tau))
        forward = partial(run, alpha=alpha, theta=(*map(float, network.theta), None))
        self.forward, self.value_and_grad = jax.jit(forward), jax.jit(jax.value_and_grad(partial(loss, forward)))

    def gradients(self, x, labels) -> dict[str, np.ndarray]:
        """Gradients by the names of `SpikingGammaNetwork.parameters`."""
        found = self.value_and_grad(self.parameters, x, labels)[1]
        named = {f"layer{i}": zip("wvb", layer, strict=True) for i, layer in enumerate(found, 1)}
        return {f"{layer}.{name}": np.asarray(g) for layer, pairs in named.items() for name, g in pairs}


def loss(forward, parameters, x, labels):
    """Cross entropy per step, mean over steps and samples."""
    logits = jax.nn.log_softmax(forward(parameters, x)[0])
    return -logits[:, jnp.arange(x.shape[1]), labels].mean()
