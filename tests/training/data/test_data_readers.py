"""Readers of published formats, on files written here in those formats."""

import os

import h5py
import numpy as np
import pytest

from brian2grad.training.data import DataError, read_heidelberg, read_nmnist, read_nmnist_file


def write_bin(path, x, y, polarity, times):
    """Write events as Orchard et al. (2015) describe them: 40 bits, big endian."""
    words = [
        (int(a) << 32) | (int(b) << 24) | (int(p) << 23) | int(t)
        for a, b, p, t in zip(x, y, polarity, times, strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(word.to_bytes(5, "big") for word in words))
    return path


def write_heidelberg(path, times, units, labels, speaker=None, dtype=np.float16):
    def ragged(file, name, rows, kind):
        dataset = file.create_dataset(name, (len(rows),), dtype=h5py.vlen_dtype(kind))
        for k, row in enumerate(rows):
            dataset[k] = np.asarray(row, kind)

    with h5py.File(path, "w") as file:
        if times is not None:
            ragged(file, "spikes/times", times, dtype)
        ragged(file, "spikes/units", units, np.int32)
        file["labels"] = np.asarray(labels)
        if speaker is not None:
            file["extra/speaker"] = np.asarray(speaker)
    return path


def test_bin_file_gives_units_and_microseconds(tmp_path):
    path = write_bin(tmp_path / "1.bin", [0, 33, 5], [0, 33, 2], [0, 1, 1], [7, 70000, 2**23 - 1])
    units, times = read_nmnist_file(path)
    np.testing.assert_array_equal(units, [0, 2311, 1156 + 2 * 34 + 5])
    np.testing.assert_array_equal(times, [7, 70000, 2**23 - 1])
    assert (units.dtype, times.dtype) == (np.uint16, np.uint32)


def test_overflow_markers_move_later_events_and_are_dropped(tmp_path):
    y = [1, 240, 1, 240, 240, 1]
    path = write_bin(tmp_path / "1.bin", [1] * 6, y, [0] * 6, [8000, 0, 10, 0, 0, 20])
    units, times = read_nmnist_file(path)
    np.testing.assert_array_equal(units, [35, 35, 35])
    np.testing.assert_array_equal(times, [8000, 8192 + 10, 3 * 8192 + 20])


@pytest.mark.parametrize("below", ["", "Train"])
def test_folder_of_digits(tmp_path, below):
    root = tmp_path / below
    write_bin(root / "0" / "00002.bin", [1], [0], [0], [3])
    write_bin(root / "7" / "00001.bin", [2, 3], [0, 0], [0, 0], [4, 4])
    write_bin(root / "7" / "00010.bin", [], [], [], [])
    archive = read_nmnist(tmp_path)
    np.testing.assert_array_equal(archive.labels, [0, 7, 7])
    np.testing.assert_array_equal(archive.units, [1, 2, 3])
    np.testing.assert_array_equal(archive.offsets, [0, 1, 3, 3])
    np.testing.assert_array_equal(archive.extra["source_index"], [2, 1, 10])
    assert (archive.n_units, archive.time_unit_us) == (2312, 1)


def test_test_part_of_a_folder_is_separate(tmp_path):
    write_bin(tmp_path / "Train" / "0" / "1.bin", [1], [0], [0], [3])
    write_bin(tmp_path / "Test" / "4" / "1.bin", [1], [0], [0], [3])
    np.testing.assert_array_equal(read_nmnist(tmp_path, "train").labels, [0])
    np.testing.assert_array_equal(read_nmnist(tmp_path, "test").labels, [4])


def test_bin_file_cut_short_is_refused(tmp_path):
    path = write_bin(tmp_path / "0" / "1.bin", [1, 2], [0, 0], [0, 0], [3, 4])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"1\.bin: has 9 bytes, not a multiple of 5"):
        read_nmnist(tmp_path)


@pytest.mark.parametrize(("x", "y"), [(34, 0), (0, 34), (255, 240 - 1)])
def test_event_outside_the_sensor_is_refused(tmp_path, x, y):
    write_bin(tmp_path / "0" / "1.bin", [1, x], [0, y], [0, 0], [3, 4])
    with pytest.raises(DataError, match=rf"1\.bin: event 1 lies at x = {x}, y = {y}, outside"):
        read_nmnist(tmp_path)


def test_time_that_runs_backwards_is_refused(tmp_path):
    path = write_bin(tmp_path / "1.bin", [1, 1, 1], [0, 0, 0], [0, 0, 0], [3, 9, 8])
    with pytest.raises(DataError, match=r"1\.bin: time runs backwards at event 2"):
        read_nmnist_file(path)


