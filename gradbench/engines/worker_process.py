"""A worker process and its protocol: calls in, answers out, each with the call's number.

It is an ordinary process, neither a fork nor a child of `multiprocessing`: it does not import the
controller's main module, and its calls may start processes. It ends when the controller ends, for
whatever reason.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import partial
from multiprocessing.connection import Connection
from typing import IO, Any

from gradbench.imports import search_path

BOOT = (
    "import sys; sys.path[:] = {path!r}; "
    "from gradbench.engines.worker_process import serve; serve({pipe}, {alive}, {device!r})"
)

LEAVE = os._exit  # as it was before any call could change it

LAST = 300
"""Maximum number of characters that a message quotes of a worker's last line of output."""


class Worker:
    """The controller's side of a worker process, which is started at once."""

    def __init__(self, device: str) -> None:
        ours, theirs = socket.socketpair()
        self._alive: int | None
        ends, self._alive = os.pipe()  # closed by the system when this process is gone
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        boot = BOOT.format(path=search_path(), pipe=theirs.fileno(), alive=ends, device=device)
        optimized = [f"-{'O' * sys.flags.optimize}"] if sys.flags.optimize > 0 else []
        try:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, *optimized, "-c", boot],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                pass_fds=(theirs.fileno(), ends),
                start_new_session=True,  # Ctrl-C is for the controller
            )
        except BaseException:
            os.close(self._alive)
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(ends)
        self.pipe = Connection(ours.detach())
        self.ready = False
        self.spent = False
        """Whether a call has changed the process in a way that cannot be undone."""
        self.served: object = None
        """The owner of the calls that it has run; None before its first."""

    def send(self, number: int, function: Any, args: tuple[Any, ...]) -> None:  # noqa: ANN401
        """Send a call. Raises OSError if the process has ended, and what pickling raises."""
        self.pipe.send((number, function, args))

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def end(self) -> str:
        """End the process and its children; return how it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=0 if self.alive() and self.ready else 1)
        found = self.process.poll()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
        code = self.process.poll() if found is None else found
        said = "" if self.ready else self._last_line()
        with contextlib.suppress(OSError):
            self.pipe.close()
            self._output.close()
        if self._alive is not None:  # closed once: its number may be another file's by now
            alive, self._alive = self._alive, None
            os.close(alive)
        return f"exit code {code}{said}"

    def _last_line(self) -> str:
        """Return the last line that it wrote before it was ready, where there is one."""
        with contextlib.suppress(OSError, ValueError):
            self._output.seek(0)
            lines = self._output.read().decode(errors="replace").strip().split("\n")
            return f": {lines[-1][:LAST]}" if lines[-1] else ""
        return ""


def serve(pipe: int, alive: int, device: str) -> None:
    """Run the calls received through a socket until it is closed, all on one device."""
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    connection = Connection(pipe)
    from gradbench.engines import worker

    worker.keep_memory()
    context = worker.WorkerContext(device)
    worker.warm_up()  # imports torch and its compiler, which takes seconds, before any call
    mute()
    connection.send(("ready", -1, ""))
    process = os.getpid()
    with contextlib.suppress(EOFError, OSError):
        while True:
            number, function, args = connection.recv()
            context.progress = partial(_send_progress, connection, number, process)
            try:
                answer = ("result", number, worker.call(function, args, context))
            except BaseException as error:  # noqa: BLE001  # whatever it is, it is the call's
                where = "".join(traceback.format_exception(error))
                answer = ("raised", number, f"{type(error).__name__}: {error}\n{where}")
            if os.getpid() != process:  # a child that the call forked came back here
                LEAVE(1)
            if context.spent:
                connection.send(("spent", number, context.spent))
            connection.send(answer)


def _send_progress(connection: Connection, number: int, process: int, text: str) -> None:
    if os.getpid() == process:  # a child that the call forked must not write into the same pipe
        connection.send(("tell", number, text))


def _end_with(alive: int) -> None:
    """End this process and what it has started when the other end of a pipe is closed."""
    with contextlib.suppress(OSError):
        os.read(alive, 1)
    with contextlib.suppress(OSError):
        os.killpg(0, signal.SIGKILL)
    LEAVE(1)


def mute() -> None:
    """Redirect stdout and stderr to the null device, to discard what optimizers print."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
