"""``brian2grad info`` and ``brian2grad figures``."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ...models.checks import processors
from ...models.devices import genn_gpu, genn_missing
from ...models.errors import EngineError
from ...models.native.build import compiler, compiler_version
from ..errors import TrainingError
from ..runs import git_commit

_PACKAGES = ("brian2", "numpy", "scipy", "sympy", "matplotlib", "h5py", "scikit-learn")


def info() -> None:
    """Show versions, the compiler and the devices found, and why one is missing."""
    console = Console(highlight=False, soft_wrap=True)
    rows = {"brian2grad": f"{importlib.metadata.version('brian2grad')} {git_commit()}".strip()}
    rows["python"] = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    rows |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    rows["cores"] = str(processors())
    try:
        rows["compiler"] = f"{compiler()}: {compiler_version()}"
    except EngineError as error:
        rows["compiler"] = str(error)
    rows["runtime"] = "available"
    rows["standalone"] = "available" if rows["compiler"].startswith("/") else "needs a C++ compiler"
    missing = genn_missing()
    rows["genn"] = missing or ("available, on the GPU" if genn_gpu() else "available, on the CPU (no CUDA compiler)")
    for name, text in rows.items():
        console.print(f"{name:>13}  {text}", markup=False)


def figures(
    names: Annotated[list[str] | None, typer.Argument(help="Figures to draw (default: all).")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller runs, same pictures.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder to write to (figures/output).")] = None,
) -> None:
    """Draw the figures, each with its caption beside it."""
    folder = _figures_folder()
    out = out or Path("figures", "output")
    known = sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))
    unknown = sorted(set(names or []) - set(known))
    if unknown:
        raise TrainingError(f"there is no figure '{unknown[0]}'; figures: {', '.join(known)}.")
    console = Console(stderr=True, highlight=False)
    for number, name in enumerate(names or known, start=1):
        console.print(f"drawing {name} ({number} of {len(names or known)})")
        command = [sys.executable, str(folder / f"{name}.py"), "--out", str(out), *(["--quick"] if quick else [])]
        if subprocess.run(command, check=False).returncode:
            raise TrainingError(f"figure '{name}' failed; its message stands above.")


def _figures_folder() -> Path:
    """Of the checkout, or of the installed package."""
    for folder in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (folder / "figures" / "_style.py").is_file():
            return folder / "figures"
    raise TrainingError("The figure scripts are not installed; run this from the folder of a source checkout.")
