"""A room imports only what lies below it, no module imports itself by a detour, and names say places."""

import functools
import graphlib
import re

import pytest
from sources import FILES, LIBRARY, ROOT, imports_of, package_of

MOST_FILES = 12  # Python files a folder; a data set is a file in training/data
FULL = {"training/data": 99}  # every data set is a file
MODULES = {
    ".".join((*package_of(path)[1:], *(() if path.name == "__init__.py" else (path.stem,)))): path
    for folder in LIBRARY
    for path in FILES[folder]
}
# Rooms by height; rooms of one height do not know each other. The empty name is the folder itself.
HEIGHTS = {
    "equations": [("",), ("ready", "brian")],
    "models": [
        ("",), ("native", "topology", "service"), ("order",), ("gamma", "asynchronous"),
        ("asynchronous_gamma", "hybrid"), ("exchange",),
    ],
    "training": [
        ("data", "watching"), ("",), ("configuration",), ("gamma", "asynchronous", "exact", "fit"),
        ("plots", "timing_tasks", "cluster"), ("report",), ("cli",),
    ],
}  # fmt: skip
# Modules that lie in the folder itself and above its rooms.
ENTRANCES = {"equations", "models", "training", "training.__main__", "training.estimators"}
# Imports upwards that are known, and why they are still there.
UPWARDS = {
    ("models.devices", "models.native.build"): "says which compiler there is",
    ("models.devices", "models.native.flags"): "says how it is called",
    ("training.evaluation", "training.asynchronous.evaluation"): "chooses the evaluation by the kind of the run",
}


@functools.cache
def imports():
    """Module to the library's modules that it imports, inside functions too."""
    table = {}
    for module, path in MODULES.items():
        found = set()
        for _, dotted, relative, names in imports_of(path, package_of(path)):
            place = dotted.partition(".")[2]
            if relative:
                found |= {f"{place}.{name}" if f"{place}.{name}" in MODULES else place for name in names}
        table[module] = (found & MODULES.keys()) - {module}
    return table


def room_of(module):
    folders = MODULES[module].relative_to(ROOT).parent.parts
    return folders[0], folders[1] if len(folders) > 1 else ""


def height_of(module):
    folder, room = room_of(module)
    return next(height for height, rooms in enumerate(HEIGHTS[folder]) if room in rooms)


def test_the_reader_sees_imports_inside_functions():
    assert "models.asynchronous.brian.run" in imports()["models.asynchronous.network"]


def test_every_room_has_a_height():
    assert not [m for m in MODULES if not any(room_of(m)[1] in rooms for rooms in HEIGHTS[room_of(m)[0]])]


def test_a_room_imports_only_what_lies_below_it():
    wrong = {
        (module, other)
        for module in MODULES.keys() - ENTRANCES
        for other in imports()[module]
        if room_of(module) != room_of(other)
        and room_of(module)[0] == room_of(other)[0]
        and height_of(module) <= height_of(other)
    }
    assert sorted(wrong - UPWARDS.keys()) == []


def test_no_circle_between_modules():
    """An order exists in which every module comes after all it imports."""
    try:
        graphlib.TopologicalSorter(imports()).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"imports go in a circle: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("folder", LIBRARY)
def test_few_files_a_folder(folder):
    counts = {}
    for path in FILES[folder]:
        place = str(path.relative_to(ROOT).parent)
        counts[place] = counts.get(place, 0) + (path.name != "__init__.py")
    assert {place: n for place, n in counts.items() if n > FULL.get(place, MOST_FILES)} == {}


@pytest.mark.parametrize("folder", ["models", "training"])
def test_no_module_is_named_after_a_system_by_prefix(folder):
    prefix = re.compile("(gamma|async|asynchronous)_")
    assert [str(path.relative_to(ROOT)) for path in FILES[folder] if prefix.match(path.stem)] == []
