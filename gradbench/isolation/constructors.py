"""Building the optimizers of others in the process that collects, without changing it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gradbench.isolation.leftovers import running_threads
from gradbench.isolation.settings import every, put_back

STAYS = {"environment", "import path"}
"""Settings that importing an optimizer may change for good: they belong to it."""

LEAVE = os._exit


@contextmanager
def settings_restored() -> Iterator[None]:
    """Restore the process's settings afterwards; a child that was forked inside ends.

    Raises ValueError, in one line, for a new thread that keeps the process from ending.
    """
    process, threads = os.getpid(), set(threading.enumerate())
    before = {name: value for name, value in every().items() if name not in STAYS}
    try:
        yield
    finally:
        if os.getpid() != process:
            LEAVE(1)
        put_back(before)
    new = [t.name for t in running_threads() if t not in threads and not t.daemon]
    if new:
        raise ValueError(
            f"building an optimizer has started a thread that runs on ({new[0]}), so that this "
            "process cannot end by itself: give it daemon=True"
        )
