"""Layers as values, and their short text: ``16c5``, ``p2``, ``128``, ``128r``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields

from ..checks import checked_number
from ..errors import NetworkError


@dataclass(frozen=True)
class LayerValue:
    """What all layers share.

    Attributes
    ----------
    name : str
        By which other layers take it for their input.
    inputs : tuple of str
        Names of the layers (or ``'input'``) that it takes, in place of the one before it: skip connections.
    """

    name: str = field(default="", kw_only=True)
    inputs: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self):
        object.__setattr__(self, "inputs", (self.inputs,) if isinstance(self.inputs, str) else tuple(self.inputs))
        for entry in fields(self):
            if entry.type == "int":
                least, name = 0 if entry.name == "padding" else 1, f"{type(self).__name__}.{entry.name}"
                number = checked_number(name, getattr(self, entry.name), least, whole=True)
                object.__setattr__(self, entry.name, int(number))
        for name in filter(None, (self.name, *self.inputs)):
            if not re.fullmatch(r"[A-Za-z]\w*", name):
                raise NetworkError(f"'{name}' is no name of a layer; use letters, digits and underscores.")

    def __str__(self):
        return (f"{self.name}:" if self.name else "") + self.text() + (f"<{','.join(self.inputs)}" * bool(self.inputs))

    def text(self) -> str:
        """Short form without name and inputs."""
        raise NotImplementedError


@dataclass(frozen=True)
class Dense(LayerValue):
    """`n` neurons, each connected to everything.

    Parameters
    ----------
    n : int
    name, inputs
        Of every layer, see `LayerValue`.
    """

    n: int

    def text(self) -> str:
        return f"{self.n}"


@dataclass(frozen=True)
class Recurrent(LayerValue):
    """`n` neurons, connected to everything and among themselves; their own spikes arrive one step later.

    Parameters
    ----------
    n : int
    name, inputs
        Of every layer, see `LayerValue`.
    """

    n: int

    def text(self) -> str:
        return f"{self.n}r"


@dataclass(frozen=True)
class Conv2d(LayerValue):
    """A map of neurons that share a kernel (cross-correlation), bucket weights and bias by channel.

    Its neurons are numbered row by row, the channels of a place side by side.

    Parameters
    ----------
    channels : int
    kernel : int or (height, width)
        In places; ``(9, 1)``, as text ``16c9x1``, sees rows only: of a sound, say, its frequencies.
    stride, padding : int
        In places, the same in both directions.
    name, inputs
        Of every layer, see `LayerValue`.
    """

    channels: int
    kernel: int | tuple[int, int]
    stride: int = 1
    padding: int = 0

    def __post_init__(self):
        super().__post_init__()
        sides = self.kernel if isinstance(self.kernel, tuple | list) and len(self.kernel) == 2 else (self.kernel,) * 2
        height, width = (int(checked_number("Conv2d.kernel", side, 1, whole=True)) for side in sides)
        object.__setattr__(self, "kernel", height if height == width else (height, width))

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return self.kernel if isinstance(self.kernel, tuple) else (self.kernel, self.kernel)

    def text(self) -> str:
        kernel = "x".join(map(str, self.kernel)) if isinstance(self.kernel, tuple) else self.kernel
        more = "".join(f"{letter}{value}" for letter, value, usual in self._options() if value != usual)
        return f"{self.channels}c{kernel}{more}"

    def _options(self):
        return ("s", self.stride, 1), ("p", self.padding, 0)


@dataclass(frozen=True)
class Pool2d(LayerValue):
    """Sum of the spikes in windows of ``size x size`` places: receivers share one weight for a window. No neurons.

    Parameters
    ----------
    size : int
    name, inputs
        Of every layer, see `LayerValue`.
    """

    size: int

    def text(self) -> str:
        return f"p{self.size}"


@dataclass(frozen=True)
class Flatten(LayerValue):
    """Forget the places: what follows sees neurons in a row. `Dense` does so by itself.

    Parameters
    ----------
    name, inputs
        Of every layer, see `LayerValue`.
    """

    def text(self) -> str:
        return "flatten"


_FORMS = (
    (re.compile(r"(?P<channels>\d+)c(?P<kernel>\d+(?:x\d+)?)(?:s(?P<stride>\d+))?(?:p(?P<padding>\d+))?"), Conv2d),
    (re.compile(r"p(?P<size>\d+)"), Pool2d),
    (re.compile(r"(?P<n>\d+)r"), Recurrent),
    (re.compile(r"(?P<n>\d+)"), Dense),
    (re.compile(r"flatten"), Flatten),
)
_WHOLE = re.compile(r"(?:(?P<name>[A-Za-z]\w*):)?(?P<form>[^<:]+)(?:<(?P<inputs>[\w,]+))?")


def parse_layer(text: str) -> LayerValue:
    """Read ``16c5``, ``16c9x1``, ``32c3s2p1`` (stride, padding), ``p2``, ``128``, ``128r``, ``flatten``.

    A name stands before, other inputs after it: ``deep:64``, ``64<deep,input``.
    """
    whole = _WHOLE.fullmatch(text.strip())
    for form, kind in _FORMS if whole else ():
        if found := form.fullmatch(whole["form"]):
            given = {name: _number(value) for name, value in found.groupdict().items() if value is not None}
            inputs = whole["inputs"].split(",") if whole["inputs"] else ()
            return kind(**given, name=whole["name"] or "", inputs=inputs)
    raise NetworkError(
        f"layer '{text}' is unknown; write 16c5 (channels, kernel), p2 (pooling), 128 (dense), 128r or flatten."
    )


def _number(text: str) -> int | tuple[int, int]:
    sides = tuple(map(int, text.split("x")))
    return sides if len(sides) == 2 else sides[0]


def parse_layers(text) -> list[LayerValue]:
    """Read layers from a text such as ``16c5-p2-32c3-p2-128``, or from a list of texts, numbers and layers."""
    parts = text.split("-") if isinstance(text, str) else text
    return [part if isinstance(part, LayerValue) else parse_layer(str(part)) for part in parts]
