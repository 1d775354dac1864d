"""Run the tests of the engines under sanitizers: addresses and undefined behaviour, then threads.

``sanitize.py address`` compiles every engine with AddressSanitizer and UBSan, ``sanitize.py thread`` with
ThreadSanitizer and runs the tests that use several threads; without a word both. A report fails the run.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUICK = "not long and not genn and not standalone and not figures"
TESTS = {
    # Under AddressSanitizer memory that runs out ends the process.
    "address": ["tests/models", "-m", QUICK, "-k", "not memory_that_runs_out"],
    "thread": ["tests/models", "-m", "threads and not genn and not standalone"],
}
OPTIONS = {
    # Python keeps memory until it ends; what engines leak is the business of the tests of memory.
    "address": {
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    },
    "thread": {"TSAN_OPTIONS": "halt_on_error=1:exitcode=66:ignore_noninstrumented_modules=1:report_thread_leaks=0"},
}
# Faults that must be reported: a sanitizer that is set up wrongly sees nothing.
PROBES = {
    "address": 'extern "C" int fault(int n) { int* a = new int[n]; int last = a[n]; delete[] a; return last; }',
    "thread": """static long long total;
    extern "C" int fault(int n) {
        #pragma omp parallel num_threads(4)
        for (int i = 0; i < 100000; i++) { total = total + n; asm volatile("" ::: "memory"); }
        return int(total);
    }""",
}
PROBE = "import sys; from brian2grad.models.native.build import compile_library; compile_library(sys.argv[1]).fault(4)"
REPORTS = ("ERROR: AddressSanitizer", "WARNING: ThreadSanitizer", ": runtime error: ")


def preloaded(kind, folder):
    """Libraries that must be there before Python is: an engine is loaded too late to bring them."""
    names = {"address": ["libasan.so", "libubsan.so", "libstdc++.so"], "thread": ["libtsan.so", "libgomp.so.1"]}[kind]
    compiler = os.environ.get("CXX", "g++")
    found = []
    for name in names:
        path = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout
        found.append(path.strip())
    if kind == "thread":
        shim = Path(folder) / "openmp_for_tsan.so"
        source = ROOT / ".ci" / "openmp_for_tsan.c"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", str(source), "-o", str(shim), "-ldl"], check=True)
        found[1:1] = [str(shim)]  # before OpenMP, whose functions it wraps
    return " ".join(found)


def run(kind, tests):
    """Exit code of the tests under one sanitizer; 1 if it reported anything."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | OPTIONS[kind] | {"BRIAN2GRAD_SANITIZE": kind, "LD_PRELOAD": preloaded(kind, folder)}
        # ThreadSanitizer wants its addresses where a randomised layout may put others.
        fixed = ["setarch", "-R"] if kind == "thread" and shutil.which("setarch") else []
        probe = [*fixed, sys.executable, "-c", PROBE, PROBES[kind]]
        found = subprocess.run(probe, cwd=ROOT, env=environment, capture_output=True, text=True).stderr
        if not any(report in found for report in REPORTS):
            print(f"{kind}: the sanitizer does not report a known fault:\n{found}\n")
            return 1
        command = [*fixed, sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:randomly", "-p", "no:cacheprovider"]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
        with subprocess.Popen([*command, *tests], cwd=ROOT, env=environment, **streams) as process:
            reported = False
            for line in process.stdout:
                reported |= any(report in line for report in REPORTS)
                print(line, end="", flush=True)
        return process.returncode or int(reported)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", nargs="?", choices=sorted(TESTS), help="which sanitizer (default: both)")
    parser.add_argument("tests", nargs="*", help="arguments of pytest instead of the engines' tests")
    asked, more = parser.parse_known_args()
    codes = {kind: run(kind, [*asked.tests, *more] or TESTS[kind]) for kind in ([asked.kind] if asked.kind else TESTS)}
    for kind, code in codes.items():
        print(f"{kind}: {'no report' if code == 0 else f'FAILED ({code})'}")
    sys.exit(max(codes.values()))


if __name__ == "__main__":
    main()
