"""Vectors and images: what is refused, and the spike that every number becomes."""

import numpy as np
import pytest
from brian2 import ms, mV

from brian2grad.training.data import (
    DataError,
    ImageArchive,
    VectorArchive,
    encode_images,
    encode_vectors,
    load,
    load_splits,
    read_images,
    read_vectors,
)

VECTORS = {"samples": np.array([[0.0, 0.25], [1.0, 0.5], [0.1, 0.9]]), "labels": np.array([0, 1, 2])}
IMAGES = {"images": np.arange(24, dtype=np.uint8).reshape(4, 2, 3), "labels": np.array([0, 1, 0, 1])}
PARTS = {f"{part}_{name}": values for part in ("train", "validation") for name, values in VECTORS.items()}


def written(folder, fields, **changed):
    path = folder / "file.npz"
    fields = {k: v for k, v in {**fields, **changed}.items() if v is not None}
    np.savez(path, **fields)
    return path


def spikes(archive, k):
    """Unit to time in ms of a sample."""
    part = slice(archive.offsets[k], archive.offsets[k + 1])
    times = archive.times[part] * archive.time_unit_us * 1e-3
    return dict(zip(archive.units[part].tolist(), times.tolist(), strict=True))


def test_vectors_become_spikes_with_complement_and_bias():
    archive = encode_vectors(VectorArchive(**VECTORS))
    assert (archive.n_units, len(archive)) == (5, 3)
    assert archive.labels.tolist() == [0, 1, 2]
    assert spikes(archive, 0) == pytest.approx({0: 0, 1: 7.5, 2: 30, 3: 22.5, 4: 0})
    assert spikes(archive, 1) == pytest.approx({0: 30, 1: 15, 2: 0, 3: 15, 4: 0})


def test_times_are_rounded_to_the_nearest_nanosecond():
    archive = encode_vectors(VectorArchive(np.array([[0.3333333333, 1 - 1e-9]]), np.array([0])), complement=False)
    assert archive.times.tolist() == [0, 10_000_000, 30_000_000]


def test_what_has_more_units_than_numbers_for_them_is_refused():
    with pytest.raises(DataError, match="65537 units are too many"):
        encode_vectors(VectorArchive(np.zeros((1, 2**15)), np.array([0])), complement=True)
    assert encode_vectors(VectorArchive(np.zeros((1, 2**16 - 1)), np.array([0])), complement=False).n_units == 2**16
    with pytest.raises(DataError, match="has 65792 pixels an image"):
        ImageArchive(np.zeros((1, 257, 256), np.uint8), np.array([0]))


def test_a_complement_that_is_there_is_not_added_again():
    x = VECTORS["samples"]
    archive = encode_vectors(VectorArchive(np.hstack([x, 1 - x]), VECTORS["labels"]))
    assert archive.n_units == 5
    assert spikes(archive, 0) == pytest.approx({0: 0, 1: 7.5, 2: 30, 3: 22.5, 4: 0})


def test_span_and_bias_are_options():
    archive = encode_vectors(VectorArchive(**VECTORS), 10 * ms, complement=False, bias=False)
    assert archive.n_units == 2
    assert spikes(archive, 2) == pytest.approx({0: 1, 1: 9})
    with pytest.raises(Exception, match="span must be a time"):
        encode_vectors(VectorArchive(**VECTORS), 10 * mV)


def test_pixels_above_one_become_spikes_the_brightest_first():
    images = np.array([[[0, 1, 2], [255, 51, 0]]], np.uint8)
    archive = encode_images(ImageArchive(images, np.array([7])))
    assert (archive.n_units, archive.labels.tolist()) == (6, [7])
    assert archive.units.tolist() == [3, 4, 2]
    assert spikes(archive, 0) == pytest.approx({3: 0, 4: 16, 2: 20 * 253 / 255}, abs=1e-6)


def test_a_file_is_read_by_what_it_holds(tmp_path):
    assert load(written(tmp_path, VECTORS)).n_units == 5
    assert load(written(tmp_path, IMAGES)).n_units == 6
    path = written(tmp_path, PARTS, validation_samples=VECTORS["samples"][:1], validation_labels=np.array([2]))
    assert [len(part) for part in load_splits(path)] == [3, 1]
    assert [len(load(path, split=split)) for split in ("train", "validation")] == [3, 1]


