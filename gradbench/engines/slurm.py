"""The SLURM engine, through submitit: jobs of several calls each."""

import ast
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from gradbench.text import first_line

MISSING = "the slurm engine needs the slurm extra: pip install 'pytest-gradbench[slurm]'"
POLL = 1.0  # seconds between two polls of the jobs
OURS = {"pack": 8, "folder": "gradbench-jobs", "cluster": "slurm"}

Call = tuple[Callable[..., Any], tuple[Any, ...]]


class Slurm:
    """Packs calls into jobs: `slurm:pack=8,partition=cpu,mem_gb=4`.

    `pack` calls go into one job, `folder` takes submitit's files, `cluster` is submitit's (slurm,
    local, debug); all other keys are parameters of submitit's executor, of SLURM where they begin
    with `slurm_`. Where a job ends without results, each of its calls fails; the engine does not
    submit them again.
    """

    def __init__(self, arguments: str, timeout: float | None = None) -> None:
        try:
            import submitit
        except ImportError:
            raise ImportError(MISSING) from None
        given: dict[str, Any] = OURS | _arguments(arguments)
        pack = given.pop("pack")
        if not isinstance(pack, int) or pack < 1:
            raise ValueError(f"--gb-engine=slurm: pack={pack!r} must be a whole number from 1 on")
        self.pack = pack
        if timeout is not None:
            given["timeout_min"] = math.ceil(timeout * pack / 60)
        folder, cluster = Path(given.pop("folder")).absolute(), given.pop("cluster")
        try:
            self.executor = submitit.AutoExecutor(folder / "%j", cluster=cluster)
            self.executor.update_parameters(**{"name": "gradbench", "cpus_per_task": 1, **given})
        except (RuntimeError, NameError, TypeError, ValueError, AssertionError) as error:
            raise ValueError(f"--gb-engine=slurm: {first_line(error)}") from None
        self._waiting: list[tuple[Future[Any], Call]] = []
        self._jobs: list[tuple[Any, list[Future[Any]]]] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:  # noqa: ANN401
        """Add a call to the next job, which is submitted when it is full."""
        future: Future[Any] = Future()
        self._waiting.append((future, (function, args)))
        if len(self._waiting) == self.pack:
            self.flush()
        return future

    def flush(self) -> None:
        """Submit the waiting calls, if any, as a job that is not full."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        futures = [future for future, _ in waiting]
        try:
            job = self.executor.submit(run_calls, [call for _, call in waiting])
        except Exception as error:  # noqa: BLE001  # the queue may refuse it
            for future in futures:
                future.set_exception(error)
            return
        self._jobs.append((job, futures))

    def shutdown(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        """Cancel all jobs that have not ended."""
        del wait, cancel_futures
        self._closed.set()
        for job, futures in list(self._jobs):
            if not all(future.done() for future in futures):
                job.cancel(check=False)

    def _watch(self) -> None:
        while not self._closed.wait(POLL):
            for entry in list(self._jobs):
                job, futures = entry
                if job.done():
                    self._jobs.remove(entry)
                    _settle(job, futures)
                elif job.state == "RUNNING":
                    for future in futures:
                        if not future.running() and not future.done():
                            future.set_running_or_notify_cancel()


def _arguments(text: str) -> dict[str, Any]:
    """Read `key=value,...`; a value that is no Python literal is a string: `partition=cpu`."""
    given: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not name.isidentifier() or not value:
            raise ValueError(f"--gb-engine=slurm: write key=value,..., not {part!r}")
        try:
            given[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            given[name] = value
    return given


def _settle(job: Any, futures: Sequence[Future[Any]]) -> None:  # noqa: ANN401
    try:
        answers = job.result()
    except Exception as error:  # noqa: BLE001
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        answers = [RuntimeError(f"its job {job.job_id} failed: {last}")] * len(futures)
    for future, answer in zip(futures, answers, strict=True):
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def run_calls(calls: Sequence[Call]) -> list[Any]:
    """Run the calls one after another; return each one's result or the exception it raised."""
    answers: list[Any] = []
    for function, args in calls:
        try:
            answers.append(function(*args))
        except Exception as error:  # noqa: BLE001
            answers.append(error)
    return answers
