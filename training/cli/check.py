"""``brian2grad check``: the exact gradient of a user's own model beside finite differences."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..exact.check import check_gradient, load_problem


def check(
    model: Annotated[str, typer.Argument(metavar="MODEL.py:OBJECT", help="A function that returns the problem.")],
    tolerance: Annotated[float, typer.Option(help="Largest relative error that passes.")] = 1e-6,
    limit: Annotated[int, typer.Option(min=1, help="Entries checked of every array.")] = 4,
) -> int:
    """Compare the exact gradient of your own model with finite differences; exit code 1 if they differ."""
    found = check_gradient(load_problem(model), limit)
    table = Table("parameter", "adjoint", "finite difference", "relative error", box=None)
    for entry in found.entries:
        if entry.error is None:
            row = ("not checked: a spike appears or vanishes within the step", "")
        else:
            row = (f"{entry.difference:.9g}", f"{entry.error:.1e}{'' if entry.error <= tolerance else '  !'}")
        table.add_row(entry.name, f"{entry.adjoint:.9g}", *row)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table, markup=False)
    console.print(f"loss {found.loss:.9g}; {found.spikes} spikes; all numbers in SI base units")
    console.print(f"smallest slope of a threshold at a spike: {found.least_slope:.3g} per second")
    console.print(
        f"nearest grazing: {found.nearest_grazing:.3g} (a maximum of the threshold function, without a spike)"
    )
    if not found.passes(tolerance):
        compared = any(entry.error is not None for entry in found.entries)
        console.print(f"FAILED: an error is above {tolerance:g}" if compared else "FAILED: nothing could be compared")
        return 1
    console.print(f"passed: no error is above {tolerance:g}")
    return 0
