"""Find recordings by the name of a data set, or by a path."""

import os
from functools import partial
from pathlib import Path

import numpy as np

from .archive import EventArchive
from .audio import read_audio
from .cochlea import Cochlea
from .digits import digits
from .errors import DataError
from .gesture import LISTS, read_gestures
from .heidelberg import read_heidelberg
from .images import is_images, read_images
from .latency import encode_images, encode_vectors
from .nmnist import read_nmnist
from .npz import field_names, read_archive
from .splits import group_split, last_split, n_validation, random_split, stratified_split
from .vectors import is_vectors, read_vectors

__all__ = ["DATASETS", "load", "load_splits"]

DATASETS = ("digits", "nmnist8", "nmnist10", "fsdd", "qtdb", "shd", "ssc", "dvsgesture", "yinyang", "mnist")
KNOWN = ", ".join(DATASETS)

HDF5 = {  # split: ending of the file's name
    "shd": {"train": "train", "test": "test"},
    "ssc": {"train": "train", "validation": "valid", "test": "test"},
}
FRACTION = 0.2  # of the training file, where no validation file exists
PARTED = ("yinyang",)  # whose training file holds the validation part
LAST = {"mnist": 1 / 6}  # of the training file, its last samples
GROUPS = {  # held out whole: the last takes (45 to 49 of fsdd's 5 to 49), the last of 23 users
    "fsdd": ("take", 1 / 9),
    "dvsgesture": ("speaker", 1 / 6),
}
HOW = "set --data-root DIR or the variable BRIAN2GRAD_DATA to the folder that holds it"


def _read_file(path, part="train", cochlea=None, variant=0):
    hdf5 = path.suffix.lower() in (".h5", ".hdf5", ".hdf")
    if not (path.is_dir() or hdf5):
        names = field_names(path)
        if "pcm" in names and "units" not in names:
            return (cochlea or Cochlea()).encode(read_audio(path), variant=variant)
        encode = _latency_encoder(path, names, part)
        if encode and not variant:
            return encode()
    if variant:
        raise DataError(f"{path}: copies is for sounds, which are varied before they are encoded; leave it out")
    if path.is_dir():
        read = read_gestures if (path / LISTS["train"]).is_file() else read_nmnist
        return read(path, "test" if part == "test" else "train")
    if hdf5:
        return read_heidelberg(path)
    return read_archive(path)


def _latency_encoder(path, names, part):
    """Return what reads and encodes a file of vectors or images, None for other files."""
    if "units" in names:
        return None
    if is_vectors(names):
        return lambda: encode_vectors(read_vectors(path, "validation" if part == "validation" else "train")[0])
    return (lambda: encode_images(read_images(path))) if is_images(names) else None


def has_parts(path) -> bool:
    """Whether a file holds a training and a validation part."""
    path = Path(path)
    return path.suffix == ".npz" and path.is_file() and "train_samples" in field_names(path)


def _root(name, data_root):
    root = data_root or os.environ.get("BRIAN2GRAD_DATA")
    if not root:
        raise DataError(f"data set '{name}' needs recordings that aren't part of brian2grad; {HOW}")
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such folder (searched for data set '{name}'); {HOW}")
    return root


def _file(name, root, split):
    """Return the path of a split's own file, and whether it exists."""
    if name in HDF5:
        file_name = f"{name}_{HDF5[name].get(split, split)}.h5"
    else:
        file_name = f"{name}_{split}.npz"
    for path in (root / file_name, root / name / file_name):
        if path.is_file():
            return path, True
    return root / file_name, False


def _read_split(name, root, split, cochlea=None, variant=0):
    if name == "dvsgesture":
        return _read_file(_gesture_folder(root), split)
    path, exists = _file(name, root, "train" if name in PARTED else split)
    if not exists:
        raise DataError(f"{path}: no such file (the {split} part of data set '{name}'); {HOW}")
    return _read_file(path, split if name in PARTED else "train", cochlea, variant)


def _gesture_folder(root):
    for folder in (root, root / "DvsGesture", root / "dvsgesture"):
        if (folder / LISTS["train"]).is_file():
            return folder
    raise DataError(f"{root / 'DvsGesture' / LISTS['train']}: no such file (data set 'dvsgesture'); {HOW}")


def _joined(archives):
    """Return the samples of several archives, one after the other."""
    if len(archives) == 1:
        return archives[0]
    first = archives[0]
    begins = np.cumsum([0] + [len(archive.units) for archive in archives])
    offsets = [archive.offsets[:-1] + begin for archive, begin in zip(archives, begins, strict=False)]
    return EventArchive(
        np.concatenate([archive.units for archive in archives]),
        np.concatenate([archive.times for archive in archives]),
        np.concatenate([*offsets, begins[-1:]]).astype(np.int64),
        np.concatenate([archive.labels for archive in archives]),
        first.n_units,
        first.time_unit_us,
        name=first.name,
        extra={field: np.concatenate([archive.extra[field] for archive in archives]) for field in first.extra},
    )


def _last_groups(archive, validation, field, usual):
    if field not in archive.extra:
        raise DataError(f"{archive.name}: field '{field}' is missing; it says which recordings to hold out")
    groups = np.unique(archive.extra[field])
    count = n_validation(len(groups), usual if validation is None else validation)
    return group_split(archive.extra[field], groups[-count:], f"{field}s")


