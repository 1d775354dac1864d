"""How passes in other threads are called off when nobody waits for them any more."""

from __future__ import annotations

import threading


class CanBeCalledOff:
    """Mixin of what is run many times in a thread."""

    called_off: threading.Event | None = None

    def go_on(self) -> None:
        """Do nothing, or end this thread's work.

        Raises
        ------
        KeyboardInterrupt
        """
        if self.called_off is not None and self.called_off.is_set():
            raise KeyboardInterrupt
