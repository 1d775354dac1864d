"""The recording archive as a value: made of quantities, shown, drawn, saved."""

import numpy as np
import pytest
from brian2 import DimensionMismatchError, ms, mV, pA, second
from matplotlib.figure import Figure

from brian2grad import DataError, RecordingArchive, read_recording

TRAINS = [[1, 2.5, 4.9] * ms, [1.1, 2.4] * ms, [] * ms]
INPUT = np.linspace(0, 300, 50) * pA


def made(**more):
    return RecordingArchive.from_repeats(TRAINS, INPUT, 0.1 * ms, **more)


def test_quantities_become_the_fields_of_a_file(tmp_path):
    recording = made(voltage=np.full((3, 50), -65.0) * mV, scored_from=0.5 * ms, name="cell")
    assert (recording.input_unit, recording.dt_us, recording.scored_from_us) == ("nA", 100, 500)
    assert recording.input[-1] == pytest.approx(0.3)
    assert recording.voltage_mV[1, 7] == pytest.approx(-65)
    recording.save(tmp_path / "cell.npz")
    again = read_recording(tmp_path / "cell.npz")
    for k, train in enumerate(TRAINS):
        np.testing.assert_allclose(again.spike_times(k) / ms, train / ms, rtol=1e-12)
    np.testing.assert_array_equal(again.input, recording.input)
    np.testing.assert_array_equal(again.voltage_mV, recording.voltage_mV)
    assert (again.name, again.scored_from_us) == ("cell", 500)


def test_units_are_asked_for_and_checked():
    with pytest.raises(DataError, match="say its unit by input_unit"):
        RecordingArchive.from_repeats(TRAINS, np.ones(50), 0.1 * ms)
    assert RecordingArchive.from_repeats(TRAINS, np.ones(50), 0.1 * ms, input_unit="volt").input_unit == "volt"
    with pytest.raises(DimensionMismatchError, match="spike_times must be a time"):
        RecordingArchive.from_repeats([[1, 2] * mV], INPUT, 0.1 * ms)
    with pytest.raises(DimensionMismatchError, match="dt must be a time"):
        RecordingArchive.from_repeats(TRAINS, INPUT, 0.1)
    with pytest.raises(DataError, match="after the end of 'input'"):
        RecordingArchive.from_repeats([[6] * ms], INPUT, 0.1 * ms)


def test_what_is_seen_of_it():
    shown = repr(made(scored_from=0.5 * ms, name="cell"))
    for text in ("cell", "repeats", "5 (0 to 3 a repeat)", "in steps of 100 us", "0 to 0.3 nA", "from 0.0005 s"):
        assert text in shown
    assert "voltage" not in shown
    assert "<table>" in made()._repr_html_()


def test_the_picture_holds_every_repeat_and_the_voltage_where_there_is_one():
    figure = made(scored_from=2 * ms).plot()
    assert len(figure.axes) == 2
    assert [len(c.get_positions()) for c in figure.axes[1].collections] == [3, 2, 0]
    assert len(made(voltage=np.zeros((3, 50)) * mV).plot().axes) == 3
    ax = Figure().subplots(2)
    part = made().plot(start=1 * ms, end=3 * ms, axes=ax)
    assert part is ax[0].figure
    assert ax[1].get_xlim() == pytest.approx((1e-3, 3e-3))
    assert ax[0].lines[0].get_xdata()[[0, -1]] == pytest.approx([1.05e-3, 2.95e-3])


def test_a_part_is_run_from_the_beginning_and_scored_from_its_own():
    part = made(voltage=np.zeros((3, 50)) * mV).part(1 * ms, 2.5 * ms)
    assert (len(part.input), part.scored_from_us, part.voltage_mV.shape) == (25, 1000, (3, 25))
    assert [len(part.spike_times(k)) for k in range(3)] == [1, 2, 0]
    assert made(scored_from=2 * ms).part(1 * ms).scored_from_us == 2000
    with pytest.raises(DataError, match="is no part of"):
        made().part(3 * ms, 2 * ms)
    with pytest.raises(DimensionMismatchError, match="start must be a time"):
        made().part(3)


def test_pictures_of_nothing_are_refused():
    with pytest.raises(DataError, match="is no part of"):
        made().plot(start=7 * second)
    with pytest.raises(DataError, match="give 2"):
        made().plot(axes=Figure().subplots(3))
    with pytest.raises(DimensionMismatchError, match="end must be a time"):
        made().plot(end=3)
