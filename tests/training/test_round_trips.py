"""Networks, results, tasks, learners and their like are copied, pickled and sent to other processes after use."""

import copy
import functools
import multiprocessing
import pickle

import fit_cases
import numpy as np
import pytest
from brian2 import NeuronGroup, SpikeGeneratorGroup, Synapses, ms
from joblib import Parallel, delayed

from brian2grad.equations import derive_adjoint, spiking_gamma
from brian2grad.equations.ready import READY
from brian2grad.models import AsynchronousNetwork, AsynchronousSpikingGamma, SpikingGammaNetwork, StepEvents
from brian2grad.models.errors import NetworkError
from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.models.order.schedulers import KeyScheduler, ReplayScheduler, TimedScheduler
from brian2grad.models.order.stopping import first_output
from brian2grad.training import (
    Adam,
    EventArchive,
    TrainableNetwork,
    TrainingError,
    TrainingOptions,
    make_task,
    spike_loss,
    train,
    value_and_grad,
)
from brian2grad.training.asynchronous.online import AsynchronousLearner
from brian2grad.training.estimators import AsynchronousClassifier, SpikingGammaClassifier
from brian2grad.training.exact.origin import open_origin, ready_origin
from brian2grad.training.exact.samples import Samples
from brian2grad.training.fit.fitting import fit
from brian2grad.training.fit.neurons.ready import FITTED, ready_model

EVENTS = StepEvents.from_dense(np.random.default_rng(0).integers(0, 2, (4, 10, 6)), 1e-3)
LABELS = np.arange(4) % 3
ARCHIVE = EventArchive.from_samples([(np.arange(6), np.arange(6) * 1000)] * 4, LABELS, n_units=6, time_unit_us=1)
SIZES = [6, 5, 3]
DEEP = {"pickle": lambda thing: pickle.loads(pickle.dumps(thing)), "deepcopy": copy.deepcopy}


@functools.cache
def networks():
    """One of each kind, each used: run, differentiated, run in Brian 2."""
    made = {
        "gamma": SpikingGammaNetwork(SIZES, dt=1 * ms, K=2, theta=0.3),
        "asynchronous": AsynchronousNetwork(SIZES, dt=1 * ms, V_th=0.2, scheduler=KeyScheduler("-P")),
        "mixed": AsynchronousSpikingGamma(SIZES, dt=1 * ms, K=2, theta=0.3),
    }
    for network in made.values():
        network.gradient(EVENTS, LABELS)
        network.brian2(EVENTS)
    made["continuous"] = AsynchronousNetwork(SIZES, V_th=0.2, scheduler=TimedScheduler(synaptic=1 * ms))
    made["continuous"].run(ARCHIVE)
    return made


def answer(network):
    """Numbers that a network computes."""
    if isinstance(getattr(network, "scheduler", None), TimedScheduler):
        return network.run(ARCHIVE).times
    return np.concatenate([g.ravel() for g in network.gradient(EVENTS, LABELS).gradients.values()])


@pytest.mark.parametrize("how", DEEP)
def test_networks_compute_the_same_after_a_round_trip(how):
    for name, network in networks().items():
        np.testing.assert_array_equal(answer(DEEP[how](network)), answer(network), err_msg=name)
        np.testing.assert_array_equal(answer(copy.copy(network)), answer(network), err_msg=name)


def same(a, b, where=""):
    """Compare two results field by field."""
    assert type(a) is type(b), where
    if isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b, err_msg=where)
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for k, pair in enumerate(zip(a, b, strict=True)):
            same(*pair, f"{where}[{k}]")
    elif hasattr(a, "__dict__"):
        same(vars(a), vars(b), f"{where}.{type(a).__name__}")
    elif isinstance(a, int | float | str | bool | None):
        assert a == b or a != a, where


@pytest.mark.parametrize("how", ["pickle", pytest.param("deepcopy", marks=pytest.mark.long)])
def test_results_hold_the_same_after_a_round_trip(how):
    made, task = networks(), make_task(ARCHIVE, 1 * ms)
    gamma, chain = made["gamma"], made["asynchronous"]
    tape = chain.run(EVENTS, record="tape")
    replayed = AsynchronousNetwork(SIZES, dt=1 * ms, V_th=0.2, scheduler=ReplayScheduler(tape.tape))
    results = [
        *(network.gradient(EVENTS, LABELS) for name, network in made.items() if name != "continuous"),
        gamma.forward(EVENTS, traces=True, record=True), gamma.brian2(EVENTS, record=True),
        tape, replayed.run(EVENTS), chain.brian2(EVENTS), made["mixed"].run(EVENTS), made["mixed"].brian2(EVENTS),
        made["continuous"].run(ARCHIVE), made["continuous"].brian2(ARCHIVE, mode="event"),
        EVENTS, ARCHIVE, task, TrainingOptions(), first_output(scope="sample"), spiking_gamma(K=2, tau=10 * ms),
        list(train(copy.deepcopy(gamma), task, TrainingOptions(epochs=1, batch_size=2))),
    ]  # fmt: skip
    for result in results:
        same(result, DEEP[how](result))