@pytest.mark.parametrize("stray", ["10/1.bin", "cat/1.bin", "00/1.BIN", "1.bin", "-1/1.bin"])
def test_recordings_outside_the_digits_folders_are_refused(tmp_path, stray):
    write_bin(tmp_path / "0" / "1.bin", [1], [0], [0], [3])
    write_bin(tmp_path / stray, [1], [0], [0], [3])
    with pytest.raises(DataError, match=r"holds recordings, but is none of the digits' folders 0 \.\.\. 9"):
        read_nmnist(tmp_path)


def test_what_is_no_recording_beside_the_digits_folders_is_left_alone(tmp_path):
    write_bin(tmp_path / "0" / "1.bin", [1], [0], [0], [3])
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "read.me").write_text("hello")
    assert len(read_nmnist(tmp_path)) == 1


def test_parts_beside_digits_are_refused(tmp_path):
    write_bin(tmp_path / "0" / "1.bin", [1], [0], [0], [3])
    write_bin(tmp_path / "Train" / "0" / "1.bin", [1], [0], [0], [3])
    with pytest.raises(DataError, match="holds recordings, but is none of the digits' folders"):
        read_nmnist(tmp_path)


@pytest.mark.parametrize("name", ["9" * 30, "\u0663", "a"])
def test_names_that_are_no_small_numbers_are_no_index(tmp_path, name):
    write_bin(tmp_path / "0" / f"{name}.bin", [1], [0], [0], [3])
    assert read_nmnist(tmp_path).extra == {}


def test_a_recording_too_long_for_its_times_or_for_memory_is_refused(tmp_path):
    many = write_bin(tmp_path / "1.bin", [0], [240], [0], [0]).read_bytes() * 2**19
    (tmp_path / "1.bin").write_bytes(many + bytes(5))
    with pytest.raises(DataError, match=r"1\.bin: is 4294967296 at event 524287; 0 to 4294967295 microseconds fit"):
        read_nmnist_file(tmp_path / "1.bin")
    (tmp_path / "1.bin").write_bytes(bytes(5 * 2**21 + 5))
    with pytest.raises(DataError, match=r"1\.bin: has 10485765 bytes; a recording has a few thousand"):
        read_nmnist_file(tmp_path / "1.bin")


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    (tmp_path / "0").mkdir()
    os.mkfifo(tmp_path / "0" / "1.bin")
    with pytest.raises(DataError, match=r"1\.bin: can't be read \(it is no regular file\)"):
        read_nmnist(tmp_path)


def test_folder_without_any_event_is_refused(tmp_path):
    write_bin(tmp_path / "0" / "1.bin", [], [], [], [])
    with pytest.raises(DataError, match="has recordings, but no event in any of them"):
        read_nmnist(tmp_path)


def test_folder_without_recordings_is_refused(tmp_path):
    with pytest.raises(DataError, match="no recordings found; expected files such as"):
        read_nmnist(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read_nmnist(tmp_path / "missing")
    with pytest.raises(DataError, match=r"missing\.bin: can't be read"):
        read_nmnist_file(tmp_path / "missing.bin")


def test_heidelberg_file(tmp_path):
    times, units = [[0.25, 0.5, 0.5], [], [1.0]], [[3, 699, 0], [], [7]]
    archive = read_heidelberg(write_heidelberg(tmp_path / "shd.h5", times, units, [19, 0, 3], [4, 5, 4]))
    np.testing.assert_array_equal(archive.times, [250000, 500000, 500000, 1000000])
    np.testing.assert_array_equal(archive.units, [3, 699, 0, 7])
    np.testing.assert_array_equal(archive.offsets, [0, 3, 3, 4])
    np.testing.assert_array_equal(archive.extra["speaker"], [4, 5, 4])
    assert (archive.n_units, archive.n_classes, archive.times.dtype) == (700, 20, np.uint32)


def test_heidelberg_recording_is_sorted_by_time(tmp_path):
    path = write_heidelberg(tmp_path / "ssc.h5", [[0.5, 0.25]], [[1, 2]], [34])
    archive = read_heidelberg(path)
    np.testing.assert_array_equal(archive.units, [2, 1])
    assert archive.extra == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (([[0.1]], [[700]], [0]), r"'spikes/units' is 700 at index 0 of sample 0"),
        (([[0.1], [0.1, 0.2]], [[1], [1, -1]], [0, 1]), r"'spikes/units' is -1 at index 1 of sample 1"),
        (([[0.1, np.nan]], [[1, 1]], [0]), r"'spikes/times' is nan at index 1 of sample 0"),
        (([[-0.5]], [[1]], [0]), r"'spikes/times' is -0.5 at index 0 of sample 0"),
        (([[0.1]], [[1, 2]], [0]), r"'spikes/times' has 1 entries in sample 0, but there are 2 units"),
        (([[0.1]], [[1]], [0, 1]), r"'spikes/units' has shape \(1,\), but there are 2 labels"),
        (([[0.1]], [[1]], [300]), r"'labels' is 300 at index 0; 0 to 255 fit"),
        (([[0.1]], [[1]], [0.5]), r"'labels' has dtype float64"),
        ((None, [[1]], [0]), r"'spikes/times' is missing"),
        (
            ([[0.1], [250.0]], [[1], [1]], [0, 1]),
            r"'spikes/times' is 250.0 at index 0 of sample 1; .*divide",
        ),
        (([[], []], [[], []], [0, 1]), r"'spikes/units' is empty; recordings without any spike"),
        (([[0.1]], [[900]], [-1]), r"'labels' is -1 at index 0; 0 to 255 fit; field 'spikes/units' is 900 at index 0"),
    ],
)
def test_malformed_heidelberg_file_is_refused(tmp_path, content, message):
    path = write_heidelberg(tmp_path / "bad.h5", *content)
    with pytest.raises(DataError, match=message) as refusal:
        read_heidelberg(path)
    assert str(refusal.value).startswith(f"{path}: field ")


