"""The direction of imports, the size of files, and what library code must not do."""

import ast

import pytest
from sources import FILES, FOLDERS, LAYERS, LIBRARY, ROOT, folder_of, imports_of, package_of, where

LONGEST = 400
CODE = {".py", ".hpp", ".cpp", ".jinja", ".h"}


def test_the_import_reader_sees_relative_imports(tmp_path):
    source = tmp_path / "sample.py"
    source.write_text(
        "from ..training import loop\nfrom . import events\nimport brian2grad.figures.x\nfrom .a.b import c"
    )
    found = [dotted for _, dotted, _, _ in imports_of(source, ("brian2grad", "models"))]
    assert found == ["brian2grad.training", "brian2grad.models.events", "brian2grad.figures.x", "brian2grad.models.a.b"]
    assert [folder_of(dotted) for dotted in found] == ["training", "models", "figures", "models"]


@pytest.mark.parametrize("folder", LAYERS)
def test_imports_go_from_left_to_right(folder):
    allowed = LAYERS[: LAYERS.index(folder) + 1]
    wrong = [
        f"{where(path, line)} imports {dotted}"
        for path in FILES[folder]
        for line, dotted, _, _ in imports_of(path, package_of(path))
        if folder_of(dotted) not in (None, *allowed)
    ]
    assert not wrong, "\n".join(wrong)
    assert FILES[folder] or folder == "figures"


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_imports_tests_or_figures(folder):
    wrong = [
        f"{where(path, line)} imports {dotted}"
        for path in FILES[folder]
        for line, dotted, _, _ in imports_of(path, package_of(path))
        if folder_of(dotted) in {"tests", "figures"} - {folder if folder == "figures" else None}
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", LIBRARY)
def test_imports_inside_the_library_are_relative(folder):
    wrong = [
        f"{where(path, line)}: write the import of {dotted} with leading dots"
        for path in FILES[folder]
        for line, dotted, relative, _ in imports_of(path, package_of(path))
        if not relative and (dotted.split(".")[0] == "brian2grad" or folder_of(dotted))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", FOLDERS)
def test_star_imports_only_in_scripts(folder):
    stars = [
        (where(path, line), dotted)
        for path in FILES[folder]
        for line, dotted, _, names in imports_of(path, package_of(path))
        if "*" in names
    ]
    if folder in ("figures", "examples"):
        assert all(dotted == "brian2" for _, dotted in stars), stars
    else:
        assert not stars, stars


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_is_longer_than_400_lines(folder):
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in CODE]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}


@pytest.mark.parametrize("folder", LIBRARY)
def test_library_code_does_not_print(folder):
    prints = [
        where(path, node.lineno)
        for path in FILES[folder]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not prints, prints


def test_every_package_is_listed():
    """A folder with code that pyproject.toml forgets would be missing from an installation."""
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {".".join(package_of(path)) for folder in LIBRARY for path in FILES[folder]}
    assert found <= listed


def test_test_files_have_unique_names_and_no_packages():
    names = [path.name for path in FILES["tests"] if path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))
    assert not [path for path in FILES["tests"] if path.name == "__init__.py"]
