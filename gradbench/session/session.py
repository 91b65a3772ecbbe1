"""One pytest session: resolves the optimizers, runs the items, records, judges and reports."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

from gradbench.results.record import PROTOCOL, Record, entries
from gradbench.results.run_folder import RunFolder, machine
from gradbench.session.comparisons import Comparisons
from gradbench.session.compilation_trace import untraced
from gradbench.session.dispatch import Dispatch
from gradbench.session.finish import print_summary, time_again, write_reports
from gradbench.session.options import Options
from gradbench.session.plan import (
    NO_OPTIMIZER,
    check_distinct,
    estimate_all,
    heading,
    make_items,
    request_of,
    resolve_names,
    resumed,
    settings_of,
    why_idle,
)
from gradbench.session.progress import LINE, LiveLine, Screen
from gradbench.session.signals import taken_as_interrupts
from gradbench.session.verdict import judge
from gradbench.text import first_line
from gradbench.timing.cost_table import CostTable
from gradbench.verification.news import verify

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from gradbench.engines.worker import Answer
    from gradbench.protocol.item import Item
    from gradbench.results.record import TrialResult


RESUME = "interrupted: --gb-resume goes on with what is left"


class Session:
    """The state of one run, and the hooks that need it."""

    def __init__(self, config: pytest.Config, options: Options, screen: Screen) -> None:
        self.config = config
        self.screen = screen
        self.options = options
        self.folder: RunFolder | None = None
        self.run: dict[str, Any] = {}
        self.comparisons = Comparisons(options)
        self.device = options.device
        self.has_cases = False
        self.costs = CostTable()
        self.items: dict[str, Item] = {}
        self.taken: dict[str, Record] = {}
        self.updated: list[str] = []
        self.idle = ""
        self.put_signals_back: Callable[[], None] = lambda: None
        self.reports: list[str] = []
        self.dispatch = Dispatch(LiveLine(silent=config.getoption("verbose", 0) > 0), self._keep)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_header(self) -> Generator[None, list[str], list[str]]:
        """Remove pytest-benchmark's defaults from the header: none of them is used here."""
        lines = yield
        if not self.options.optimizers:
            return lines
        return [line for line in lines if not str(line).startswith("benchmark: ")]

    # Before the first item

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Resolve the names, create the run's folder and submit the items, if any will run."""
        wanted = [item for item in session.items if request_of(item)]
        self.has_cases = bool(wanted)
        costs = [item for item in session.items if item.get_closest_marker("step_cost")]
        idle = self.config.getoption("collectonly", default=False) or not self.options.optimizers
        if idle or not (wanted or costs):
            return
        check_distinct(wanted)
        runs = bool(wanted) and not self.options.dry_run
        try:
            described = self._begin(len(wanted) if runs else 0)
        except (ValueError, ImportError) as error:
            raise pytest.UsageError(first_line(error)) from None
        if costs and any(spec.text == "paper" for spec in self.options.optimizers):
            raise pytest.UsageError("-m step_cost: paper is another optimizer in every case")
        if not runs:
            return
        described |= machine()
        settings = {"preset": self.options.preset, "tuning": self.options.tuning}
        self.comparisons.begin(described | settings | {"protocol": PROTOCOL})
        self.items = make_items(wanted, self.options, self.device, described)
        self.taken = resumed(self.items, self.options.resume)
        self._open_folder(described)
        self.screen.active = True
        self.put_signals_back = taken_as_interrupts()
        waiting = [(name, item) for name, item in self.items.items() if name not in self.taken]
        self.dispatch.begin(waiting)

    def _open_folder(self, described: dict[str, Any]) -> None:
        """Create the run's folder, and add the records of the resumed run to it.

        Raises UsageError, in one line, where it cannot be written.
        """
        try:
            self.folder = RunFolder.create(self.options.report_dir, list(self.options.entries))
            command = ["pytest", *map(str, self.config.invocation_params.args)]
            about = {"command": command, "engine": self.dispatch.name} | described
            self.run = self.folder.describe(settings_of(self.options, self.items) | about)
            for record in self.taken.values():
                self.folder.add(record)
            self.folder.point_latest()
            cases = [item.case for item in self.items.values()]
            self.comparisons.start(self.folder.records, cases, self.device)
            self.comparisons.further.start(self.items.values(), self.dispatch.results)
        except OSError as error:
            raise pytest.UsageError(
                f"cannot write reports under {self.options.report_dir}: {error.strerror}; "
                "name another folder with --gb-report-dir"
            ) from None

    def _begin(self, items: int) -> dict[str, Any]:
        """Choose the device and, where items will run, the engine; resolve every name.

        An engine's processes start while the names are resolved. Returns the settings that the
        run's numbers depend on. Raises ValueError or ImportError, in one line, where the device,
        the engine or a name cannot be used.
        """
        from gradbench.engines.base import device_name, environment

        options = self.options
        self.device = self.costs.device = device_name(options.device)
        if items > 0:
            who = options.entries.values()
            self.dispatch.choose(options.engine, items, self.device, options.timeout, who)
        resolve_names(options)
        return environment(self.device, options.dtype)

    def pytest_report_collectionfinish(self) -> list[str]:
        """Return the header lines of the run; none where nothing will run."""
        if not self.run:
            return []
        return heading(self.run, len(self.taken), len(self.items))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Write the items' estimates under --gb-dry-run, instead of running them."""
        if not self.options.dry_run or self.config.getoption("collectonly", default=False):
            return None
        reporter: TerminalReporter | None = self.config.pluginmanager.get_plugin("terminalreporter")
        say = print if reporter is None else reporter.write_line
        estimate_all(session.items, self.options, self.device, say)
        return True

    # One item

    def attempt(self, node: pytest.Item, benchmark: Any = None) -> Record:  # noqa: ANN401
        """Run an item, keep its record, and raise the pytest exception for its outcome."""
        from gradbench.report.terminal import line

        asked = request_of(node)
        if asked is None or self.folder is None:
            raise pytest.UsageError("attempt() is for functions marked gradbench(cases=...)")
        asked.attempted = True
        if (record := self.taken.get(node.name)) is not None:
            results: list[TrialResult] = []
        else:  # an item that runs again gets the result of its first run
            with untraced():
                record, results, trouble = self.dispatch.result(node.name, self.items[node.name])
            if trouble:
                node.add_report_section("call", "gradbench", trouble)
        record = entries([record])[0]
        node.user_properties.append((LINE, line(record)))
        asked.clock.replay(results, benchmark)
        self._end_where_spent(node)
        judge(node, record, self.options.gate)
        return record

    def _end_where_spent(self, node: pytest.Item) -> None:
        """End the session if an item has changed this process in a way that cannot be undone."""
        spent = self.dispatch.spent
        if spent and node is not node.session.items[-1]:
            node.session.shouldstop = (
                f"gradbench: {node.name} left behind in this process: {spent}; what comes "
                "after it would not be itself: use --gb-engine=processes:1"
            )

    def _keep(self, name: str, answer: "Answer") -> None:
        """Write an item's record, once, as soon as it has ended; not that of further seeds."""
        if self.folder is not None and name in self.items:
            self.folder.add(answer[0])

    # What the user sees

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the baseline and the reports of all records, also after an interruption."""
        self.dispatch.close()
        if self.folder is not None:
            self.folder.settle(self.run)
            if self.comparisons.further.trials:
                self.folder.change(self.comparisons.further.kept(self.folder.whole))
        if session.exitstatus == pytest.ExitCode.OK and (
            why := why_idle(session, self.options, self.folder.records if self.folder else [])
        ):
            self.idle = why
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
        if self.folder is None:
            return
        if whole := session.exitstatus != pytest.ExitCode.INTERRUPTED:
            verify(self.folder, self.items.values(), self.dispatch.live.show)
        if self.options.time and whole:
            time_again(self.folder, self.items.values(), self.dispatch.live.show)
        self.updated = [*self.comparisons.end(self.run), *([] if whole else [RESUME])]
        with self.folder.kept_going():
            self.reports = write_reports(self.folder, self.run, self.comparisons.lines)
        lost = self.folder.trouble or self.folder.restored or self.comparisons.not_written
        if lost and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_unconfigure(self) -> None:
        """Restore the process's signal handlers."""
        self.put_signals_back()

    def pytest_terminal_summary(self, terminalreporter: "TerminalReporter") -> None:
        """Write the table, the news, and the paths of the reports."""
        if self.has_cases and not self.options.optimizers:
            terminalreporter.write_line(f"gradbench: {NO_OPTIMIZER}")
        elif self.idle:
            terminalreporter.write_line(f"gradbench: {self.idle}")
        if self.costs.rows:
            terminalreporter.section("step cost")
            terminalreporter.write_line(self.costs.text())
        if self.folder is not None:
            said = [
                *(f"baseline: {text}" for text in self.comparisons.changes),
                *self.comparisons.timed,
            ]
            print_summary(terminalreporter, self.folder, said, self.updated, self.reports)