def test_integer_times_are_refused(tmp_path):
    path = write_heidelberg(tmp_path / "bad.h5", [[1]], [[1]], [0], dtype=np.int32)
    with pytest.raises(DataError, match="'spikes/times' has dtype int32; store float seconds"):
        read_heidelberg(path)


def test_heidelberg_times_in_milliseconds_are_refused(tmp_path):
    """As published, but in milliseconds: formerly a recording of 17 minutes."""
    seconds = [[0.013, 0.42], [0.1, 1.05]]
    assert read_heidelberg(write_heidelberg(tmp_path / "s.h5", seconds, [[1, 2]] * 2, [0, 1])).times.max() < 1.1e6
    path = write_heidelberg(tmp_path / "ms.h5", [[1000 * t for t in times] for times in seconds], [[1, 2]] * 2, [0, 1])
    with pytest.raises(
        DataError, match=r"ms.h5: .*'spikes/times' is 420.0 at .* sample 0; .* divide milliseconds by 1000"
    ):
        read_heidelberg(path)


@pytest.mark.parametrize("part", [0, 0.2, 0.6, 0.95])
def test_truncated_heidelberg_file_is_refused(tmp_path, part):
    path = write_heidelberg(tmp_path / "cut.h5", [[0.1]] * 50, [[1]] * 50, [0] * 50)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(DataError, match=r"cut\.h5: truncated, damaged or not HDF5") as refusal:
        read_heidelberg(path)
    assert "\n" not in str(refusal.value)


def test_missing_heidelberg_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_heidelberg(tmp_path / "missing.h5")


def test_links_out_of_a_heidelberg_file_are_not_followed(tmp_path):
    other = write_heidelberg(tmp_path / "other.h5", [[0.1]], [[1]], [7])
    path = write_heidelberg(tmp_path / "shd.h5", [[0.1]], [[1]], [0])
    with h5py.File(path, "r+") as file:
        del file["labels"]
        file["labels"] = h5py.ExternalLink(str(other), "labels")
    with pytest.raises(DataError, match="'labels' is missing"):
        read_heidelberg(path)
    with h5py.File(path, "r+") as file:
        del file["labels"]
        (tmp_path / "raw").write_bytes(b"\7")
        file.create_dataset("labels", (1,), np.uint8, external=[(str(tmp_path / "raw"), 0, 1)])
    with pytest.raises(DataError, match="'labels' refers to other files, which are never read"):
        read_heidelberg(path)


def test_a_heidelberg_file_that_claims_too_much_is_refused(tmp_path):
    path = tmp_path / "shd.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("labels", (2**40,), np.uint8, chunks=(2**16,))
    with pytest.raises(DataError, match="'labels' claims 1099511627776 values, too many for a file of this size"):
        read_heidelberg(path)


@pytest.mark.parametrize("speaker", ["text", [1, 2], [1.5]])
def test_extras_of_another_kind_are_left_out(tmp_path, speaker):
    path = write_heidelberg(tmp_path / "shd.h5", [[0.1]], [[1]], [0])
    with h5py.File(path, "r+") as file:
        file["extra/speaker"] = speaker
    assert read_heidelberg(path).extra == {}


def test_heidelberg_times_are_rounded_to_microseconds(tmp_path):
    path = write_heidelberg(tmp_path / "shd.h5", [[0.0166168212890625, 1.0]], [[1, 2]], [0])  # exact as half precision
    assert read_heidelberg(path).times.tolist() == [16617, 1000000]
