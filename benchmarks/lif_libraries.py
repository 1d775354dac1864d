"""Libraries without a SpikingGamma neuron, as ``speed.py`` times them: plain leaky integrate-and-fire layers.

Of the same sizes, decay 0.95, threshold 1, subtractive reset, fast-sigmoid surrogate gradient, leaky readout: less work
per neuron and step. Methods as in ``peers.py``.
"""

from __future__ import annotations

import numpy as np

SIZES = (700, 128, 128, 20)
DECAY, SLOPE = 0.95, 25.0


def lif_weights(seed: int = 0) -> list[np.ndarray]:
    """Weights with which 4 to 6 % of the hidden neurons of the LIF network spike in a step at 1 % input density."""
    rng = np.random.default_rng(seed)
    scales = (5.0, 2.0, 1.0)
    return [
        rng.normal(scale=s / np.sqrt(n), size=(n, m)).astype(np.float32)
        for s, n, m in zip(scales, SIZES[:-1], SIZES[1:], strict=True)
    ]


class Torch:
    """Shared by everything that runs in PyTorch."""

    def __init__(self, threads):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.model, self.threads = torch, None, threads

    def set_threads(self, threads):
        self.torch.set_num_threads(threads)

    def load(self, events, labels):
        from torch_gamma import dense

        self.x, self.labels = dense(events), self.torch.as_tensor(labels)

    def gradient(self):
        self.model.zero_grad(set_to_none=True)
        readout, _ = self.run()
        self.torch.nn.functional.cross_entropy(readout.flatten(0, 1), self.labels.repeat(len(readout))).backward()

    def forward(self):
        with self.torch.no_grad():
            return self.run()

    def density(self):
        return [float(s.mean()) for s in self.forward()[1]]

    def linears(self):
        """Linear layers with the shared weights."""
        layers = []
        for w in lif_weights():
            layer = self.torch.nn.Linear(*w.shape, bias=False)
            layer.weight.data = self.torch.as_tensor(w.T.copy())
            layers.append(layer)
        return layers


class SnnTorch(Torch):
    """snnTorch, one call per layer and step."""

    title, network = "snnTorch", "LIF"

    def __init__(self, threads):
        super().__init__(threads)
        import snntorch
        from snntorch import surrogate

        make = lambda: snntorch.Leaky(DECAY, spike_grad=surrogate.fast_sigmoid(slope=SLOPE))  # noqa: E731
        self.linear = self.torch.nn.ModuleList(self.linears())
        self.neurons = self.torch.nn.ModuleList([make(), make()])
        self.model = self.torch.nn.ModuleList([self.linear, self.neurons])

    def run(self):
        states = [neuron.init_leaky() for neuron in self.neurons]
        leak, readout, spikes = 0.0, [], [[], []]
        for x in self.x:
            for i, neuron in enumerate(self.neurons):
                x, states[i] = neuron(self.linear[i](x), states[i])
                spikes[i].append(x)
            leak = DECAY * leak + self.linear[2](x)
            readout.append(leak)
        return self.torch.stack(readout), [self.torch.stack(s) for s in spikes]


class Norse(Torch):
    """Norse, SequentialState of LIFBoxCell."""

    title, network = "Norse", "LIF"

    def __init__(self, threads):
        super().__init__(threads)
        import norse.torch as norse

        p = norse.LIFBoxParameters(
            tau_mem_inv=self.torch.tensor((1 - DECAY) * 1e3),
            v_th=self.torch.tensor(1.0),
            alpha=self.torch.tensor(SLOPE),
        )
        linear = self.linears()
        for layer in linear:  # Norse multiplies its input by dt / tau
            layer.weight.data /= 1 - DECAY
        cells = [linear[0], norse.LIFBoxCell(p), linear[1], norse.LIFBoxCell(p), linear[2], norse.LIBoxCell()]
        self.model = norse.SequentialState(*cells)
        self.counts = []

    def run(self):
        state, readout = None, []
        for x in self.x:
            y, state = self.model(x, state)
            readout.append(y)
        return self.torch.stack(readout), []

    def density(self):
        return []


