"""Value and gradient of a network of two LIF layers, in JAX, jaxsnn, eventax and PyTorch: what `exact_peers.py` times.

``tau_m v' = I - v``, ``tau_s I' = -I``, spike at ``v = 1``, reset to 0, weights added to I, ``tau_m = 2 tau_s`` (the
closed form that jaxsnn needs); the loss is the sum of ``sin(t/(10 ms))`` over the output's spikes. The first three
locate spikes as events; PyTorch runs on a grid with a surrogate derivative. Each takes ``(neurons, times)`` of the
input spikes, sorted in time, and returns loss and gradients of both weight arrays ``(n_pre, n_post)``.
"""

from __future__ import annotations

from functools import partial

import numpy as np

TAU_M, TAU_S, DURATION, PERIOD = 20e-3, 10e-3, 100e-3, 10e-3


class Exact:
    """Event-exact in plain JAX: one compiled scan a layer over its input spikes, all neurons side by side.

    Between two input spikes the membrane is a polynomial of ``exp(-t/tau_m)``, so that a crossing is the root of a
    quadratic. The gradient is JAX's own, through the roots.

    Parameters
    ----------
    weights : list of arrays
    n_spikes : int
        Room for the spikes of the hidden layer.
    rounds : int
        Most spikes of a neuron between two inputs.
    """

    def __init__(self, weights, n_spikes: int, rounds: int = 1):
        import jax
        import jax.numpy as jnp

        self.jax, self.jnp, self.n_spikes, self.rounds = jax, jnp, n_spikes, rounds
        self.weights = [jnp.asarray(w) for w in weights]
        self.value_and_grad = jax.jit(jax.value_and_grad(self.loss))
        self.batch = jax.jit(jax.value_and_grad(lambda w, n, t: jax.vmap(partial(self.loss, w))(n, t).sum()))

    def _between(self, state, given):
        """From the last input spike to the next: the spikes of each neuron on the way, or infinity."""
        jnp = self.jnp
        v, current, now = state
        time, row = given
        found, now = [], jnp.broadcast_to(now, v.shape)
        for _ in range(self.rounds):
            total = v + current
            square = total**2 - 4 * current
            may = (current > 0) & (square > 0)
            root = (total + jnp.sqrt(jnp.where(may, square, 1))) / (2 * jnp.where(may, current, 1))
            spikes = may & (root > jnp.exp((now - time) / TAU_M)) & (root <= 1)
            root = jnp.where(spikes, root, 1)
            v, current, now = jnp.where(spikes, 0, v), current * root**2, now - TAU_M * jnp.log(root)
            found.append(jnp.where(spikes, now, jnp.inf))
        rest = jnp.exp((now - time) / TAU_M)
        v, current = (v + current) * rest - current * rest**2, current * rest**2
        return (v, current + row, time), jnp.stack(found)

    def layer(self, times, rows):
        """Spike times (n_inputs + 1, rounds, n) of a layer whose currents jump by `rows` at `times`, or infinity."""
        jnp = self.jnp
        zero = jnp.zeros_like(rows[0])
        times = jnp.append(times, DURATION)
        rows = jnp.concatenate([rows, zero[None]])
        return self.jax.lax.scan(self._between, (zero, zero, jnp.zeros((), rows.dtype)), (times, rows))[1]

    def spikes(self, weights, neurons, times):
        """Neurons and times of the hidden spikes in order, and the times of the output's."""
        jnp = self.jnp
        found = self.layer(times, weights[0][neurons])
        at, nth, who = jnp.nonzero(jnp.isfinite(found), size=self.n_spikes, fill_value=-1)
        hidden = jnp.where(at < 0, DURATION, found[at, nth, who])
        order = jnp.argsort(hidden)
        who, hidden, real = who[order], hidden[order], (at >= 0)[order]
        return who, hidden, real, self.layer(hidden, weights[1][who] * real[:, None])

    def loss(self, weights, neurons, times):
        """Sum over the output's spikes."""
        jnp = self.jnp
        out = self.spikes(weights, neurons, times)[-1]
        return jnp.where(jnp.isfinite(out), jnp.sin(jnp.where(jnp.isfinite(out), out, 0) / PERIOD), 0).sum()

    def gradient(self, neurons, times):
        """Loss and gradients of one sample, or of a batch ``(n_samples, n_spikes)``."""
        run = self.value_and_grad if np.ndim(times) == 1 else self.batch
        return self.jax.block_until_ready(run(self.weights, neurons, times))


