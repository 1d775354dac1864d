"""Objects that a gradient has used count as used, though no `Network` has run them."""

from __future__ import annotations

import logging

_LOGGER = "brian2.core.base.unused_brian_object"


class _Used(logging.Filter):
    """Keeps Brian 2 from warning that an object was never used; everything else passes."""

    def __init__(self):
        super().__init__()
        self.objects: set[tuple[str, str]] = set()

    def filter(self, record) -> bool:
        text = record.getMessage()
        return not any(f"'{name}'" in text and stack in text for name, stack in self.objects)


_USED = _Used()


def mark_used(objects) -> None:
    """Say of Brian 2 objects that they have been used."""
    logger = logging.getLogger(_LOGGER)
    if _USED not in logger.filters:
        logger.addFilter(_USED)
    _USED.objects |= {(item.name, item._creation_stack) for item in objects}
