"""Attack a reader with damaged files, in a process of its own: ``python attack.py TARGET SECONDS SEED FOLDER``.

Every case must end within `LIMIT` seconds and 4 times the file's size plus 256 MiB, either with one of our errors, on
one line that names the file, or with a result. The target says what may come out: nothing but the whole file's own
numbers where the format has a checksum.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

LIMIT, MEMORY = 10.0, 256 * 2**20
INTERPRETER = 80 * 2**20  # with its libraries: what a child needs anyway
NASTY = (0, 1, -1, 2**31, 2**63, -(2**63), 2**64, 10**40, 0.5, 1e300, -1e300, float("nan"), float("inf"), True, "", "x")
NASTY += ([], [1], [[1]], {}, {"a": 1}, "\u00b2", "../../etc/passwd", "nan", "\x00", "a" * 5000)


def seconds() -> float:
    """Seconds per target."""
    return float(os.environ.get("ATTACK_SECONDS", 4))


def mutated(content: bytes, rng) -> bytes:
    """Damage some bytes: change, cut, repeat, insert, swap, or put in numbers that hurt."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        size = max(1, len(data))
        at, length = int(rng.integers(size)), int(min(rng.integers(1, 65), size))
        kind = rng.integers(8)
        if kind == 0:
            data[at : at + 1] = bytes([int(rng.integers(256))])
        elif kind == 1 and data:
            data[min(at, len(data) - 1)] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length]
        elif kind == 5:
            data[at : at + length] = rng.integers(0, 256, length, np.uint8).tobytes()
        elif kind == 6:
            data[at : at + 8] = rng.choice([b"\0" * 8, b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\0\0\0\0\1\0\0\0"])
        else:
            data[at:at] = rng.choice([b"\0", b"\n", b"[" * 300, b'"', b"=", b"9" * 400, b"\xff\xfe", b"'''"])
    return bytes(data)


class Memory:
    """Growth of memory of this process since a moment, and of the largest child beyond what it needs anyway."""

    def __init__(self, needed: int):
        self.needed = needed

    def __enter__(self):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        self.before, self.child = self._value("VmRSS"), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        return self

    def __exit__(self, *exception):
        self.grown = self._value("VmHWM") - self.before
        child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        self.grown += max(0, 1024 * child - self.needed) if child > self.child else 0

    @staticmethod
    def _value(name):
        return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) * 1024


class Hang(BaseException):
    """A case took too long."""


def _late(*arguments):
    raise Hang


def one(target):
    """What is wrong with one case, ``None`` if nothing is."""
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    signal.setitimer(signal.ITIMER_REAL, 6 * LIMIT)  # a busy machine is no fault, waiting for ever is one
    try:
        with Memory(getattr(target, "child", INTERPRETER)) as memory:
            try:
                found = target.read(target.path)
            except target.errors as error:
                text, found = str(error), None
                if "\n" in text or len(text) > 2000:
                    return f"not one line: {text[:300]!r}"
                if str(target.path) not in text and Path(target.path).name not in text:
                    return f"does not name the file: {text[:300]}"
        if memory.grown > 4 * target.size + MEMORY:
            return f"took {memory.grown / 2**20:.0f} MiB for a file of {target.size} bytes"
        return None if found is None else target.result_of(found)
    except Hang:
        return f"took more than {LIMIT} s"
    except Exception:
        return traceback.format_exc()[-3000:]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def run(name: str, limit: float, seed: int, folder: Path) -> dict:
    """Attack one target; returns the number of cases and what was wrong, with the file that shows it."""
    from attack_runs import RUN_TARGETS
    from attack_targets import TARGETS

    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    sys.excepthook = sys.__excepthook__  # Brian 2's would log, which is off
    signal.signal(signal.SIGALRM, _late)
    signal.signal(signal.SIGPROF, _late)
    resource.setrlimit(resource.RLIMIT_DATA, (4 * 2**30, 4 * 2**30))  # whatever happens, the machine survives
    target = {**TARGETS, **RUN_TARGETS}[name](folder)
    rng, cases, found = np.random.default_rng(seed), 0, []
    target.read(target.path)  # what is imported at first use is no memory of a file
    wrong = one(target)
    if wrong:
        return {"cases": 0, "found": [["the whole file", wrong]]}
    end = time.monotonic() + limit
    while time.monotonic() < end and len(found) < 3:
        cases += 1
        target.damage(rng)
        wrong = one(target)
        if wrong:
            kept = folder / f"{name}-{seed}-{cases}"
            target.keep(kept)
            found.append([str(kept), wrong])
    return {"cases": cases, "found": found}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))))
