"""The project's source files and what they import, for the tests of its architecture."""

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ("equations", "models", "training")
LAYERS = ("equations", "models", "training", "figures")  # each may import those before it
FOLDERS = (*LAYERS, "tests", "examples", "benchmarks")
FILES = {folder: sorted((ROOT / folder).rglob("*.py")) for folder in FOLDERS}


@functools.cache
def _statements(path):
    nodes = ast.walk(ast.parse(path.read_text(), str(path)))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def imports_of(path, package=()):
    """Yield (line, dotted name, whether the import is relative, names) of every import statement of a file."""
    for node in _statements(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, False, [alias.name]
        else:
            names = [alias.name for alias in node.names]
            if node.level:
                base = package[: len(package) - node.level + 1]
                dotted = ".".join([*base, *([node.module] if node.module else [])])
                targets = [dotted] if node.module else [f"{dotted}.{name}" for name in names]
                for target in targets:
                    yield node.lineno, target, True, names
            else:
                yield node.lineno, node.module, False, names


def folder_of(dotted):
    """Folder that a module name belongs to: ``brian2grad.models.x`` and ``models.x`` both give ``models``."""
    parts = dotted.split(".")
    parts = parts[1:] if parts[0] == "brian2grad" else parts
    return parts[0] if parts and parts[0] in FOLDERS else None


def package_of(path):
    return ("brian2grad", *path.relative_to(ROOT).parent.parts)


def where(path, line):
    return f"{path.relative_to(ROOT)}:{line}"
