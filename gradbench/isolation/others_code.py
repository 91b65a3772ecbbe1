"""Importing and building the optimizers of others without changing what decides numbers."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gradbench.isolation.leftovers import Before, running_threads

WAIT = 2.0
"""Seconds for threads that a constructor has started to end by themselves."""

LEAVE = os._exit


@contextmanager
def contained() -> Iterator[tuple[list[str], list[str]]]:
    """Put settings and gradbench's own functions back afterwards; a child forked inside ends.

    What importing an optimizer changes else is done once and belongs to it: the environment, the
    import path, functions of torch. Yields two lists, which are filled at the end: the names of
    what was put back, and of the functions that stay replaced. Raises ValueError, in one line, for
    a new thread that keeps the process from ending.
    """
    process, before = os.getpid(), Before()
    back: list[str] = []
    replaced: list[str] = []
    try:
        yield back, replaced
    finally:
        if os.getpid() != process:
            LEAVE(1)
        found = before.after_import()
        back += found[0]
        replaced += found[1]
    new = [t for t in running_threads() if t not in before.threads and not t.daemon]
    _wait_for(new)
    for thread in new:
        if thread.is_alive():
            raise ValueError(
                f"building an optimizer has started a thread that runs on ({thread.name}), so that "
                "this process cannot end by itself: give it daemon=True"
            )


def _wait_for(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(WAIT / len(threads))
