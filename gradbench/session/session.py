"""One pytest session: resolves the optimizers, runs the items, records, judges and reports."""

import textwrap
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from gradbench.results.record import PROTOCOL, Expectation, Outcome, Record, entries
from gradbench.results.run_folder import RunFolder, machine
from gradbench.session.benchmark_timer import ReplayTimer
from gradbench.session.comparisons import Comparisons
from gradbench.session.dispatch import Dispatch
from gradbench.session.finish import print_summary, time_again, write_reports
from gradbench.session.options import Entry, Options
from gradbench.session.progress import LINE, LiveLine, Screen
from gradbench.session.signals import taken_as_interrupts
from gradbench.session.verdict import judge
from gradbench.text import printable
from gradbench.timing.cost_table import CostTable
from gradbench.verification.news import verify

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from gradbench.engines.worker import Answer
    from gradbench.protocol.case import Case
    from gradbench.protocol.item import Item
    from gradbench.results.record import TrialResult

PASSING = ("load", "commit", "dirty")
"""What run.json says of the machine that decides no numbers; sources are looked at themselves."""

NO_OPTIMIZER = "no optimizer named: say which one, e.g. pytest suites --optimizer=adam"


@dataclass
class ItemRequest:
    """What a pytest item is to run."""

    KEY: ClassVar[pytest.StashKey["ItemRequest"]] = pytest.StashKey()

    case: "Case"
    entry: Entry
    clock: ReplayTimer
    attempted: bool = False


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
        """Spare the reader pytest-benchmark's defaults, of which none is used here."""
        lines = yield
        if not self.options.optimizers:
            return lines
        return [line for line in lines if not str(line).startswith("benchmark: ")]

    # Before the first item

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Resolve the names and make the run's folder, unless nothing of ours will run."""
        wanted = [item for item in session.items if _request_of(item)]
        self.has_cases = bool(wanted)
        costs = [item for item in session.items if item.get_closest_marker("step_cost")]
        idle = self.config.getoption("collectonly", default=False) or not self.options.optimizers
        if idle or not (wanted or costs):
            return
        _check_distinct(wanted)
        runs = bool(wanted) and not self.options.dry_run
        try:
            described = self._begin(len(wanted) if runs else 0)
        except (ValueError, ImportError) as error:
            raise pytest.UsageError(_first_line(error)) from None
        if costs and any(spec.text == "paper" for spec in self.options.optimizers):
            raise pytest.UsageError("-m step_cost: paper is another optimizer in every case")
        if not runs:
            return
        described |= machine()
        settings = {"preset": self.options.preset, "tuning": self.options.tuning}
        self.comparisons.begin(described | settings | {"protocol": PROTOCOL})
        self._make_items(wanted, described)
        waiting = [(name, item) for name, item in self.items.items() if name not in self.taken]
        try:
            self.folder = RunFolder.create(self.options.report_dir, list(self.options.entries))
            self.run = self._describe(self.folder, described)
            for record in self.taken.values():
                self.folder.add(record)
            self.folder.point_latest()
            cases = [asked.case for item in wanted if (asked := _request_of(item))]
            self.comparisons.start(self.folder.records, cases, self.device)
            self.screen.active = True
        except OSError as error:
            raise pytest.UsageError(
                f"cannot write reports under {self.options.report_dir}: {error.strerror}; "
                "name another folder with --gb-report-dir"
            ) from None
        self.put_signals_back = taken_as_interrupts()
        self.dispatch.begin(waiting)

    def _make_items(self, wanted: list[pytest.Item], machine: dict[str, Any]) -> None:
        """Say what is to run, and which of it an earlier run has finished."""
        from gradbench.protocol.resume import finished, is_of, key

        decides = {name: value for name, value in machine.items() if name not in PASSING}
        for node in wanted:
            if asked := _request_of(node):
                item = self._item(asked)
                item = replace(item, problem=_problem(item))
                self.items[node.name] = replace(item, key=key(item, decides))
        if self.options.resume is None:
            return
        try:
            done = finished(self.options.resume)
        except (ValueError, OSError) as error:
            raise pytest.UsageError(f"--gb-resume: {_first_line(error)}") from None
        self.taken = {n: done[i.key] for n, i in self.items.items() if i.key in done}
        for name, record in list(self.taken.items()):
            if not is_of(record, self.items[name]):  # its line was changed
                del self.taken[name]

    def _begin(self, items: int) -> dict[str, Any]:
        """Choose the device, and the engine where items will run, and resolve every name.

        An engine's processes start while the names are resolved. Returns what decides the run's
        numbers. Raises ValueError or ImportError, in one line, for what there is not.
        """
        from gradbench.engines.base import device_name, environment

        options = self.options
        self.device = self.costs.device = device_name(options.device)
        if items > 0:
            who = options.entries.values()
            self.dispatch.choose(options.engine, items, self.device, options.timeout, who)
        _resolve(options)
        return environment(self.device, options.dtype)

    def _describe(self, folder: RunFolder, environment: dict[str, Any]) -> dict[str, Any]:
        return folder.describe(
            {
                "command": ["pytest", *map(str, self.config.invocation_params.args)],
                "preset": self.options.preset,
                "seeds": self.options.seeds,
                "tuning": self.options.tuning,
                "gate": self.options.gate,
                "probes": self.options.probes,
                "stack": self.options.stack,
                "optimizers": [spec.text for spec in self.options.optimizers],
                "architectures": [
                    "paper" if spec is None else spec.text for spec in self.options.architectures
                ],
                "engine": self.dispatch.name,
                "problems": {item.case.id: item.problem for item in self.items.values()},
                "resumed": self.options.resume.name if self.options.resume else None,
                **environment,
            }
        )

    def pytest_report_collectionfinish(self) -> list[str]:
        """Say what is about to be run, and on what."""
        if not self.run:
            return []
        run = self.run
        device = run["device"]["name"] or run["cpu"]
        sweep = f"sweep of {run['tuning']} rates" if run["tuning"] > 0 else "no sweep"
        networks = run["architectures"]
        on = "" if networks == ["paper"] else f" on {', '.join(networks)}"
        lines = [
            *textwrap.wrap(f"gradbench: {printable(', '.join(run['optimizers']))}{on}", 100),
            (
                f"{run['preset']} preset, {run['seeds']} seeds, {sweep}; {run['device']['type']} "
                f"({device}), {run['engine']}, torch {run['versions']['torch']}"
            ),
        ]
        if run["resumed"]:
            lines.append(
                f"{len(self.taken)} of {len(self.items)} cases taken over from {run['resumed']}"
            )
        return lines

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Under --gb-dry-run, say what would be run instead of running it."""
        if not self.options.dry_run or self.config.getoption("collectonly", default=False):
            return None
        from gradbench.protocol.dry_run import dry_run

        reporter: TerminalReporter = self.config.pluginmanager.get_plugin("terminalreporter")  # type: ignore[assignment]
        asked = [(item.name, asked) for item in session.items if (asked := _request_of(item))]
        if asked and not self.options.optimizers:
            reporter.write_line(NO_OPTIMIZER)
        elif asked:
            dry_run([(name, self._item(each)) for name, each in asked], reporter.write_line)
        return True

    # One item

    def _item(self, asked: ItemRequest) -> "Item":
        from gradbench.protocol.item import Item

        return Item(
            case=asked.case,
            optimizer=asked.entry.optimizer,
            architecture=asked.entry.architecture,
            preset=self.options.preset,
            seeds=self.options.seeds,
            tuning=self.options.tuning,
            device=self.device,
            dtype=self.options.dtype,
            probes=self.options.probes,
            stack=self.options.stack,
        )

    def attempt(self, node: pytest.Item, benchmark: Any = None) -> Record:  # noqa: ANN401
        """Run an item, keep its record, and raise what its outcome calls for."""
        from gradbench.report.terminal import line

        asked = _request_of(node)
        if asked is None or self.folder is None:
            raise pytest.UsageError("attempt() is for functions marked gradbench(cases=...)")
        asked.attempted = True
        if (record := self.taken.get(node.name)) is not None:
            results: list[TrialResult] = []
        else:  # of an item that runs again, what it came to the first time
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
        """End the session where an item has left in this process what nothing can put back."""
        from gradbench.engines.worker import CONTEXT

        if CONTEXT.spent and node is not node.session.items[-1]:
            node.session.shouldstop = (
                f"gradbench: {node.name} left behind in this process: {CONTEXT.spent}; what comes "
                "after it would not be itself: use --gb-engine=processes:1"
            )

    def _keep(self, name: str, answer: "Answer") -> None:
        """Write an item's record, once, as soon as it has ended."""
        del name
        if self.folder is not None:
            self.folder.add(answer[0])

    # What the user sees

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report of what has been recorded, also after an interruption."""
        self.dispatch.close()
        if self.folder is not None:
            self.folder.settle(self.run)
        if session.exitstatus == pytest.ExitCode.OK and (why := self._idle(session)):
            self.idle = why
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
        if self.folder is None:
            return
        if session.exitstatus != pytest.ExitCode.INTERRUPTED:
            verify(self.folder, self.items.values(), self.dispatch.live.say)
        if self.options.time and session.exitstatus != pytest.ExitCode.INTERRUPTED:
            time_again(self.folder, self.items.values(), self.dispatch.live.say)
        self.updated = self.comparisons.end(self.run)
        with self.folder.kept_going():
            self.reports = write_reports(self.folder, self.run, self.comparisons.told)
        lost = self.folder.trouble or self.folder.restored or self.comparisons.not_written
        if lost and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _idle(self, session: pytest.Session) -> str:
        """Return why nothing was attempted in a session of our cases alone; empty where it was."""
        ours = [item for item in session.items if waits_for_an_optimizer(item)]
        if (
            not ours
            or len(ours) < len(session.items)
            or self.config.getoption("collectonly", default=False)
        ):
            return ""
        if not self.options.optimizers:
            return NO_OPTIMIZER
        records = self.folder.records if self.folder is not None else []
        records = [record for record in records if record.expectation != Expectation.LEARNER]
        if any(record.outcome != Outcome.SKIPPED for record in records) or not records:
            return ""
        return f"nothing was attempted: every case is unsupported ({records[0].reason})"

    def pytest_unconfigure(self) -> None:
        """Leave the process's signals as they were."""
        self.put_signals_back()

    def pytest_terminal_summary(self, terminalreporter: "TerminalReporter") -> None:
        """Write the table, the news, and where the report lies."""
        if self.has_cases and not self.options.optimizers:
            terminalreporter.write_line(f"gradbench: {NO_OPTIMIZER}")
        elif self.idle:
            terminalreporter.write_line(f"gradbench: {self.idle}")
        if self.costs.rows:
            terminalreporter.section("step cost")
            terminalreporter.write_line(self.costs.text())
        if self.folder is not None:
            said = [
                *(f"baseline: {text}" for text in self.comparisons.said),
                *self.comparisons.timed,
            ]
            print_summary(terminalreporter, self.folder, said, self.updated, self.reports)


