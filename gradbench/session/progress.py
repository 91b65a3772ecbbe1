"""Terminal output of a session: a line per finished item, and a live line of progress."""

import os
import time
from collections.abc import Generator
from contextlib import suppress

import pytest

INTERVAL = 0.2  # seconds between two paints
LINE = "gradbench"
"""Name of the user property that carries an item's line."""


class LiveLine:
    """A line that overwrites itself on stdout's terminal at creation; silent without one."""

    def __init__(self, *, silent: bool = False) -> None:
        self._terminal = os.dup(1) if os.isatty(1) and not silent else None
        self._painted = 0.0

    @property
    def due(self) -> bool:
        """Whether there is a terminal, and it is time to paint."""
        return self._terminal is not None and time.monotonic() - self._painted >= INTERVAL

    def show(self, text: str) -> None:
        """Show a text, at most five times a second."""
        if self._terminal is None or not self.due:
            return
        self._painted = time.monotonic()
        with suppress(OSError):
            width = max(20, os.get_terminal_size(self._terminal).columns - 2)
            self._write(f"\x1b7\r {text[:width]}\x1b[K\x1b8")

    def clear(self) -> None:
        """Remove the text."""
        if self._terminal is not None:
            self._write("\x1b[K")
            self._painted = 0.0

    def close(self) -> None:
        """Remove the text and close the terminal's file descriptor."""
        if self._terminal is not None:
            self.clear()
            os.close(self._terminal)
            self._terminal = None

    def _write(self, text: str) -> None:
        if self._terminal is not None:
            with suppress(OSError):  # a terminal that was closed ends no run
                os.write(self._terminal, text.encode())


class Screen:
    """Pytest hooks that write a line per finished item; `active` once the run has begun."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.active = False
        self.finished = False
        self.file = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, str | tuple[str, dict[str, bool]]] | None:
        """Return pytest's category without a letter, since the item's own line replaces it.

        Without a letter and a word pytest writes nothing; its summary at the end needs the word.
        """
        known = report.outcome in {"passed", "failed", "skipped"}  # not, e.g., "rerun"
        if report.when != "call" or _line(report) is None or not known:
            return None
        expected = hasattr(report, "wasxfail")
        if report.passed:
            category = "xpassed" if expected else "passed"
        elif report.skipped:
            category = "xfailed" if expected else "skipped"
        else:
            category = "failed"
        word = "NEWS" if category == "xpassed" else category.upper()
        return (
            category,
            "",
            word if self.finished or self.config.getoption("verbose", 0) > 0 else "",
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logstart(self, nodeid: str) -> Generator[None, None, None]:
        """Start the items' lines at the left, below the line on which pytest names their file."""
        file = nodeid.partition("::")[0]
        begins = self.active and not self.config.getoption("verbose", 0) and file != self.file
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if begins and reporter is not None:
            reporter.currentfspath = None  # else pytest ends the last file with a percentage
        yield
        if begins:
            self.file = file
            self._write("\n")

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write one line per finished item, its outcome in colour; none under -q."""
        text, verbose = _line(report), self.config.getoption("verbose", 0)
        if report.when != "call" or not text or verbose < 0:
            return
        numbers, gap, outcome = text.rpartition("  ")
        self._write(f"{'    ' if verbose > 0 else '  '}{numbers}{gap}", newline=verbose > 0)
        self._write(f"{outcome}\n", **_colour(report))

    def _write(self, text: str, *, newline: bool = False, **colour: bool) -> None:
        """Write a text; with `newline`, on a line of its own."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None:
            return
        if newline:
            reporter.ensure_newline()
        reporter.write(text, **colour)  # write_line makes pytest repeat the file's name

    def pytest_sessionfinish(self) -> None:
        """Return status words to pytest from now on, which its summary needs."""
        self.finished = True


def _colour(report: pytest.TestReport) -> dict[str, bool]:
    """Return how pytest's terminal writes an outcome."""
    expected = hasattr(report, "wasxfail")
    if report.failed:
        return {"red": True, "bold": True}
    if report.passed:
        return {"green": True, "bold": expected}  # passed against expectation: a solved never
    return {"yellow": True}


def _line(report: pytest.CollectReport | pytest.TestReport) -> str | None:
    properties = dict(getattr(report, "user_properties", []))
    return properties.get(LINE)
