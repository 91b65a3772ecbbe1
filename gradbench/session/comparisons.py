"""The gates of a session: comparison with a baseline, and with an older version's step time.

One file: both comparisons share their choice of records and their messages.
"""

import functools
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from gradbench.results import baseline_file
from gradbench.results.baseline_file import Baseline
from gradbench.results.record import Record
from gradbench.session.further_seeds import FurtherSeeds
from gradbench.session.progress import LINE
from gradbench.session.verdict import Regressed, Undecided

if TYPE_CHECKING:  # statistics need numpy, which waits until a case runs
    from gradbench.analysis.baseline import Change
    from gradbench.protocol.case import Case
    from gradbench.session.options import Options

SHOWN = 5
"""Maximum number of names in one line."""


class ComparisonItem(pytest.Item):
    """Pytest item that compares one optimizer, after all cases have ended."""

    def __init__(
        self,
        *,
        what: str,
        who: str,
        hold: Callable[[], str],
        **keywords: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**keywords)
        self.what, self.who = what, who
        self.hold = functools.cache(hold)  # a plugin may run it again

    def runtest(self) -> None:
        """Compare, add the result line to the report, and fail if the optimizer regressed.

        What is undecided is skipped: it neither passes nor fails.
        """
        try:
            said = self.hold()
        except (Regressed, Undecided) as error:
            word = type(error).__name__.upper()
            self.user_properties.append((LINE, f"{self.what}: {self.who} {word}"))
            raise
        self.user_properties.append((LINE, f"{self.what}: {self.who} {said}"))

    def reportinfo(self) -> tuple[str, None, str]:
        """Return the location that pytest reports: the gate's name, no line, the item's name."""
        return self.what, None, self.name


