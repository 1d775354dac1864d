"""What the engine of exact gradients is given, whatever it is: numbers, or one line; the engine stays whole."""

import numpy as np
import pytest
from attack import NASTY, seconds
from brian2 import ms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from brian2grad.models.errors import EngineError, NetworkError
from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.training.exact.origin import open_origin, ready_origin

pytestmark = pytest.mark.long
LAYERS = {"hidden": [5], "weight_pa": [9000.0, 4000.0], "output_weight_pa": [500.0, 200.0], "delay_ms": 2.0}
KINDS = st.sampled_from([np.float64, np.float32, np.int64, np.int32, np.uint8, np.bool_, np.complex64, "U3", object])
SHAPES = st.one_of(
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=25), st.sampled_from([(20,), (10,), (1,)])
)


@st.composite
def anything(draw):
    """An array of any kind and shape, or no array."""
    kind = draw(KINDS)
    if kind is object or draw(st.integers(0, 9)) == 0:
        found = np.empty(draw(SHAPES), object)
        found.fill(draw(st.sampled_from(NASTY)))
        return found
    return draw(arrays.arrays(kind, draw(SHAPES)))


@pytest.fixture(scope="module")
def network():
    return open_origin(ready_origin("lif", 4, 2, LAYERS | {"trained": ["w", "delay", "V_th"]}, 0.03, 0), threads=2)


def answers(network):
    spikes = SampleSpikes.of([([0, 1, 3], [1e-3, 2e-3, 4e-3]), ([2], [3e-3])])
    outcome = network.engine().run(inputs={network.inputs.name: spikes})
    hidden = next(spikes for name, spikes in outcome.spikes.items() if name != network.outputs.name)
    return outcome.maxima[network.outputs.name], hidden.times


def test_arguments_of_any_kind_give_numbers_or_one_line(network):
    engine, expected, name = network.engine(), answers(network), network.inputs.name
    keys, said = sorted(engine.network.values), []

    @settings(
        max_examples=int(60 * seconds()), deadline=10000, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(st.data())
    def attacked(data):
        values, spikes = {}, [np.array([0, 1]), np.array([1e-3, 2e-3]), np.array([0, 1, 2])]
        what = data.draw(st.sampled_from(["values", "inputs", "adjoint"]))
        if what == "values":
            values[data.draw(st.sampled_from(keys))] = data.draw(anything())
        if what == "inputs":
            spikes[data.draw(st.integers(0, 2))] = data.draw(anything())
        try:
            outcome = engine.run(values, {name: SampleSpikes(*spikes)}, threads=data.draw(st.integers(1, 3)))
            seeds = {data.draw(st.sampled_from(engine.names)): data.draw(anything())} if what == "adjoint" else {}
            found = outcome.backward(**{data.draw(st.sampled_from(["spike_times", "final", "maxima"])): seeds})
        except (NetworkError, EngineError) as error:
            said.append(str(error))
        else:
            assert all(np.isfinite(value).all() for value in found.values())

    attacked()
    assert not [text for text in said if "\n" in text]
    for before, after in zip(expected, answers(network), strict=True):
        np.testing.assert_array_equal(before, after)


def test_lengths_and_numbers_of_samples_that_are_much(network):
    """Many samples without spikes, many spikes at one time: no more memory than the arrays of the results."""
    engine, name = network.engine(), network.inputs.name
    empty = SampleSpikes(np.zeros(0, int), np.zeros(0), np.zeros(20_001, int))
    assert engine.run(inputs={name: empty}).losses.shape == (20_000,)
    many = SampleSpikes.of([(np.zeros(10_000, int), np.full(10_000, (1 * ms) / (1000 * ms)))])
    outcome = engine.run(inputs={name: many})
    assert np.isfinite(outcome.maxima[network.outputs.name]).all()
