"""The commands that README and docs show are run, on little data; those that need recordings are read to the end."""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import call
from pages import WRITTEN, commands_of

from brian2grad.training import EventArchive

COMMANDS = sorted({command for page in WRITTEN for command in commands_of(page)})
SMALL = {  # what makes a command small enough for a test
    "train": "--limit 60 --epochs 1 --quiet", "evaluate": "--limit 20", "report": "--limit 20", "simulate": "",
    "fit": "--starts 1 --generations 0 --steps 0 --quiet",
}  # fmt: skip

NEEDS = {"--workers": "distributed", "--cluster": "distributed", "nir": "nir"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What placeholders stand for: a run, an archive, a recording, a model."""
    folder, rng = tmp_path_factory.mktemp("commands"), np.random.default_rng(0)
    labels = np.arange(60) % 2
    samples = [(rng.integers(0, 8, 30) + 8 * label, np.sort(rng.integers(0, 100, 30))) for label in labels]
    EventArchive.from_samples(samples, labels, n_units=16, time_unit_us=1000).save(folder / "own.npz")
    current = 0.3 + 0.1 * rng.standard_normal(20000)
    times = np.sort(rng.uniform(1e5, 1.9e6, 20))
    np.savez(
        folder / "RECORDING.npz", dt_us=100.0, input=current, input_unit="nA", spike_times_us=times, offsets=[0, 20]
    )
    shutil.copy(folder / "RECORDING.npz", folder / "cell.npz")
    page = (Path(__file__).parents[1] / "docs" / "howto" / "own_neuron.md").read_text()
    (folder / "model.py").write_text(re.search(r"write_text\('''\n(.*?)'''\)", page, re.DOTALL)[1])
    return folder


def words_of(command: str) -> list[str]:
    """A command with its placeholders filled in; the first of several alternatives is taken."""
    words = shlex.split(re.sub(r"\[([^\]|]*)(?:\|[^\]]*)?\]", r"\1", command))[1:]
    given = {"NAME": "digits", "N": "1", "FILE": "own.npz", "MODEL.py:OBJECT": "model.py:problem"}
    return [given.get(word, word) for word in words]


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_does_what_the_page_says(command, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words = words_of(command)
    if "RUN" in words and not Path("RUN").exists():
        assert call(capsys, *"train gamma --data own.npz --hidden 8 --epochs 1 --quiet --out RUN".split())[0] == 0
    if "runs/cell" in words and words[0] == "evaluate" and not Path("runs/cell").exists():
        first = "fit gif --data RECORDING.npz --until 1s --out runs/cell"
        assert call(capsys, *f"{first} {SMALL['fit']}".split())[0] == 0
    for word, package in NEEDS.items():
        if word in words and importlib.util.find_spec(package) is None:
            pytest.skip(f"{word}: the package {package} is not installed")
    named_only = (
        len(words) < 3
        and words[0] in ("fit", "check", "train", "figures", "sweep")
        or words == "train exact adex".split()
    )
    if named_only:
        words += ["--help"]
    elif {"DIR", "yinyang", "nmnist8"} & {*words}:  # recordings that are no part of the project
        words = [word for word in words if word not in ("--data-root", "DIR")] + ["--show-recipe"]
    elif words[0] == "evaluate" and "runs/cell" in words:
        pass  # a fit is evaluated whole
    elif words[0] == "sweep":  # what is swept is small
        words[1] += f" {SMALL['train']} --hidden 8"
    elif not {"--help", "--show-recipe"} & {*words}:
        words += SMALL.get(words[0], "").split()
    words = ["1s" if word in ("2s", "5s", "9s") else word for word in words]  # what the test's recording has
    if words[0] == "train" and "own.npz" in words:
        words += ["--hidden", "8"]
    if "--out" in words:  # of an earlier command
        shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
    if words[:1] == ["export"] and "--out" not in words:
        words += ["--out", "network.nir" if "nir" in words else "network.py"]
    if words == ["--show-completion"]:  # asks which shell has called it
        line = f"{sys.executable} -m brian2grad --show-completion && true"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
        assert "complete" in done.stdout, done.stderr
        return
    code, _, err = call(capsys, *words)
    assert code == 0, err
    assert "Traceback" not in err


def test_the_commands_are_found():
    assert len(COMMANDS) > 25
