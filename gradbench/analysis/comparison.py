"""Comparison of two optimizers, paired by case and seed: per case and pooled over cases."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gradbench.analysis.alike import NotComparableError, check_alike
from gradbench.analysis.statistics import geometric_mean, holm, sign_flip
from gradbench.results.record import Record, Status

LEVEL = 0.05

FLOOR = 1
"""Fewest evaluations that enter a ratio: a trial that starts at the target takes none, and 0 has no
logarithm."""


@dataclass(frozen=True)
class Case:
    """One case under A and B. Ratios are A's evaluations over B's: below 1, A is faster.

    A seed is won by the side that reaches the target with fewer evaluations; unsolved is infinite.
    `ratio` is the geometric mean over the seeds that both solved, None where there are none. `p` is
    that of the sign-flip test on the logarithms of the evaluations (at least `FLOOR`), unsolved at
    the budget, and `mean_log` their mean: below 0, A is the faster one by that test. `holm` is
    adjusted for the number of cases.
    """

    case: str
    family: str
    seeds: int
    solved_a: int
    solved_b: int
    wins: int
    ties: int
    losses: int
    ratio: float | None
    mean_log: float
    p: float
    holm: float
    step_time: float | None


@dataclass(frozen=True)
class Family:
    """The cases of one family pooled; the same problem under several approaches counts once."""

    family: str
    cases: int
    wins: int
    ties: int
    losses: int
    ratio: float
    p: float


@dataclass(frozen=True)
class Comparison:
    """A against B. `ratio` is the geometric mean over families, `interval` its 95 % t interval.

    `p` is that of the sign-flip test over all problems and seeds, and `mean_log` the mean of what
    it tests: below 0, A is the faster one by that test. `apart` names the cases of both that have
    no seed in common. `tuned` says of each whether its rate was swept, None where its records do
    not tell.
    """

    a: str
    b: str
    cases: tuple[Case, ...]
    families: tuple[Family, ...]
    ratio: float
    interval: tuple[float, float]
    mean_log: float
    p: float
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    apart: tuple[str, ...]
    tuned: tuple[bool | None, bool | None]

    def plain(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self)


def compare(
    a: Sequence[Record],
    b: Sequence[Record],
    *,
    names: tuple[str, str] = ("A", "B"),
    timed: bool = True,
) -> Comparison:
    """Compare two optimizers' records, paired by case and seed.

    `timed` says whether their step times may be compared: one machine, one torch.
    Learners and items unsupported in either are left out. Raises NotComparableError where no case
    is left, or where two records of one case are not of the same problem (see `check_alike`).
    """
    ours, theirs = usable(a), usable(b)
    logs = _paired(ours, theirs)
    shared = [case for case, each in logs.items() if each]
    values = [sign_flip(list(logs[case].values())) for case in shared]
    adjusted = holm(values)
    rows = tuple(
        _row(ours[case], theirs[case], logs[case], p, h, timed=timed)
        for case, p, h in zip(shared, values, adjusted, strict=True)
    )
    names_of = list(dict.fromkeys(row.family for row in rows))
    families = tuple(_family(name, rows, logs, ours) for name in names_of)
    ratio, low, high = geometric_mean([math.log(family.ratio) for family in families])
    pairs = clusters(shared, logs, ours)
    return Comparison(
        *names,
        rows,
        families,
        ratio,
        (low, high),
        sum(pairs) / len(pairs),
        sign_flip(pairs),
        tuple(case for case in ours if case not in theirs),
        tuple(case for case in theirs if case not in ours),
        tuple(case for case, each in logs.items() if not each),
        (_tuned(a), _tuned(b)),
    )


def _paired(ours: dict[str, Record], theirs: dict[str, Record]) -> dict[str, dict[int, float]]:
    """Return `log_ratios` of the cases that both have; raise NotComparableError for none."""
    both = [case for case in ours if case in theirs]
    if not both:
        raise NotComparableError("not comparable: no case was run by both")
    for case in both:
        check_alike(ours[case], theirs[case], "in A", "in B")
    logs = {case: log_ratios(ours[case], theirs[case]) for case in both}
    if not any(logs.values()):
        raise NotComparableError("not comparable: no seed of a case was run by both")
    return logs


def _tuned(records: Sequence[Record]) -> bool | None:
    """Return whether a rate was swept; None for records of a baseline, which keeps no sweeps."""
    if any(record.tuning or record.tuning_cost for record in records):
        return True
    return False if any(record.timing for record in records) else None


def usable(records: Sequence[Record]) -> dict[str, Record]:
    """Return one optimizer's records by case, without learners and unsupported records."""
    return {
        record.case: record
        for record in records
        if record.expectation != "learner"
        and record.trials
        and Status.UNSUPPORTED not in record.statuses
    }


