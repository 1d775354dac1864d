"""Event archives: round trips, subsets, and one test for every refusal."""

import dataclasses
import os
import shutil
import tracemalloc
import zipfile

import numpy as np
import pytest
from brian2 import ms
from brian2.tests.utils import assert_allclose

from brian2grad.training.data import DataError, EventArchive, npz, read_archive, shift_units
from brian2grad.training.data.npz import cached_archive


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
    ({"units": np.zeros(5, np.float64)}, r"'units' has dtype float64; store it as uint16"),
    ({"units": np.array([0, 3, -1, 2, 2])}, r"'units' is -1 at index 2; 0 to 65535 fit"),
    ({"units": np.array([0, 3, 2**16, 2, 2])}, r"'units' is 65536 at index 2; 0 to 65535 fit"),
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
    ({"times": np.array([1, -5, 5, 0, 7])}, r"'times' is -5 at index 1; 0 to 9.223372037e\+18 fit"),
    ({"times": np.array([1, 5, 5, 0, 2**63], np.uint64)}, r"'times' is 9223372036854775808 at index 4; 0 to"),
    ({"offsets": np.array([0.0, 3, 3, 5])}, r"'offsets' has dtype float64; store it as int64"),
    ({"offsets": np.array([0, 3, 3, 2**63], np.uint64)}, r"'offsets' is 9223372036854775808 at index 3"),
    ({"offsets": np.array([1, 3, 3, 5])}, r"'offsets' starts at 1 \(index 0\)"),
    ({"offsets": np.array([0, 4, 3, 5])}, r"'offsets' isn't monotonic: 3 after 4 at index 2"),
    ({"offsets": np.array([0, 3, 3, 9])}, r"'offsets' ends at 9 \(index 3\), but 'units' has 5 entries"),
    ({"offsets": np.array([], np.int64)}, r"'offsets' is empty"),
    ({"labels": np.array([True, False, True])}, r"'labels' has dtype bool; store it as uint8"),
    ({"labels": np.array([1, 0, 256])}, r"'labels' is 256 at index 2; 0 to 255 fit"),
    ({"labels": np.zeros(2, np.uint8)}, r"'labels' has 2 entries, but 'offsets' describes 3 samples"),
    ({"n_units": 4.0}, r"'n_units' (must be one integer, not 4.0|has dtype float64; store it as integer)"),
    ({"n_units": 0}, r"'n_units' is 0; 1 to 65536 fit"),
    ({"n_units": 2**60}, r"'n_units' is 1152921504606846976; 1 to 65536 fit"),
    ({"time_unit_us": -1.0}, r"'time_unit_us' is -1.0; 1e-06 to 1000000000 fit"),
    ({"time_unit_us": np.nan}, r"'time_unit_us' is nan; 1e-06 to"),
    ({"time_unit_us": 1e300}, r"'time_unit_us' is 1e\+300; 1e-06 to"),
    ({"labels_per_step": np.zeros((3, 4))}, r"'labels_per_step' has dtype float64"),
    ({"labels_per_step": np.zeros((2, 4), np.uint8)}, r"'labels_per_step' has shape \(2, 4\)"),
    ({"labels_per_step": np.array([[0], [-1], [0]])}, r"'labels_per_step' is -1 at index \(1, 0\); 0 to 255 fit"),
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
    with pytest.raises(DataError, match="field 'labels' holds Python objects, which are never read; store it as uint8"):
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


