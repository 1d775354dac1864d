"""Brian 2's devices behind one call: runtime, C++ standalone (built once, run many times), GeNN (detected)."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import brian2
from brian2.devices.device import all_devices, get_device, reset_device, runtime_device, set_device

from .cache import cache_folder, lock, lock_beside, tidy, work_folder
from .checks import processors
from .errors import EngineError, NetworkError
from .files import write_file
from .native.build import compiler, compiler_version
from .native.flags import brian2_flags

_MANIFEST = "manifest.json"
DEVICES = ("runtime", "cpp_standalone", "genn")


def check_device(device: str) -> None:
    """Refuse a device that does not exist or is not available, saying why in one line."""
    if device not in DEVICES:
        raise NetworkError(f"device='{device}' is unknown; use one of {', '.join(DEVICES)}.")
    if device != "genn":  # that runs in a process of its own
        _check_project(device)
    if device == "cpp_standalone":
        compiler()
    if device == "genn":
        reason = genn_missing()
        if reason:
            raise EngineError(f"device='genn' is not available: {reason}")


def _check_project(device: str) -> None:
    """Refuse to run where Brian 2 holds a project of the user's: it has one per process, and ours would replace it."""
    active, standalone = get_device(), all_devices["cpp_standalone"]
    begun = any(getattr(variable.owner, "name", "") != "defaultclock" for variable in standalone.arrays)
    if active is runtime_device and not (device == "cpp_standalone" and begun):
        return
    name = next((name for name, known in all_devices.items() if known is active and name), type(active).__name__)
    found = (
        "a C++ standalone project is under way" if active in (runtime_device, standalone) else f"it is set to '{name}'"
    )
    raise NetworkError(
        f"Brian 2 has one device per process and {found}, which this run would destroy: build and read it first, then "
        "brian2.device.reinit() and set_device('runtime'); or run this network in a process of its own."
    )


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
    """Compile Brian 2's C++ without value-changing optimisations, so that runs can be compared spike for spike.

    Brian 2 asks for all compilations of a project at once, dozens of them in 200 MB each; here it is one a core, unless
    the user's own preference says how many.
    """
    prefs = brian2.prefs
    ours = {"codegen.cpp.extra_compile_args_gcc": brian2_flags(compiler_version())}
    if prefs["devices.cpp_standalone.extra_make_args_unix"] == ["-j"]:
        ours["devices.cpp_standalone.extra_make_args_unix"] = [f"-j{processors()}"]
    old = {name: prefs[name] for name in ours}
    for name, value in ours.items():
        prefs[name] = value
    try:
        yield
    finally:
        for name, value in old.items():
            prefs[name] = value


@contextlib.contextmanager
def standalone_device():
    """C++ standalone as the active device, empty and not built by `run`; the runtime device comes back after it."""
    set_device("cpp_standalone", build_on_run=False)
    device = brian2.device
    device.reinit()
    device.activate(build_on_run=False)
    try:
        yield device
    finally:
        device.reinit()
        reset_device()


@contextlib.contextmanager
def building(what: str, folder):
    """Compile with exact arithmetic; whatever hinders it is one error that says what can't be built where."""
    try:
        with exact_arithmetic():
            yield
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise EngineError(
            f"The C++ {what} in {folder} cannot be built ({' '.join(str(error).split())}); free space there, or set "
            "BRIAN2GRAD_CACHE to another folder."
        ) from error


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
        name = hashlib.sha256(identity.encode()).hexdigest()[:16]
        folder = cache_folder("standalone")
        self._held = contextlib.ExitStack()  # the lock, and what goes before it does
        self.directory = folder / name
        handle = lock(lock_beside(self.directory))
        if handle is None:
            self.directory = self._held.enter_context(work_folder(folder))
        else:
            self._held.callback(os.close, handle)
            if not self._is_whole():  # cut short, damaged, or its builder was killed
                _remove(self.directory)
                self.directory.mkdir(mode=0o700)
            os.utime(self.directory)
        tidy(folder)
        self.compilations = 0

    def _contents(self) -> dict[str, str]:
        """Hash of every file that a later process builds on; what a run writes is not among them."""
        files = [path for path in sorted(self.directory.rglob("*")) if path.is_file()]
        names = {path.relative_to(self.directory).as_posix(): path for path in files}
        return {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path in names.items()
            if name != _MANIFEST and name.split("/")[0] not in ("results", "static_arrays")
        }

    def _is_whole(self) -> bool:
        """Whether all is there as it was after the project was built."""
        try:
            return json.loads((self.directory / _MANIFEST).read_bytes()) == self._contents()
        except (OSError, ValueError, RecursionError):
            return False

    def __enter__(self):
        self._held.enter_context(standalone_device())
        return self

    def build(self) -> None:
        """Write, compile and run the project once with the arrays it was written with.

        Raises
        ------
        EngineError
            If the compiler fails or the project can't be written.
        """
        manifest = self.directory / _MANIFEST
        manifest.unlink(missing_ok=True)  # what is killed from here on is built from nothing
        with building("project", self.directory):
            brian2.device.build(directory=str(self.directory), compile=True, run=False)
            write_file(manifest, json.dumps(self._contents()).encode())
        self.compilations += 1

    def run(self, arguments: dict | None = None) -> None:
        """Run with other values for variables or timed arrays; results are read from Brian 2's monitors."""
        brian2.device.run(run_args=arguments or {}, with_output=False)
        # Every set of arguments leaves a file behind; thousands of samples would fill the disk.
        for leftover in (self.directory / "static_arrays").glob("init_*"):
            leftover.unlink(missing_ok=True)

    def __exit__(self, *exception):
        self._held.close()


def _remove(place: Path) -> None:
    """Remove what is in the place of a project: a folder, or a file that is none."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
