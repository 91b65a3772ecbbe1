"""What evaluations the baseline's test needs when it buys seeds as they are wanted, by real trials.

    python benchmarks/sequential.py > benchmarks/sequential.md

Three quarters of an hour on one core.

Adam on every case of the quick preset, at the rate of the tables of expectations, against itself
and against two that are slower, in all families or in one: its own evaluations times 1.2, and one
that leaves out the first of every six steps, whose slowdown depends on the case. A simulated run
draws trials from these: with the same seeds as the baseline's, or with others (worse than any other
machine's roundings); approaches to one problem share theirs. It begins with a few seeds of every
case; a family that is undecided is given more of its cases that either side solves, up to the
baseline's number. Beside it: the fewest seeds of all cases at once with which a test of fixed size
finds the slower one in 95 % of runs.
"""

import math
import random
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tabulate import tabulate

from gradbench import Trial, run
from gradbench.analysis.baseline import LEVEL, SLOWER, counted
from gradbench.analysis.sequential import anytime_p
from gradbench.analysis.statistics import sign_flip
from gradbench.protocol.case import Case
from gradbench.protocol.discovery import cases, suites
from gradbench.session.further_seeds import GROWTH
from gradbench.torch_state import one_thread

POOL = 60
RUNS = 400
FIRST, MOST = 2, 60
HERE = Path(__file__).parent


class Slower(torch.optim.Adam):
    """Adam that leaves out the first of every six steps: n take n + n / 5 calls, rounded up."""

    calls = 0

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step, or leave it out."""
        self.calls += 1
        if self.calls % 6 != 1:
            super().step(closure)


Times = dict[str, list[float]]
"""Evaluations to the target by case, a number per seed; infinite where it was not reached."""

Run = dict[str, list[tuple[float, bool]]]
"""By case, log of new over old for each seed, and whether either solved it."""

Groups = dict[str, dict[str, list[str]]]
"""By family and problem, the cases: the approaches to one problem share its seeds."""

Draw = Callable[[int], Run]
"""Returns the pairs of a run of this number, `MOST` for each case."""


def rates() -> dict[str, float]:
    """Return Adam's rate of each case of which the tables have at least one seed solved."""
    found = {}
    for page in ("quick", "beyond"):
        for line in (HERE / f"expectations-{page}.md").read_text().splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            told = re.match(r"(\d+)/.*\(lr (.*)\)", cells[4]) if len(cells) == 7 else None
            if told is not None and int(told[1]) > 0:
                found[cells[0]] = float(told[2])
    return found


def times(known: dict[str, Case], spec: str, rate: dict[str, float]) -> Times:
    """Return the evaluations of `POOL` seeds of every case; of those without a rate none is run."""
    found = {}
    for name, case in known.items():
        planned = [
            Trial(
                scenario=case.build(),
                optimizer=spec,
                hyperparameters={"lr": rate[name]},
                seed=seed,
                budget=case.budget,
                batch=case.batch,
                target_score=case.target_score,
            )
            for seed in range(POOL if name in rate else 0)
        ]
        spent = [trial.evaluations_to_target for trial in run(planned)] if planned else []
        found[name] = [float("inf") if t is None else float(max(t, 1)) for t in spent]
    return found


def families(known: dict[str, Case]) -> Groups:
    """Return the cases of each family and problem."""
    found: Groups = {}
    for name, case in known.items():
        problem = repr((case.scenario, sorted(case.setting.items())))
        found.setdefault(case.build().family, {}).setdefault(problem, []).append(name)
    return found


def members(problems: dict[str, list[str]]) -> list[str]:
    """Return a family's cases."""
    return [name for names in problems.values() for name in names]


def draws(new: Times, old: Times, known: dict[str, Case], groups: Groups, *, same: bool) -> Draw:
    """Return what draws the pairs of a run: of equal seeds, or of others."""
    problems = [names for family in groups.values() for names in family.values()]

    def draw(number: int) -> Run:
        stream = random.Random(number)  # noqa: S311  # the same run again
        found: Run = {}
        for names in problems:
            ours = [stream.randrange(POOL) for _ in range(MOST)]
            theirs = ours if same else [stream.randrange(POOL) for _ in range(MOST)]
            for name in names:
                most = known[name].budget
                both = [
                    (new[name][i], old[name][j]) if old[name] else (float("inf"), float("inf"))
                    for i, j in zip(ours, theirs, strict=True)
                ]
                found[name] = [
                    (
                        counted(
                            math.log(min(a, most) / min(b, most)),
                            new=a < float("inf"),
                            old=b < float("inf"),
                        ),
                        min(a, b) < float("inf"),
                    )
                    for a, b in both
                ]
        return found

    return draw