@pytest.mark.parametrize("how", DEEP)
def test_a_learner_goes_on_where_it_was(how):
    """That of SpikingGamma networks begins a new stream instead: see `test_gamma_boundary`."""
    learner = AsynchronousLearner(copy.deepcopy(networks()["asynchronous"]), Adam(1e-2))
    for unit in (0, 1, 2):
        learner.step([[unit, unit]], [1])
    other = DEEP[how](learner)
    for unit in (3, 4, 5, 0):
        np.testing.assert_array_equal(learner.step([[unit]], [1]), other.step([[unit]], [1]))
    same(learner.network.parameters, other.network.parameters)
    same(learner.state, other.state)


@pytest.mark.parametrize("how", DEEP)
def test_classifiers_and_exact_gradients(how):
    for kind in (SpikingGammaClassifier, AsynchronousClassifier):
        fitted = kind(epochs=1, hidden=(5,), dt=1 * ms).fit(ARCHIVE, LABELS)
        np.testing.assert_array_equal(DEEP[how](fitted).predict(ARCHIVE), fitted.predict(ARCHIVE))
    group = NeuronGroup(2, "dv/dt = (1.5 - v)/(10*ms) : 1", threshold="v > 1", reset="v = 0", method="exact")
    synapses = Synapses(group, group, "w : 1", on_pre="v_post += w")
    synapses.connect(i=0, j=1)
    synapses.w = 0.1
    found = value_and_grad([group, synapses], spike_loss("t/ms", group), wrt=[(synapses, "w")], duration=50 * ms)
    same(found, DEEP[how](found))
    assert str(DEEP[how](derive_adjoint(group))) == str(derive_adjoint(group))
    for make in READY.values():
        assert str(DEEP[how](make())) == str(make())


@pytest.mark.long
def test_networks_are_sent_to_spawned_processes():
    made = networks()
    expected = [answer(network) for network in made.values()]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        names = ["forward", "gradient"]
        found = [
            pool.apply(getattr(made["gamma"], names[0]), (EVENTS,)),
            pool.apply(made["mixed"].gradient, (EVENTS, LABELS)),
        ]
    np.testing.assert_array_equal(found[0].readout, made["gamma"].forward(EVENTS).readout)
    same(found[1].gradients, made["mixed"].gradient(EVENTS, LABELS).gradients)
    results = Parallel(n_jobs=2)(delayed(answer)(network) for network in made.values())
    same(results, expected)


@functools.cache
def exact():
    """A network of ready neurons after use, and samples."""
    network = open_origin(
        ready_origin(
            "lif", 4, 2, {"hidden": [3], "weight_pa": [9000.0, 300.0], "output_weight_pa": [500.0, 200.0]}, 0.03, 0
        )
    )
    network.parameters["to_hidden.w"] *= 1.1
    return network, Samples(SampleSpikes.of([([0, 1, 3], [1e-3, 2e-3, 4e-3]), ([2], [3e-3])]), 4, 0.03)


@pytest.mark.parametrize("how", DEEP)
def test_networks_of_brian_2_objects_are_made_again_with_their_values(how):
    network, samples = exact()
    found = network.gradient(samples, np.arange(2))
    assert any(g.any() for g in found.gradients.values())
    other = DEEP[how](network)
    same(network.parameters, other.parameters)
    again = other.gradient(samples, np.arange(2))
    assert (again.loss, again.n_spikes) == (found.loss, found.n_spikes)
    same(found.gradients, again.gradients)
    other.parameters["to_hidden.w"] *= 2
    assert network.gradient(samples, np.arange(2)).loss == found.loss


@pytest.mark.parametrize("how", DEEP)
def test_what_a_run_of_brian_2_objects_gave_is_copied_without_its_tape(how):
    network, samples = exact()
    outcome = network.forward(samples)
    other = DEEP[how](outcome)
    for name in ("losses", "spikes", "final", "maxima", "n_samples", "least_slope"):
        same(getattr(outcome, name), getattr(other, name), name)
    with pytest.raises(NetworkError, match="run again"):
        other.backward()
    outcome.backward()  # the copy took nothing away
    same(
        network.gradient(samples, np.arange(2)).gradients, DEEP[how](network.gradient(samples, np.arange(2))).gradients
    )


@pytest.mark.parametrize("how", DEEP)
def test_objects_of_brian_2_themselves_are_not_copied(how):
    inputs = SpikeGeneratorGroup(1, [], [] * ms)
    group = NeuronGroup(1, "dv/dt = -v/(10*ms) : 1", threshold="v > 1", reset="v = 0", method="exact")
    synapses = Synapses(inputs, group, "w : 1", on_pre="v_post += w")
    synapses.connect()
    network = TrainableNetwork([inputs, group, synapses], [(synapses, "w")], 10 * ms, inputs, group)
    with pytest.raises(TrainingError, match="MODEL.py:OBJECT"):
        DEEP[how](network)


@pytest.mark.parametrize("how", DEEP)
def test_fits_and_what_is_fitted(how):
    recording = fit_cases.recording(duration=0.3)
    result = fit("lif", recording, starts=1, iterations=2, generations=0, steps=0)
    other = DEEP[how](result)
    assert (other.values, other.errors, other.records) == (result.values, result.errors, result.records)
    np.testing.assert_array_equal(other.spikes(recording), result.spikes(recording))
    for name in FITTED:
        model = ready_model(name, True)
        other = DEEP[how](model)
        assert other.start == model.start
        assert (other.before is None) == (model.before is None)
        assert other.before is None or other.before()[0].start == model.before()[0].start