def test_names_find_both_parts_under_the_data_root(tmp_path):
    written(tmp_path, PARTS).rename(tmp_path / "yinyang_train.npz")
    images = {"images": np.zeros((12, 2, 2), np.uint8), "labels": np.arange(12)}
    written(tmp_path, images).rename(tmp_path / "mnist_train.npz")
    assert [len(part) for part in load_splits("yinyang", tmp_path)] == [3, 3]
    train, validation = load_splits("mnist", tmp_path)
    assert train.labels.tolist() == list(range(10))
    assert validation.labels.tolist() == [10, 11]


@pytest.mark.parametrize(
    ("fields", "changed", "message"),
    [
        (
            VECTORS,
            {"samples": np.array([[0.0, 0.5], [2.0, 0.5]]), "labels": np.arange(2)},
            r"'samples' is 2.0 at index",
        ),
        (VECTORS, {"samples": np.array([[0.0, np.nan]] * 3)}, r"'samples' is nan at index \(0, 1\); 0 to 1 fit"),
        (VECTORS, {"samples": np.zeros(3)}, "'samples' has 1 dimensions; it must have 2"),
        (VECTORS, {"samples": np.zeros((3, 0))}, r"'samples' has shape \(3, 0\); it must hold"),
        (VECTORS, {"labels": np.arange(2)}, "'labels' has 2 entries, but 'samples' has 3 rows"),
        (VECTORS, {"labels": np.array([0, -1, 0])}, "'labels' is -1 at index 1; 0 to 255 fit"),
        (VECTORS, {"labels": None}, "'labels' is missing; an archive of vectors needs samples, labels"),
        (PARTS, {"validation_labels": None}, "'validation_labels' is missing"),
        (
            PARTS,
            {"validation_samples": np.zeros((3, 4))},
            "'validation_samples' has 4 columns, but 'train_samples' has 2",
        ),
        (
            PARTS,
            {"validation_samples": np.zeros((3, 1))},
            "'validation_samples' has 1 columns, but 'train_samples' has 2",
        ),
        (IMAGES, {"images": np.zeros((4, 6), np.uint8)}, "'images' has 2 dimensions; it must have 3"),
        (IMAGES, {"images": np.full((4, 2, 3), 300)}, r"'images' is 300 at index \(0, 0, 0\); 0 to 255 fit"),
        (IMAGES, {"images": np.zeros((4, 0, 3), np.uint8)}, "must hold at least one pixel"),
        (IMAGES, {"labels": np.zeros(3)}, "'labels' has dtype float64; store it as uint8"),
        (IMAGES, {"labels": np.zeros(3, int)}, "'labels' has 3 entries, but 'images' has 4 images"),
    ],
)
def test_a_malformed_field_is_refused_by_name(tmp_path, fields, changed, message):
    path = written(tmp_path, fields, **changed)
    with pytest.raises(DataError, match=message) as error:
        load(path)
    assert str(path) in str(error.value)


def test_columns_first_is_an_order_of_storage_and_no_other_array(tmp_path):
    samples = np.linspace(0, 1, 12).reshape(4, 3)
    stored = {"samples": np.asfortranarray(samples), "labels": np.zeros(4, np.uint8)}
    np.testing.assert_array_equal(read_vectors(written(tmp_path, stored))[0].samples, samples)
    stored["samples"][1, 2] = 2
    with pytest.raises(DataError, match=r"'samples' is 2.0 at index \(1, 2\); 0 to 1 fit"):
        read_vectors(written(tmp_path, stored))


def test_fields_that_are_not_known_are_not_read(tmp_path):
    path = written(tmp_path, VECTORS, notes=np.array([object()], dtype=object))
    assert len(read_vectors(path)[0]) == 3
    path = written(tmp_path, IMAGES, notes=np.array([object()], dtype=object))
    assert read_images(path).images.shape == (4, 2, 3)