def pairs(drawn: Run, problems: dict[str, list[str]], seeds: dict[str, int]) -> list[float]:
    """Return the logs of a family's problems and seeds that either side solved.

    Those of the approaches to one problem are summed, as the gate does.
    """
    sums: dict[tuple[str, int], float] = {}
    for problem, names in problems.items():
        for name in names:
            for seed, (value, solved) in enumerate(drawn[name][: seeds[name]]):
                if solved:
                    sums[problem, seed] = sums.get((problem, seed), 0.0) + value
    return list(sums.values())


def beyond(drawn: Run) -> Run:
    """Return what is left of `SLOWER` in every pair."""
    return {
        name: [(math.log(SLOWER) - value, solved) for value, solved in values]
        for name, values in drawn.items()
    }


def verdict(drawn: Run, problems: dict[str, list[str]], seeds: dict[str, int], count: int) -> str:
    """Return the verdict on a family, one of `count`, as the gate gives it."""
    if not any(v != 0.0 for name in members(problems) for v, _ in drawn[name][: seeds[name]]):
        return "equal"
    if anytime_p(pairs(drawn, problems, seeds)) <= LEVEL / count:
        return "regressed"
    left = anytime_p(pairs(beyond(drawn), problems, seeds))
    return "not slower" if left <= LEVEL else "undecided"


def sequential(drawn: Run, groups: Groups, cost: dict[str, float]) -> tuple[str, float]:
    """Return a run's verdict, and its evaluations."""
    spent = dict.fromkeys(cost, FIRST)
    open_ones, found = list(groups), dict.fromkeys(groups, "undecided")
    while True:
        for family in open_ones:
            found[family] = verdict(drawn, groups[family], spent, len(groups))
        if "regressed" in found.values():
            said = "regressed"
            break
        open_ones = [family for family, each in found.items() if each == "undecided"]
        more = [
            name
            for family in open_ones
            for name in members(groups[family])
            if spent[name] < MOST and any(solved for _, solved in drawn[name][: spent[name]])
        ]
        if not more:
            said = "undecided" if open_ones else "passed"
            break
        for name in more:
            spent[name] = min(MOST, math.ceil(GROWTH * spent[name]))
    return said, sum(cost[name] * n for name, n in spent.items())


def at_once(drawn: Sequence[Run], seeds: int, groups: Groups, family: str) -> float:
    """Return the share of runs with this number of seeds in which a family is found worse."""
    found = 0
    for each in drawn:
        values = pairs(each, groups[family], dict.fromkeys(each, seeds))
        found += sign_flip(values, greater=True, resamples=2000) <= LEVEL / len(groups)
    return found / len(drawn)


def fixed_seeds(drawn: Sequence[Run], groups: Groups, family: str) -> int | None:
    """Return the fewest seeds at once that find a slower family in 95 % of runs, None beyond."""
    fewest = bisect_left(range(2, MOST), 0.95, key=lambda n: at_once(drawn, n, groups, family))
    return fewest + 2 if fewest + 2 < MOST else None


def times_more(old: Times, known: dict[str, Case]) -> Times:
    """Return the evaluations times `SLOWER`; beyond the budget, the target is not reached."""
    return {
        name: [SLOWER * t if SLOWER * t <= known[name].budget else float("inf") for t in each]
        for name, each in old.items()
    }


def realised(new: Times, old: Times, known: dict[str, Case], names: Sequence[str]) -> float:
    """Return the geometric mean of new over old evaluations of what either side solved."""
    logs = [
        math.log(min(a, known[name].budget) / min(b, known[name].budget))
        for name in names
        for a, b in zip(new[name], old[name], strict=True)
        if min(a, b) < float("inf")
    ]
    return math.exp(sum(logs) / len(logs))


