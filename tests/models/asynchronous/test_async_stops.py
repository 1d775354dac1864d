"""When a timestep begins and stops, by hand: input that queues, and the published stop after an output."""

import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, AsynchronousSpikingGamma, StepEvents
from brian2grad.models.asynchronous.connectivity import Connectivity, Projection
from brian2grad.models.asynchronous.schedulers import FifoScheduler, MomentumScheduler, Scheduler
from brian2grad.models.order.stopping import further_steps, spike_budget, step_budget


def chain(*weights, **options):
    """Layers with the given weights (n_pre, n_post), threshold 0.5."""
    weights = [np.array(w, float) for w in weights]
    sizes = [len(weights[0]), *(w.shape[1] for w in weights)]
    net = Connectivity(sizes, [Projection(k, k + 1, w) for k, w in enumerate(weights)])
    options = {"V_th": 0.5, "dt": 1 * ms, "tau_m": 10 * ms, "forward_group": 1, "dtype": "float64"} | options
    return AsynchronousNetwork(net, threads=1, **options)


def frames(*counts):
    return StepEvents.from_dense(np.array([counts], float), 1e-3)


FAN = ([[1, 0.9, 0.8, 0.7, 0.6]], [[0.6]] * 5)  # one input, five hidden neurons, one output


@pytest.mark.parametrize(("M", "steps"), [(0, [3, 3]), (1, [4, 2]), (2, [5, 2])])
def test_published_stop_comes_one_step_after_the_last_that_counts(M, steps):
    """The fan spikes in step 0, the output in step 1: the loop halts M + 1 steps later, and loses what it then took."""
    network = chain(*FAN, scheduler=MomentumScheduler(), compat="asynctorch")
    run = network.run(frames([1], [0]), stop=further_steps(M), record=True)
    assert run.counters["forward_steps"][0].tolist() == steps
    assert run.outputs.ravel().tolist() == [1, 1]
    assert run.counters["queue_left"][0, 0] == 5 + 1 - (M + 3)  # a spike is taken in each of the M + 3 steps


@pytest.mark.parametrize("compat", [None, "asynctorch"])
def test_queued_input_is_received_in_the_first_step(compat):
    network = chain([[1.0]], prioritised=False, compat=compat)
    run = network.run(frames([1], [1]), record=True, stop=step_budget(1))
    assert run.spikes.step.tolist() == [0, 0]
    assert run.outputs.ravel().tolist() == [1, 1]
    assert run.first[0, :, 0].tolist() == [[1, 1], [1, 1]]  # spikes and forward steps until the first output
    assert run.counters["queue_max"].tolist() == [[1, 1]]


def test_queued_input_is_taken_group_by_group():
    """Four units wait, two are received per step: A spikes in step 0, B in step 1."""
    network = chain(
        [[0.3, 0], [0.3, 0], [0, 0.3], [0, 0.3]], prioritised=False, forward_group=2, scheduler=FifoScheduler()
    )
    for run in (network.run(frames([1, 1, 1, 1]), record=True), network.brian2(frames([1, 1, 1, 1]))):
        assert list(zip(run.spikes.step.tolist(), run.spikes.neuron.tolist(), strict=True)) == [(0, 0), (1, 1)]
        assert run.counters["forward_steps"].tolist() == [[2]]
    assert network.run(frames([1, 1, 1, 1])).counters["queue_max"][0, 0] == 4
    single = network.run(frames([1, 1, 1, 1]), forward_group=1, record=True).spikes
    assert single.step.tolist() == [1, 3]


def test_a_gamma_network_receives_queued_input_in_the_first_step():
    network = AsynchronousSpikingGamma(
        [1, 1, 1], K=1, theta=0.5, dt=1 * ms, prioritised=False, forward_group=1, bias=False, dtype="float64", threads=1
    )
    for value in network.parameters.values():
        value[:] = 1
    run, brian = network.run(frames([1])), network.brian2(frames([1]))
    assert run.order.step.tolist() == brian.order.step.tolist() == [0]
    assert run.counters["forward_steps"].ravel().tolist() == brian.forward_steps.ravel().tolist()


