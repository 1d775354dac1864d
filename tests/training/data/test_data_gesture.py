"""Reader of DVS128 Gesture, on files written here as published."""

import numpy as np
import pytest
from gesture_files import packet, write_gestures, write_recording

from brian2grad.training.data import DataError, load, load_splits, read_gestures
from brian2grad.training.data.gesture import read_polarity_events

TABLE = [(1, 1_000_000, 1_006_000), (11, 1_010_000, 1_020_000)]
EVENTS = [(127, 0, 1, 1_000_100, 1), (4, 9, 0, 1_003_999, 1), (5, 10, 0, 1_003_100, 1), (0, 127, 1, 1_019_999, 1)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BRIAN2GRAD_CACHE", str(tmp_path / "cache"))


def test_valid_polarity_events_of_every_packet_are_read(tmp_path):
    one = packet([(3, 100, 1, 7, 1), (1, 2, 0, 8, 0)], spare=2)
    other = packet([(127, 5, 0, 4, 1)], overflow=3)
    write_recording(tmp_path / "a.aedat", [one, packet([(0, 0, 0, 0, 1)], kind=0), other], TABLE)
    x, y, polarity, times = read_polarity_events(tmp_path / "a.aedat")
    np.testing.assert_array_equal([x, y, polarity], [[3, 127], [100, 5], [1, 0]])
    np.testing.assert_array_equal(times, [7, 3 * 2**31 + 4])


def test_gestures_are_cut_out_and_pixels_merged(tmp_path):
    archive = read_gestures(write_gestures(tmp_path / "set", [1, 24], lambda user: EVENTS, TABLE))
    np.testing.assert_array_equal(archive.labels, [0, 10])
    np.testing.assert_array_equal(archive.extra["speaker"], [1, 1])
    assert (archive.n_units, archive.time_unit_us) == (2048, 1000)
    np.testing.assert_array_equal(archive.offsets, [0, 2, 3])  # two pixels of one block within a millisecond: one event
    np.testing.assert_array_equal(archive.units, [1024 + 31, 2 * 32 + 1, 1024 + 31 * 32])
    np.testing.assert_array_equal(archive.times, [0, 3, 9])
    whole = read_gestures(tmp_path / "set", "test", pixels=128)
    np.testing.assert_array_equal(whole.extra["speaker"], [24, 24])
    np.testing.assert_array_equal(whole.units, [128**2 + 127, 9 * 128 + 4, 10 * 128 + 5, 128**2 + 127 * 128])


def test_users_are_held_out_and_the_test_part_is_left_alone(tmp_path):
    write_gestures(tmp_path / "DvsGesture", range(1, 9), lambda user: EVENTS, TABLE, tested=2)
    train, validation = load_splits("dvsgesture", tmp_path)
    assert (set(train.extra["speaker"]), set(validation.extra["speaker"])) == ({1, 2, 3, 4, 5}, {6})
    assert set(load_splits("dvsgesture", tmp_path, held_out_speaker=2)[1].extra["speaker"]) == {2}
    assert set(load("dvsgesture", tmp_path, "test").extra["speaker"]) == {7, 8}
    assert len(load(tmp_path / "DvsGesture")) == 12


def test_a_changed_recording_is_read_again(tmp_path):
    folder = write_gestures(tmp_path / "set", [1, 2], lambda user: EVENTS, TABLE)
    assert len(read_gestures(folder).units) == 3
    write_recording(folder / "user01_led.aedat", [packet(EVENTS[:1])], TABLE)
    assert len(read_gestures(folder).units) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw[:-3], r"user01_led\.aedat: packet 0 is cut short; copy the file again"),
        (lambda raw: raw + b"1234", "packet 1 is cut short in its header"),
        (lambda raw: raw.replace(b"3.1", b"2.0"), "begins with '#!AER-DAT2.0', not with '#!AER-DAT3.1'"),
        (lambda raw: raw.replace(b"END-", b"E-"), "header has no end"),
        (lambda raw: raw + packet(EVENTS, size=7), "packet 1 has 4 of 4 events of 7 bytes"),
        (lambda raw: raw + packet([(128, 3, 0, 9, 1)]), "event 4 lies at x = 128, y = 3, outside the 128 x 128 pixels"),
    ],
)
def test_a_damaged_recording_is_refused(tmp_path, change, message):
    folder = write_gestures(tmp_path / "set", [1, 2], lambda user: EVENTS, TABLE)
    path = folder / "user01_led.aedat"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=message) as refusal:
        read_gestures(folder)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("user01_led_labels.csv", "class,startTime_usec\n1,2\n", "line 2 has no whole numbers class, startTime_usec"),
        ("user01_led_labels.csv", "class,startTime_usec,endTime_usec\n12,2,3\n", r"class 12 \(1 to 11\) from 2 to 3"),
        ("user01_led_labels.csv", "class,startTime_usec,endTime_usec\n", "holds no gestures"),
        ("trials_to_train.txt", "../user01_led.aedat\n", r"trials_to_train\.txt: lists '\.\./user01_led\.aedat'"),
        ("trials_to_train.txt", "", "lists no recordings"),
        ("trials_to_train.txt", "user03_lab.aedat", r"user03_lab\.aedat: no such file, but trials_to_train\.txt lists"),
    ],
)
def test_a_wrong_table_or_list_is_refused(tmp_path, name, text, message):
    folder = write_gestures(tmp_path / "set", [1, 2], lambda user: EVENTS, TABLE)
    (folder / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_gestures(folder)


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"trials_to_train\.txt: can't be read"):
        read_gestures(tmp_path)
    with pytest.raises(DataError, match=r"DvsGesture/trials_to_train\.txt: no such file \(data set 'dvsgesture'\)"):
        load("dvsgesture", tmp_path)
    with pytest.raises(DataError, match="pixels = 30; it is one of 8, 16, 32, 64, 128"):
        read_gestures(tmp_path, pixels=30)
