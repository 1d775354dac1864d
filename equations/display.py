"""One look at an object: its sizes, numbers and equations, as text and, in notebooks, as a table."""

from __future__ import annotations

from dataclasses import fields
from html import escape

import numpy as np


class Displayed:
    """Mixin: a class says what is worth seeing, in `summary`."""

    def summary(self) -> dict[str, object]:
        """Rows of the display, a name and a value each; ``None`` and empty values are left out."""
        raise NotImplementedError

    def __repr__(self):
        rows = self._rows()
        width = max(map(len, rows), default=0)
        indented = {name: text.replace("\n", "\n" + " " * (width + 4)) for name, text in rows.items()}
        return "\n".join([type(self).__name__, *(f"  {name:<{width}}  {text}" for name, text in indented.items())])

    def _repr_pretty_(self, printer, cycle):
        printer.text(repr(self))

    def _repr_html_(self) -> str:
        cell = '<td style="text-align:left"><pre style="margin:0">{}</pre></td>'
        rows = (f"<tr><th>{escape(name)}</th>{cell.format(escape(text))}</tr>" for name, text in self._rows().items())
        return f"<table><caption>{type(self).__name__}</caption>{''.join(rows)}</table>"

    def _rows(self) -> dict[str, str]:
        return {name: brief(value) for name, value in self.summary().items() if value is not None and value != ""}


class DisplayedFields(Displayed):
    """Mixin of a dataclass made with ``repr=False``: every field by its shape, or by its value where it is short."""

    def summary(self) -> dict[str, object]:
        """Fields of the dataclass; arrays by dtype and shape."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: _shape(value) for name, value in found.items() if not (isinstance(value, dict | list) and not value)
        }


def brief(value) -> str:
    """Short text of a value: numbers to four digits."""
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(brief, value))
    if isinstance(value, dict):
        return "\n".join(f"{name}: {brief(entry)}" for name, entry in value.items())
    return str(value)


def _shape(value) -> object:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, dict):
        return {name: _shape(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple) and any(isinstance(entry, np.ndarray | list | tuple) for entry in value):
        return f"{len(value)} of {_shape(value[0])}"
    return value
