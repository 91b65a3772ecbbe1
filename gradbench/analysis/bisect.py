"""Finds the commit of a git repository at which an optimizer's numbers changed or its pace fell."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gradbench.analysis.commits import BisectError, Tried
from gradbench.analysis.comparison import log_ratios, usable
from gradbench.analysis.moved import lines, moved
from gradbench.results.record import Record, or_zero

FEW = 3
"""Maximum number of cases on which commits are tried once cases that moved are known."""


@dataclass(frozen=True)
class Search:
    """The commits of which one made the change, oldest first: one unless some could not be run.

    `moved` has a line for each case with other numbers, before and after.
    """

    suspects: list[str]
    moved: list[str]

    def plain(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self)


def changed(commits: Sequence[str], run: Callable[..., Tried]) -> Search:
    """Find the first commit with the last one's numbers: the last change before it.

    The first of `commits` is taken to differ and is only run if all others turn out equal. Commits
    are tried on a few cases that moved; the one that is found is run on all, and if others still
    differ there, the search goes on after it. Raises BisectError where the first commit does not
    differ, or the last one cannot be run.
    """
    last = _last(commits, run)
    cases: list[str] = []
    seen: list[str] = []
    start = 0
    whole = {commits[-1]}  # commits that were run on all cases

    def is_after(commit: str) -> bool | None:
        nonlocal cases, seen
        if not cases:
            whole.add(commit)
        records = run(commit, cases)
        if records is None:
            return None
        different = moved(last, records)
        if different:
            seen = lines(different)
            cases = cases or cheapest([each.case for each in different], last)
        return not different

    while True:
        low, high = (start + place for place in _halve(commits[start:], is_after))
        if high == 0:
            raise BisectError(f"{commits[0][:12]} has the numbers of {commits[-1][:12]}: no change")
        left = [] if commits[high] in whole else moved(last, run(commits[high]) or [])
        if not left:
            return Search(list(commits[low + 1 : high + 1]), seen)
        start, seen = high + 1, lines(left)
        cases = cheapest([each.case for each in left], last)


def slower(commits: Sequence[str], run: Callable[..., Tried]) -> Search:
    """Find the first commit whose evaluations to target are nearer the last one's than the first's.

    In the mean of the logarithms, over the cases that got slower between the two; both are run.
    Raises BisectError where the last commit is not slower, or one of the two cannot be run.
    """
    last, first = _last(commits, run), run(commits[0])
    if first is None:
        raise BisectError(f"the first commit, {commits[0][:12]}, cannot be run")
    apart = _slowdowns(last, first)
    cases = sorted(apart, key=lambda case: -apart[case])[:FEW]
    if not cases or all(apart[case] <= 0 for case in cases):
        raise BisectError(f"{commits[-1][:12]} is not slower than {commits[0][:12]}")
    cases = [case for case in cases if apart[case] > 0]
    half = sum(apart[case] for case in cases) / 2

    def is_after(commit: str) -> bool | None:
        records = run(commit, cases)
        if records is None:
            return None
        found = _slowdowns(records, first)
        return sum(found.get(case, math.inf) for case in cases) > half

    later = commits[1:]
    low, high = _halve(later, is_after)
    shown = [line for line in lines(moved(last, first)) if any(case in line for case in cases)]
    return Search(list(later[low + 1 : high + 1]), shown)


def _last(commits: Sequence[str], run: Callable[..., Tried]) -> list[Record]:
    records = run(commits[-1])
    if records is None:
        raise BisectError(f"the last commit, {commits[-1][:12]}, cannot be run")
    return records


def _slowdowns(new: Sequence[Record], old: Sequence[Record]) -> dict[str, float]:
    """Return the mean logarithm of new over old evaluations of each case that both have."""
    ours, theirs = usable(new), usable(old)
    logs = {case: log_ratios(ours[case], theirs[case]) for case in ours if case in theirs}
    return {case: sum(each.values()) / len(each) for case, each in logs.items() if each}


def cheapest(cases: Sequence[str], records: Sequence[Record]) -> list[str]:
    """Return the `FEW` cases that took the fewest gradient evaluations."""
    spent = {
        record.case: sum(or_zero(trial.get("gradient_evaluations")) for trial in record.trials)
        for record in records
    }
    return sorted(cases, key=lambda case: spent.get(case, 0))[:FEW]


def _halve(commits: Sequence[str], is_after: Callable[[str], bool | None]) -> tuple[int, int]:
    """Return the place of the last commit before the change (-1: none) and of the first after it.

    The last commit is after it without being tried. One that cannot be run is left out, and its
    neighbours are tried.
    """
    low, high = -1, len(commits) - 1
    left_out: set[int] = set()
    while inner := [at for at in range(low + 1, high) if at not in left_out]:
        middle = (low + high) / 2
        at = min(inner, key=lambda place: abs(place - middle))
        verdict = is_after(commits[at])
        if verdict is None:
            left_out.add(at)
        elif verdict:
            high = at
        else:
            low = at
    return low, high
