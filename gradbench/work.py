"""What an engine runs: one item, wherever it lands, as if it ran in the controller."""

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

from gradbench.item import Item
from gradbench.record import Record, TrialResult

Answer = tuple[Record, list[TrialResult], str]
"""A record, the results from whose blocks its step time comes, and a traceback where the harness,
not the optimizer, raised."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt (malloc.h)."""

LEAVE = os._exit

_ONE_AT_A_TIME = threading.Lock()


@dataclass
class Place:
    """What an engine says of this process: the device that it is for, and who is told of progress.

    None leaves the item's device as it is.
    """

    device: str | None = None
    tell: Callable[[str], None] = lambda _: None


HERE = Place()


@dataclass(frozen=True)
class Surroundings:
    """What of the controller's process decides what an item means and what its numbers are.

    `shared` says that other items run on the same device meanwhile, so that timings are contended.
    """

    path: tuple[str, ...]
    folder: str
    precision: str
    deterministic: bool
    shared: bool

    @classmethod
    def of_this_process(cls, *, shared: bool) -> "Surroundings":
        """Return this process's."""
        import torch

        return cls(
            tuple(sys.path),
            str(Path.cwd()),
            torch.get_float32_matmul_precision(),
            torch.are_deterministic_algorithms_enabled(),
            shared,
        )

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Have this process be like the controller's, with one thread, and as it was afterwards."""
        import torch

        from gradbench.streams import one_thread

        path, folder = list(sys.path), Path.cwd()
        flags = (torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled())
        sys.path[:] = [*self.path, *(entry for entry in path if entry not in self.path)]
        with contextlib.suppress(OSError):  # a machine without that folder
            os.chdir(self.folder)
        try:
            torch.set_float32_matmul_precision(self.precision)
            torch.use_deterministic_algorithms(self.deterministic)
            with one_thread():
                yield
        finally:
            torch.set_float32_matmul_precision(flags[0])
            torch.use_deterministic_algorithms(flags[1])
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


def work(item: Item, around: Surroundings) -> Answer:
    """Run one item; whatever it raises becomes a crashed record.

    Items that come to one process at once run one after another: they would share its threads and
    its random state.
    """
    with _ONE_AT_A_TIME, around.entered(), exits_raised():
        from gradbench.running import crashed, run_item

        item = replace(item, device=HERE.device or item.device)
        began, process = time.perf_counter(), os.getpid()
        try:
            record, results = run_item(item, HERE.tell)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # also pytest's outcomes, which are none
            record, results = crashed(item, error)
            return record, results, "".join(traceback.format_exception(error))
        finally:
            if os.getpid() != process:  # a child that the optimizer forked came back here
                LEAVE(1)
        record.timing["case_seconds"] = time.perf_counter() - began
        if around.shared:
            record.timing["contended"] = True
        return record, results, ""


def keep_memory() -> None:
    """Have glibc keep freed memory: giving back a layer's activations costs page faults at each."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(M_ARENA_MAX, 1)  # a thread's own would give back what it holds
        library.mallopt(M_MMAP_THRESHOLD, 2**25)
        library.mallopt(M_TRIM_THRESHOLD, 2**30)
