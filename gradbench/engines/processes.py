"""The processes engine: worker processes on this machine, each with one thread."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Any

from gradbench.engines.worker_process import Worker

START = 120.0
"""Seconds that a process may take to start, besides what its first call may take."""


class WorkerError(Exception):
    """The call raised, or its process died or took too long; the message says which."""


class Job:
    """A call that waits or runs: its number in the order of submission, and whose it is."""

    def __init__(self, number: int, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.number, self.function, self.args = number, function, args
        self.future: Future[Any] = Future()


class Processes:
    """Runs calls in processes: `submit(function, *args)` returns a future, as an executor's does.

    Each process is started at once and afresh, runs one call after another, and is replaced when it
    dies or when a call takes longer than `timeout` seconds. `devices` names one per process. A
    process serves the calls of one owner, as `owner(*args)` says, and is replaced for another's: so
    nothing that a call leaves behind reaches a call of another owner.
    `tell` is called with a call's position in the order of submission and what it says of itself.
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
        """End a call that nobody waits for any more, with its process."""
        if not future.cancel():
            place = self._running.get(future)
            worker = None if place is None else self._workers.get(place)
            if worker is not None:
                worker.process.kill()

    def shutdown(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        """End all processes, also those under way; what waits never runs."""
        del cancel_futures  # nobody could run them
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in list(self._workers.values()):
            worker.end()
        for thread in self._threads if wait else ():
            thread.join(timeout=5)

    def _take(self, place: int) -> Job | None:
        """Return the next call for a process, of its owner where there is one; None at the end.

        Where its owner has none left, of the first that no process serves, or else of the one that
        most calls wait for.
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
        """Hand one process its calls, until there are no more."""
        self._start(place)  # before there is anything to do: it takes seconds
        while (job := self._take(place)) is not None:
            if job.future.set_running_or_notify_cancel():
                self._running[job.future] = place
                self._run(job, place)
                self._running.pop(job.future, None)
        if place in self._workers:  # it may have started when all was being closed
            self._workers[place].end()

    def _start(self, place: int) -> str:
        """Start a process; return why it cannot be, empty where it was."""
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
        """Pass on what the process says, until the call has ended.

        Raises TimeoutError where it takes too long, and EOFError where the process dies.
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
