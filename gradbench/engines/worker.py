"""Worker entry point: runs one item with the controller's path, working directory and settings."""

import contextlib
import ctypes
import inspect
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradbench.imports import ADDED, import_sources, search_path
from gradbench.protocol.item import Item
from gradbench.results.record import Record, TrialResult
from gradbench.spec import parse

if TYPE_CHECKING:
    from gradbench.isolation.process_check import ProcessCheck

Answer = tuple[Record, list[TrialResult], str]
"""A record, the trial results that its step time is computed from, and a traceback where the
harness, not the optimizer, raised (else an empty string)."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt (malloc.h)."""

LEAVE = os._exit

_ONE_AT_A_TIME = threading.Lock()


@dataclass
class WorkerContext:
    """What an engine and the items that it runs in one process tell each other.

    A device of None leaves the item's device as it is.
    """

    device: str | None = None
    progress: Callable[[str], None] = lambda _: None
    fingerprint: Any = None
    """Result of a short trial of SGD before the first item; None until then."""
    replaced: list[str] = field(default_factory=list)
    """Functions that imports of optimizers in this process have replaced for good."""
    spent: str = ""
    """Changes by an item that cannot be undone, as text: no further item may run here."""


def call(function: Callable[..., Any], args: Sequence[Any], context: WorkerContext) -> Any:  # noqa: ANN401
    """Call a function of an engine's queue, with the context if it has such a parameter."""
    if inspect.isfunction(function) and "context" in inspect.signature(function).parameters:
        return function(*args, context=context)
    return function(*args)


@dataclass(frozen=True)
class ControllerState:
    """State of the controller's process that an item's meaning and numbers depend on.

    `shared` says that other items run on the same device meanwhile, so that timings are contended.
    """

    path: tuple[str, ...]
    folder: str
    settings: dict[str, Any]
    shared: bool

    @classmethod
    def of_this_process(cls, *, shared: bool) -> "ControllerState":
        """Return the state of this process."""
        from gradbench.isolation.settings import carried

        return cls(tuple(search_path()), str(Path.cwd()), carried(), shared)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Apply the controller's path, working directory and settings; restore them after.

        Folders of the files that were imported meanwhile stay on the path, as the files may import
        their neighbours later.
        """
        from gradbench.isolation.settings import applied
        from gradbench.torch_state import one_thread

        path, folder, known = list(sys.path), Path.cwd(), set(ADDED)
        sys.path[:] = [*self.path, *(entry for entry in path if entry not in self.path)]
        with contextlib.suppress(OSError):  # a machine without that folder
            os.chdir(self.folder)
        try:
            with applied(self.settings), one_thread():
                yield
        finally:
            sys.path[:] = [*(ADDED - known - {self.folder, *path}), *path]
            os.chdir(folder)


@contextlib.contextmanager
def exits_raised() -> Iterator[None]:
    """Make `os._exit` raise SystemExit here, as `sys.exit` does; forked children still exit."""
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


def run_in_worker(
    item: Item, controller: ControllerState, context: WorkerContext | None = None
) -> Answer:
    """Run one item; any exception but KeyboardInterrupt becomes a crashed record.

    Engines that only call functions pass no context: the item then has one of its own.

    Items submitted to one process at the same time run one after another, since they would share
    its threads and its random state.
    """
    with _ONE_AT_A_TIME, controller.entered(), exits_raised():
        from gradbench.protocol.run_item import crashed, run_item

        context = context or WorkerContext()
        item = replace(item, device=context.device or item.device)
        began, process = time.perf_counter(), os.getpid()
        notes = _import_optimizer(item, context)
        process_state = _check_process(context)
        try:
            record, results = run_item(item, context.progress)
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
        record.notes += [*notes, *_notes_on(process_state, context)]
        return record, results, trouble


def _import_optimizer(item: Item, context: WorkerContext) -> list[str]:
    """Import what the item's specs name, before this process is compared with itself.

    Returns notes on what that changes: what was put back, and, for every item of this process, the
    functions that stay replaced.
    """
    from gradbench.isolation.others_code import contained

    put_back: list[str] = []
    for text in (item.optimizer, item.architecture):
        with contextlib.suppress(Exception, SystemExit):  # it is raised again where it is used
            spec = parse(text or "none")
            if not any(each.source for each in (spec, *spec.added)):
                continue
            with contained() as (back, replaced):
                import_sources(spec)
            put_back += back
            context.replaced += replaced
    notes = [f"changed by its import, and put back: {', '.join(put_back)}"] if put_back else []
    if context.replaced:
        notes.append(f"replaced by its import: {', '.join(context.replaced)}")
    return notes


def warm_up() -> None:
    """Train briefly: it imports torch and, with the first optimizer, torch's compiler."""
    from gradbench.isolation.canary import train_briefly

    train_briefly()


def _check_process(context: WorkerContext) -> "ProcessCheck":
    """Return this process's state, with the short training from before its first item."""
    from gradbench.isolation.process_check import ProcessCheck

    process = ProcessCheck(context.fingerprint)
    context.fingerprint = process.fingerprint
    return process


def _notes_on(process: "ProcessCheck", context: WorkerContext) -> list[str]:
    """Undo an item's changes of this process; return notes, and store those that remain."""
    undone, stuck = process.left()
    notes = []
    if undone:
        notes.append(f"left behind, and put back: {', '.join(undone)}")
    if stuck:
        context.spent = ", ".join(stuck)
        notes.append(f"left behind: {context.spent}")
    return notes


def keep_memory() -> None:
    """Stop glibc from returning freed memory to the system: re-faulting activations is slow."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(M_ARENA_MAX, 1)  # a thread's own arena would return its memory
        library.mallopt(M_MMAP_THRESHOLD, 2**25)
        library.mallopt(M_TRIM_THRESHOLD, 2**30)
