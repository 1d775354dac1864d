"""NWB files and files of neo, written by these libraries; without them, one line says what to install."""

import datetime
import importlib.util

import numpy as np
import pytest
from brian2 import ms

from brian2grad import DataError, read_recording

N, DT = 400, 1e-4
CURRENT = 2e-10 * np.sin(np.arange(N) / 30)
PEAKS = [50, 200, 310]  # steps at which the voltage is above 0
has = {name: importlib.util.find_spec(name) is not None for name in ("pynwb", "neo")}
needs_nwb = pytest.mark.skipif(not has["pynwb"], reason="pynwb is not installed: pip install 'brian2grad[recordings]'")
needs_neo = pytest.mark.skipif(not has["neo"], reason="neo is not installed: pip install 'brian2grad[recordings]'")


def voltage(shift=0):
    v = np.full(N, -0.065)
    for peak in PEAKS:
        v[peak + shift : peak + shift + 8] = 0.03
    return v


def nwb_file(path, sweeps=2, currents=None, units=(), spared_current=False):
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.icephys import CurrentClampSeries, CurrentClampStimulusSeries

    moment = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    file = NWBFile("a cell", "cell", moment)
    device = file.create_device("amplifier")
    electrode = file.create_icephys_electrode(name="electrode", description="pipette", device=device)
    for k in range(sweeps):
        more = {"rate": 1 / DT, "starting_time": 10.0 * k, "electrode": electrode, "gain": 1.0}
        current = CURRENT if currents is None else currents[k]
        if not spared_current:
            file.add_stimulus(
                CurrentClampStimulusSeries(name=f"stimulus{k}", data=current * 1e12, conversion=1e-12, **more)
            )
        file.add_acquisition(CurrentClampSeries(name=f"answer{k}", data=voltage(k) * 1e3, conversion=1e-3, **more))
    for times in units:
        file.add_unit(spike_times=times)
    with NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    return path


def check(recording, shifts=(0, 1)):
    assert (len(recording), recording.input_unit, recording.name) == (len(shifts), "nA", "cell")
    assert recording.dt_us == pytest.approx(100)
    np.testing.assert_allclose(recording.input, CURRENT * 1e9, atol=1e-9)
    for k, shift in enumerate(shifts):
        assert recording.spike_times(k) / ms == pytest.approx((np.array(PEAKS) + shift) * 0.1)
        np.testing.assert_allclose(recording.voltage_mV[k], voltage(shift) * 1e3, rtol=1e-5)


@needs_nwb
def test_sweeps_of_an_nwb_file_are_repeats(tmp_path):
    check(read_recording(nwb_file(tmp_path / "cell.nwb")))


@needs_nwb
def test_spike_times_of_an_nwb_file_come_before_its_voltage(tmp_path):
    path = nwb_file(tmp_path / "cell.nwb", units=[[0.0021, 0.0302, 9.0, 10.0123]])
    recording = read_recording(path)
    assert recording.spike_times(0) / ms == pytest.approx([2.1, 30.2])
    assert recording.spike_times(1) / ms == pytest.approx([12.3])


@needs_nwb
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"currents": [CURRENT, 2 * CURRENT]}, "sweep 1 has another input than sweep 0"),
        ({"units": [[0.1], [0.2]]}, "holds 2 units"),
        ({"spared_current": True}, "no sweep with an injected current"),
    ],
)
def test_nwb_files_that_say_no_one_thing_are_refused(tmp_path, more, said):
    with pytest.raises(DataError, match=said):
        read_recording(nwb_file(tmp_path / "cell.nwb", **more))


def neo_file(path, trains=None, currents=None):
    import neo
    import quantities as pq

    block = neo.Block()
    for k in range(2):
        segment = neo.Segment()
        current = CURRENT if currents is None else currents[k]
        if current is not None:
            segment.analogsignals.append(
                neo.AnalogSignal(current[:, None] * 1e12, units="pA", sampling_period=DT * pq.s, t_start=10 * k * pq.s)
            )
        segment.analogsignals.append(
            neo.AnalogSignal(
                voltage(k)[:, None] * 1e3, units="mV", sampling_period=DT * pq.s, t_start=10 * k * pq.s
            )
        )  # fmt: skip
        for train in trains or ():
            segment.spiketrains.append(
                neo.SpikeTrain((train + 10 * k) * pq.s, t_start=10 * k * pq.s, t_stop=(10 * k + N * DT) * pq.s)
            )
        block.segments.append(segment)
    neo.io.NeoMatlabIO(str(path)).write_block(block)
    return path


@needs_neo
def test_segments_of_neo_are_repeats(tmp_path):
    check(read_recording(neo_file(tmp_path / "cell.mat")))


@needs_neo
def test_spike_trains_of_neo_come_before_the_voltage(tmp_path):
    recording = read_recording(neo_file(tmp_path / "cell.mat", trains=[np.array([0.0021, 0.0302])]))
    for k in range(2):
        assert recording.spike_times(k) / ms == pytest.approx([2.1, 30.2])


@needs_neo
def test_files_of_neo_without_one_meaning_are_refused(tmp_path):
    with pytest.raises(DataError, match="2 spike trains"):
        read_recording(neo_file(tmp_path / "cell.mat", trains=[np.array([0.001]), np.array([0.002])]))
    with pytest.raises(DataError, match="no sweep with an injected current"):
        read_recording(neo_file(tmp_path / "none.mat", currents=[None, None]))


@pytest.mark.parametrize(("kind", "package"), [("nwb", "pynwb"), ("mat", "neo"), ("abf", "neo")])
def test_damaged_files_and_missing_packages_are_one_line(tmp_path, kind, package):
    path = tmp_path / f"cell.{kind}"
    with pytest.raises(DataError, match="no such file"):
        read_recording(path)
    path.write_bytes(b"what is this" * 40)
    said = f"{package} cannot read it" if has[package] else r"not installed; pip install brian2grad\[recordings\]"
    with pytest.raises(DataError, match=said) as error:
        read_recording(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
