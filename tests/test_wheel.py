"""An installed wheel draws the figures: nothing of it is in the checkout only."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("brian2grad", "equations", "models", "training", "figures", "benchmarks")


@pytest.mark.long
def test_figures_come_from_an_installed_wheel(tmp_path):
    source, site = tmp_path / "source", tmp_path / "site"
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", "output"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(tmp_path),
        ".",
    ]
    subprocess.run(command, cwd=source, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        assert {name.split("/")[0] for name in file.namelist() if "dist-info" not in name} == {"brian2grad"}
        file.extractall(site)
    for name in ("studies", "gamma_kernels"):
        command = [sys.executable, "-m", "brian2grad", "figures", name, "--quick", "--out", "drawn"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(site), "MPLBACKEND": "Agg"})  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "drawn" / f"{name}.md").is_file()
    assert len([*(tmp_path / "drawn").glob("*.png")]) == 6
