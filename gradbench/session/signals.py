"""Handles SIGTERM and SIGHUP as Ctrl-C, so that table and reports are still written."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def taken_as_interrupts() -> Callable[[], None]:
    """Make SIGTERM and SIGHUP raise KeyboardInterrupt, unless they have handlers already.

    Returns a function that restores them. Changes nothing outside of the main thread.
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