class Late(Scheduler):
    """Takes the last source, and notes where it was asked."""

    def __init__(self):
        self.asked = []

    def select(self, queue, forward_group):
        self.asked.append((queue.timestep, queue.step, queue.sources.tolist()))
        return queue.sources[-1:]


class Wrong(Late):
    def select(self, queue, forward_group):
        return queue.sources[-1:] + 1


def test_a_scheduler_in_python_is_asked_before_the_first_step():
    scheduler = Late()
    network = chain([[0.6], [0.6]], prioritised=False, scheduler=scheduler)
    run = network.run(frames([1, 1]), record=True)
    assert scheduler.asked[:2] == [(0, -1, [0, 1]), (0, 0, [0, 2])]
    assert run.spikes.step.tolist() == [0]
    with pytest.raises(ValueError, match="forward step -1 returned source 2, which is not queued"):
        network.run(frames([1, 1]), scheduler=Wrong())


def test_a_spike_carried_over_has_lost_its_membrane():
    """A and B (0.9, 0.8) wait at the end of timestep 0; in timestep 1 the new spike C (0.6) is taken before them."""
    network = chain([[0.9, 0.8, 0], [0, 0, 0.6]], [[0.1]] * 3, scheduler=MomentumScheduler(noise=0))
    run = network.run(frames([1, 0], [0, 1]), stop=step_budget(1, leftover="carry"))
    assert run.counters["queue_left"].tolist() == [[2, 3]]
    rest = frames([1, 0], [0, 1], [0, 0])
    taken = network.run(rest, stop=step_budget(2, leftover="carry"), record="tape").tape
    groups = [taken.group[a:b].tolist() for a, b in zip(taken.group_ptr[:-1], taken.group_ptr[1:], strict=True)]
    # timestep 0: the input, then A; timestep 1: the input, then C; timestep 2: nothing, then B
    assert groups == [[0], [2], [1], [4], [], [3]]
    flushed = network.run(rest, stop=step_budget(2), record="tape").tape
    assert flushed.group.tolist() == [0, 2, 1, 4]


def test_further_steps_are_counted_with_and_without_spikes():
    """The output spikes in step 1; the steps after it only deliver to it while it rests."""
    network = chain(FAN[0], [[0.55]] * 5, scheduler=MomentumScheduler())
    for M, steps in ((0, 2), (1, 3), (2, 4), (3, 5)):
        run = network.run(frames([1]), stop=further_steps(M))
        assert (run.counters["forward_steps"].item(), run.counters["stopped"].item()) == (steps, 1)
    assert network.run(frames([1])).counters["forward_steps"].item() == 6
    assert network.run(frames([1])).counters["queue_sum"].item() == 5 + 5 + 4 + 3 + 2 + 1


def test_rules_of_a_sample_count_over_its_timesteps():
    """Per timestep: the hidden neuron spikes in step 0, the output in step 1."""
    network, events = chain([[1.0]], [[1.0]], tau_m=0.01 * ms), frames([1], [1], [1], [1])
    steps = lambda stop: network.run(events, stop=stop).counters["forward_steps"][0].tolist()  # noqa: E731
    assert steps(step_budget(3)) == [2, 2, 2, 2]
    assert steps(step_budget(3, scope="sample")) == [2, 1, 0, 0]
    assert steps(spike_budget(3)) == [2, 2, 2, 2]
    assert steps(spike_budget(3, scope="sample")) == [2, 1, 0, 0]
    assert steps(spike_budget(6, scope="sample")) == [2, 2, 2, 0]
    assert steps(further_steps(0, scope="sample")) == [2, 0, 0, 0]
    assert steps(further_steps(1, scope="sample")) == [2, 1, 0, 0]  # its further step is the first of the next frame
    assert steps(further_steps(2, scope="sample")) == [2, 2, 0, 0]
    assert steps(further_steps(1)) == [2, 2, 2, 2]