class SpikingJelly(Torch):
    """SpikingJelly, multi-step mode with its PyTorch backend."""

    title, network = "SpikingJelly", "LIF"

    def __init__(self, threads):
        super().__init__(threads)
        from spikingjelly.activation_based import functional, layer, neuron, surrogate

        self.functional = functional
        options = {"tau": 1 / (1 - DECAY), "decay_input": False, "v_reset": None, "step_mode": "m"}
        make = lambda: neuron.LIFNode(surrogate_function=surrogate.ATan(), **options)  # noqa: E731
        modules = []
        for w in lif_weights():
            linear = layer.Linear(*w.shape, bias=False, step_mode="m")
            linear.weight.data = self.torch.as_tensor(w.T.copy())
            modules += [linear, make()]
        self.model = self.torch.nn.Sequential(*modules[:-1])

    def run(self):
        self.functional.reset_net(self.model)
        x, spikes = self.x, []
        for i, module in enumerate(self.model):
            x = module(x)
            if i % 2:
                spikes.append(x)
        readout, leak = [], 0.0
        for y in x:
            leak = DECAY * leak + y
            readout.append(leak)
        return self.torch.stack(readout), spikes


class Jax:
    """JAX: one compiled scan over the steps, reversed by automatic differentiation."""

    title, network = "JAX scan", "LIF"

    def __init__(self, threads):
        import jax
        import jax.numpy as jnp

        self.jax, self.jnp = jax, jnp
        self.weights = [jnp.asarray(w) for w in lif_weights()]

        @jax.custom_vjp
        def spike(v):
            return (v > 0).astype(v.dtype)

        spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g / (1 + SLOPE * jnp.abs(v)) ** 2,))
        self.spike = spike

        def step(weights, state, x):
            membranes, spikes = [], []
            for w, v in zip(weights[:-1], state[:-1], strict=True):
                v = DECAY * v + x @ w
                x = spike(v - 1)
                membranes.append(v - jax.lax.stop_gradient(x))
                spikes.append(x.mean())
            leak = DECAY * state[-1] + x @ weights[-1]
            return (*membranes, leak), (leak, jnp.stack(spikes))

        def run(weights, x):
            state = tuple(jnp.zeros((x.shape[1], w.shape[1]), x.dtype) for w in weights)
            return jax.lax.scan(lambda s, xt: step(weights, s, xt), state, x)[1]

        def loss(weights, x, labels):
            logits = jax.nn.log_softmax(run(weights, x)[0])
            return -logits[:, jnp.arange(x.shape[1]), labels].mean()

        self._gradient, self._run = jax.jit(jax.value_and_grad(loss)), jax.jit(run)

    def load(self, events, labels):
        from random_events import dense

        self.x, self.labels = self.jnp.asarray(dense(events)), self.jnp.asarray(labels)

    def gradient(self):
        return self.jax.block_until_ready(self._gradient(self.weights, self.x, self.labels))

    def forward(self):
        return self.jax.block_until_ready(self._run(self.weights, self.x))

    def density(self):
        return [float(d) for d in self.forward()[1].mean(0)]


class Braintrace(Jax):
    """braintrace: the online rule pp_prop (ES-D-RTRL), memory independent of the number of steps."""

    title = "braintrace pp_prop (online)"

    def __init__(self, threads):
        super().__init__(threads)
        import brainstate
        import braintrace

        jnp, spike = self.jnp, self.spike
        stop = self.jax.lax.stop_gradient
        self.brainstate, self.braintrace = brainstate, braintrace

        class Leaky(brainstate.nn.Module):
            def __init__(self, w, spiking):
                super().__init__()
                self.w, self.spiking = brainstate.ParamState(w), spiking

            def init_state(self, batch_size=None, **_):
                self.v = brainstate.HiddenState(jnp.zeros((batch_size, self.w.value.shape[1])))

            def update(self, x):
                before = self.v.value
                if self.spiking:  # the reset of the last step's spike, so that the state is one array
                    before = before - stop(spike(before - 1))
                self.v.value = DECAY * before + braintrace.matmul(x, self.w.value)
                return spike(self.v.value - 1) if self.spiking else self.v.value

        weights = self.weights

        class Net(brainstate.nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = [Leaky(w, i < 2) for i, w in enumerate(weights)]

            def update(self, x):
                for layer in self.layers:
                    x = layer(x)
                return x

        self.make = Net

    def load(self, events, labels):
        super().load(events, labels)
        jnp, jax, labels = self.jnp, self.jax, self.labels
        rule = self.braintrace.pp_prop
        learner = self.braintrace.compile(self.make(), rule, self.x[0], batch_size=len(labels), decay_or_rank=DECAY)

        def loss(x, _):
            return -jax.nn.log_softmax(learner(x))[jnp.arange(len(labels)), labels].mean()

        def gradient(xs):
            return learner.etrace_grad(xs, jnp.zeros(len(xs)), step_fn=loss, return_value=True)

        self._online = self.brainstate.transform.jit(gradient)

    def gradient(self):
        return self.jax.block_until_ready(self._online(self.x))
