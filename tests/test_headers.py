"""The C++ of the engines: every header compiles alone, everything is called, and it stays small."""

import collections
import re
import subprocess

import pytest
from sources import ROOT

from brian2grad.models.native.build import compiler

MODELS = ROOT / "models"
HEADERS = sorted(str(path.relative_to(MODELS)) for path in (*MODELS.rglob("*.hpp"), *MODELS.rglob("*.h")))
SOURCES = sorted((*MODELS.rglob("*.hpp"), *MODELS.rglob("*.h"), *MODELS.rglob("*.jinja")))
MOST_LINES = 3972  # headers and templates together, but for the engine of any equations
MOST_HYBRID_LINES = (
    2050  # equal neurons side by side in vectors have a path of their own; states of synapses, checkpoints
)
# What is compiled into Brian 2's own programs: the loop around them, and the queue of asynchronous gamma networks.
SERVED = {MODELS / "service" / "service.hpp", MODELS / "asynchronous_gamma" / "queue.hpp"}
MOST_SERVED_LINES = 380
UNFINISHED = {  # what must come before, and is not a header that could be included
    "asynchronous/brian/functions.hpp": "network.h of the project that Brian 2 generates",
    "order/worker.hpp": "the generated Queue",
    "order/driver.hpp": "the generated Queue",
    "asynchronous/delivery.hpp": "the generated Queue and Neuron",
    "asynchronous/worker.hpp": "the generated Queue and Neuron",
    "asynchronous/unlayered_driver.hpp": "the generated Neuron",
    "asynchronous_gamma/queue.hpp": "network.h of the project that Brian 2 generates",
    "asynchronous_gamma/worker.hpp": "the generated Queue and kinds",
}
# A function's head: at the start of a line, a type, the name, its parameters and an opening brace.
HEAD = re.compile(
    r"^[ \t]*(?:[A-Za-z_][\w:<>,*& ]*[ *&>])?(\w+)\([^;{}()]*(?:\([^()]*\)[^;{}()]*)*\)\s*(?:const\s*)?\{", re.M
)
BY_BRIAN = {"_brian_pow"}  # called by the code that Brian 2's renderer writes
KEYWORDS = {"if", "for", "while", "switch", "return", "catch", "sizeof"}


# For any processor: what is written for this one is compiled with every engine.
FLAGS = ["-std=c++17", "-fopenmp", "-fsyntax-only", "-DREAL=double", f"-I{MODELS}", "-x", "c++", "-"]


def compiles(header):
    """Whether a header compiles when nothing comes before it, and what the compiler said."""
    done = subprocess.run([compiler(), *FLAGS], input=f'#include "{header}"\n', capture_output=True, text=True)
    return done.returncode == 0, done.stderr[:2000]


@pytest.mark.parametrize("header", [name for name in HEADERS if name not in UNFINISHED])
def test_header_compiles_alone(header):
    fine, said = compiles(header)
    assert fine, said


@pytest.mark.parametrize("header", UNFINISHED)
def test_exceptions_are_needed(header):
    assert not compiles(header)[0], f"{header} compiles alone: take it off the list"


def test_every_function_is_called():
    """A function's name occurs a second time, in C++ or in the Python that generates and calls it."""
    code = "\n".join(re.sub(r"//.*", "", path.read_text()) for path in SOURCES)
    everything = "\n".join([code, *(path.read_text() for path in MODELS.rglob("*.py"))])
    definitions = collections.Counter(name for name in HEAD.findall(code) if name not in KEYWORDS)
    assert len(definitions) > 100
    classes = set(re.findall(r"(?:struct|class)\s+(?:alignas\([^)]*\)+\s*)?(\w+)", code))  # constructors
    uses = collections.Counter(re.findall(r"\w+", everything))
    dead = {name for name, n in definitions.items() if uses[name] <= n} - classes - BY_BRIAN
    assert dead == set()


def test_few_lines():
    lines = {path: len(path.read_text().splitlines()) for path in SOURCES}
    hybrid = sum(n for path, n in lines.items() if path.is_relative_to(MODELS / "hybrid"))
    served = sum(lines[path] for path in SERVED)
    assert hybrid <= MOST_HYBRID_LINES
    assert served <= MOST_SERVED_LINES
    assert sum(lines.values()) - hybrid - served <= MOST_LINES
