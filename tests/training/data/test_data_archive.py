"""Event archives: round trips, subsets, and one test for every refusal."""

import dataclasses
import os

import numpy as np
import pytest
from brian2 import ms
from brian2.tests.utils import assert_allclose

from brian2grad.training.data import DataError, EventArchive, read_archive, shift_units


def fields(**changed):
    """Return the fields of a small correct archive: 3 samples with 3, 0 and 2 events."""
    base = {
        "units": np.array([0, 3, 1, 2, 2], np.uint16),
        "times": np.array([1, 5, 5, 0, 7], np.uint16),
        "offsets": np.array([0, 3, 3, 5], np.int64),
        "labels": np.array([1, 0, 2], np.uint8),
        "n_units": 4,
        "time_unit_us": 1000,
    }
    return {**base, **changed}


def stored(tmp_path, **changed):
    content = {name: value for name, value in fields(**changed).items() if value is not None}
    np.savez(tmp_path / "some.npz", **content)
    return tmp_path / "some.npz"


REFUSALS = [
    ({"units": np.zeros(5, np.int64)}, r"'units' has dtype int64; store it as uint16"),
    ({"units": np.zeros((5, 1), np.uint16)}, r"'units' has 2 dimensions"),
    ({"units": np.array([0, 3, 1, 4, 2], np.uint16)}, r"'units' is 4 at index 3, but n_units is 4"),
    ({"times": np.zeros(5, np.float32)}, r"'times' has dtype float32; store it as uint"),
    (
        {"times": np.array([1, 5, 4, 0, 7], np.uint16)},
        r"'times' isn't sorted in sample 0: 4 after 5 at index 2",
    ),
    (
        {"times": np.array([1, 5, 5, 9, 7], np.uint16)},
        r"'times' isn't sorted in sample 2: 7 after 9 at index 4",
    ),
    ({"times": np.zeros(4, np.uint16)}, r"'times' has 4 entries, but 'units' has 5"),
    ({"offsets": np.array([0, 3, 3, 5], np.int32)}, r"'offsets' has dtype int32; store it as int64"),
    ({"offsets": np.array([1, 3, 3, 5])}, r"'offsets' starts at 1 \(index 0\)"),
    ({"offsets": np.array([0, 4, 3, 5])}, r"'offsets' isn't monotonic: 3 after 4 at index 2"),
    ({"offsets": np.array([0, 3, 3, 9])}, r"'offsets' ends at 9 \(index 3\), but 'units' has 5 entries"),
    ({"offsets": np.array([], np.int64)}, r"'offsets' is empty"),
    ({"labels": np.zeros(3, np.int64)}, r"'labels' has dtype int64; store it as uint8"),
    ({"labels": np.zeros(2, np.uint8)}, r"'labels' has 2 entries, but 'offsets' describes 3 samples"),
    ({"n_units": 4.0}, r"'n_units' must be one integer, not 4.0"),
    ({"n_units": 0}, r"'n_units' is 0; it must be positive"),
    ({"time_unit_us": -1.0}, r"'time_unit_us' is -1.0; it must be positive"),
    ({"time_unit_us": np.nan}, r"'time_unit_us' is nan; it must be positive"),
    ({"labels_per_step": np.zeros((3, 4))}, r"'labels_per_step' has dtype float64"),
    ({"labels_per_step": np.zeros((2, 4), np.uint8)}, r"'labels_per_step' has shape \(2, 4\)"),
    ({"labels_per_step": np.array([[0], [-1], [0]])}, r"'labels_per_step' is negative at index \(1, 0\)"),
]


