"""The processes engine: worker processes on this machine, each with one thread."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Any

from gradbench.engines.worker_process import Worker

START = 120.0
"""Seconds that a process may take to start, in addition to its first call's timeout."""


class WorkerError(Exception):
    """The call raised, or its process died or took too long; the message says which."""


class Job:
    """A call that waits or runs, its number in the order of submission, and its future."""

    def __init__(self, number: int, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.number, self.function, self.args = number, function, args
        self.future: Future[Any] = Future()


class Processes:
    """An executor that runs calls in worker processes, one for each entry of `devices`.

    Each process starts at once, as a new interpreter, and runs one call after another. It is
    replaced when it dies, when a call takes longer than `timeout` seconds, or when a call has
    changed it in a way that cannot be undone. A process runs the calls of one owner, as returned
    by `owner(*args)`, and is replaced before another owner's call: nothing that a call leaves
    behind reaches it. `progress` is called with a call's position in the order of submission and
    its progress text.
    """

    def __init__(
        self,
        devices: Sequence[str],
        progress: Callable[[int, str], None] = lambda _, __: None,
        timeout: float | None = None,
        owner: Callable[..., Hashable] = lambda *_: "",
    ) -> None:
        self.devices, self.progress, self.timeout, self.owner = (
            list(devices),
            progress,
            timeout,
            owner,
        )
        self._changed = threading.Condition()
        self._waiting: dict[Hashable, deque[Job]] = {}
        self._serving: dict[int, Hashable] = {}
        self._workers: dict[int, Worker] = {}
        self._running: dict[Future[Any], int] = {}
        self._submitted, self._closed = 0, False
        self._threads = [
            threading.Thread(target=self._serve, args=(place,), daemon=True)
            for place in range(len(devices))
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:  # noqa: ANN401
        """Queue a call."""
        with self._changed:
            job = Job(self._submitted, function, args)
            self._submitted += 1
            self._waiting.setdefault(self.owner(*args), deque()).append(job)
            self._changed.notify_all()
        return job.future

    def abandon(self, future: Future[Any]) -> None:
        """Cancel a waiting call; end a running one by killing its process."""
        if not future.cancel():
            place = self._running.get(future)
            worker = None if place is None else self._workers.get(place)
            if worker is not None:
                worker.process.kill()

    def shutdown(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        """End all processes, also during a call; waiting calls never run."""
        del cancel_futures  # no process is left to run them
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in list(self._workers.values()):
            worker.end()
        for thread in self._threads if wait else ():
            thread.join(timeout=5)

    def _take(self, place: int) -> Job | None:
        """Return the next call for a process; None after shutdown.

        It is a call of the process's present owner, if one waits; else of the first owner that no
        process serves; else of the owner with the most waiting calls.
        """
        with self._changed:
            while not self._closed:
                waiting = {owner: jobs for owner, jobs in self._waiting.items() if jobs}
                if waiting:
                    served = set(self._serving.values())
                    mine = self._serving.get(place)
                    free = [owner for owner in waiting if owner not in served]
                    most = max(waiting, key=lambda owner: len(waiting[owner]))
                    owner = mine if mine in waiting else free[0] if free else most
                    self._serving[place] = owner
                    return waiting[owner].popleft()
                self._serving.pop(place, None)
                self._changed.wait()
        return None

    def _serve(self, place: int) -> None:
        """Run calls in one process until shutdown."""
        self._start(place)  # before the first call: starting takes seconds
        while (job := self._take(place)) is not None:
            if job.future.set_running_or_notify_cancel():
                self._running[job.future] = place
                self._run(job, place)
                self._running.pop(job.future, None)
        if place in self._workers:  # it may have started during shutdown
            self._workers[place].end()

    def _start(self, place: int) -> str:
        """Start a process; return the error as text, empty where it has started."""
        try:
            self._workers[place] = Worker(self.devices[place])
        except OSError as error:
            self._workers.pop(place, None)
            return f"{type(error).__name__}: {error}"
        return ""

    def _run(self, job: Job, place: int) -> None:
        """Run a call in a process that no other owner has used, and settle its future."""
        worker, owner = self._workers.get(place), self._serving[place]
        fit = worker is not None and not worker.spent and worker.served in {None, owner}
        if worker is None or not fit or not worker.alive():
            if worker is not None:
                worker.end()
            if why := self._start(place):
                job.future.set_exception(WorkerError(f"its process cannot be started: {why}"))
                return
            worker = self._workers[place]
        worker.served = owner
        try:
            worker.send(job.number, job.function, job.args)
            self._settle(job, worker)
        except (EOFError, OSError, TimeoutError) as error:
            if self._closed:
                return
            late = isinstance(error, TimeoutError)
            why = worker.end()
            why = f"took longer than {self.timeout:g} s" if late else why
            job.future.set_exception(WorkerError(f"its process died ({why})"))
        except Exception as error:  # noqa: BLE001  # it cannot be sent; the next one may
            job.future.set_exception(WorkerError(f"{type(error).__name__}: {error}"))

    def _settle(self, job: Job, worker: Worker) -> None:
        """Handle the process's messages until the call has ended.

        Raises TimeoutError where the call takes too long, EOFError where the process dies, and
        ValueError where it answers another call.
        """
        grace = 0.0 if worker.ready else START
        ends = None if self.timeout is None else time.monotonic() + self.timeout + grace
        while True:
            if ends is not None and not worker.pipe.poll(max(0.0, ends - time.monotonic())):
                raise TimeoutError
            word, number, said = worker.pipe.recv()
            if word == "ready":
                worker.ready = True
                ends = None if self.timeout is None else time.monotonic() + self.timeout
            elif number != job.number:
                raise ValueError(f"the answer is of call {number}, not {job.number}")
            elif word == "spent":
                worker.spent = True
            elif word == "tell":
                self.progress(job.number, said)
            elif word == "raised":
                job.future.set_exception(WorkerError(said))
                return
            else:
                job.future.set_result(said)
                return