def test_every_wrong_field_is_named_at_once(tmp_path):
    path = stored(tmp_path, units=np.array([0, 3, 1, -4, 2]), labels=np.array([1, 300, 2]), times=None, n_units=0)
    with pytest.raises(DataError) as refusal:
        read_archive(path)
    text = str(refusal.value)
    assert text.startswith(f"{path}: field 'n_units' is 0; 1 to 65536 fit; field 'units' is -4 at index 3; 0 to 65535")
    assert "field 'times' is missing; an event archive needs n_units," in text
    assert text.endswith("field 'labels' is 300 at index 1; 0 to 255 fit")
    with pytest.raises(DataError, match="offsets. ends at 9 .*; field .units. is 3 at index 1, but n_units is 3"):
        EventArchive(**fields(offsets=np.array([0, 3, 3, 9]), n_units=3))


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint32, np.int64, np.uint64, ">i4"])
def test_other_integers_that_fit_are_taken(tmp_path, kind):
    content = {name: value.astype(kind) for name, value in fields().items() if isinstance(value, np.ndarray)}
    for archive in (read_archive(stored(tmp_path, **content)), EventArchive(**fields(**content))):
        for name, value in fields().items():
            np.testing.assert_array_equal(getattr(archive, name), value)
        assert (archive.units.dtype, archive.offsets.dtype, archive.labels.dtype) == (np.uint16, np.int64, np.uint8)
        assert archive.times.dtype == f"u{np.dtype(kind).itemsize}"


def test_archive_without_events_is_refused(tmp_path):
    path = stored(tmp_path, units=np.zeros(0, np.uint16), times=np.zeros(0, np.uint16), offsets=np.zeros(4, np.int64))
    with pytest.raises(DataError, match=r"some\.npz: field 'units' is empty; an archive without any event"):
        read_archive(path)


def test_unknown_fields_are_not_read_whatever_they_hold(tmp_path):
    path = stored(tmp_path, more=np.zeros(3), speaker=np.array([1, None, "x"], object), take=np.zeros(4, int))
    content = bytearray(path.read_bytes())
    place = content.index(np.zeros(3).tobytes())
    content[place] ^= 0xFF  # its checksum no longer fits
    path.write_bytes(content)
    archive = read_archive(path)
    assert archive.extra == {}
    np.testing.assert_array_equal(archive.units, fields()["units"])