@dataclass(frozen=True)
class Setting:
    """What all simulated runs share."""

    known: dict[str, Case]
    groups: Groups
    good: Times
    cost: dict[str, float]

    def simulated(self, new: Times, *, same: bool) -> tuple[Counter[str], float]:
        """Return how often each verdict came in `RUNS` runs, and their mean evaluations."""
        draw = draws(new, self.good, self.known, self.groups, same=same)
        found = [sequential(draw(number), self.groups, self.cost) for number in range(RUNS)]
        return Counter(said for said, _ in found), sum(spent for _, spent in found) / RUNS

    def needed(self, new: Times, family: str, *, same: bool) -> int | None:
        """Return the fewest fixed seeds, None beyond `MOST`."""
        draw = draws(new, self.good, self.known, self.groups, same=same)
        return fixed_seeds([draw(number) for number in range(RUNS // 4)], self.groups, family)

    def only_in(self, family: str, new: Times) -> Times:
        """Return the new times in one family and the old ones in the others."""
        inside = set(members(self.groups[family]))
        return {name: (new if name in inside else self.good)[name] for name in self.known}


def whole_runs(setting: Setting, slower: dict[str, Times]) -> str:
    """Return the table of runs that are equal or slower in all families."""
    rows = []
    for same in (True, False):
        for name, new in {"identical code": setting.good, **slower}.items():
            counts, spent = setting.simulated(new, same=same)
            shares = [f"{counts[each] / RUNS:.1%}" for each in ("regressed", "undecided", "passed")]
            seeds = "the baseline's" if same else "others"
            rows.append([name, seeds, *shares, f"{spent:,.0f}"])
    heads = ["new run", "seeds", "regressed", "undecided", "not slower", "evaluations"]
    return tabulate(rows, heads, tablefmt="pipe", disable_numparse=True)


def one_family(setting: Setting, slower: dict[str, Times]) -> tuple[str, dict[str, list[int]]]:
    """Return the table of runs that are slower in one family, and the fixed seeds that find each.

    Those of a family that `MOST` do not find are left out.
    """
    rows, need = [], {name: list[int]() for name in slower}
    for family, problems in setting.groups.items():
        cells = [family]
        for name, new in slower.items():
            counts, spent = setting.simulated(setting.only_in(family, new), same=True)
            fixed = setting.needed(new, family, same=True)
            need[name] += [fixed] if fixed is not None else []
            ratio = realised(new, setting.good, setting.known, members(problems))
            share = f"{counts['regressed'] / RUNS:.1%}"
            cells += [f"{ratio:.2f}", share, f"{spent:,.0f}", str(fixed or f"> {MOST}")]
        rows.append(cells)
    heads = ["family", *("ratio", "found", "evaluations", "fixed seeds") * len(slower)]
    return tabulate(rows, heads, tablefmt="pipe", disable_numparse=True), need


def main() -> None:
    """Print the page."""
    known = {case.id: case for case in cases([suites()], "quick") if case.takes_optimizer}
    rate, groups = rates(), families(known)
    good, skips = (times(known, spec, rate) for spec in ("adam", f"{__file__}:Slower"))
    cost = {
        name: sum(min(t, case.budget) for t in good[name]) / len(good[name])
        if good[name]
        else float(case.budget)
        for name, case in known.items()
    }
    told = {
        f: each for f, each in groups.items() if any(good[n] != skips[n] for n in members(each))
    }
    setting = Setting(known, told, good, cost)
    slower = {
        "1.2 times the evaluations": times_more(good, known),
        "the first of every six steps left out": skips,
    }
    table, need = one_family(setting, slower)
    print("# Seeds as they are wanted\n")
    print(
        f"`python benchmarks/sequential.py`: the {len(known)} cases of the quick preset, Adam; "
        f"{RUNS} runs of each kind, drawn from {POOL} trials a case; {FIRST} seeds, then more of "
        f"undecided families, up to {MOST}. One seed of every case is {sum(cost.values()):,.0f} "
        "evaluations.\n"
    )
    print(whole_runs(setting, slower))
    kinds = ", then of ".join(slower)
    print(
        "\nSlower in one family, with the baseline's seeds: the ratio of its evaluations, how "
        "often the run is found regressed, its evaluations, and the seeds of every case at once "
        f"with which a test of fixed size finds it in 95 % of runs; first of {kinds}.\n"
    )
    print(table)
    for name, found in need.items():
        most, least = (count * sum(cost.values()) for count in (max(found), min(found)))
        print(
            f"\n{name.capitalize()}: fixed seeds that find it in whichever family are "
            f"{max(found)} of every case, {most:,.0f} evaluations; if all families have it, at "
            f"most {min(found)}, {least:,.0f}."
        )


if __name__ == "__main__":
    with one_thread():
        main()
