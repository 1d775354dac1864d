"""SciPy minimises an exact loss, and a Brian 2 network is a differentiable layer of PyTorch."""

import numpy as np
import pytest
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms
from scipy.optimize import check_grad, minimize

from brian2grad import SpikeTimes, TrainingError, spike_loss
from brian2grad.training import Objective, torch_layer

NAMES = {"tau_s": 5 * ms, "ms": ms}


def network():
    group = NeuronGroup(
        2, "dv/dt = (I - v)/tau : 1\ndI/dt = -I/tau_s : 1\ntau : second (constant)", threshold="v > 1", reset="v = 0"
    )
    group.tau = 10 * ms
    inputs = SpikeGeneratorGroup(2, [0, 1], [1, 3] * ms)
    synapses = Synapses(inputs, group, "w : 1", on_pre="I_post += w")
    synapses.connect()
    synapses.w, synapses.delay = [3.5, 4, 3, 4.5], 1 * ms
    return group, inputs, synapses


def test_scipy_moves_spikes_to_their_targets():
    group, inputs, synapses = network()
    loss = SpikeTimes(group, [0, 1], [6, 9] * ms)
    wrt = [(synapses, "w"), (synapses, "delay"), (group, "tau")]
    objective = Objective([group, inputs, synapses], loss, wrt, 25 * ms, namespace=NAMES, engine="oracle")
    assert check_grad(lambda x: objective(x)[0], lambda x: objective(x)[1], objective.start) < 1e-4
    assert objective.bounds[4] == (0, None)
    result = minimize(objective, objective.start, jac=True, bounds=objective.bounds, options={"maxiter": 40})
    assert objective(objective.start)[0] > 1
    assert result.fun < 1e-6
    objective.assign(result.x)
    again = Objective([group, inputs, synapses], loss, wrt, 25 * ms, namespace=NAMES, engine="oracle")
    assert again(again.start)[0] == pytest.approx(result.fun, abs=1e-9)


def test_what_cannot_be_written_back_is_named():
    group, inputs, synapses = network()
    objects = [group, inputs, synapses]
    objective = Objective(objects, spike_loss("t/ms", group), [(group, "tau_s")], 25 * ms, namespace=NAMES)
    with pytest.raises(TrainingError, match="keeps no 'tau_s'; make it a parameter"):
        objective.assign(objective.start)
    with pytest.raises(TrainingError, match="wrt is empty"):
        Objective(objects, spike_loss("t/ms", group), [], 25 * ms, namespace=NAMES)


def test_a_network_as_layer_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'brian2grad[torch]'")
    group, inputs, synapses = network()
    layer = torch_layer(
        [group, inputs, synapses], [(synapses, "w"), (group, "tau")], 25 * ms, group, namespace=NAMES, engine="oracle"
    )
    w = torch.tensor([3.5, 4, 3, 4.5], dtype=torch.float64, requires_grad=True)
    tau = torch.tensor([0.010, 0.011], dtype=torch.float64, requires_grad=True)
    out = layer(w, tau)
    assert out.spike_times.tolist() == sorted(out.spike_times.tolist())
    assert out.final.shape == (2, 2)

    def total(w, tau):
        out = layer(w, 1e-2 * tau)  # of order one, as gradcheck wants it
        return (1e3 * out.spike_times).sum() + out.final.pow(2).sum()

    assert torch.autograd.gradcheck(total, (w, (tau * 100).detach().requires_grad_()), eps=1e-5, atol=1e-5, rtol=1e-5)
    torch.nn.functional.mse_loss(1e3 * out.spike_times, torch.zeros(len(out.spike_times))).backward()
    assert np.isfinite(w.grad.numpy()).all()
    assert w.grad.abs().max() > 0
