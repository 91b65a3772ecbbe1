"""Items in processes of their own, each with one thread: on a CPU faster than one with many."""

import contextlib
import ctypes
import multiprocessing
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradbench.item import Item

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt (malloc.h)."""

TRIES = 2
"""Times that an item is tried whose process dies."""


class WorkerError(Exception):
    """The item raised, or its process died; the message says which and where."""


class Processes:
    """An engine: `submit(item)` returns a future of what `run_item` returns.

    Each process is started afresh (spawned), runs one item after another, and is replaced when it
    dies. `devices` names one per process. Where processes share a device, timings say that they
    were contended. `tell` is called with an item's position in the order of submission and what it
    is doing.
    """

    def __init__(self, devices: Sequence[str], tell: Callable[[int, str], None]) -> None:
        self.devices, self.tell = list(devices), tell
        self._shared = len(devices) > len(set(devices))
        self._jobs: queue.SimpleQueue[tuple[Future[Any], int, Item] | None] = queue.SimpleQueue()
        self._processes: dict[int, BaseProcess] = {}
        self._submitted, self._closed = 0, False
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), daemon=True)
            for number in range(len(devices))
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, item: "Item") -> "Future[Any]":
        """Have an item run when its turn comes."""
        future: Future[Any] = Future()
        self._jobs.put((future, self._submitted, item))
        self._submitted += 1
        return future

    def close(self) -> None:
        """End all processes, also those under way."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        for process in list(self._processes.values()):
            process.kill()
        for thread in self._threads:
            thread.join(timeout=5)

    def _serve(self, number: int) -> None:
        """Hand one process its items, until there are no more."""
        pipe: Connection | None = None
        while (job := self._jobs.get()) is not None and not self._closed:
            future, place, item = job
            if not future.set_running_or_notify_cancel():
                continue
            item = replace(item, device=self.devices[number])
            for _ in range(TRIES):
                try:
                    pipe = pipe or self._start(number)
                    pipe.send(item)
                    self._settle(future, place, pipe)
                    break
                except (EOFError, OSError):
                    pipe = None
                    if self._closed:
                        return
                    self._end(number)
                except Exception as error:  # noqa: BLE001  # it cannot be sent; the next one may
                    future.set_exception(WorkerError(f"{type(error).__name__}: {error}"))
                    break
            else:
                code = self._processes[number].exitcode
                future.set_exception(
                    WorkerError(f"its process died {TRIES} times (exit code {code})")
                )

    def _end(self, number: int) -> None:
        """Have a process that is gone, or does not answer, be gone."""
        if (process := self._processes.get(number)) is not None:
            process.join(timeout=1)
            process.kill()
            process.join(timeout=5)

    def _settle(self, future: "Future[Any]", place: int, pipe: Connection) -> None:
        """Pass on what the process says, until the item has ended."""
        while True:
            word, said = pipe.recv()
            if word == "tell":
                self.tell(place, said)
            elif word == "raised":
                future.set_exception(WorkerError(said))
                return
            else:
                if self._shared:
                    said[0].timing["contended"] = True
                future.set_result(said)
                return

    def _start(self, number: int) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        import torch

        flags = (torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled())
        arguments = (theirs, sys.path, str(Path.cwd()), flags)
        process = context.Process(target=work, args=arguments, daemon=True)
        process.start()
        theirs.close()
        self._processes[number] = process
        return ours


def work(pipe: Connection, path: Sequence[str], folder: str, flags: tuple[str, bool]) -> None:
    """Run items that come through a pipe, until it is closed.

    `flags` are the controller's precision of matrix products and whether it is deterministic.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the controller ends this process
    os.chdir(folder)
    sys.path[:] = path
    keep_memory()
    import torch

    from gradbench.running import run_item

    torch.set_num_threads(1)
    torch.set_float32_matmul_precision(flags[0])
    torch.use_deterministic_algorithms(flags[1])

    def tell(text: str) -> None:
        pipe.send(("tell", text))

    with contextlib.suppress(EOFError, OSError):
        while True:
            item = pipe.recv()
            try:
                pipe.send(("result", run_item(item, tell)))
            except Exception as error:  # noqa: BLE001
                where = "".join(traceback.format_exception(error))
                pipe.send(("raised", f"{type(error).__name__}: {error}\n{where}"))


def keep_memory() -> None:
    """Have glibc keep freed memory: giving back a layer's activations costs page faults at each."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(M_MMAP_THRESHOLD, 2**25)
        library.mallopt(M_TRIM_THRESHOLD, 2**30)
