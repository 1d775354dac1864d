"""Readers under attack: one class each, that writes a whole file, damages it and reads it."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tomllib
import zipfile
from pathlib import Path

import h5py
import numpy as np
import tomli_w
from attack import NASTY, mutated
from brian2 import ms

from brian2grad.models import AsynchronousNetwork, EngineError, NetworkError, SpikingGammaNetwork, StepEvents
from brian2grad.models.hdf5 import read_sealed, sealed
from brian2grad.training import DataError, EventArchive, Run, RunError, Task, TrainingError, TrainingOptions, train
from brian2grad.training.cli.families import family_of
from brian2grad.training.cli.main import main
from brian2grad.training.data import load, read_audio, read_nmnist
from brian2grad.training.data.recordings import read_recording
from brian2grad.training.exact.origin import open_origin, ready_origin, restored
from brian2grad.training.optimisers import make_optimiser


class Target:
    """A file, its whole content, and how it is read."""

    name, errors = "file", (DataError, NetworkError, RunError, TrainingError, EngineError)

    def __init__(self, folder: Path):
        self.path = folder / self.name
        self.whole = self.write()

    def write(self) -> bytes:
        """Write the whole file and return its content."""
        raise NotImplementedError

    def read(self, path):
        """Read what is there."""
        raise NotImplementedError

    def result_of(self, found):
        """Say what is wrong with a result, ``None`` if nothing is."""
        return

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def damage(self, rng) -> None:
        """Write a damaged file."""
        self.path.write_bytes(mutated(self.whole, rng))

    def keep(self, place: Path) -> None:
        """Keep the damaged file."""
        shutil.copy(self.path, place)


class Npz(Target):
    """Bytes are damaged, or a field is replaced by another array or another claim about it."""

    name = "some.npz"

    def damage(self, rng):
        if rng.random() < 0.4:
            super().damage(rng)
            return
        with zipfile.ZipFile(io.BytesIO(self.whole)) as old:
            members = {info.filename: old.read(info) for info in old.infolist()}
        chosen = str(rng.choice(list(members)))
        if rng.random() < 0.5:
            members[chosen] = mutated(members[chosen], rng)
        else:
            buffer = io.BytesIO()
            value = NASTY[rng.integers(len(NASTY))]
            with contextlib.suppress(ValueError, OverflowError, TypeError):  # ragged lists are no arrays
                dtype = rng.choice([None, "int64", "uint8", "float64", "U5", ">i4", "bool", "complex64"])
                shape = [(), (1,), (3,), (0,), (2, 2), (10**5,)][rng.integers(5 if isinstance(value, str) else 6)]
                np.save(buffer, np.full(shape, value, dtype=dtype), allow_pickle=True)
                members[chosen] = buffer.getvalue()
        kind = zipfile.ZIP_DEFLATED if rng.random() < 0.5 else zipfile.ZIP_STORED
        with zipfile.ZipFile(self.path, "w", kind) as new:
            for name, content in members.items():
                new.writestr(name, content)


class Events(Npz):
    def write(self):
        samples = [(np.arange(5) % 4, np.arange(5) * 3), ([], []), ([3], [2])]
        steps = np.zeros((3, 6), np.uint8)
        extra = {"speaker": np.array(["a", "b", "c"]), "take": np.arange(3)}
        archive = EventArchive.from_samples(samples, [0, 1, 2], 4, 1000, labels_per_step=steps, extra=extra)
        archive.save(self.path)
        return self.path.read_bytes()

    def read(self, path):
        return load(path)

    def result_of(self, found):
        inside = (
            len(found.units) and found.units.max() < found.n_units <= 2**16 and len(found.offsets) == len(found) + 1
        )
        return None if inside else f"accepted {found}"


class Audio(Npz):
    name = "sounds.npz"

    def write(self):
        np.savez(
            self.path, pcm=np.arange(900, dtype=np.int16), offsets=[0, 400, 900], labels=[0, 1],
            speaker=["a", "b"], take=[0, 1], sample_rate=8000,
        )  # fmt: skip
        return self.path.read_bytes()

    def read(self, path):
        return read_audio(path)


class Vectors(Npz):
    name = "vectors.npz"

    def write(self):
        parts = {f"{part}_samples": np.random.default_rng(0).random((6, 4)) for part in ("train", "validation")}
        np.savez(self.path, **parts, train_labels=np.arange(6) % 3, validation_labels=np.arange(6) % 3)
        return self.path.read_bytes()

    def read(self, path):
        return load(path)


class Images(Vectors):
    name = "images.npz"

    def write(self):
        np.savez(self.path, images=np.arange(180, dtype=np.uint8).reshape(5, 6, 6), labels=np.arange(5))
        return self.path.read_bytes()


class Recording(Npz):
    name = "recording.npz"

    def write(self):
        np.savez(
            self.path, dt_us=100.0, input=np.ones(50, np.float32), input_unit="pA", offsets=[0, 2, 3],
            spike_times_us=np.array([100, 900, 300], np.uint32), voltage_mV=np.zeros((2, 50), np.float32),
            scored_from_us=100,
        )  # fmt: skip
        return self.path.read_bytes()

    def read(self, path):
        return read_recording(path)


class Nmnist(Target):
    """A folder of recordings, one of which is damaged."""

    name = "recordings"

    def write(self):
        for digit in range(3):
            (self.path / str(digit)).mkdir(parents=True)
            (self.path / str(digit) / "1.bin").write_bytes(bytes([1, 2, 128, 0, 9, 3, 4, 0, 1, 9]) * 20)
        self.file = self.path / "1" / "1.bin"
        self.file.write_bytes(bytes([1, 2, 128, 0, 9]) * 40)
        return self.file.read_bytes()

    @property
    def size(self):
        return sum(file.stat().st_size for file in self.path.rglob("*.bin"))

    def damage(self, rng):
        self.file.write_bytes(mutated(self.whole, rng))

    def keep(self, place):
        shutil.copytree(self.path, place)

    def read(self, path):
        for digit in (0, 2):  # times of the whole ones go back
            (path / str(digit) / "1.bin").write_bytes(bytes([1, 2, 128, 0, 9]) * 3)
        return read_nmnist(path)


class Heidelberg(Target):
    name = "shd.h5"

    def write(self):
        with h5py.File(self.path, "w") as file:
            for name, kind in (("times", np.float16), ("units", np.int32)):
                data = file.create_dataset(f"spikes/{name}", (20,), dtype=h5py.vlen_dtype(kind))
                for k in range(20):
                    data[k] = np.linspace(0, 1, k + 1).astype(kind) if name == "times" else np.arange(k + 1)
            file["labels"] = np.arange(20) % 5
            file["extra/speaker"] = np.arange(20) % 3
        return self.path.read_bytes()

    def read(self, path):
        return load(path)


class Sealed(Target):
    """Bytes are damaged; or attributes and arrays are replaced, under a checksum that fits."""

    def damage(self, rng):
        self.forged = rng.random() < 0.5
        if not self.forged:
            super().damage(rng)
            return
        self.path.write_bytes(self.whole)
        attributes, datasets = read_sealed(self.path)
        for _ in range(rng.integers(1, 3)):
            value = NASTY[rng.integers(len(NASTY))]
            if rng.random() < 0.5:
                name = str(rng.choice(list(attributes)))
                text = str(attributes[name])
                attributes[name] = value if rng.random() < 0.3 else mutated(text.encode(), rng).decode("latin-1")
            else:
                name = str(rng.choice(list(datasets)))
                with contextlib.suppress(ValueError, OverflowError, TypeError):
                    shape = [datasets[name].shape, (), (3,), (0,)][rng.integers(4)]
                    datasets[name] = np.full(shape, value, datasets[name].dtype)
        with contextlib.suppress(ValueError, TypeError, OverflowError):  # h5py does not take all of these
            self.path.write_bytes(sealed(attributes, datasets))

    def result_of(self, found):
        """A damaged file is refused; a forged one is a network of finite numbers."""
        if self.path.read_bytes() != self.whole and not getattr(self, "forged", False):
            return "a damaged file was accepted"
        wrong = [name for name, value in found.items() if not np.isfinite(value).all()]
        return f"accepted {wrong} that are not finite" if wrong else None


class GammaWeights(Sealed):
    name = "gamma.h5"

    def write(self):
        SpikingGammaNetwork([4, 3, 2], K=2, dt=10 * ms).save(self.path)
        return self.path.read_bytes()

    def read(self, path):
        return SpikingGammaNetwork.load(path).parameters


class AsyncWeights(Sealed):
    name = "async.h5"

    def write(self):
        AsynchronousNetwork([4, 3, 2], tau_m=10 * ms, V_th=0.3, dt=1 * ms).save(self.path)
        return self.path.read_bytes()

    def read(self, path):
        return AsynchronousNetwork.load(path).parameters


class ExactWeights(Sealed):
    name = "exact.h5"
    child = 512 * 2**20  # a compiler: the equations of another network are compiled when it is opened

    def write(self):
        layers = {"hidden": [3]}
        open_origin(ready_origin("lif", 4, 2, layers, 0.05, 0)).save(self.path)
        return self.path.read_bytes()

    def read(self, path):
        return restored(path).parameters


def small_run(folder: Path) -> Run:
    """A run of one epoch on nothing much."""
    config = tomllib.loads(
        "[data]\nname = 'digits'\ndt_ms = 10.0\nduration_ms = 40.0\n[network]\nhidden = [3]\nK = 2\nn_classes = 2\n"
        "[training]\nepochs = 2\nbatch_size = 2\n[run]\nmodel = 'gamma'\nseed = 0\n"
    )
    run = Run.create(folder, config)
    counts = np.random.default_rng(0).integers(0, 2, (4, 4, 4))
    task = Task(StepEvents.from_dense(counts, 1e-2), np.arange(4) % 2, 1.0)
    list(train(new_network(), task, TrainingOptions(epochs=2, batch_size=2), run=run))
    return run


def new_network():
    return SpikingGammaNetwork([4, 3, 2], K=2, dt=10 * ms, threads=1)


class Checkpoint(Sealed):
    name = "run/checkpoint.h5"

    def write(self):
        self.run = small_run(self.path.parent)
        return self.path.read_bytes()

    def read(self, path):
        network, optimiser = new_network(), make_optimiser("adam", 1e-3)
        before = {name: value.copy() for name, value in network.parameters.items()}
        try:
            self.run.resume(network, optimiser, np.random.default_rng(0))
        except RunError:
            same = all(np.array_equal(network.parameters[name], value) for name, value in before.items())
            if not same or optimiser.state or optimiser.steps:
                raise AssertionError("something changed before the rest was refused") from None
            raise
        return network.parameters | optimiser.state


class Config(Target):
    """The configuration of a run: bytes are damaged, or an entry is replaced."""

    name = "run/config.toml"

    def write(self):
        self.run = small_run(self.path.parent)
        return self.path.read_bytes()

    def damage(self, rng):
        if rng.random() < 0.4:
            super().damage(rng)
            return
        config = tomllib.loads(self.whole.decode())
        section = config[str(rng.choice(list(config)))]
        for _ in range(rng.integers(1, 3)):
            section[str(rng.choice([*section, "unknown", "cochlea", "theta", "tau_ms", "scheduler"]))] = NASTY[
                rng.integers(len(NASTY))
            ]
        with contextlib.suppress(ValueError, TypeError):
            self.path.write_bytes(tomli_w.dumps(config).encode())

    def read(self, path):
        run = Run.open(path.parent)
        return family_of(run).Configuration.read(run.config, str(path))


class Recipe(Config):
    """A recipe as the command line reads it, up to the network that it describes."""

    name, command, shipped = "recipe.toml", "gamma", "gamma-nmnist8-sparse.toml"

    def write(self):
        recipes = Path(sys.modules["brian2grad.training"].__file__).parent / "recipes"
        self.path.write_bytes((recipes / self.shipped).read_bytes())
        return self.path.read_bytes()

    def read(self, path):
        errors = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            try:
                main(["train", *self.command.split(), "--recipe", str(path), "--show-recipe"])
            except SystemExit as status:
                if status.code:
                    raise TrainingError(" ".join(errors.getvalue().split())) from None


class Metrics(Config):
    name = "run/metrics.jsonl"

    def damage(self, rng):
        self.path.write_bytes(mutated(self.whole, rng))

    def read(self, path):
        return self.run.metrics()


TARGETS = {
    "events": Events, "audio": Audio, "vectors": Vectors, "images": Images, "recording": Recording, "nmnist": Nmnist,
    "heidelberg": Heidelberg, "gamma weights": GammaWeights, "async weights": AsyncWeights,
    "exact weights": ExactWeights, "checkpoint": Checkpoint, "config": Config, "recipe": Recipe, "metrics": Metrics,
}  # fmt: skip
