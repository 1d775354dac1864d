"""Run the tests in settings that must not matter, and stop at the first failure.

Random order, one core and two, an idle machine and one beside four busy processes, `OMP_NUM_THREADS` 1, 2, 7 and unset:
each setting so many times. All of that is most of a day: green runs are kept in `build/stable.csv`, with the state of
the project that they are of, and are not run again. With `--short` only the tests that touch threads, 20 times, and
nothing is kept.
"""

import argparse
import contextlib
import csv
import itertools
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORES, BUSY, THREADS = (1, 2), (0, 4), ("1", "2", "7", "unset")
KEPT = ROOT / "build" / "stable.csv"
SHORT = ["-m", "threads and not long and not genn"]


@contextlib.contextmanager
def load(n):
    """`n` processes that never wait."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def run(cores, busy, threads, arguments):
    """One run of the tests; returns whether it was green, its seconds, its seed and its output."""
    seed = str(random.SystemRandom().randrange(2**32))
    usable = sorted(os.sched_getaffinity(0))[:cores]
    pinned = ["taskset", "-c", ",".join(map(str, usable))] if shutil.which("taskset") else []
    command = [*pinned, sys.executable, "-m", "pytest", "-q", "-n", "auto", "--dist", "worksteal", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment["BRIAN2GRAD_OPTIMISE"] = "3"  # what users run; the default suite alone is compiled quicker
    if threads != "unset":
        environment["OMP_NUM_THREADS"] = threads
    start = time.monotonic()
    with load(busy):
        done = subprocess.run(
            [*command, f"--randomly-seed={seed}"],
            cwd=ROOT, env=environment, capture_output=True, text=True,
        )  # fmt: skip
    return done.returncode == 0, time.monotonic() - start, seed, done.stdout + done.stderr


def state():
    """The commit that is tested; None with changes that are not committed, whose runs cannot be told apart."""
    told = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--dirty"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    return None if not told or told.endswith("-dirty") else told


def kept(commit, tests):
    """How many green runs of each setting `KEPT` holds of a commit."""
    if commit is None or not KEPT.exists():
        return Counter()
    with KEPT.open(newline="") as file:
        rows = [row for row in csv.reader(file) if row[:2] == [commit, tests]]
    return Counter((int(cores), int(busy), threads) for _, _, cores, busy, threads, *_ in rows)


def keep(row):
    """Append a row to `KEPT`."""
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a", newline="") as file:
        csv.writer(file).writerow(row)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, help="runs of every setting (default: 10; short: 20 over all settings)")
    parser.add_argument("--short", action="store_true", help="only the tests that touch threads")
    parser.add_argument("tests", nargs="*", help="what pytest is to run, such as tests/models (default: all)")
    asked = parser.parse_args()
    settings = list(itertools.product(CORES, BUSY, THREADS))
    commit, tests = None if asked.short else state(), " ".join(asked.tests)
    if asked.short:
        runs = list(itertools.islice(itertools.cycle(settings), asked.times or 20))
    else:
        times, done = asked.times or 10, kept(commit, tests)
        runs = [setting for n in range(times) for setting in settings if n >= done[setting]]
        if len(runs) < times * len(settings):
            print(f"{times * len(settings) - len(runs)} green runs of {commit} are kept in {KEPT.relative_to(ROOT)}")
    print(f"{len(runs)} runs\n  run  cores  busy  OMP_NUM_THREADS  seconds        seed  result", flush=True)
    for index, (cores, busy, threads) in enumerate(runs):
        green, seconds, seed, output = run(cores, busy, threads, [*(SHORT if asked.short else []), *asked.tests])
        result = "green" if green else "FAILED"
        print(f"{index + 1:5}  {cores:5}  {busy:4}  {threads:>15}  {seconds:7.1f}  {seed:>10}  {result}", flush=True)
        if not green:
            sys.exit(output)
        if commit is not None and state() == commit:  # nothing was changed while it ran
            keep([commit, tests, cores, busy, threads, round(seconds, 1), seed])


if __name__ == "__main__":
    main()
