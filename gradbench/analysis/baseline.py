"""Comparison of a run with a recorded baseline: regressions beyond the spread of the seeds.

Seeds are paired: the same targets and data under the old and the new optimizer. The evidence is
pooled per family, one one-sided test each at `LEVEL` over the number of families, so that a run of
unchanged behaviour fails at most once in twenty. A second test, of the hypothesis that it is slower
by `SLOWER` or more, tells what is shown not to be worse from what is undecided. Both stay valid as
seeds are added (see `sequential`), so a family that is undecided may be given more of them. The
approaches to one problem under one seed share targets and data: they count as one pair.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gradbench.analysis.alike import NotComparableError, check_alike, decisive
from gradbench.analysis.comparison import clusters, log_ratios, usable
from gradbench.analysis.sequential import anytime_p
from gradbench.results.baseline_file import Baseline
from gradbench.results.record import Record, Status

LEVEL = 0.05
BROKEN = (Status.CRASHED, Status.UNSUPPORTED)
SLOWER = 1.2
"""Factor on the evaluations to the target that counts as a regression worth finding."""

LOST = 2 * math.log(SLOWER)
"""Least logarithm at which a seed counts that one side only solved. Of the other, budget over
evaluations is but a bound, near 1 where the target was reached shortly before the budget's end. So
a seed that was lost speaks against `not slower` as much as an equal one speaks for it."""


@dataclass(frozen=True)
class Change:
    """One family under one optimizer, new against old.

    `ratio` is the geometric mean over cases and seeds of the new evaluations over the old ones,
    unsolved at the budget: above 1 is worse. `worse` holds the cases with a ratio above 1, worst
    first, and their ratios. `pairs` counts pairs of problem and seed that either solved. `p` is
    that of being equal or better, small for a regression; `p_slower` that of being slower by
    `SLOWER` or more, small where that is excluded.
    """

    family: str
    optimizer: str
    cases: int
    ratio: float
    p: float
    p_slower: float
    equal: bool
    families: int
    pairs: int
    worse: tuple[tuple[str, float], ...]

    @property
    def regressed(self) -> bool:
        """Whether it got worse beyond what the seeds' spread explains."""
        return self.p <= self.level

    @property
    def undecided(self) -> bool:
        """Whether neither a regression nor its absence is shown; equal numbers decide."""
        return not (self.equal or self.regressed or self.p_slower <= LEVEL)

    @property
    def level(self) -> float:
        """The p-value at which a family fails: one test for each family of the run."""
        return LEVEL / self.families


def check(about: dict[str, Any], baseline: Baseline) -> None:
    """Raise NotComparableError if a run cannot be compared with the baseline."""
    ours, theirs = decisive(about), decisive(baseline.about)
    said = [
        f"{n} {ours[n]} here, {theirs[n]} in the baseline" for n in ours if ours[n] != theirs[n]
    ]
    if said:
        raise NotComparableError(f"not comparable with the baseline: {', '.join(said)}")


def change(
    family: str, optimizer: str, new: Sequence[Record], old: Sequence[Record], *, families: int
) -> Change:
    """Compare one family's records with the baseline's, over cases and seeds that both have.

    `families` is the number of families that are compared in the run.

    Raises NotComparableError where two records of one case are not of the same problem (see
    `check_alike`).
    """
    ours, theirs = usable(new), usable(old)
    shared = [case for case, record in ours.items() if case in theirs and record.family == family]
    for case in shared:
        check_alike(ours[case], theirs[case], "here", "in the baseline")
    logs = {case: log_ratios(ours[case], theirs[case]) for case in shared}
    shared = [case for case in shared if logs[case]]
    means = {case: sum(v.values()) / max(1, len(v)) for case, v in logs.items()}
    mean = sum(means.values()) / max(1, len(means))
    worse = sorted(((c, math.exp(m)) for c, m in means.items() if m > 0), key=lambda pair: -pair[1])
    known = {case: _known(ours[case], theirs[case], logs[case]) for case in shared}
    pairs = clusters(shared, known, ours)
    slower = math.log(SLOWER)
    beyond = {case: {s: slower - v for s, v in known[case].items()} for case in shared}
    return Change(
        family=family,
        optimizer=optimizer,
        cases=len(shared),
        ratio=math.exp(mean),
        p=anytime_p(pairs),
        p_slower=anytime_p(clusters(shared, beyond, ours)),
        equal=all(value == 0.0 for each in logs.values() for value in each.values()),
        families=families,
        pairs=len(pairs),
        worse=tuple(worse),
    )


def counted(log_ratio: float, *, new: bool, old: bool) -> float:
    """Return the logarithm at which a seed counts, by whether new and old solved it."""
    if new == old:
        return log_ratio
    return max(log_ratio, LOST) if old else min(log_ratio, -LOST)


def _known(new: Record, old: Record, logs: dict[int, float]) -> dict[int, float]:
    """Return the logarithms of the seeds that either side solved; the others say nothing."""
    ours, theirs = _solved(new), _solved(old)
    return {
        seed: counted(value, new=seed in ours, old=seed in theirs)
        for seed, value in logs.items()
        if seed in ours | theirs
    }


def _solved(record: Record) -> set[int]:
    return {t["seed"] for t in record.trials if t["evaluations_to_target"] is not None}


def lost(new: Sequence[Record], old: Sequence[Record]) -> list[str]:
    """Return a line for each case that was solved on some seed and is now broken."""
    before = {record.case: record for record in old}
    found = []
    for record in new:
        was = before.get(record.case)
        broken = next((s for s in BROKEN if s in record.statuses), None)
        if broken is not None and was is not None and was.solved > 0:
            found.append(
                f"{record.optimizer}: {record.case} is {broken} ({record.reason}); the baseline "
                f"has it solved on {was.solved} of {was.seeds} seeds"
            )
    return found


def merged(new: Sequence[Record], old: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Return the records of the updated baseline, and the items of the run that are left out of it.

    A crashed record is left out, and an unsupported one where the old baseline has it solved. Old
    records without a replacement stay.
    """
    before = {(record.case, record.optimizer): record for record in old}
    left = [
        record
        for record in new
        if Status.CRASHED in record.statuses
        or (
            Status.UNSUPPORTED in record.statuses
            and (was := before.get((record.case, record.optimizer))) is not None
            and was.solved > 0
        )
    ]
    out = set(map(id, left))
    fit = {(r.case, r.optimizer): r for r in new if id(r) not in out}
    kept = [record for name, record in before.items() if name not in fit]
    return [*kept, *fit.values()], [f"{r.case}[{r.optimizer}]" for r in left]


def strangers(new: Sequence[Record], old: Sequence[Record]) -> tuple[list[str], list[str]]:
    """Return the items that only the run has, and the items that only the baseline has."""
    ours, theirs = ({f"{r.case}[{r.optimizer}]": None for r in rs} for rs in (new, old))
    return [n for n in ours if n not in theirs], [n for n in theirs if n not in ours]