@pytest.mark.parametrize(("changed", "message"), REFUSALS)
def test_malformed_archive_is_refused_in_memory_and_from_a_file(tmp_path, changed, message):
    with pytest.raises(DataError, match="^event archive: field " + message):
        EventArchive(**fields(**changed))
    path = stored(tmp_path, **changed)
    with pytest.raises(DataError, match=message) as refusal:
        read_archive(path)
    assert str(refusal.value).startswith(f"{path}: field ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("field", ["units", "times", "offsets", "labels", "n_units", "time_unit_us"])
def test_missing_field_is_refused(tmp_path, field):
    path = stored(tmp_path, **{field: None})
    with pytest.raises(DataError, match=f"field '{field}' is missing"):
        read_archive(path)


def test_field_of_python_objects_is_refused(tmp_path):
    path = stored(tmp_path, labels=np.array([1, None, 2], object))
    with pytest.raises(DataError, match="field 'labels' is missing or unreadable"):
        read_archive(path)


@pytest.mark.parametrize("part", [0, 0.3, 0.7, 0.95])
def test_truncated_file_is_refused(tmp_path, part):
    path = stored(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(DataError, match=r"some\.npz: truncated, damaged or not an \.npz file"):
        read_archive(path)


def test_flipped_bits_are_refused(tmp_path):
    path = stored(tmp_path)
    content = bytearray(path.read_bytes())
    place = content.index(fields()["times"].tobytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"some\.npz: truncated or damaged"):
        read_archive(path)


@pytest.mark.parametrize("name", ["missing.npz", "."])
def test_missing_file_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="no such file"):
        read_archive(tmp_path / name)


def test_single_array_file_is_refused(tmp_path):
    np.save(tmp_path / "one.npy", np.arange(3))
    with pytest.raises(DataError, match="not an .npz file"):
        read_archive(tmp_path / "one.npy")


def test_round_trip_keeps_everything(tmp_path):
    steps = np.array([[0, 1], [1, 1], [4, 0]], np.uint8)
    extra = {"speaker": np.array(["ann", "bob", "ann"]), "take": np.arange(3)}
    archive = EventArchive(**fields(), labels_per_step=steps, extra=extra)
    archive.save(tmp_path / "saved.npz")
    again = read_archive(tmp_path / "saved.npz")
    assert again.sha256 == archive.sha256
    assert again.name == "saved"
    assert again.n_classes == 5
    assert again.extra.keys() == extra.keys()
    np.testing.assert_array_equal(again.labels_per_step, steps)
    np.testing.assert_array_equal(again.extra["speaker"], extra["speaker"])
    assert os.listdir(tmp_path) == ["saved.npz"]  # no partial file stays behind


def test_reader_keeps_extras_of_every_sample_and_ignores_others(tmp_path):
    path = stored(tmp_path, source_index=np.arange(3), remark="hello", table=np.zeros((7, 2)))
    archive = read_archive(path)
    assert list(archive.extra) == ["source_index"]
    assert archive.labels_per_step is None


def test_reader_takes_big_endian_numbers(tmp_path):
    path = stored(tmp_path, units=fields()["units"].astype(">u2"))
    archive = read_archive(path)
    assert archive.units.dtype == np.uint16
    np.testing.assert_array_equal(archive.units, fields()["units"])


def test_save_into_missing_folder_is_refused_and_leaves_no_trace(tmp_path):
    with pytest.raises(DataError, match="can't be written"):
        EventArchive(**fields()).save(tmp_path / "missing" / "some.npz")
    assert not list(tmp_path.iterdir())


def test_length_duration_and_classes():
    archive = EventArchive(**fields())
    assert len(archive) == 3
    assert archive.n_classes == 3
    assert_allclose(archive.duration, 8 * ms)
    empty = archive[3:]
    assert (len(empty), empty.n_classes, float(empty.duration)) == (0, 0, 0.0)


@pytest.mark.parametrize(
    ("which", "labels", "units"),
    [
        (0, [1], [0, 3, 1]),
        (-1, [2], [2, 2]),
        (np.int64(1), [0], []),
        (slice(1, 3), [0, 2], [2, 2]),
        (slice(None, None, 2), [1, 2], [0, 3, 1, 2, 2]),
        ([2, 0, 2], [2, 1, 2], [2, 2, 0, 3, 1, 2, 2]),
        (np.array([True, False, True]), [1, 2], [0, 3, 1, 2, 2]),
        (slice(2, 1), [], []),
    ],
)
def test_subsets_are_well_formed(which, labels, units):
    archive = EventArchive(**fields(), extra={"take": np.array([7, 8, 9])})
    part = archive[which]
    np.testing.assert_array_equal(part.labels, labels)
    np.testing.assert_array_equal(part.units, units)
    takes = {1: 7, 0: 8, 2: 9}
    np.testing.assert_array_equal(part.extra["take"], [takes[label] for label in labels])
    dataclasses.replace(part)  # runs all checks of the constructor


def test_index_out_of_range():
    with pytest.raises(IndexError, match="sample 3 of an archive with 3 samples"):
        EventArchive(**fields())[3]


def test_from_samples():
    samples = [([0, 3, 1], [1, 5, 5]), ([], []), ([2, 2], [0, 7])]
    archive = EventArchive.from_samples(samples, [1, 0, 2], 4, 1000)
    for field in ("units", "times", "offsets", "labels"):
        np.testing.assert_array_equal(getattr(archive, field), fields()[field])


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([([0, 1], [1])], "sample 0 has 2 units but 1 times"),
        ([([0, -1], [1, 2])], "'units' is -1 at index 1 of entry 0"),
        ([([0, 1], [1.0, 2.0])], "'times' has dtype float64; it must be integer"),
    ],
)
def test_from_samples_refuses(samples, message):
    with pytest.raises(DataError, match=message):
        EventArchive.from_samples(samples, [0], 4, 1000)


def test_extra_may_not_hide_a_field():
    with pytest.raises(DataError, match="extra 'labels' has the name of a field"):
        EventArchive(**fields(), extra={"labels": np.arange(3)})
    with pytest.raises(DataError, match="field 'take' must have one entry for each of the 3 samples"):
        EventArchive(**fields(), extra={"take": np.arange(2)})


def test_shift_units_moves_events_and_drops_those_that_leave():
    width, height = 4, 3
    frame = np.arange(2 * width * height, dtype=np.uint16)
    shifted, kept = shift_units(frame, len(frame), width, height, dx=1, dy=-1)
    image = np.zeros((2, height, width), int)
    image.flat[shifted] = frame[kept]
    expected = np.zeros_like(image)
    expected[:, :-1, 1:] = frame.reshape(2, height, width)[:, 1:, :-1]
    np.testing.assert_array_equal(image, expected)
    assert shifted.dtype == np.uint16
    each, _ = shift_units(frame, len(frame), width, height, np.full(frame.size, 1), np.full(frame.size, -1))
    np.testing.assert_array_equal(each, shifted)
    with pytest.raises(DataError, match="25 units"):
        shift_units(frame, 25, width, height, 0, 0)
