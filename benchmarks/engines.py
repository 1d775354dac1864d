"""What each engine is worth: its lines beside its speed against the simplest alternative.

    python benchmarks/engines.py      the lines of C++ and templates, and of the Python that calls them

The table is in ``README.md`` here; ``tests/benchmarks/test_engines.py`` holds its lines against these.
"""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODELS = HERE.parent / "models"
UNLAYERED = ("asynchronous/unlayered*", "asynchronous/surrogate_lowering.py", "asynchronous/losses.py")
# Files of each engine below models/, and what else it needs; a file counts for the first engine that names it.
ENGINES = {
    "SpikingGamma": ("gamma/*",),
    "unlayered gradient": UNLAYERED,
    "continuous time": ("asynchronous/timed/*",),
    "asynchronous": ("asynchronous/*",),
    "asynchronous SpikingGamma": ("asynchronous_gamma/*",),
    "exact gradients": ("hybrid/*",),
    "Brian 2 programs that serve": ("service/*",),
    "shared: event loops": ("order/*",),
    "shared: all": ("native/*",),
}
CODE = {"C++": (".hpp", ".h", ".jinja"), "Python": (".py",)}


def lines() -> dict[str, dict[str, int]]:
    """Lines of C++ and of Python of every engine; what runs in Brian 2 (folders ``brian``) is none."""
    found, seen = {}, set()
    for engine, patterns in ENGINES.items():
        paths = {path for pattern in patterns for path in MODELS.glob(pattern) if path.is_file()} - seen
        seen |= paths
        found[engine] = {
            language: sum(len(p.read_text().splitlines()) for p in paths if p.suffix in endings)
            for language, endings in CODE.items()
        }
    return found


def stated(text: str) -> dict[str, dict[str, int]]:
    """The same as the table of the README says: rows ``| name | C++ | Python | ...``."""
    rows = re.findall(r"^\| ([^|]+?) \| (\d+) \| (\d+) \|", text, re.M)
    return {name: {"C++": int(cpp), "Python": int(python)} for name, cpp, python in rows if name in ENGINES}


if __name__ == "__main__":
    for name, counted in lines().items():
        print(f"| {name} | {counted['C++']} | {counted['Python']} |")