class Jaxsnn:
    """jaxsnn's own layers and EventProp."""

    def __init__(self, weights, n_spikes: int, n_inputs: int, method="eventprop"):
        import jax
        import jax.numpy as jnp
        from jaxsnn.event.modules import LIF, Linear, Source
        from jaxsnn.event.modules.lif import LIFParameters
        from jaxsnn.event.topology import Topology
        from jaxsnn.event.types import Spike

        self.jax, self.jnp, self.spike = jax, jnp, Spike
        n_in, n_hidden, n_out = *weights[0].shape, weights[1].shape[1]
        neuron = LIFParameters(v_reset=0.0, v_th=1.0, tau_syn=TAU_S, tau_mem=TAU_M)
        made = Topology(t_max=DURATION, backprop_method=method)
        room = {"hidden": n_inputs + n_spikes, "output": n_spikes + 500}
        parts = {"input": Source(n_in), "hidden": LIF(n_hidden, room["hidden"], neuron)}
        parts |= {"output": LIF(n_out, room["output"], neuron)}
        made.add(
            parts | {name: Linear(pre_weights=jnp.asarray(w)) for name, w in zip(("w1", "w2"), weights, strict=True)}
        )
        made.connect([("input", "w1"), ("w1", "hidden"), ("hidden", "w2"), ("w2", "output")])
        start, self.apply = made.done()
        self.weights = start(jax.random.PRNGKey(0))
        self.value_and_grad = jax.jit(jax.value_and_grad(self.loss, has_aux=True))

    def loss(self, weights, neurons, times):
        """Sum over the output's spikes; how many spikes each layer had."""
        jnp = self.jnp
        given = self.spike(
            time=times, idx=neurons, current=jnp.zeros_like(times), layer_idx=jnp.zeros_like(neurons),
            internal=jnp.ones_like(neurons, bool),
        )  # fmt: skip
        found = self.apply({"input": self.jax.tree.map(lambda a: a[None], given)}, weights)
        out = found["output"]
        mine = out.internal & (out.time < DURATION)
        return jnp.where(mine, jnp.sin(out.time / PERIOD), 0).sum(), out.internal.sum()

    def gradient(self, neurons, times):
        """Loss and gradients of one sample."""
        (loss, counts), found = self.jax.block_until_ready(self.value_and_grad(self.weights, neurons, times))
        self.counts = counts
        return loss, [found["w1"], found["w2"]]


class Eventax:
    """eventax: any vector field, integrated by Diffrax from event to event."""

    def __init__(self, weights, n_spikes: int, n_inputs: int, dtype=np.float32):
        import diffrax
        import equinox
        import jax
        import jax.numpy as jnp
        import optimistix
        from eventax.evnn import EvNN
        from eventax.neuron_models import LIF

        self.jax, self.jnp, self.n_spikes = jax, jnp, n_spikes
        n_in, n_hidden, n_out = *weights[0].shape, weights[1].shape[1]
        n, self.n_hidden = n_hidden + n_out, n_hidden
        table, mask = np.zeros((n + n_in, n), dtype), np.zeros((n + n_in, n), bool)
        places = (slice(n, None), slice(n_hidden)), (slice(n_hidden), slice(n_hidden, n))
        for place, w in zip(places, weights, strict=True):
            table[place], mask[place] = w, True
        is_output, near = np.arange(n) >= n_hidden, 1e-9 if np.dtype(dtype).itemsize == 8 else 1e-6
        self.network = EvNN(
            LIF, n, DURATION, n_in, key=jax.random.PRNGKey(0), wmask=jnp.asarray(mask), dtype=dtype,
            max_event_steps=n_inputs + 2 * n_spikes, output_neurons=jnp.asarray(is_output),
            input_neurons=jnp.asarray(~is_output), solver=diffrax.Tsit5(), solver_stepsize=2e-4,
            root_finder=optimistix.Bisection(near, near, flip="detect"), thresh=1.0, tsyn=TAU_S, tmem=TAU_M,
            init_weights=jnp.asarray(table), init_bias=jnp.zeros(n, dtype),
        )  # fmt: skip
        self.value_and_grad = equinox.filter_jit(equinox.filter_value_and_grad(self.loss))

    def loss(self, network, table):
        """Sum over the output's spikes; the input is a table (n_in, most spikes of one), filled with infinity."""
        jnp = self.jnp
        found = network.spikes_until_t(table, DURATION, max_spikes=self.n_spikes)
        spiked = jnp.isfinite(found)
        return jnp.where(spiked, jnp.sin(jnp.where(spiked, found, 0) / PERIOD), 0).sum()

    def gradient(self, neurons, times):
        """Loss and gradients of one sample."""
        n_in = self.network.in_size
        table = np.full((n_in, np.bincount(neurons).max()), np.inf, np.asarray(times).dtype)
        for i in range(n_in):
            mine = times[neurons == i]
            table[i, : len(mine)] = mine
        loss, found = self.jax.block_until_ready(self.value_and_grad(self.network, self.jnp.asarray(table)))
        w, n, h = found.neuron_model.weights, self.network.n_neurons, self.n_hidden
        return loss, [w[n:, :h], w[:h, h:]]