def _split(name, archive, validation, seed, held_out_speaker):
    """Return the indices of the training and validation samples of one archive."""
    if held_out_speaker is not None:
        if "speaker" not in archive.extra:
            raise DataError(f"{archive.name}: has no field 'speaker'; leave held_out_speaker out")
        speakers = archive.extra["speaker"]
        return group_split(speakers, np.atleast_1d(held_out_speaker).astype(speakers.dtype), "speaker")
    if name in LAST:
        return last_split(len(archive), n_validation(len(archive), LAST[name] if validation is None else validation))
    if name in GROUPS:  # not recordings drawn by chance: those of one session are alike
        return _last_groups(archive, validation, *GROUPS[name])
    count = n_validation(len(archive), FRACTION if validation is None else validation)
    if archive.labels_per_step is not None:
        return random_split(len(archive), count, seed)
    return stratified_split(archive.labels, count, seed)


def _as_path(name_or_path):
    """Return the path that is meant, None for the name of a data set."""
    text = str(name_or_path)
    if text in DATASETS:
        return None
    path = Path(text).expanduser()
    if path.exists():
        return path
    if path.suffix or len(path.parts) > 1:
        raise DataError(f"{path}: no such file or folder; give an existing archive or one of {KNOWN}")
    raise DataError(f"unknown data set '{text}'; known are {KNOWN}, or give the path of an archive")


def _named(name, data_root, split, validation, seed, held_out_speaker, cochlea=None, variant=0):
    """Return the archive that holds a split, and which of its samples belong to it (None: all)."""
    if name == "digits":
        if variant:
            raise DataError("copies is for sounds, which are varied before they are encoded; leave it out")
        if validation is None and held_out_speaker is None or split == "test":
            return digits(split), None
        archive = digits("all")
        train, held_out = _split(name, archive, validation, seed, held_out_speaker)
        return archive, (train if split == "train" else held_out)
    root = _root(name, data_root)
    if split == "test":
        return _read_split(name, root, "test", cochlea, variant), None
    own_file = name in ("nmnist8", "ssc", *PARTED) or name != "dvsgesture" and _file(name, root, "validation")[1]
    if own_file and held_out_speaker is None and validation is None:
        return _read_split(name, root, split, cochlea, variant), None
    archive = _read_split(name, root, "train", cochlea, variant)
    train, held_out = _split(name, archive, validation, seed, held_out_speaker)
    return archive, (train if split == "train" else held_out)


def load(
    name_or_path,
    data_root=None,
    split="train",
    *,
    validation=None,
    seed=0,
    held_out_speaker=None,
    cochlea=None,
    copies=0,
):
    """Load one part of a data set, or one archive or folder whole.

    Parameters
    ----------
    name_or_path : str or path-like
        One of `DATASETS`, or the path of an event archive, an audio archive (encoded by `Cochlea`), an SHD or
        SSC file, a folder of N-MNIST or DVS128 Gesture, or vectors or images (latency encoded: `encode_vectors`,
        `encode_images`). A path is used whole, whatever the split; of a folder with a training and a test part and of
        vectors in two parts only the part asked for is read.
    data_root : path-like, optional
        Folder of the data sets' files; the variable ``BRIAN2GRAD_DATA`` if left out.
    split : {'train', 'validation', 'test'}
        Test files are never used for validation.
    validation, seed, held_out_speaker, cochlea, copies
        As in `load_splits`; copies are added to training parts only.

    Returns
    -------
    EventArchive

    Raises
    ------
    DataError
        If the name is unknown, or folder or file are missing or malformed.
    """
    if split not in ("train", "validation", "test"):
        raise DataError(f"no split '{split}'; use 'train', 'validation' or 'test'")
    path = _as_path(name_or_path)
    if path is not None:
        read = partial(_read_file, path, split, cochlea)
    else:
        arguments = (data_root, split, validation, seed, held_out_speaker, cochlea)
        read = partial(_chosen, str(name_or_path), *arguments)
    return _joined([read(variant) for variant in range(copies * (split == "train") + 1)])


def _chosen(*arguments):
    archive, chosen = _named(*arguments)
    return archive if chosen is None else archive[chosen]


def load_splits(
    name_or_path, data_root=None, validation=None, seed=0, *, held_out_speaker=None, cochlea=None, copies=0
):
    """Load training and validation samples that never overlap.

    Parameters
    ----------
    name_or_path, data_root
        As in `load`; one archive or folder is split as if it were a training file.
    validation : float or int, optional
        Fraction (below 1) or number of the training file's samples to hold out, of takes for ``fsdd``, of users for
        ``dvsgesture``. Left out, a validation file or part is used where the data set has one; otherwise a fifth of the
        samples, of each class alike, the last sixth of ``mnist``, the last sixth of the users of ``dvsgesture``, or the
        last ninth of the takes for ``fsdd``: new takes of known speakers.
    seed : int
        Of the split. The 1437 and 360 samples of ``digits`` are fixed: they change only with `validation`.
    held_out_speaker : str or int, optional
        Hold out this speaker instead: a new speaker.
    cochlea : Cochlea, optional
        Encoder of sounds; its default parameters if left out.
    copies : int
        Add the training sounds this many times, varied as from other voices and rooms (see `Cochlea.encode`);
        validation samples stay as recorded.

    Returns
    -------
    train, validation : EventArchive

    Raises
    ------
    DataError
        As in `load`, or if either part would be empty.
    """
    path = _as_path(name_or_path)
    name = str(name_or_path) if path is None else ""
    if path is not None and has_parts(path) and validation is None and held_out_speaker is None:
        return _read_file(path, "train"), _read_file(path, "validation")

    def read(variant, split="train"):
        if path is not None:
            return _read_file(path, "train", cochlea, variant), ()
        return _named(name, data_root, split, validation, seed, held_out_speaker, cochlea, variant)

    archive, train = read(0)
    varied = [read(variant)[0] for variant in range(1, copies + 1)]
    if train is None:
        return _joined([archive, *varied]), read(0, "validation")[0]
    train, held_out = _split(name, archive, validation, seed, held_out_speaker)
    return _joined([part[train] for part in (archive, *varied)]), archive[held_out]
