"""Further targets: the user's own files, fits, and what the commands make of damaged runs."""

from __future__ import annotations

import contextlib
import io
import shutil

import fit_cases
import numpy as np
from attack import NASTY, mutated
from attack_targets import Config, Recipe, Recording, Sealed, Target, small_run

from brian2grad.training import EventArchive, TrainingError
from brian2grad.training.cli.main import main
from brian2grad.training.data.recordings import read_recording
from brian2grad.training.exact.origin import open_origin
from brian2grad.training.fit.fitting import Fit, FitOptions
from brian2grad.training.fit.neurons.origin import model_of
from brian2grad.training.fit.neurons.ready import ready_model
from brian2grad.training.fit.runs import FitRun, load_fit
from brian2grad.training.fit.target import is_current

COMPILER = 512 * 2**20  # what a compiler takes is not the file's


class AsyncRecipe(Recipe):
    command, shipped = "async", "async-nmnist8.toml"


class ExactRecipe(Recipe):
    command, shipped = "exact lif", "exact-lif-yinyang.toml"


class Model(Target):
    """A user's Python file: bytes are damaged, or an entry of what its function returns is something else."""

    name = "model.py"
    text = """
from brian2 import *

def make():
    inputs = SpikeGeneratorGroup(2, [], []*ms, name="inputs")
    outputs = NeuronGroup(2, "dv/dt = -v/(20*ms) : 1", threshold="v > 1", reset="v = 0", method="exact", name="outputs")
    first = Synapses(inputs, outputs, "w : 1", on_pre="v_post += w", name="first")
    first.connect()
    first.w = 0.5
    found = dict(network=Network(inputs, outputs, first), inputs=inputs, outputs=outputs, wrt=[(first, "w")],
                 duration=50*ms, namespace={})
    # more
    return found
"""
    entries = ("network", "inputs", "outputs", "wrt", "duration", "loss", "namespace", "unknown", "readout", "bounds")

    def write(self):
        self.path.write_text(self.text)
        return self.text.encode()

    def damage(self, rng):
        if rng.random() < 0.4:
            self.path.write_bytes(mutated(self.whole, rng))
            return
        value = NASTY[rng.integers(len(NASTY))]
        more = f"found[{str(rng.choice(self.entries))!r}] = {value!r}".replace("nan", "np.nan").replace("inf", "np.inf")
        self.path.write_text(self.text.replace("# more", more))

    def read(self, path):
        open_origin({"model": f"{path}:make"})


class FitModel(Model):
    text = '''
from brian2 import *
from brian2grad.equations import NeuronModel

def make():
    model = NeuronModel("""dv/dt = (E_L - v + I_ext/g)/tau : volt
                           I_ext : amp
                           E_L : volt (constant)
                           V_th : volt (constant)
                           g : siemens (constant)
                           tau : second (constant)""", threshold="v > V_th", reset="v = E_L")
    found = dict(model=model, bounds={"V_th": (-50*mV, -60*mV, -40*mV), "tau": (10*ms, 1*ms, 100*ms)},
                 constants={"E_L": -70*mV, "g": 10*nS}, initial={"v": "E_L"}, threshold="V_th")
    # more
    return found
'''
    entries = ("model", "bounds", "constants", "initial", "input", "drive", "threshold", "namespace", "unknown")

    def read(self, path):
        model_of(f"{path}:make", True)


class FittedRecording(Recording):
    """A recording on which a neuron is run and judged, as the first thing that a fit does with it."""

    name, child = "fitted.npz", COMPILER

    def read(self, path):
        recording = read_recording(path)
        try:
            fit = Fit(ready_model("lif", is_current(recording.input_unit)), recording, options=FitOptions(), threads=1)
            return fit.judges[0](fit.model.start)
        except TrainingError as error:  # it names the recording
            raise TrainingError(f"{path.name}: {error}") from None

    def result_of(self, found):
        return None if np.isfinite(found.loss) else f"the loss is {found.loss}"


def small_fit(folder):
    """A fit of which two stages are done."""
    cell, path = fit_cases.recording(duration=0.3), folder / "cell.npz"
    fields = {name: getattr(cell, name) for name in ("dt_us", "input", "input_unit", "offsets", "spike_times_us")}
    np.savez(path, **fields)
    run = FitRun.create(folder / "fit", "lif", path, options=FitOptions(starts=1, iterations=2))
    run.fit.advance()
    run._save(run.fit.result())
    return run


class FitWeights(Sealed):
    name, child = "fit/weights.h5", COMPILER

    def write(self):
        small_fit(self.path.parents[1])
        return self.path.read_bytes()

    def read(self, path):
        result = load_fit(path.parent)
        return {name: np.array(value) for name, value in result.values.items()}


class FitConfig(Config):
    name, child = "fit/config.toml", COMPILER

    def write(self):
        small_fit(self.path.parents[1])
        return self.path.read_bytes()

    def read(self, path):
        FitRun.resume(path.parent)


class DamagedRun(Target):
    """A run one of whose files is damaged, as `report` and `export` find it."""

    name = "run"

    def write(self):
        small_run(self.path)
        samples = [(np.arange(4), np.arange(4) * 9), (np.arange(3), np.arange(3) * 9)]
        EventArchive.from_samples(samples, [0, 1], 4, 1000).save(self.path.parent / "events.npz")
        self.files = {p.name: p.read_bytes() for p in self.path.iterdir() if p.is_file()}
        return b""

    @property
    def size(self):
        return sum(file.stat().st_size for file in self.path.iterdir())

    def damage(self, rng):
        for name, content in self.files.items():
            (self.path / name).write_bytes(content)
        chosen = str(rng.choice(sorted(self.files)))
        if rng.random() < 0.1:
            (self.path / chosen).unlink()
        else:
            (self.path / chosen).write_bytes(mutated(self.files[chosen], rng))

    def keep(self, place):
        shutil.copytree(self.path, place)

    def read(self, path):
        place = path.parent
        said(f"export {path} --format brian2 --out {place}/network.py")
        said(f"report {path} --data {place}/events.npz --out {place}/page.html")


def said(command: str) -> None:
    """Run a command; its one line is raised."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            main(command.split())
        except SystemExit as status:
            if status.code:
                raise TrainingError(errors.getvalue().strip()) from None


RUN_TARGETS = {
    "async recipe": AsyncRecipe, "exact recipe": ExactRecipe, "model": Model, "fit model": FitModel,
    "fitted recording": FittedRecording, "fit weights": FitWeights, "fit config": FitConfig, "damaged run": DamagedRun,
}  # fmt: skip
