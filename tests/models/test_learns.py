"""What training relies on, of every network: protocols, parameters seen in place, copies, files of older versions."""

import copy
import pickle

import h5py
import numpy as np
import pytest
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, AsynchronousSpikingGamma, NetworkError, SpikingGammaNetwork
from brian2grad.models.gradients import GRADIENTS, Filter, Online, Unlayered, parse_gradient
from brian2grad.models.hdf5 import read_sealed
from brian2grad.models.order.stopping import Stop, as_stop, first_output, further_steps
from brian2grad.models.protocols import Learns, Runs, Stored
from brian2grad.training import Adam, AsynchronousLearner, OnlineLearner, Run, TrainingOptions, train
from brian2grad.training.tasks import Task

SIZES, LABELS = (6, 5, 3), np.array([0, 1, 2])


def networks():
    gamma = {"K": 3, "theta": 0.3, "dt": 10 * ms, "threads": 1, "seed": 4}
    return {
        "gamma": SpikingGammaNetwork(SIZES, train_tau=True, **gamma),
        "asynchronous": AsynchronousNetwork(
            SIZES, V_th=0.2, dt=10 * ms, trained=("w", "V_th", "tau_m"), seed=4, threads=1, forward_group=2
        ),
        "asynchronous gamma": AsynchronousSpikingGamma(SIZES, forward_group=2, **gamma),
    }


NAMES = tuple(networks())


@pytest.mark.parametrize("name", NAMES)
def test_networks_have_what_the_protocols_say(name):
    network = networks()[name]
    for protocol in (Runs, Learns, Stored):
        own = [member for member in (*protocol.__annotations__, *vars(protocol)) if not member.startswith("_")]
        assert own
        assert not [member for member in own if not hasattr(network, member)]
    assert network.info.keys() == network.parameters.keys()
    assert [n for n, info in network.info.items() if info.decays] == [n for n in network.parameters if n[-2:] == ".w"]


@pytest.mark.parametrize("name", NAMES)
def test_a_change_in_place_is_seen_by_runs_and_gradients(name, random_events):
    events, network = random_events(), networks()[name]
    before, again = (network.loss_and_grad(events, LABELS)[0] for _ in range(2))
    assert before == again
    for parameter, value in network.parameters.items():
        if network.info[parameter].decays:
            value *= 1.5
    changed = networks()[name]
    changed.set_parameters({n: v.copy() for n, v in network.parameters.items()})
    found, expected = network.loss_and_grad(events, LABELS), changed.loss_and_grad(events, LABELS)
    assert found[0] == expected[0] != before
    for parameter, value in expected[1].items():
        np.testing.assert_array_equal(found[1][parameter], value)
    np.testing.assert_array_equal(network.predict(events), changed.predict(events))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_after_use(name, copied, random_events):
    events, network = random_events(), networks()[name]
    (found,) = network.gradients(events, LABELS)
    other = copied(network)
    np.testing.assert_array_equal(next(iter(other.gradients(events, LABELS))).outputs, found.outputs)
    np.testing.assert_array_equal(copied(found).outputs, found.outputs)
    for value in other.parameters.values():
        value *= 2
    assert next(iter(network.gradients(events, LABELS))).loss == found.loss
    assert len(copied(Task(events, LABELS, 1.0))) == len(LABELS)


def test_learners_can_be_copied_between_streams(random_events):
    learner = AsynchronousLearner(networks()["asynchronous"], Adam(1e-3), n_streams=3)
    learner.step(random_events().steps(0, 1), LABELS)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(learner)).state, learner.state)
    online = OnlineLearner(networks()["gamma"], window=4)
    online.step([1, 2], target=0)
    online.finish()
    other = copy.deepcopy(online)
    np.testing.assert_array_equal(other.step([1, 2], target=0), online.step([1, 2], target=0))


def test_a_run_whose_time_constants_have_the_old_name_goes_on(tmp_path, random_events):
    events = random_events(n_samples=12)
    task, options = Task(events, np.arange(12) % 3, 1.0), TrainingOptions(epochs=2, batch_size=4, learning_rate=0.01)
    whole, begun, resumed = (networks()["asynchronous"] for _ in range(3))
    list(train(whole, task, options))
    run = Run.create(tmp_path / "run", {})
    records = train(begun, task, options, run=run)
    next(records)
    records.close()
    path = tmp_path / "run" / "checkpoint.h5"
    attributes, arrays = read_sealed(path)
    with h5py.File(path, "w") as file:  # as it was written then, without a checksum
        file.attrs.update(attributes | {"format": attributes["format"].replace("version 2", "version 1")})
        for name, value in arrays.items():
            file[name] = value
        for group, prefix in (("parameters", ""), ("optimiser", "first."), ("optimiser", "second.")):
            file.move(f"{group}/{prefix}neurons.tau_m", f"{group}/{prefix}neurons.tau")
    list(train(resumed, task, options, run=run, resume=True))
    for name, value in whole.parameters.items():
        np.testing.assert_array_equal(resumed.parameters[name], value)


def test_gradients_are_read_by_their_names():
    assert [parse_gradient(name) for name in GRADIENTS] == [kind() for kind in GRADIENTS.values()]
    assert parse_gradient("online", window=3) == Online(3)
    assert parse_gradient("unlayered", reset="detached") == Unlayered(reset="detached")
    for arguments, text in (
        (("bptt",), "rule='bptt' is unknown; available: filter, direct, detached, online"),
        (("filter", 3), "has no option window; its options are clip"),
        (("online", 0), "window = 0"),
    ):
        with pytest.raises(NetworkError, match=text):
            parse_gradient(arguments[0], **({"window": arguments[1]} if arguments[1:] else {}))


def test_an_illegal_pair_is_refused_with_the_legal_ones(random_events):
    for name, rule, legal in (
        ("gamma", Unlayered(), "Filter, Online, Direct, Detached"),
        ("asynchronous", Filter(), "Unlayered, Online"),
        ("asynchronous gamma", Online(), "Filter, Direct, Detached"),
    ):
        with pytest.raises(NetworkError, match=f"it takes {legal}"):
            list(networks()[name].gradients(random_events(), LABELS, rule=rule))


def test_clipping_is_that_of_the_gradient_for_every_network(random_events):
    for name, rule in (("gamma", Filter), ("asynchronous", Unlayered), ("asynchronous gamma", Filter)):
        network = networks()[name]
        full, clipped = (network.gradient(random_events(), LABELS, rule=rule(clip=c)) for c in (None, 1e-3))
        for parameter, value in full.gradients.items():
            np.testing.assert_allclose(clipped.gradients[parameter], value * 1e-3 / clipped.norm, rtol=1e-5, atol=1e-12)


def test_the_text_of_a_stop_rule_has_one_meaning(random_events):
    assert as_stop("first-output") == first_output(scope="sample")
    assert as_stop(2) == as_stop("2") == further_steps(2, scope="sample")
    assert as_stop("drained") == Stop()
    with pytest.raises(NetworkError, match="stop = 'later' is unknown"):
        as_stop("later")
