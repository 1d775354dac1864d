"""Gradient training for spiking networks written in Brian 2.

Everything public can be imported from here; a name's module is loaded when the name is first used. The names stand in
``__init__.pyi``, where type checkers look for them too.
"""

from ._interrupts import answer_at_once, started_as_command

if started_as_command():
    answer_at_once()


def _rooms() -> dict[str, str]:
    """Room of every public name."""
    import ast
    from pathlib import Path

    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f".{node.module}" for node in imports for alias in node.names}


_ROOM_OF = _rooms()
__all__ = ["__version__", *sorted(_ROOM_OF)]


def __getattr__(name: str):
    import importlib.metadata

    if name == "__version__":
        value = importlib.metadata.version("brian2grad")
    elif name in _ROOM_OF:
        value = getattr(importlib.import_module(_ROOM_OF[name], __name__), name)
    else:
        raise AttributeError(f"module 'brian2grad' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__():
    return __all__