def forged(tmp_path, member, content):
    """Archive of which one member is replaced by other bytes."""
    path = stored(tmp_path)
    with zipfile.ZipFile(path) as old:
        members = {info.filename: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, stays in members.items():
            new.writestr(name, content if name == f"{member}.npy" else stays)
    return path


def header(shape, dtype="<u2"):
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def refused_in_little_memory(path, message):
    tracemalloc.start()
    with pytest.raises(DataError, match=message):
        read_archive(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header((2**60,)) + bytes(10), r"'units' claims 1152921504606846976 values, but 10 bytes are stored"),
        (header((5,)) + bytes(8), r"'units' claims 5 values, but 8 bytes are stored"),
        (header((5,)) + bytes(12), r"'units' claims 5 values, but 12 bytes are stored"),
        (header((-5,)) + bytes(10), r"'units' has shape \(-5,\)"),
        (header((2**60,), "<U0"), r"'units' has dtype <U0; store it as uint16"),
        (header((5,), "|O"), r"'units' holds Python objects, which are never read"),
        (header("(" * 90), r"some\.npz: truncated or damaged"),
        (b"no array", r"some\.npz: truncated or damaged"),
        (b"", r"some\.npz: truncated or damaged"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_a_field_claims_is_compared_with_what_is_there(tmp_path, content, message):
    refused_in_little_memory(forged(tmp_path, "units", content), message)


def test_a_field_that_is_packed_too_well_is_refused(tmp_path):
    path = forged(tmp_path, "units", header((2**27,)) + bytes(2**28))
    refused_in_little_memory(path, r"'units' takes 256 MiB, too much for a file of this size; store it with")


def test_fields_that_fit_alone_but_not_together_are_refused(tmp_path, monkeypatch):
    n = 10_000
    path = stored(
        tmp_path, units=np.zeros(n, np.uint16), times=np.zeros(n, np.uint16), offsets=np.array([0, n, n, n]),
    )  # fmt: skip
    monkeypatch.setattr(npz, "TIMES", 0)
    monkeypatch.setattr(npz, "MORE", 5 * n)
    assert len(read_archive(path).units) == n
    monkeypatch.setattr(npz, "MORE", 3 * n)  # room for either
    with pytest.raises(DataError, match="'times' takes 0 MiB, too much for a file of this size"):
        read_archive(path)


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
        (-3, [1], [0, 3, 1]),
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


def test_from_zero_takes_away_the_first_time_of_each_sample():
    times = np.array([1_700_000_000_000_005, 1_700_000_000_000_009, 7, 7], np.uint64)
    archive = EventArchive(np.zeros(4, int), times, np.array([0, 2, 2, 4, 4]), np.zeros(4, int), 1, 1.0)
    begun = archive.from_zero()
    assert begun.times.tolist() == [0, 4, 0, 0]
    assert begun.offsets.tolist() == archive.offsets.tolist()
    empty = EventArchive(np.zeros(0, int), np.zeros(0, int), np.array([0, 0]), np.zeros(1, int), 1, 1.0)
    assert len(empty.from_zero().times) == 0


def test_until_leaves_out_what_is_at_the_end_itself():
    """An event at the duration belongs to the step after it; rounding of the unit does not bring it back."""
    times = np.array([0, 29, 30, 31, 30])
    archive = EventArchive(np.zeros(5, int), times, np.array([0, 4, 5]), np.zeros(2, int), 1, 100.0)
    kept = archive.until(3e-3)
    assert kept.times.tolist() == [0, 29]
    assert kept.offsets.tolist() == [0, 2, 2]


def test_index_out_of_range():
    with pytest.raises(IndexError, match="sample 3 of an archive with 3 samples"):
        EventArchive(**fields())[3]
    with pytest.raises(IndexError, match="sample -4 of an archive with 3 samples"):
        EventArchive(**fields())[-4]


def test_everything_that_defines_the_recordings_is_in_their_digest():
    steps = np.zeros((3, 4), np.int64)
    changed = [
        {}, {"units": np.array([0, 3, 1, 2, 1], np.uint16)}, {"times": np.array([1, 5, 5, 0, 6], np.uint16)},
        {"offsets": np.array([0, 3, 4, 5])}, {"labels": np.array([1, 0, 1], np.uint8)}, {"n_units": 5},
        {"time_unit_us": 2}, {"labels_per_step": steps}, {"labels_per_step": steps + 1},
    ]  # fmt: skip
    assert len({EventArchive(**fields(**one)).sha256 for one in changed}) == len(changed)
    assert EventArchive(**fields(), name="other").sha256 == EventArchive(**fields()).sha256


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
    back, kept = shift_units(frame, len(frame), width, height, dx=-1, dy=2)
    image = np.zeros((2, height, width), int)
    image.flat[back] = frame[kept]
    expected = np.zeros_like(image)
    expected[:, 2:, :-1] = frame.reshape(2, height, width)[:, :1, 1:]
    np.testing.assert_array_equal(image, expected)
    with pytest.raises(DataError, match="25 units"):
        shift_units(frame, 25, width, height, 0, 0)


def test_a_cached_archive_is_taken_only_as_what_it_was_made(tmp_path, monkeypatch):
    monkeypatch.setenv("BRIAN2GRAD_CACHE", str(tmp_path))
    first, second = (EventArchive(**fields(labels=np.array([label, 0, 2]))) for label in (1, 3))
    cached_archive("first.npz", lambda: first)
    assert cached_archive("first.npz", None).sha256 == first.sha256
    shutil.copy(tmp_path / "data" / "first.npz", tmp_path / "data" / "second.npz")
    assert cached_archive("second.npz", lambda: second).sha256 == second.sha256
    assert cached_archive("second.npz", None).sha256 == second.sha256
    (tmp_path / "data" / "first.npz").write_bytes(b"cut")
    assert cached_archive("first.npz", lambda: first).sha256 == first.sha256
