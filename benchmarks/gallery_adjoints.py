"""Brian 2's own gallery under the gradient check.

Takes the folder of Brian 2's example scripts (``examples/`` of its source repository), runs every script up to its
simulations, which are left out, and takes every `NeuronGroup` with differential equations as it stands there: the
adjoint is derived and checked against central differences (`gallery_group.py`). Claim: of the groups without noise at
least 85 % pass, every other is refused with its reason, none crashes.

    python benchmarks/gallery_adjoints.py EXAMPLES [--only NAME] [--out results/gallery_adjoints.jsonl]
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMIT = 1500  # seconds for a script


def groups_of(script: Path) -> list[dict]:
    """Run a script without its simulations and check its groups; in a process of its own."""
    import brian2
    import matplotlib

    matplotlib.use("Agg")
    sys.path[:0] = [str(HERE), str(script.parent)]
    os.chdir(script.parent)
    from gallery_group import check_group

    brian2.prefs.codegen.target = "numpy"
    rows, waiting, seen = [], [], set()
    built = brian2.NeuronGroup.__init__

    def build(self, *args, **kwargs):
        built(self, *args, **kwargs)
        if type(self) is brian2.NeuronGroup and self.equations.diff_eq_names:
            waiting.append(self)

    def check(namespace):
        taken, waiting[:] = list(waiting), []
        for group in taken:
            key = (str(group.user_equations), str(group.events), str(group.event_codes), str(group._refractory))
            if key not in seen:
                seen.add(key)
                brian2.NeuronGroup.__init__ = built
                rows.append(check_group(group, namespace))
                brian2.NeuronGroup.__init__ = build

    def names_of_the_script():
        frame = sys._getframe(1)
        while frame is not None and Path(frame.f_code.co_filename).name != script.name:
            frame = frame.f_back
        return {**frame.f_globals, **frame.f_locals} if frame else {}

    def instead_of_run(self, *args, **kwargs):
        if project["at run"]:
            check(names_of_the_script())

    # A standalone project that is built by hand runs when it is told to, with the values that it is given then.
    project = {"at run": True}

    def instead_of_set_device(*args, build_on_run=True, **kwargs):
        project["at run"] = build_on_run

    def instead_of_build(*args, run=True, **kwargs):
        if run:
            check(names_of_the_script())

    def instead_of_project(*args, run_args=None, **kwargs):
        for view, value in (run_args or {}).items():
            view[:] = value
        check(names_of_the_script())

    connected = brian2.Synapses.connect

    def instead_of_connect(self, *args, **kwargs):  # synapses alone are not looked at, and may take long
        ends = [getattr(end, "source", end) for end in (self.source, self.target)]
        if any(getattr(end, "equations", None) and end.equations.diff_eq_names for end in ends):
            connected(self, *args, **kwargs)

    brian2.NeuronGroup.__init__ = build
    brian2.Synapses.connect = instead_of_connect
    brian2.Network.run = brian2.MagicNetwork.run = instead_of_run
    devices = sys.modules["brian2.devices.device"]
    devices.set_device = brian2.set_device = instead_of_set_device
    runtime = devices.runtime_device
    runtime.build, runtime.run = instead_of_build, instead_of_project
    multiprocessing.Pool = multiprocessing.pool.ThreadPool = _Serial
    left, found = "", {}
    try:
        found = runpy.run_path(str(script), run_name="__main__")
    except (Exception, SystemExit) as error:  # without results a script may well fail where it plots them
        left = f"{type(error).__name__}: {error}"
    check(found)
    return rows or [{"status": "no group", "reason": left}]


class _Serial:
    """A pool that works itself, so that what it makes can be seen."""

    def __init__(self, *args, **kwargs):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *args):
        return None

    def map(self, function, items):
        return [function(item) for item in items]

    imap = imap_unordered = map

    def close(self):
        pass

    join = terminate = close


def table(rows) -> str:
    """Summary as text."""
    groups = [r for r in rows if r["status"] != "no group"]
    quiet = [r for r in groups if not r.get("noise")]
    counts = collections.Counter(r["status"] for r in quiet)
    lines = [
        f"{len(groups)} groups with differential equations in {len({r['script'] for r in rows})} scripts, "
        f"{len(groups) - len(quiet)} of them with noise",
        f"without noise: {counts['passed']} of {len(quiet)} pass ({counts['passed'] / max(len(quiet), 1):.0%}), "
        + ", ".join(f"{n} {status}" for status, n in sorted(counts.items()) if status != "passed"),
    ]
    errors = [r["error"] for r in quiet if r["status"] == "passed"]
    if errors:
        lines.append(f"largest relative error of those that pass: {max(errors):.1e}")
    for row in groups:
        if row["status"] != "passed" and not row.get("noise"):
            lines.append(f"  {row['status']}: {row['script']} {row['group']}: {row['reason']}")
    return "\n".join(lines)


def outcome_of(folder: Path, name: str, limit: int) -> list[dict]:
    """Rows of one script, run by a process of its own."""
    with tempfile.TemporaryDirectory() as place:
        found, start = Path(place) / "rows.json", time.time()
        command = [sys.executable, __file__, str(folder / name), "--one", "--out", str(found)]
        try:
            subprocess.run(command, timeout=limit, capture_output=True, check=False)
            rows = json.loads(found.read_text()) if found.exists() else [{"status": "crashed", "reason": "no result"}]
        except subprocess.TimeoutExpired:
            rows = [{"status": "unchecked", "reason": f"the script takes more than {limit} s"}]
    return [{"script": name, "group": "", "seconds": round(time.time() - start)} | row for row in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=int, default=LIMIT, help="seconds for a script")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        Path(options.out).write_text(json.dumps(groups_of(options.examples.resolve())))
        return
    rows, folder = [], options.examples.resolve()
    names = [str(script.relative_to(folder)) for script in sorted(folder.rglob("*.py"))]
    with ThreadPoolExecutor(options.jobs) as pool:
        for own in pool.map(
            lambda name: outcome_of(folder, name, options.limit), [n for n in names if options.only in n]
        ):
            rows += own
            for row in own:
                print(*(row.get(k, "") for k in ("script", "status", "group", "error", "reason")), flush=True)
            if options.out:
                options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(table(rows))


if __name__ == "__main__":
    main()