def _resolve(options: Options) -> None:
    """Resolve every name; raises ValueError or ImportError, in one line, for what there is not."""
    from gradbench.architectures import factory as architectures
    from gradbench.engines.worker import exits_raised
    from gradbench.optimizers.factory import resolve
    from gradbench.protocol.resume import forget

    architectures.resolve.cache_clear()
    resolve.cache_clear()  # an earlier session of this process may have met other files
    forget()
    with exits_raised():
        for spec in options.optimizers:
            if spec.text != "paper":
                resolve(spec.text)
        if options.time_against is not None:
            resolve(options.time_against.text)
        for network in options.architectures:
            if network is not None:
                architectures.resolve(network.text)


def _check_distinct(items: list[pytest.Item]) -> None:
    """Two items of one name would be one in every record and comparison."""
    seen: dict[str, str] = {}
    for item in items:
        if item.name in seen:
            raise pytest.UsageError(
                f"two cases are called {item.name}: in {seen[item.name]} and {item.location[0]}"
            )
        seen[item.name] = item.location[0]


def _problem(item: "Item") -> str:
    """Return the digest of an item's problem.

    Raises UsageError, in one line, where its scenario cannot be built or drawn.
    """
    from gradbench.protocol.problem_digest import digest

    case = item.case
    try:
        return digest(case.build(), item.preset, case.batch)
    except Exception as error:  # noqa: BLE001  # whatever a scenario's module raises
        raise pytest.UsageError(
            f"{case.id}: cannot draw {case.scenario}: {type(error).__name__}: {_first_line(error)}"
        ) from None


def waits_for_an_optimizer(item: pytest.Item) -> bool:
    """Whether an item runs nothing where no optimizer is named."""
    return _request_of(item) is not None or item.get_closest_marker("step_cost") is not None


def _request_of(item: pytest.Item) -> ItemRequest | None:
    return item.stash.get(ItemRequest.KEY, None)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
