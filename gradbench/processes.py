"""Processes of this machine, each with one thread: on a CPU faster than one with many."""

import contextlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

START = 120.0
"""Seconds that a process may take to start, besides what its first call may take."""


class WorkerError(Exception):
    """The call raised, or its process died or took too long; the message says which."""


class Processes:
    """Runs calls in processes: `submit(function, *args)` returns a future, as an executor's does.

    Each process is started at once and afresh (spawned), runs one call after another, and is
    replaced when it dies or when a call takes longer than `timeout` seconds. `devices` names one
    per process.
    `tell` is called with a call's position in the order of submission and what it says of itself.
    """

    def __init__(
        self,
        devices: Sequence[str],
        tell: Callable[[int, str], None] = lambda _, __: None,
        timeout: float | None = None,
    ) -> None:
        self.devices, self.tell, self.timeout = list(devices), tell, timeout
        self._jobs: queue.SimpleQueue[tuple[Future[Any], int, Any] | None] = queue.SimpleQueue()
        self._processes: dict[int, BaseProcess] = {}
        self._submitted, self._closed = 0, False
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), daemon=True)
            for number in range(len(devices))
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:  # noqa: ANN401
        """Have a call run when its turn comes."""
        future: Future[Any] = Future()
        self._jobs.put((future, self._submitted, (function, args)))
        self._submitted += 1
        return future

    def shutdown(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        """End all processes, also those under way; what waits never runs."""
        del cancel_futures  # nobody could run them
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        for process in list(self._processes.values()):
            process.kill()
        for thread in self._threads if wait else ():
            thread.join(timeout=5)

    def _serve(self, number: int) -> None:
        """Hand one process its calls, until there are no more."""
        pipe: Connection | None = None
        grace = START
        with contextlib.suppress(OSError):  # before there is anything to do: it takes seconds
            pipe = self._start(number)
        while (job := self._jobs.get()) is not None and not self._closed:
            future, place, call = job
            if not future.set_running_or_notify_cancel():
                continue
            if pipe and not self._processes[number].is_alive():  # it died when it had nothing to do
                pipe = None
            try:
                if pipe is None:
                    pipe, grace = self._start(number), START
                pipe.send(call)
                self._settle(future, place, pipe, grace)
                grace = 0.0
            except (EOFError, OSError, TimeoutError) as error:
                pipe = None
                if self._closed:
                    return
                code = self._end(number)
                late = isinstance(error, TimeoutError)
                why = f"took longer than {self.timeout:g} s" if late else f"exit code {code}"
                future.set_exception(WorkerError(f"its process died ({why})"))
            except Exception as error:  # noqa: BLE001  # it cannot be sent; the next one may
                future.set_exception(WorkerError(f"{type(error).__name__}: {error}"))
        if number in self._processes:  # it may have started when all was being closed
            self._processes[number].kill()

    def _end(self, number: int) -> int | None:
        """Have a process that is gone, or does not answer, be gone; return its exit code."""
        process = self._processes.get(number)
        if process is None:
            return None
        process.join(timeout=1)
        process.kill()
        process.join(timeout=5)
        return process.exitcode

    def _settle(self, future: Future[Any], place: int, pipe: Connection, grace: float) -> None:
        """Pass on what the process says, until the call has ended.

        Raises TimeoutError where it takes too long, and EOFError where the process dies.
        """
        ends = None if self.timeout is None else time.monotonic() + self.timeout + grace
        while True:
            if ends is not None and not pipe.poll(max(0.0, ends - time.monotonic())):
                raise TimeoutError
            word, said = pipe.recv()
            if word == "ready":
                ends = None if self.timeout is None else time.monotonic() + self.timeout
            elif word == "tell":
                self.tell(place, said)
            elif word == "raised":
                future.set_exception(WorkerError(said))
                return
            else:
                future.set_result(said)
                return

    def _start(self, number: int) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, sys.path, self.devices[number])
        process = context.Process(target=serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        self._processes[number] = process
        return ours


def _mute() -> None:
    """Keep what optimizers print from the terminal, where it would stand in the table."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def serve(pipe: Connection, path: Sequence[str], device: str) -> None:
    """Run calls that come through a pipe, until it is closed; the process is for one device."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the controller ends this process
    _mute()
    sys.path[:] = path
    from gradbench import work

    work.keep_memory()
    work.HERE.device = device
    work.HERE.tell = lambda text: pipe.send(("tell", text))
    import gradbench.running  # noqa: F401  # and with it torch: seconds that no call has to pay

    pipe.send(("ready", ""))
    with contextlib.suppress(EOFError, OSError):
        while True:
            function, args = pipe.recv()
            try:
                pipe.send(("result", function(*args)))
            except Exception as error:  # noqa: BLE001
                where = "".join(traceback.format_exception(error))
                pipe.send(("raised", f"{type(error).__name__}: {error}\n{where}"))
