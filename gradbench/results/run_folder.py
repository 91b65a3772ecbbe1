"""The folder that a run writes: run.json, records.jsonl, report.md. Never overwrites another."""

import os
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gradbench._version import __version__
from gradbench.results.record import (
    PROTOCOL,
    SCHEMA,
    Record,
    append,
    entries,
    in_order,
    line_of,
    lines_of,
    to_json,
)
from gradbench.results.weights import to_file
from gradbench.text import write_whole

HELD = "held.json"
"""Name of the file with the lines of a run's comparison with a baseline or an older version."""


class RunFolder:
    """A run's files, each valid at every moment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []
        """The records so far, with `optimizer` replaced by `entry`."""
        self.trouble: str | None = None
        """The first error in writing, as text; None where there was none."""
        self.restored = ""
        """Message that the records were written again, where another has changed their file."""
        self._whole: list[Record] = []
        self._written = 0

    @classmethod
    def create(cls, reports: Path, labels: Sequence[str]) -> "RunFolder":
        """Make `<reports>/<UTC time>-<optimizers>`, with `-2` and so on where that exists.

        Raises OSError where the folder cannot be written.
        """
        reports.mkdir(parents=True, exist_ok=True)
        names = "-".join(re.sub(r"[^A-Za-z0-9]+", "-", label) for label in labels)[:60].strip("-")
        stem = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{names}"
        number = 1
        while True:
            path = reports / (stem if number == 1 else f"{stem}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
                continue
            return cls(path)

    def describe(self, data: dict[str, Any]) -> dict[str, Any]:
        """Write run.json: data with schema, protocol and start time; return its content."""
        started = datetime.now(UTC).isoformat(timespec="seconds")
        everything = {"schema": SCHEMA, "protocol": PROTOCOL, "started": started, **data}
        self.write("run.json", to_json(everything, indent=2) + "\n")
        return everything

    def point_latest(self) -> None:
        """Point the link `latest`, beside the folder, to it."""
        _point_latest(self.path.parent, self.path)

    def add(self, record: Record) -> None:
        """Append a record to records.jsonl, without buffering in this process.

        A record that cannot be written is tried again with the next one; see `trouble`.
        """
        with self.kept_going(), suppress(ValueError):  # text that is not base64 is dropped
            self._keep_weights(record)
        self._whole.append(record)
        self.records += entries([record])
        with self.kept_going():
            for waiting in self._whole[self._written :]:
                append(self.path / "records.jsonl", waiting)
                self._written += 1

    def _keep_weights(self, record: Record) -> None:
        """Write a record's final weights to files; replace them in it by the files' names."""
        for trial in record.trials:
            if packed := trial.pop("weights", None):
                stem = re.sub(r"[^A-Za-z0-9]+", "-", f"{record.case}-{record.entry}")[:100]
                number = sum(1 for _ in self.path.glob("weights/*"))
                name = f"weights/{number:03}-{stem}-seed{trial['seed']}.npz"
                (self.path / "weights").mkdir(exist_ok=True)
                (self.path / name).write_bytes(to_file(packed))
                trial["weights"] = name

    def change(self, records: Sequence[Record]) -> None:
        """Replace all records by these, of the same number."""
        self._whole = list(records)
        self.records[:] = entries(records)
        with self.kept_going():
            self.write("records.jsonl", "".join(map(line_of, records)))
            self._written = len(records)

    def settle(self, about: dict[str, Any]) -> None:
        """Sort the records by case; rewrite the file if it is in another order or was changed."""
        ordered, file = in_order(self._whole, about), self.path / "records.jsonl"
        with self.kept_going():
            lines = sum(1 for _ in lines_of(file)) if file.exists() else 0
            changed = self._written > 0 and lines != self._written
            if changed or list(map(id, ordered)) != list(map(id, self._whole)):
                self.change(ordered)
            if changed:
                self.restored = f"{file}: another has changed it in the run; it was written again"

    @property
    def whole(self) -> tuple[Record, ...]:
        """The records as they are written."""
        return tuple(self._whole)

    def write(self, name: str, text: str) -> None:
        """Write one of the run's files in whole, so that a reader never sees half of it.

        Raises OSError where it cannot be written.
        """
        write_whole(self.path / name, text)

    @contextmanager
    def kept_going(self) -> Iterator[None]:
        """Catch OSError, so that the run continues; `trouble` keeps the first."""
        try:
            yield
        except OSError as error:
            self.trouble = self.trouble or error.strerror or type(error).__name__

    @property
    def unwritten(self) -> int:
        """The number of records that have not been written."""
        return len(self._whole) - self._written


def _point_latest(reports: Path, path: Path) -> None:
    link, new = reports / "latest", reports / f".latest-{os.getpid()}"
    try:
        new.unlink(missing_ok=True)
        new.symlink_to(path.name, target_is_directory=True)
        new.replace(link)  # atomic: the link always exists
    except OSError:  # a file system without links, or a folder of that name: a convenience only
        with suppress(OSError):
            new.unlink(missing_ok=True)


def machine() -> dict[str, Any]:
    """Describe the versions, the processor, its load, and the commit of the working folder."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return {
        "versions": {
            "gradbench": __version__,
            "python": platform.python_version(),
            "torch": _version("torch"),
            "numpy": _version("numpy"),
        },
        "cpu": cpu_model(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "commit": commit,
        "dirty": None if commit is None or changes is None else bool(changes),
    }


def cpu_model() -> str:
    """Return the processor's name as the system gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