class Bptt:
    """Surrogate gradients on a grid: products of all steps at once, layers in turn, each reversed by hand.

    The membrane's step is exact between the grid's points; a spike's derivative is that of a fast sigmoid; the reset is
    part of the way back. Batches are (n_steps, n_samples, n).
    """

    def __init__(self, weights, dt=0.1e-3):
        import torch

        self.torch, self.dt = torch, dt
        self.weights = [torch.tensor(w, requires_grad=True) for w in weights]
        self.n_steps = round(DURATION / dt)
        wave = np.sin(np.arange(self.n_steps) * dt / PERIOD).astype(weights[0].dtype)
        self.wave = torch.as_tensor(wave)[:, None, None]
        a, b = np.exp(-dt / TAU_M), np.exp(-dt / TAU_S)
        # v(t + dt) = a v + c I, I(t + dt) = b I, of v' = (I - v)/tau_m and I' = -I/tau_s
        self.constants = float(a), float(b), float((b - a) * TAU_S / (TAU_S - TAU_M))
        self.layer = layer_of(torch)

    def grid(self, neurons, times):
        """Counts of the input spikes of each step, sample and unit."""
        neurons, times = np.atleast_2d(neurons), np.atleast_2d(times)
        x = np.zeros((self.n_steps, len(times), self.weights[0].shape[0]), self.wave.numpy().dtype)
        step = np.minimum((times / self.dt).astype(int), self.n_steps - 1)
        np.add.at(x, (step, np.arange(len(times))[:, None], neurons), 1)
        return self.torch.as_tensor(x)

    def gradient(self, x):
        """Loss and gradients of a `grid`."""
        for w in self.weights:
            w.grad = None
        for w in self.weights:
            x = self.layer.apply((x.flatten(0, 1) @ w).view(*x.shape[:2], -1), *self.constants)
        self.spikes = x
        loss = (x * self.wave).sum()
        loss.backward()
        return loss, [w.grad for w in self.weights]


def layer_of(torch):
    """A layer of LIF neurons over the whole sequence."""

    class Layer(torch.autograd.Function):
        @staticmethod
        def forward(ctx, drive, a, b, c):
            v, current = torch.zeros_like(drive[0]), torch.zeros_like(drive[0])
            membrane, spikes = torch.empty_like(drive), torch.empty_like(drive)
            for t in range(len(drive)):
                torch.add(v.mul_(a), current, alpha=c, out=membrane[t])
                torch.gt(membrane[t], 1, out=spikes[t])
                torch.addcmul(membrane[t], membrane[t], spikes[t], value=-1, out=v)
                current.mul_(b).add_(drive[t])
            ctx.save_for_backward(membrane, spikes)
            ctx.constants = a, b, c
            return spikes

        @staticmethod
        def backward(ctx, error):
            (a, b, c), (membrane, spikes) = ctx.constants, ctx.saved_tensors
            slope = (10 * (membrane - 1).abs() + 1).pow_(-2)
            kept = 1 - spikes - membrane * slope  # of v after the reset by v before it
            sent = error * slope
            drive = torch.empty_like(error)
            by_v, by_current = torch.zeros_like(error[0]), torch.zeros_like(error[0])
            for t in range(len(error) - 1, -1, -1):
                drive[t] = by_current
                torch.addcmul(sent[t], by_v, kept[t], out=by_v)
                by_current.mul_(b).add_(by_v, alpha=c)
                by_v.mul_(a)
            return drive, None, None, None

    return Layer
