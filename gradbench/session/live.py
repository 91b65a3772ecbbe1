"""A progress line on the terminal while pytest captures the output."""

import os
import time

INTERVAL = 0.2  # seconds between two paints


class LiveLine:
    """Paints over itself on the terminal that stdout was when this was made; silent elsewhere."""

    def __init__(self, *, silent: bool = False) -> None:
        self._terminal = os.dup(1) if os.isatty(1) and not silent else None
        self._painted = 0.0

    @property
    def due(self) -> bool:
        """Whether there is a terminal, and it is time to paint."""
        return self._terminal is not None and time.monotonic() - self._painted >= INTERVAL

    def say(self, text: str) -> None:
        """Show a text, at most five times a second."""
        if self._terminal is None or not self.due:
            return
        self._painted = time.monotonic()
        width = max(20, os.get_terminal_size(self._terminal).columns - 2)
        self._write(f"\x1b7\r {text[:width]}\x1b[K\x1b8")

    def clear(self) -> None:
        """Remove the text."""
        if self._terminal is not None:
            self._write("\x1b[K")
            self._painted = 0.0

    def close(self) -> None:
        """Give the terminal back."""
        if self._terminal is not None:
            self.clear()
            os.close(self._terminal)
            self._terminal = None

    def _write(self, text: str) -> None:
        if self._terminal is not None:
            os.write(self._terminal, text.encode())