class Comparisons:
    """A pytest plugin that compares a session with its baseline after the last item."""

    def __init__(self, options: "Options") -> None:
        self.options = options
        self.base: Baseline | None = None
        self.changes: list[str] = []
        self.timed: list[str] = []
        self.active = False
        """Whether cases run in this session."""
        self.records: list[Record] = []
        self.cases: list[Case] = []
        self.device = options.device
        self.further = FurtherSeeds()
        self.gate = options.gate
        """The gate; `changed` is `baseline` where the baseline is of another kind of machine."""
        self.not_written = False
        """Whether writing the baseline failed."""

    @property
    def holds(self) -> bool:
        """Whether this session compares its run with a baseline."""
        return self.options.baseline is not None and not self.options.update_baseline

    @property
    def lines(self) -> list[str]:
        """Result lines: changes from the baseline, then step times."""
        return self.changes + self.timed

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Run the comparison items after the last item, in any order or selection of the others.

        They are pytest items: they are counted, shown and included in other plugins' reports.
        """
        result = yield
        held = items_of(self, session) if self.active else []
        session.testscollected += len(held)
        for item in held:
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        return result

    def begin(self, about: dict[str, Any]) -> None:
        """Read the baseline that this run will be compared with; `about` describes the run.

        Raises pytest.UsageError, in one line, where the baseline cannot be read or compared.
        """
        options = self.options
        if options.baseline is None or (options.update_baseline and not options.baseline.exists()):
            return
        from gradbench.analysis import baseline
        from gradbench.analysis.alike import NotComparableError

        try:
            self.base = baseline_file.load(options.baseline)
            baseline.check(about, self.base)
        except (baseline_file.BaselineError, NotComparableError) as error:
            raise pytest.UsageError(str(error)) from None
        if options.update_baseline:  # it may lack these optimizers
            return
        have = dict.fromkeys(r.optimizer for r in self.base.records if r.expectation != "learner")
        if not any(each.name in have for each in options.entries.values()):
            raise pytest.UsageError(
                f"the baseline has none of these optimizers; it has {shortened(list(have))}"
            )
        for name, here, there in differing_machines(about, self.base.about):
            self.gate = "baseline" if self.gate == "changed" else self.gate
            self.changes.append(
                f"the baseline was recorded with {name} {there}, this run with {here}: numbers may "
                "differ by rounding, only what is worse fails"
            )

    def start(self, records: "list[Record]", cases: "list[Case]", device: str) -> None:
        """Set the list to which the run's records are added, the cases and the device."""
        self.records, self.cases, self.device, self.active = records, cases, device, True

    def hold(self, base: "Baseline", optimizer: str) -> str:
        """Return the result against the baseline, in a few words; raise Regressed if worse."""
        from gradbench.analysis import baseline
        from gradbench.analysis.alike import NotComparableError
        from gradbench.analysis.moved import lines, moved

        new = [record for record in self.records if record.optimizer == optimizer]
        old = base.of(optimizer)
        if not old:
            pytest.skip(f"the baseline has no {optimizer}; --gb-update-baseline adds it")
        try:
            changes = self._changes(optimizer, new, old)
        except NotComparableError as error:
            raise Regressed(str(error), pytrace=False) from None
        new = list(map(self.further.with_trials, new))
        lost = baseline.lost(new, old)
        self.changes += lost
        if not changes and not lost:
            raise Regressed(
                f"nothing of {optimizer} was compared with the baseline: no case of both ran on "
                "the same seeds",
                pytrace=False,
            )
        other = moved(new, old)
        table = lines(other)
        self.changes += explained(changes, new, old) + table
        worse = lost + [describe(change) for change in changes if change.regressed]
        if self.gate == "changed" and other and not worse:
            worse = [f"{optimizer}: other numbers than the baseline's"]
        if worse and self.gate != "record":
            raise Regressed("\n".join(worse + table), pytrace=False)
        if not worse and any(change.undecided for change in changes):
            raise Undecided("; ".join(describe(c) for c in changes if c.undecided))
        count = sum(change.cases for change in changes)
        shown = f"not {baseline.SLOWER:g} times slower"
        word = "regressed, let pass" if worse else shown if other else "equal"
        moves = f", other numbers in {len(other)}" if other else ""
        return f"{word} on {count} case{'' if count == 1 else 's'}{moves}"

    def _changes(self, optimizer: str, new: "list[Record]", old: "list[Record]") -> "list[Change]":
        """Compare each family, and train further seeds of those that are undecided.

        Ends where nothing is undecided, something is worse, or the baseline has no more seeds.
        """
        from gradbench.analysis import baseline

        families = dict.fromkeys(record.family for record in new)
        both = max(1, len(set(families) & {record.family for record in old}))
        while True:
            whole = list(map(self.further.with_trials, new))
            changes = [
                baseline.change(family, optimizer, whole, old, families=both) for family in families
            ]
            unclear = {change.family for change in changes if change.undecided}
            fails = any(c.regressed for c in changes) or bool(baseline.lost(whole, old))
            if fails or not unclear or self.gate in {"record", "changed"}:
                break
            if not self.further.train([r for r in new if r.family in unclear], old):
                break
        return [change for change in changes if change.cases > 0]

    def time(self, old: str, optimizer: str) -> str:
        """Return the step time relative to `old`, as text; raise Regressed if it is slower."""
        from gradbench.timing.step_time import LIMIT, step_time
        from gradbench.torch_state import one_thread

        options = self.options
        try:
            with one_thread():
                found = step_time(
                    self.cases,
                    optimizer,
                    old,
                    preset=options.preset,
                    device=self.device,
                    dtype=options.dtype,
                )
        except ValueError as error:
            raise Regressed(f"nothing was timed: {error}", pytrace=False) from None
        low, high = found.interval
        text = f"x{found.ratio:.2f} of {old}'s (95 %: {low:.2f} to {high:.2f})"
        self.timed.append(f"step time of {optimizer}: {text}")
        if found.slower and options.gate != "record":
            each = ", ".join(f"{case} x{ratio:.2f}" for case, ratio in found.cases.items())
            raise Regressed(
                f"{optimizer}: a step takes {text}, more than {LIMIT:g} allows: {each}",
                pytrace=False,
            )
        return text

    def end(self, about: dict[str, Any]) -> list[str]:
        """Write the baseline under --gb-update-baseline; return the lines to print.

        The old file's records stay where a case was not run, crashed, or was solved and is now
        unsupported. A file of other settings is not overwritten. `not_written` is set where the
        baseline could not be written.
        """
        path = self.options.baseline
        if path is None or not self.options.update_baseline or not self.records:
            return []
        from gradbench.analysis import baseline
        from gradbench.analysis.alike import NotComparableError

        try:
            old = baseline_file.load(path) if path.exists() else None
            if old is not None:
                baseline.check(about, old)
            found, left = baseline.merged(self.records, [] if old is None else old.records)
            baseline_file.write(path, about, found)
        except (baseline_file.BaselineError, NotComparableError) as error:
            self.not_written = True
            return [f"baseline not written: {error}"]
        fresh = set(map(id, self.records))
        new = sum(id(record) in fresh for record in found)
        lines = [f"baseline: {path} ({new} new, {len(found) - new} kept)"]
        if left:
            lines.append(f"baseline: left out as crashed or unsupported: {shortened(left)}")
        return lines


