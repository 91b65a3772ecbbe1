"""The baseline in a pytest session: read before the first case, held against after the last.

And the step's time, where that was asked for.
"""

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gradbench.judge import Regressed
from gradbench.record import PROTOCOL, Record, Status
from gradbench.screen import LINE

if TYPE_CHECKING:  # statistics need numpy, which waits until a case runs
    from gradbench.baseline import Baseline, Change
    from gradbench.case import Case
    from gradbench.options import Options

SHOWN = 5
"""Most cases named in one line."""


class Held(pytest.Item):
    """One optimizer held against something, when all its cases have ended."""

    def __init__(self, *, what: str, hold: Callable[[], str], **keywords: Any) -> None:  # noqa: ANN401
        super().__init__(**keywords)
        self.what, self.hold = what, hold

    def runtest(self) -> None:
        """Fail where it regressed."""
        try:
            said = self.hold()
        except Regressed:
            self.user_properties.append((LINE, f"{self.what}: {self.name} REGRESSED"))
            raise
        self.user_properties.append((LINE, f"{self.what}: {self.name} {said}"))

    def reportinfo(self) -> tuple[str, None, str]:
        """Return where pytest says that this item stands."""
        return self.what, None, self.name


class Gate:
    """What the session knows of its baseline."""

    def __init__(self, options: "Options") -> None:
        self.options = options
        self.base: Baseline | None = None
        self.records: list[Record] = []
        self.said: list[str] = []
        self.timed: list[str] = []
        self.cases: list[Case] = []
        self.device = options.device

    @property
    def holds(self) -> bool:
        """Whether this session holds its run against a baseline."""
        return self.options.baseline is not None and not self.options.update_baseline

    @property
    def wanted(self) -> bool:
        """Whether anything is held against anything."""
        return self.holds or self.options.time_against is not None

    @property
    def told(self) -> list[str]:
        """What changed, and how the step's time did."""
        return self.said + self.timed

    def items(self, session: pytest.Session, labels: dict[str, str]) -> list[pytest.Item]:
        """Return one item per optimizer and what it is held against, to run last."""
        made: list[pytest.Item] = []
        for what, wanted, hold in (
            ("against the baseline", self.holds, self.hold),
            ("step time", self.options.time_against is not None, self.time),
        ):
            made += [
                Held.from_parent(
                    session,
                    name=label,
                    nodeid=f"{what.split()[-1]}::{label}",
                    what=what,
                    hold=functools.partial(hold, text),
                )
                for label, text in labels.items()
                if wanted
            ]
        return made

    def begin(self) -> None:
        """Read the baseline that this run will be held against.

        Raises pytest.UsageError, in one line, where it cannot be.
        """
        options = self.options
        if options.baseline is None or (options.update_baseline and not options.baseline.exists()):
            return
        from gradbench import baseline
        from gradbench.compare import NotComparableError

        about = {"protocol": PROTOCOL, "preset": options.preset, "tuning": options.tuning}
        try:
            self.base = baseline.load(options.baseline)
            baseline.check(about, self.base)
        except (baseline.BaselineError, NotComparableError) as error:
            raise pytest.UsageError(str(error)) from None
        if options.update_baseline:  # it can be added to
            return
        have = dict.fromkeys(r.optimizer for r in self.base.records if r.expectation != "learner")
        if not any(each.name in have for each in options.contestants.values()):
            raise pytest.UsageError(
                f"the baseline has none of these optimizers; it has {shortened(list(have))}"
            )

    def hold(self, optimizer: str) -> str:
        """Raise Regressed where a family got worse; else say, in a few words, what changed."""
        from gradbench import baseline
        from gradbench.compare import NotComparableError

        if self.base is None:
            pytest.skip("no baseline")
        new = [record for record in self.records if record.optimizer == optimizer]
        old = self.base.of(optimizer)
        if not old:
            pytest.skip(f"the baseline has no {optimizer}; --gb-update-baseline adds it")
        try:
            families = dict.fromkeys(record.family for record in new)
            changes = [baseline.change(family, optimizer, new, old) for family in families]
        except NotComparableError as error:
            raise Regressed(str(error), pytrace=False) from None
        changes = [change for change in changes if change.cases > 0]
        if not changes:
            raise Regressed(f"no case of {optimizer} is in the baseline", pytrace=False)
        seeds = {len(record.trials) for record in new} | {len(record.trials) for record in old}
        if len(seeds) > 1:
            self.said.append(f"seeds differ from the baseline's: only the first {min(seeds)} count")
        self.said += [told(change) for change in changes if change.ratio != 1.0]
        weak = [change for change in changes if 2.0**-change.pairs > change.level]
        if weak:
            few = ", ".join(f"{change.family} ({change.pairs})" for change in weak)
            self.said.append(
                f"too few pairs of problem and seed to fail at all: {few}; "
                f"{math.ceil(-math.log2(weak[0].level))} could"
            )
        added, gone = baseline.strangers(new, old)
        for names, what in ((added, "not in the baseline"), (gone, "in the baseline, not run")):
            if names:
                self.said.append(f"{what}: {shortened(names)}")
        worse = [change for change in changes if change.regressed]
        if worse and self.options.gate != "record":
            raise Regressed("\n".join(map(told, worse)), pytrace=False)
        count = sum(change.cases for change in changes)
        same = all(change.p == 1.0 and change.ratio == 1.0 for change in changes)
        word = "regressed, let pass" if worse else "equal" if same else "not shown to be worse"
        return f"{word} on {count} case{'' if count == 1 else 's'}"

    def time(self, optimizer: str) -> str:
        """Raise Regressed where a step takes longer than the older version's; else say how long."""
        from gradbench.steptime import LIMIT, step_time
        from gradbench.streams import one_thread

        if self.options.time_against is None:
            pytest.skip("no older version")
        old, options = self.options.time_against.text, self.options
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
            pytest.skip(str(error))
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

    def end(self, about: dict[str, Any]) -> str | None:
        """Write the baseline where that was asked for; return a line that says so.

        What the old file has of other cases and optimizers is kept; a file of other settings is not
        overwritten, and what crashed is not recorded.
        """
        path = self.options.baseline
        if path is None or not self.options.update_baseline or not self.records:
            return None
        from gradbench import baseline
        from gradbench.compare import NotComparableError

        kept: list[Record] = []
        fit = [r for r in self.records if Status.CRASHED not in r.statuses]
        try:
            if path.exists():
                old = baseline.load(path)
                baseline.check(about, old)
                fresh = {(record.case, record.optimizer) for record in self.records}
                kept = [r for r in old.records if (r.case, r.optimizer) not in fresh]
        except (baseline.BaselineError, NotComparableError) as error:
            return f"baseline not written: {error}"
        try:
            baseline.write(path, about, [*kept, *fit])
        except baseline.BaselineError as error:
            return f"baseline not written: {error}"
        crashed = len(self.records) - len(fit)
        left = f", {crashed} crashed and left out" if crashed else ""
        return f"baseline: {path} ({len(fit)} new, {len(kept)} kept{left})"


def told(change: "Change") -> str:
    """Return one change in a line."""
    word = "regressed" if change.regressed else "worse" if change.ratio > 1 else "better"
    names = [f"{case} x{ratio:.2g}" for case, ratio in change.worse]
    carried = f", carried by {shortened(names)}" if change.ratio > 1 else ""
    return (
        f"{change.optimizer}: {change.family} {word}: evaluations x{change.ratio:.3g} over "
        f"{change.cases} case{'' if change.cases == 1 else 's'}, p {change.p:.2g} "
        f"(fails at {change.level:.2g}){carried}"
    )


def shortened(names: list[str]) -> str:
    """Return the first names, and how many there are more."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
