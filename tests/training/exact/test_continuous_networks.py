"""Asynchronous networks in continuous time as hybrid systems: spikes of the special engine, gradients of delays."""

from types import SimpleNamespace

import numpy as np
import pytest
from brian2 import ms, second

from brian2grad import AsynchronousNetwork, SpikeTimes, final_loss
from brian2grad.models.asynchronous.brian.plain import continuous_objects
from brian2grad.models.errors import NetworkError
from brian2grad.models.order.schedulers import RandomScheduler, TimedScheduler
from brian2grad.training import HybridProblem
from brian2grad.training.exact.check import check_direction

DURATION = 60 * ms


def network(seed, refractory=0.4 * ms, **arguments):
    """Three inputs, four hidden neurons, two outputs; every delay its own."""
    rng = np.random.default_rng(seed)
    sizes = [3, 4, 2]
    delays = [rng.uniform(1e-4, 3e-3, shape) * second for shape in zip(sizes, sizes[1:], strict=False)]
    scheduler = TimedScheduler(
        axonal=rng.uniform(0, 1e-3, 6) * second, synaptic=delays, refractory=refractory, **arguments
    )
    made = AsynchronousNetwork(sizes, tau_m=5 * ms, V_th=0.5, scheduler=scheduler, dtype="float64", seed=seed)
    made.set_weights([rng.normal(0.3, 0.3, shape) for shape in zip(sizes, sizes[1:], strict=False)])
    count = 60
    return made, SimpleNamespace(
        units=rng.integers(0, 3, count), times=np.sort(rng.integers(0, 40000, count)), offsets=np.array([0, count]),
        n_units=3, time_unit_us=1.0,
    )  # fmt: skip


@pytest.mark.parametrize("refractory", [0 * ms, 0.4 * ms])
def test_spikes_are_those_of_the_special_engine(refractory):
    for seed in range(4):
        made, events = network(seed, refractory)
        expected = made.run(events, record=True)
        objects = continuous_objects(made, events)
        problem = HybridProblem(objects, final_loss("v", objects[0]), [], DURATION, {})
        neurons, times = problem.compiled.run().spikes[objects[0].name][0]
        assert len(times) > 5
        order = np.lexsort((expected.neurons, expected.times))
        assert neurons.tolist() == expected.neurons[order].tolist()
        np.testing.assert_allclose(times, expected.seconds[order], rtol=0, atol=2e-12)


def test_gradient_equals_central_differences():
    made, events = network(1)
    objects = continuous_objects(made, events)
    neurons, inputs, feed, onward = objects
    found = made.run(events, record=True)
    outputs = np.flatnonzero(found.neurons >= 4)[:3]
    targets = found.seconds[outputs] + 1e-3
    loss = SpikeTimes(neurons, found.neurons[outputs], targets * second) + final_loss("v**2", neurons)
    wrt = [(s, n) for s in (feed, onward) for n in ("delay", "w")] + [(inputs, "spike_time"), (neurons, "tau_m")]
    problem = HybridProblem(objects, loss, wrt, DURATION, {}, engine="oracle")
    _, gradients = problem.loss_and_gradients()
    assert all(np.abs(g).max() > 0 for g in gradients)
    assert check_direction(problem) < 1e-6


def test_what_has_no_such_form_is_refused():
    made, events = network(1, service=0.1 * ms)
    with pytest.raises(NetworkError, match="a scheduler without service"):
        continuous_objects(made, events)
    with pytest.raises(NetworkError, match="RandomScheduler knows no time"):
        continuous_objects(made, events, scheduler=RandomScheduler())
