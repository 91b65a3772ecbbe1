"""Signals that ask a session to end: as Ctrl-C, so that the table and the reports still come."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def taken_as_interrupts() -> Callable[[], None]:
    """Have the signals raise KeyboardInterrupt, where nobody else handles them.

    Returns what puts them back. A no-op outside of the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    ours = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _interrupt)

    def put_back() -> None:
        for number in ours:
            if signal.getsignal(number) is _interrupt:
                signal.signal(number, signal.SIG_DFL)

    return put_back
