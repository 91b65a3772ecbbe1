"""One pytest session: resolves the optimizers, runs the items, records, judges and reports."""

import textwrap
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from gradbench.folder import RunFolder
from gradbench.live import LiveLine
from gradbench.options import Options
from gradbench.record import Outcome, Record
from gradbench.spec import SpecError, labels
from gradbench.verdict import fails

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from gradbench.case import Case
    from gradbench.item import Item
    from gradbench.record import TrialResult

NO_OPTIMIZER = "no optimizer named: say which one, e.g. pytest suites --optimizer=adam"

LINE = "gradbench"
"""Name of the user property that carries an item's line for the terminal."""


class Unsolved(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """The optimizer did not solve what the case asks."""

    __module__ = "builtins"  # as pytest's own: its summary shows the message, not the path


class Crashed(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """The optimizer raised an exception in training."""

    __module__ = "builtins"  # as pytest's own: its summary shows the message, not the path


class News(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """The optimizer solved what was thought never to be solved, under the strict gate."""

    __module__ = "builtins"  # as pytest's own: its summary shows the message, not the path


class ReplayClock:
    """A timer that shows measured durations to pytest-benchmark, one per round."""

    __name__ = "measured"

    def __init__(self) -> None:
        self._now = 0.0
        self._durations: list[float] = []

    def __call__(self) -> float:
        """Return the seconds replayed so far."""
        return self._now

    def replay(self, durations: "list[float]", benchmark: Any) -> None:  # noqa: ANN401
        """Have the benchmark measure exactly these durations, in seconds."""
        self._durations = list(reversed(durations))
        benchmark.pedantic(self._advance, rounds=len(durations))

    def _advance(self) -> None:
        if self._durations:
            self._now += self._durations.pop()


@dataclass
class Asked:
    """What a pytest item is to run."""

    KEY: ClassVar[pytest.StashKey["Asked"]] = pytest.StashKey()

    case: "Case"
    optimizer: str
    clock: ReplayClock


class Session:
    """The state of one run, and the hooks that need it."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self.config = config
        self.options = options
        self.folder: RunFolder | None = None
        self.run: dict[str, Any] = {}
        self.device = options.device
        self.live = LiveLine(silent=config.option.verbose > 0)
        self.finished = False
        self.file = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_report_header(self) -> Generator[None, list[str], list[str]]:
        """Spare the reader pytest-benchmark's defaults, of which none is used here."""
        lines = yield
        if not self.options.optimizers:
            return lines
        return [line for line in lines if not str(line).startswith("benchmark: ")]

    # Before the first item

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Resolve the names and make the run's folder, unless nothing of ours will run."""
        wanted = [item for item in session.items if _asked(item)]
        if not wanted or self.config.option.collectonly or not self.options.optimizers:
            return
        from gradbench.engine import device_name, environment
        from gradbench.optimizers import resolve

        _check_distinct(wanted)
        try:
            for spec in self.options.optimizers:
                if spec.text != "paper":
                    resolve(spec.text)
            self.device = device_name(self.options.device)
            described = environment(self.device, self.options.dtype)
        except (SpecError, ValueError) as error:
            raise pytest.UsageError(_first_line(error)) from None
        if self.options.dry_run:
            return
        try:
            self.folder = RunFolder.create(
                self.options.report_dir, labels(list(self.options.optimizers))
            )
            self.run = self._describe(self.folder, described)
        except OSError as error:
            raise pytest.UsageError(
                f"cannot write reports under {self.options.report_dir}: {error.strerror}; "
                "name another folder with --gb-report-dir"
            ) from None

    def _describe(self, folder: RunFolder, environment: dict[str, Any]) -> dict[str, Any]:
        return folder.describe(
            {
                "command": ["pytest", *map(str, self.config.invocation_params.args)],
                "preset": self.options.preset,
                "seeds": self.options.seeds,
                "tuning": self.options.tuning,
                "gate": self.options.gate,
                "optimizers": [spec.text for spec in self.options.optimizers],
                "architectures": [],
                "engine": "inline",
                **environment,
            }
        )

    def pytest_report_collectionfinish(self) -> list[str]:
        """Say what is about to be run, and on what."""
        if not self.run:
            return []
        run = self.run
        device = run["device"]["name"] or run["cpu"]
        sweep = f"sweep of {run['tuning']} rates" if run["tuning"] else "no sweep"
        return [
            *textwrap.wrap(f"gradbench: {', '.join(run['optimizers'])}", 100),
            (
                f"{run['preset']} preset, {run['seeds']} seeds, {sweep}; {run['device']['type']} "
                f"({device}), {run['threads']} thread, torch {run['versions']['torch']}"
            ),
        ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Under --gb-dry-run, say what would be run instead of running it."""
        if not self.options.dry_run or self.config.option.collectonly:
            return None
        from gradbench.engine import one_thread
        from gradbench.item import estimate

        reporter: TerminalReporter = self.config.pluginmanager.get_plugin("terminalreporter")  # type: ignore[assignment]
        asked = [(item.name, asked) for item in session.items if (asked := _asked(item))]
        named = [(name, each) for name, each in asked if each.optimizer]
        if asked and not named:
            reporter.write_line(NO_OPTIMIZER)
        total_evaluations, total_seconds = 0, 0.0
        with one_thread():
            for name, each in named:
                evaluations, seconds, trouble = estimate(self._item(each))
                total_evaluations += evaluations
                total_seconds += seconds
                said = trouble or f"{evaluations:>12,} {_duration(seconds):>10}"
                reporter.write_line(f"{name:<48} {said}")
        reporter.write_line(
            f"{'at most, in gradient evaluations and time here':<48} "
            f"{total_evaluations:>12,} {_duration(total_seconds):>10}"
        )
        return True

    # One item

    def _item(self, asked: Asked) -> "Item":
        from gradbench.item import Item

        return Item(
            case=asked.case,
            optimizer=asked.optimizer,
            preset=self.options.preset,
            seeds=self.options.seeds,
            tuning=self.options.tuning,
            device=self.device,
            dtype=self.options.dtype,
        )

    def attempt(self, node: pytest.Item, benchmark: Any = None) -> Record:  # noqa: ANN401
        """Run an item, keep its record, and raise what its outcome calls for."""
        from gradbench.engine import Inline
        from gradbench.report.terminal import line

        asked = _asked(node)
        if asked is None or self.folder is None:
            raise pytest.UsageError("attempt() is for functions marked gradbench(cases=...)")
        try:
            record, results = Inline().run(
                self._item(asked), lambda text: self.live.say(f"{node.name} {text}")
            )
        finally:
            self.live.clear()
        self.folder.add(record)
        node.user_properties.append((LINE, line(record)))
        _measure(benchmark, asked.clock, results)
        _judge(node, record, self.options.gate)
        return record

    # What the user sees

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, str | tuple[str, dict[str, bool]]] | None:
        """Keep pytest's categories; the item's own line takes the place of the letter.

        With neither letter nor word pytest writes nothing; its summary at the end needs the word.
        """
        if report.when != "call" or _line(report) is None:
            return None
        expected = hasattr(report, "wasxfail")
        if report.passed:
            category = "xpassed" if expected else "passed"
        elif report.skipped:
            category = "xfailed" if expected else "skipped"
        else:
            category = "failed"
        word = "NEWS" if category == "xpassed" else category.upper()
        return category, "", word if self.finished or self.config.option.verbose > 0 else ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logstart(self, nodeid: str) -> Generator[None, None, None]:
        """Have our lines start at the left, below the line on which pytest names their file."""
        file = nodeid.partition("::")[0]
        ours = self.folder is not None and not self.config.option.verbose
        begins = ours and file != self.file
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if begins and reporter is not None:
            reporter.currentfspath = None  # else pytest ends the last file with a percentage
        yield
        if begins:
            self.file = file
            self._write("\n")

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write one line per finished item."""
        text = _line(report)
        if report.when == "call" and text and not self.config.option.verbose:
            self._write(f"  {text}\n")

    def _write(self, text: str) -> None:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write(text)  # write_line would have pytest repeat the file's name

    def pytest_sessionfinish(self) -> None:
        """Write the report of what has been recorded, also after an interruption."""
        self.live.close()
        self.finished = True
        if self.folder is None:
            return
        from gradbench.report.markdown import page

        self.folder.write("report.md", page(self.run, self.folder.records))

    def pytest_terminal_summary(self, terminalreporter: "TerminalReporter") -> None:
        """Write the table, the news, and where the report lies."""
        if not self.options.optimizers and terminalreporter.stats.get("skipped"):
            terminalreporter.write_line(f"gradbench: {NO_OPTIMIZER}")
        if self.folder is None:
            return
        from gradbench.report.rows import news
        from gradbench.report.terminal import table

        records = self.folder.records
        if records:
            terminalreporter.ensure_newline()
            terminalreporter.section("gradbench")
            terminalreporter.write_line(table(records))
        if found := news(records):
            terminalreporter.section("NEWS", green=True)
            for text in found:
                terminalreporter.write_line(text)
        terminalreporter.write_line(f"report: {self.folder.path / 'report.md'}")


def _check_distinct(items: list[pytest.Item]) -> None:
    """Two items of one name would be one in every record and comparison."""
    seen: dict[str, str] = {}
    for item in items:
        if item.name in seen:
            raise pytest.UsageError(
                f"two cases are called {item.name}: in {seen[item.name]} and {item.location[0]}"
            )
        seen[item.name] = item.location[0]


def _asked(item: pytest.Item) -> Asked | None:
    return item.stash.get(Asked.KEY, None)


def _line(report: pytest.CollectReport | pytest.TestReport) -> str | None:
    properties = dict(getattr(report, "user_properties", []))
    return properties.get(LINE)


def _measure(benchmark: Any, clock: ReplayClock, results: "list[TrialResult]") -> None:  # noqa: ANN401
    durations = [s / n for result in results for s, n in result.blocks[1:]]
    if durations and benchmark is not None and benchmark.enabled:
        clock.replay(durations, benchmark)


def _judge(node: pytest.Item, record: Record, gate: str) -> None:
    told = f"{record.optimizer} solved {record.case} on {record.solved} of {record.seeds} seeds"
    if record.outcome == Outcome.SKIPPED:
        pytest.skip(f"{record.optimizer} is unsupported: {record.reason}")
    if record.outcome == Outcome.PASSED:
        return
    why = f" ({record.reason})" if record.reason else ""
    if fails(record.outcome, gate):
        if record.outcome == Outcome.NEWS:
            raise News(f"{told}; expected: never", pytrace=False)
        if "crashed" in record.statuses:
            raise Crashed(f"{record.optimizer} crashed on {record.case}{why}", pytrace=False)
        raise Unsolved(f"{told}; expected: {record.expectation}{why}", pytrace=False)
    node.add_marker(
        pytest.mark.xfail(reason=f"expected: {record.expectation}", raises=Unsolved, strict=False)
    )
    if record.outcome != Outcome.NEWS:
        raise Unsolved(f"{told}{why}", pytrace=False)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