def _times(record: Record) -> dict[int, float]:
    """Return each seed's evaluations to the target; infinite where it was not reached."""
    pairs = ((t["seed"], t["evaluations_to_target"]) for t in record.trials)
    return {seed: math.inf if time is None else time for seed, time in pairs}


def log_ratios(a: Record, b: Record) -> dict[int, float]:
    """Return log of A's over B's evaluations per seed, unsolved counted at the budget."""
    ours, theirs = _times(a), _times(b)
    return {
        seed: _log(min(ours[seed], a.budget), min(theirs[seed], b.budget))
        for seed in ours
        if seed in theirs
    }


def _log(a: float, b: float) -> float:
    """Return the logarithm of a ratio of evaluations, each at least `FLOOR`."""
    return math.log(max(a, FLOOR) / max(b, FLOOR))


def _row(  # noqa: PLR0913  # what was computed for all cases
    a: Record, b: Record, logs: dict[int, float], p: float, adjusted: float, *, timed: bool
) -> Case:
    ours, theirs = _times(a), _times(b)
    seeds = [seed for seed in ours if seed in theirs]
    both = [s for s in seeds if math.isfinite(ours[s]) and math.isfinite(theirs[s])]
    solved = [_log(ours[s], theirs[s]) for s in both]
    return Case(
        case=a.case,
        family=a.family,
        seeds=len(seeds),
        solved_a=sum(math.isfinite(ours[s]) for s in seeds),
        solved_b=sum(math.isfinite(theirs[s]) for s in seeds),
        wins=sum(ours[s] < theirs[s] for s in seeds),
        ties=sum(ours[s] == theirs[s] for s in seeds),
        losses=sum(ours[s] > theirs[s] for s in seeds),
        ratio=math.exp(sum(solved) / len(solved)) if solved else None,
        mean_log=sum(logs.values()) / len(logs),
        p=p,
        holm=adjusted,
        step_time=_step_time(a, b) if timed else None,
    )


def _step_time(a: Record, b: Record) -> float | None:
    """Return the ratio of median steps where clock and device agree and neither was contended."""
    apart = any(a.timing.get(name) != b.timing.get(name) for name in ("clock", "device"))
    if apart or a.timing.get("contended") or b.timing.get("contended"):
        return None
    ours, theirs = ((r.timing.get("seconds_per_step") or {}).get("median") for r in (a, b))
    if ours is None or theirs is None or theirs <= 0:
        return None
    return float(ours / theirs)


def clusters(
    cases: Sequence[str], logs: dict[str, dict[int, float]], records: dict[str, Record]
) -> list[float]:
    """Return the sum of the logarithms of each problem and seed, over the problem's approaches.

    Approaches share targets and data, so their signs flip together. Each case has equal weight.
    """
    sums: dict[tuple[str, str, int], float] = {}
    for case in cases:
        record = records[case]
        for seed, value in logs[case].items():
            key = (record.scenario, repr(sorted(record.setting.items())), seed)
            sums[key] = sums.get(key, 0.0) + value
    return list(sums.values())


def _family(
    name: str,
    rows: Sequence[Case],
    logs: dict[str, dict[int, float]],
    records: dict[str, Record],
) -> Family:
    mine = [row for row in rows if row.family == name]
    means = [row.mean_log for row in mine]
    return Family(
        family=name,
        cases=len(mine),
        wins=sum(row.wins for row in mine),
        ties=sum(row.ties for row in mine),
        losses=sum(row.losses for row in mine),
        ratio=math.exp(sum(means) / len(means)),
        p=sign_flip(clusters([row.case for row in mine], logs, records)),
    )
