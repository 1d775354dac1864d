"""Recordings of neurons: read whole, or refused by field."""

import os

import numpy as np
import pytest
from brian2 import ms

from brian2grad.training.data import DataError, read_recording

FIELDS = {
    "dt_us": np.int64(100),
    "input": np.linspace(0, 1, 50, dtype=np.float32),
    "input_unit": np.array("nA"),
    "spike_times_us": np.array([1000, 2500, 4900, 1100, 2400]),
    "offsets": np.array([0, 3, 5]),
    "voltage_mV": np.zeros((2, 50), np.float32),
    "scored_from_us": np.int64(500),
}


def written(folder, **changed):
    path = folder / "cell.npz"
    np.savez(path, **{k: v for k, v in {**FIELDS, **changed}.items() if v is not None})
    return path


def test_repeats_spikes_and_input_are_read(tmp_path):
    recording = read_recording(written(tmp_path))
    assert (len(recording), recording.input_unit, recording.dt_us, recording.scored_from_us) == (2, "nA", 100, 500)
    assert recording.duration / ms == pytest.approx(5)
    assert recording.spike_times(0) / ms == pytest.approx([1, 2.5, 4.9])
    assert recording.spike_times(1) / ms == pytest.approx([1.1, 2.4])
    assert recording.voltage_mV.shape == (2, 50)


def test_voltage_and_start_of_scoring_may_be_left_out(tmp_path):
    recording = read_recording(written(tmp_path, voltage_mV=None, scored_from_us=None))
    assert recording.voltage_mV is None
    assert recording.scored_from_us == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dt_us": np.int64(0)}, "'dt_us' is 0; 0.001 to"),
        ({"input": np.array([0, np.inf])}, "'input' is inf at index 1; it must be finite"),
        ({"input": np.zeros((2, 25))}, "'input' has 2 dimensions"),
        ({"input": np.zeros(0), "scored_from_us": None}, "'input' is empty"),
        ({"input_unit": np.array(["nA", "mV"])}, r"'input_unit' has shape \(2,\)"),
        ({"spike_times_us": np.array([1000, -1, 4900, 1100, 2400])}, "'spike_times_us' is -1 at index 1"),
        ({"spike_times_us": np.array([1000, 2500, 5001, 1100, 2400])}, "5001 at index 2, after the end of 'input'"),
        ({"spike_times_us": np.array([1000, 2500, 2400, 1100, 2400])}, "'spike_times_us' falls at index 2"),
        ({"offsets": np.array([0, 3, 4])}, "'offsets' ends at 4"),
        ({"offsets": np.array([0, 3.0, 5])}, "'offsets' has dtype float64"),
        ({"offsets": np.array([5]), "spike_times_us": np.zeros(0)}, "'offsets' starts at 5"),
        ({"voltage_mV": np.zeros((3, 50))}, r"'voltage_mV' has shape \(3, 50\); it must be \(2, 50\)"),
        ({"voltage_mV": np.zeros((2, 49))}, r"'voltage_mV' has shape \(2, 49\); it must be \(2, 50\)"),
        ({"scored_from_us": np.int64(5000)}, "'scored_from_us' is 5000, but 'input' ends at 5000"),
        ({"input_unit": None, "offsets": None}, "'input_unit' is missing.*'offsets' is missing"),
    ],
)
def test_a_malformed_field_is_refused_by_name(tmp_path, changed, message):
    path = written(tmp_path, **changed)
    with pytest.raises(DataError, match=message) as error:
        read_recording(path)
    assert str(path) in str(error.value)


@pytest.mark.data
@pytest.mark.skipif("BRIAN2GRAD_DATA" not in os.environ, reason="BRIAN2GRAD_DATA isn't set: no recordings to read")
@pytest.mark.parametrize(("name", "repeats", "spikes"), [("patchclamp", 9, 1405), ("receptor1", 1, 688)])
def test_real_recordings(name, repeats, spikes):
    recording = read_recording(f"{os.environ['BRIAN2GRAD_DATA']}/{name}_train.npz")
    assert (len(recording), len(recording.spike_times_us)) == (repeats, spikes)