def items_of(comparisons: Comparisons, session: pytest.Session) -> list[pytest.Item]:
    """Return one item per optimizer and comparison."""
    from gradbench.report.rows import shown

    kinds: list[tuple[str, Callable[[str], str]]] = []
    if comparisons.holds and comparisons.base is not None:
        kinds.append(
            ("against the baseline", functools.partial(comparisons.hold, comparisons.base))
        )
    if comparisons.options.time_against is not None:
        older = comparisons.options.time_against.text
        kinds.append(("step time", functools.partial(comparisons.time, older)))
    return [
        ComparisonItem.from_parent(
            session,
            name=label,
            nodeid=f"{what.split()[-1]}::{label}",
            what=what,
            who=shown(entry.name),
            hold=functools.partial(hold, entry.name),
        )
        for what, hold in kinds
        for label, entry in comparisons.options.entries.items()
    ]


def differing_machines(here: dict[str, Any], there: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return what differs between two runs' machines, and the values: torch, the processor."""
    ours, theirs = ((each.get("versions") or {}).get("torch") for each in (here, there))
    pairs = [("torch", ours, theirs), ("the processor", here.get("cpu"), there.get("cpu"))]
    return [pair for pair in pairs if pair[1] != pair[2] and pair[2] is not None]


def explained(
    changes: "Sequence[Change]", new: "Sequence[Record]", old: "Sequence[Record]"
) -> list[str]:
    """Return lines on the changes, on families with too few pairs, and on cases left out."""
    from gradbench.analysis import baseline

    lines = []
    lines += [describe(change) for change in changes if change.ratio != 1.0]
    weak = [change for change in changes if change.undecided]
    if weak:
        most = max(record.seeds for record in old)
        lines.append(
            f"undecided: {', '.join(change.family for change in weak)}; record the baseline with "
            f"more seeds than {most}, and those that are needed will be trained"
        )
    added, gone = baseline.strangers(new, old)
    for names, what in ((added, "not in the baseline"), (gone, "in the baseline, not run")):
        if names:
            lines.append(f"{what}: {shortened(names)}")
    return lines


def describe(change: "Change") -> str:
    """Return the line that describes one change."""
    word = "regressed" if change.regressed else "worse" if change.ratio > 1 else "better"
    excluded = "" if change.regressed else f", p {change.p_slower:.2g} of 1.2 times slower"
    names = [f"{case} x{ratio:.2g}" for case, ratio in change.worse]
    carried = f", carried by {shortened(names)}" if change.ratio > 1 else ""
    return (
        f"{change.optimizer}: {change.family} {word}: evaluations x{change.ratio:.3g} over "
        f"{change.cases} case{'' if change.cases == 1 else 's'}, p {change.p:.2g} "
        f"(fails at {change.level:.2g}){excluded}{carried}"
    )


def shortened(names: list[str]) -> str:
    """Return the first names, and the number of further ones, as text."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
