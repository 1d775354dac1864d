"""A Brian 2 network compiled to a program that serves: built once per content, then run without Brian 2."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import brian2
import numpy as np
from brian2 import TimedArray
from brian2.core.variables import ArrayVariable, DynamicArrayVariable

from ..cache import cache_folder, tidy, work_folder
from ..devices import building, standalone_device
from ..errors import EngineError
from ..files import write_file

HEADER = Path(__file__).with_name("service.hpp")
_FILES = sorted(path for path in HEADER.parent.rglob("*.?pp"))
_LAYOUT = "layout.json"


@dataclass
class Served:
    """A Brian 2 network and what of it is told and asked.

    Parameters
    ----------
    run : callable
        Calls ``run`` of the network, once.
    pathways : list of SynapticPathway
    parameters : dict of str to (object, str)
        Variables that are set before samples and stay: weights.
    inputs : dict of str to (object, str) or TimedArray
        Variables that every sample sets anew; a timed array is given by its entries that are not zero.
    outputs : dict of str to (object, str)
        Variables that are read after every sample, those of monitors among them.
    fixed : bool
        Whether no run changes a parameter: then they are not put back after each sample.
    restarts : tuple of str
        C++ functions, without arguments, that put back what is no variable.
    headers : tuple of str
        Where they are.
    """

    run: callable
    pathways: list
    parameters: dict
    inputs: dict
    outputs: dict
    fixed: bool = False
    restarts: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Program:
    """A built program.

    Attributes
    ----------
    folder : Path
    places : dict of str to int
        Number of every array that is set.
    kinds : dict of str to str
        Its type; ``'sparse'`` of a timed array.
    outputs : dict of str to (str, int)
        Type of every array that is read, and its columns (0: it has one dimension), in order.
    compilations : int
        How often C++ was compiled for it now.
    """

    folder: Path
    places: dict[str, int]
    kinds: dict[str, str]
    outputs: dict[str, tuple[str, int]]
    compilations: int = field(default=0, compare=False)


def program_of(identity: str, build) -> Program:
    """Return the program of this identity, from the cache or built now.

    Parameters
    ----------
    identity : str
        Everything the generated code and its connections depend on; values of parameters are no part of it.
    build : callable
        Makes the Brian 2 objects and returns `Served`; called where C++ standalone is the active device.

    Raises
    ------
    EngineError
        If the compiler fails or the program can't be written.
    """
    makers = Path(inspect.getfile(build)).parent.glob("*.py")  # what makes the objects is content, too
    code = [*_FILES, *sorted(makers)]
    parts = [brian2.__version__, identity, *(path.read_text() for path in code)]
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    folder = cache_folder("service") / name
    found = _opened(folder)
    if found is not None:
        return found
    with work_folder(folder.parent) as place:
        _build(place / name, build)
        with contextlib.suppress(OSError):  # another process was faster: its program is the same
            if folder.exists() and _opened(folder) is None:
                shutil.rmtree(folder)
            os.rename(place / name, folder)
    found = _opened(folder)
    if found is None:
        raise EngineError(f"The C++ program in {folder} is damaged; remove the folder.")
    tidy(folder.parent)
    return Program(found.folder, found.places, found.kinds, found.outputs, compilations=1)


def _opened(folder: Path) -> Program | None:
    """A program in the cache, if it is whole."""
    try:
        layout = json.loads((folder / _LAYOUT).read_bytes())
        if layout.pop("files") != _contents(folder):
            return None
        os.utime(folder)  # used now: others go first
        return Program(folder, layout["places"], layout["kinds"], {k: tuple(v) for k, v in layout["outputs"].items()})
    except (OSError, ValueError, KeyError, RecursionError):
        return None


def _contents(folder: Path) -> dict[str, str]:
    files = [folder / "main", *sorted((folder / "static_arrays").iterdir())]
    return {f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def _build(folder: Path, build) -> None:
    with standalone_device() as device, building("program", folder):
        served = build()
        device.headers.extend(f'"{header}"' for header in (HEADER, *served.headers))
        loop = _Loop(served)
        device.insert_code("before_network_run", "@service-begin@")
        device.insert_code("after_network_run", loop.end())
        served.run()
        _replace(device, "@service-begin@", loop.begin())
        device.build(directory=str(folder), compile=True, run=False)
        for path in folder.iterdir():
            if path.name not in ("main", "static_arrays"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        layout = {"places": loop.places, "kinds": loop.kinds, "outputs": loop.outputs, "files": _contents(folder)}
        write_file(folder / _LAYOUT, json.dumps(layout).encode())


def _replace(device, mark: str, text: str) -> None:
    """Write the beginning of the loop now that the run has made all its arrays."""
    for function, arguments in device.main_queue:
        if function == "run_network":
            lines = arguments[1]
            lines[lines.index(mark)] = text
            return
    raise EngineError("The network was not run: there is nothing to serve.")


class _Loop:
    """C++ before and after the run of the network."""

    def __init__(self, served: Served):
        self.served = served
        self.places, self.kinds, self.outputs = {}, {}, {}

    def begin(self) -> str:
        served, device = self.served, brian2.device
        given = {id(_variable(at)): name for name, at in served.parameters.items()}
        constant = set(given) if served.fixed else set()
        given |= {id(_variable(at)): name for name, at in served.inputs.items() if not isinstance(at, TimedArray)}
        numbers, lines, count = {}, [], 0

        def add(text: str, changes: bool) -> int:
            nonlocal count
            lines.append(f"_service.add(new service::{text}, {str(changes).lower()});")
            count += 1
            return count - 1

        wanted = {id(_variable(at)) for at in served.outputs.values()} | given.keys()
        done = _finished(device)
        for variable in sorted(device.arrays, key=lambda v: device.arrays[v]):
            if id(variable) not in wanted and (variable.constant or id(variable) in done):
                continue
            numbers[id(variable)] = add(_place(device, variable), id(variable) not in constant)
            if id(variable) in given:
                name = given[id(variable)]
                self.places[name], self.kinds[name] = numbers[id(variable)], np.dtype(variable.dtype).name
        for name, array in served.inputs.items():
            if isinstance(array, TimedArray):
                self.places[name] = add(f"Sparse({array.name}_values, {array.values.size})", True)
                self.kinds[name] = "sparse"
        for pathway in served.pathways:
            prepare = f"_before_run_{pathway._pushspikes_codeobj.name}"
            add(f"Queue<SynapticPathway>({pathway.name}, {prepare})", True)
        for function in served.restarts:
            add(f"Callback({function})", True)
        for name, at in served.outputs.items():
            variable = _variable(at)
            lines.append(f"_service.reads({numbers[id(variable)]});")
            columns = at[0].n_indices if _dimensions(variable) == 2 else 0
            self.outputs[name] = (np.dtype(variable.dtype).name, columns)
        return "\n".join(
            [f"service::Program _service({self._network}.t);", *lines, "for (;;) { _service.next(); try {"]
        )

    @property
    def _network(self) -> str:
        run = next(arguments for function, arguments in brian2.device.main_queue if function == "run_network")
        return run[0].name

    @staticmethod
    def end() -> str:
        return "_service.answer(); } catch (const std::exception& error) { _service.failed(error); } }"


def _variable(at) -> ArrayVariable:
    owner, name = at
    return owner.variables[name]


def _dimensions(variable) -> int:
    return getattr(variable, "ndim", 1) if isinstance(variable, DynamicArrayVariable) else 1


def _finished(device) -> set[int]:
    """Variables of code that runs before the network and of no other: ends of synapses that are to be made."""
    before = [arguments[0] for function, arguments in device.main_queue if function == "run_code_object"]
    first, later = (
        {id(variable) for code in codes for variable in code.variables.values()}
        for codes in (before, [code for code in device.code_objects.values() if code not in before])
    )
    return first - later


def _place(device, variable) -> str:
    name = device.get_array_name(variable, access_data=False)
    if _dimensions(variable) == 2:
        times = device.get_array_name(variable.owner.variables["t"], access_data=False)
        return f"Recorded<decltype({name})>({name}, {times}, {variable.owner.n_indices})"
    if isinstance(variable, DynamicArrayVariable):
        return f"Dynamic<decltype({name})::value_type>({name})"
    return f"Fixed<std::remove_pointer<decltype({name})>::type>({name}, {variable.size})"
