"""HDF5 files read in a process of their own: it may hang, crash or be asked for too much."""

import h5py
import numpy as np
import pytest

from brian2grad.models import hdf5
from brian2grad.models.hdf5 import DamagedFile, Ragged, read_hdf5


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file.attrs["text"], file.attrs["number"], file.attrs["table"] = "hello", np.int64(3), np.arange(3)
        file["a/b"] = np.arange(6.0).reshape(2, 3)
        file["big"] = np.arange(4, dtype=">i2")
        file["one"], file["none"] = 2.5, np.zeros((0, 3), np.float32)
        rows = file.create_dataset("rows", (3,), dtype=h5py.vlen_dtype(np.int32))
        rows[0], rows[2] = [1, 2], [5]
    return tmp_path / "file.h5"


def test_everything_is_read(path):
    attributes, found = read_hdf5(path)
    assert attributes == {"text": "hello", "number": 3, "table": None}
    assert set(found) == {"a/b", "big", "one", "none", "rows"}
    np.testing.assert_array_equal(found["a/b"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["big"], [0, 1, 2, 3])
    assert (found["one"].shape, float(found["one"])) == ((), 2.5)
    assert (found["none"].shape, found["none"].dtype) == ((0, 3), np.float32)
    assert isinstance(found["rows"], Ragged)
    np.testing.assert_array_equal(found["rows"].values, [1, 2, 5])
    np.testing.assert_array_equal(found["rows"].lengths, [2, 0, 1])


def test_only_what_is_asked_for_is_read(path):
    assert set(read_hdf5(path, ["one", "missing"])[1]) == {"one"}


def test_large_arrays_come_in_parts(tmp_path, monkeypatch):
    values = np.random.default_rng(0).random((700, 1000))
    with h5py.File(tmp_path / "large.h5", "w") as file:
        file["values"] = values
    np.testing.assert_array_equal(read_hdf5(tmp_path / "large.h5")[1]["values"], values)


def test_a_file_that_does_not_end_is_given_up(path):
    with pytest.raises(DamagedFile, match="reading it does not come to an end"):
        read_hdf5(path, patience=-1.0)


@pytest.mark.parametrize(
    "program",
    ["import os; os.abort()", "print('noise')", "import sys; sys.stdout.buffer.write(bytes(16)); sys.exit(1)", ""],
)
def test_a_library_that_crashes_is_one_error(path, tmp_path, monkeypatch, program):
    (tmp_path / "child.py").write_text(program)
    monkeypatch.setattr(hdf5, "__file__", str(tmp_path / "child.py"))
    with pytest.raises(DamagedFile, match="the HDF5 library crashed on it"):
        read_hdf5(path)


def test_text_is_no_number(tmp_path):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["words"] = ["a", "b"]
    with pytest.raises(DamagedFile, match="'words' has dtype object; it must hold plain numbers"):
        read_hdf5(tmp_path / "file.h5")
    assert read_hdf5(tmp_path / "file.h5", ["words?"])[1] == {}
