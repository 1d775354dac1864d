"""Brian 2's devices behind one call: runtime, C++ standalone (built once, run many times), GeNN (detected)."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import brian2
from brian2.devices.device import reset_device, set_device

from .cache import cache_folder
from .errors import EngineError, NetworkError
from .native.build import compiler

DEVICES = ("runtime", "cpp_standalone", "genn")


def check_device(device: str) -> None:
    """Refuse a device that does not exist or is not available, saying why in one line."""
    if device not in DEVICES:
        raise NetworkError(f"device='{device}' is unknown; use one of {', '.join(DEVICES)}.")
    if device == "cpp_standalone":
        compiler()
    if device == "genn":
        reason = genn_missing()
        if reason:
            raise EngineError(f"device='genn' is not available: {reason}")


def genn_missing() -> str | None:
    """Why Brian2GeNN cannot be used here, in one line; ``None`` if it can."""
    if importlib.util.find_spec("brian2genn") is None:
        return "Brian2GeNN is not installed; it needs an environment of its own, see environment-genn.yml."
    version = importlib.metadata.version("brian2")
    if tuple(int(part) for part in version.split(".")[:2]) >= (2, 6):
        return f"Brian2GeNN 1.7 needs brian2 < 2.6, found {version}; use environment-genn.yml."
    path = os.environ.get("GENN_PATH")
    found = path and (Path(path) / "bin" / "genn-buildmodel.sh").exists()
    if not found and shutil.which("genn-buildmodel.sh") is None:
        return "GeNN 4 was not found; install it and set GENN_PATH to its folder."
    return None


def genn_gpu() -> bool:
    """Whether a GPU compiler for GeNN is there; without it GeNN runs on the CPU."""
    return shutil.which("nvcc") is not None and shutil.which("nvidia-smi") is not None


@contextlib.contextmanager
def exact_arithmetic():
    """Compile Brian 2's C++ without value-changing optimisations, so that runs can be compared spike for spike."""
    prefs = brian2.prefs
    old = prefs["codegen.cpp.extra_compile_args_gcc"]
    prefs["codegen.cpp.extra_compile_args_gcc"] = ["-O3", "-march=native", "-ffp-contract=off", "-std=c++11"]
    try:
        yield
    finally:
        prefs["codegen.cpp.extra_compile_args_gcc"] = old


class StandaloneProject:
    """One compiled Brian 2 C++ project, run many times with different arrays.

    The project folder is kept in the cache under the hash of what is compiled, so that a later process finds it
    built; while another process uses it, a temporary folder takes its place.

    Parameters
    ----------
    identity : str
        Everything the generated code depends on.

    Attributes
    ----------
    compilations : int
        How often C++ was compiled (at most once).
    """

    def __init__(self, identity: str):
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        folder = cache_folder("standalone")
        self._lock = open(folder / f"{digest}.lock", "w")  # noqa: SIM115 - held while the project is in use
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.directory, self._temporary = folder / digest, None
            self.directory.mkdir(exist_ok=True)
        except OSError:
            self._temporary = tempfile.TemporaryDirectory(prefix="brian2grad-")
            self.directory = Path(self._temporary.name)
        self.compilations = 0

    def __enter__(self):
        set_device("cpp_standalone", build_on_run=False)
        brian2.device.reinit()
        brian2.device.activate(build_on_run=False)
        return self

    def build(self) -> None:
        """Write, compile and run the project once with the arrays it was written with."""
        with exact_arithmetic():
            brian2.device.build(directory=str(self.directory), compile=True, run=False)
        self.compilations += 1

    def run(self, arguments: dict | None = None) -> None:
        """Run with other values for variables or timed arrays; results are read from Brian 2's monitors."""
        brian2.device.run(run_args=arguments or {}, with_output=False)
        # Every set of arguments leaves a file behind; thousands of samples would fill the disk.
        for leftover in (self.directory / "static_arrays").glob("init_*"):
            leftover.unlink(missing_ok=True)

    def __exit__(self, *exception):
        brian2.device.reinit()
        reset_device()
        self._lock.close()
        if self._temporary is not None:
            self._temporary.cleanup()
