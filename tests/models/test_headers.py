"""Headers stand alone: each includes what it uses."""

import subprocess
from pathlib import Path

import pytest

import brian2grad.models
from brian2grad.models.native.build import compiler

MODELS = Path(brian2grad.models.__file__).parent
# Those that the generated source completes say so in their first lines.
FRAGMENTS = ("generated source", "generated C++")


@pytest.mark.parametrize(
    "path", sorted(p.relative_to(MODELS).as_posix() for p in MODELS.rglob("*.h*") if p.suffix in (".h", ".hpp"))
)
def test_a_header_includes_what_it_uses(path):
    text = (MODELS / path).read_text()
    assert "#pragma once" in text
    if any(word in text.partition("#pragma once")[0].replace("\n// ", " ") for word in FRAGMENTS):
        pytest.skip("part of a generated source")
    command = [compiler(), "-std=c++17", "-fopenmp", "-fsyntax-only", "-DREAL=float", f"-I{MODELS}", "-x", "c++"]
    done = subprocess.run([*command, str(MODELS / path)], capture_output=True, text=True)
    assert not done.returncode, done.stderr
