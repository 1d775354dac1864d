"""A study's results: one JSON line per cell, with its parameters and seed."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

from brian2grad.models.files import atomic
from brian2grad.training.runs import git_commit


class Results:
    """Lines of a file, rewritten whole and atomically with every new one; several processes may share it.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path):
        self.path = path
        self.read()

    def read(self) -> None:
        """Take what is in the file."""
        lines = self.path.read_text().splitlines() if self.path.is_file() else []
        self.rows = [json.loads(line) for line in lines]

    def find(self, **what) -> dict | None:
        """The line with these entries."""
        self.read()
        return next((row for row in self.rows if all(row.get(k) == v for k, v in what.items())), None)

    def add(self, row: dict) -> None:
        """Append a line, with the commit it was computed with."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            self.read()
            self.rows.append(row | {"git": git_commit()})
            with atomic(self.path) as temporary:
                temporary.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        finally:
            os.close(folder)

    def missing(self, cells, minutes: float | None = None):
        """Cells that have no line yet, one after the other, while there is time."""
        began = time.perf_counter()
        for cell in cells:
            if self.find(**cell):
                continue
            if minutes and time.perf_counter() - began > 60 * minutes:
                print("time is up: run again to go on")
                return
            yield cell

    def settle(self, **settings) -> None:
        """Write the settings that all lines share as the first line, or refuse a file made with others."""
        header = json.loads(json.dumps({"kind": "settings", **settings}))
        self.read()
        if not self.rows:
            self.add(header)
        elif not header.items() <= self.rows[0].items():
            raise SystemExit(f"{self.path} was made with other settings: move it away to start afresh.")


def report(record: dict, path: str | None) -> None:
    """Print what was measured, and append it to a file if one is given."""
    print(json.dumps(record))
    if path:
        Results(Path(path)).add(record)
