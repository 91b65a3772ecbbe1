"""Worker entry point: runs one item with the controller's path, working directory and settings."""

import contextlib
import ctypes
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradbench.protocol.item import Item
from gradbench.results.record import Record, TrialResult

if TYPE_CHECKING:
    from gradbench.isolation.leftovers import Before

Answer = tuple[Record, list[TrialResult], str]
"""A record, the results from whose blocks its step time comes, and a traceback where the harness,
not the optimizer, raised."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt (malloc.h)."""

LEAVE = os._exit

_ONE_AT_A_TIME = threading.Lock()


@dataclass
class WorkerContext:
    """The engine's state in a worker process: its device and its progress callback.

    None leaves the item's device as it is.
    """

    device: str | None = None
    progress: Callable[[str], None] = lambda _: None
    fingerprint: Any = None
    """What a short trial of SGD came to before the first item; None until then."""
    spent: str = ""
    """What an item has left behind that cannot be put back: nothing else may run here."""


CONTEXT = WorkerContext()


@dataclass(frozen=True)
class ControllerState:
    """What of the controller's process decides what an item means and what its numbers are.

    `shared` says that other items run on the same device meanwhile, so that timings are contended.
    """

    path: tuple[str, ...]
    folder: str
    settings: dict[str, Any]
    shared: bool

    @classmethod
    def of_this_process(cls, *, shared: bool) -> "ControllerState":
        """Return this process's."""
        from gradbench.isolation.settings import carried

        return cls(tuple(sys.path), str(Path.cwd()), carried(), shared)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Apply the controller's path, working directory and settings; restore them after."""
        from gradbench.isolation.settings import applied
        from gradbench.torch_state import one_thread

        path, folder = list(sys.path), Path.cwd()
        sys.path[:] = [*self.path, *(entry for entry in path if entry not in self.path)]
        with contextlib.suppress(OSError):  # a machine without that folder
            os.chdir(self.folder)
        try:
            with applied(self.settings), one_thread():
                yield
        finally:
            sys.path[:] = path
            os.chdir(folder)


@contextlib.contextmanager
def exits_raised() -> Iterator[None]:
    """Have `os._exit` raise SystemExit here, as `sys.exit` does; forked children still exit."""
    process = os.getpid()

    def leave(status: int = 0) -> None:
        if os.getpid() != process:
            LEAVE(status)
        raise SystemExit(f"os._exit({status}) was called")

    os._exit = leave  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = LEAVE


def run_in_worker(item: Item, controller: ControllerState) -> Answer:
    """Run one item; whatever it raises becomes a crashed record.

    Items that come to one process at once run one after another: they would share its threads and
    its random state.
    """
    with _ONE_AT_A_TIME, controller.entered(), exits_raised():
        from gradbench.protocol.run_item import crashed, run_item

        item = replace(item, device=CONTEXT.device or item.device)
        began, process = time.perf_counter(), os.getpid()
        before = _before()
        try:
            record, results = run_item(item, CONTEXT.progress)
            trouble = ""
            record.timing["case_seconds"] = time.perf_counter() - began
            if controller.shared:
                record.timing["contended"] = True
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # also pytest's outcomes, which are none
            record, results = crashed(item, error)
            trouble = "".join(traceback.format_exception(error))
        finally:
            if os.getpid() != process:  # a child that the optimizer forked came back here
                LEAVE(1)
        record.notes += _after(before)
        return record, results, trouble


def warm_up() -> None:
    """Train briefly: it imports torch and, with the first optimizer, torch's compiler."""
    from gradbench.isolation.canary import train_briefly

    train_briefly()


def _before() -> "Before":
    """Return this process as it is, and see what a short trial comes to where nothing has run."""
    from gradbench.isolation.canary import train_briefly
    from gradbench.isolation.leftovers import Before

    if CONTEXT.fingerprint is None:
        CONTEXT.fingerprint = train_briefly()
    return Before()


def _after(before: "Before") -> list[str]:
    """Put back what an item has left behind; return notes of it, and keep what cannot be."""
    from gradbench.isolation.canary import difference, train_briefly

    back, stuck = before.left()
    if different := difference(CONTEXT.fingerprint, train_briefly()):
        stuck.append(different)
    notes = []
    if back:
        notes.append(f"left behind, and put back: {', '.join(back)}")
    if stuck:
        CONTEXT.spent = ", ".join(stuck)
        notes.append(f"left behind: {CONTEXT.spent}")
    return notes


def keep_memory() -> None:
    """Stop glibc from returning freed memory to the system: re-faulting activations is slow."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(M_ARENA_MAX, 1)  # a thread's own would give back what it holds
        library.mallopt(M_MMAP_THRESHOLD, 2**25)
        library.mallopt(M_TRIM_THRESHOLD, 2**30)
