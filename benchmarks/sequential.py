"""What evaluations the baseline's test needs when it buys seeds as they are wanted, by real trials.

    python benchmarks/sequential.py > benchmarks/sequential.md

Half an hour on one core.

Adam on every case of the quick preset, at the rate of the tables of expectations, against itself
and against one that leaves out every sixth step: 1.2 times slower, in all families or in one. A
simulated run draws trials from these: with the same seeds as the baseline's, or with others (worse
than any other machine's roundings). It begins with a few seeds of every case; a family that is
undecided is given more of its cases that either side solves, up to the baseline's number. Beside
it: the fewest seeds of all cases at once with which the slower one is found in 95 % of runs,
whichever family has it.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tabulate import tabulate

from gradbench import Trial, run
from gradbench.analysis.baseline import LEVEL, SLOWER
from gradbench.analysis.sequential import anytime_p
from gradbench.analysis.statistics import sign_flip
from gradbench.protocol.case import Case
from gradbench.protocol.discovery import cases, suites
from gradbench.session.further_seeds import GROWTH
from gradbench.torch_state import one_thread

POOL = 60
RUNS = 400
FIRST, MOST = 3, 60
HERE = Path(__file__).parent


class Slower(torch.optim.Adam):
    """Adam that leaves out every sixth step."""

    calls = 0

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step, or leave it out."""
        self.calls += 1
        if self.calls % 6 != 0:
            super().step(closure)


Times = dict[str, list[float]]
"""Evaluations to the target by case, a number per seed; infinite where it was not reached."""

Run = dict[str, list[tuple[float, bool]]]
"""By case, log of new over old for each seed, and whether either solved it."""

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


def families(known: dict[str, Case]) -> dict[str, list[str]]:
    """Return the cases of each family."""
    found: dict[str, list[str]] = {}
    for name, case in known.items():
        found.setdefault(case.build().family, []).append(name)
    return found


def draws(new: Times, old: Times, known: dict[str, Case], *, same: bool) -> Draw:
    """Return what draws the pairs of a run: of equal seeds, or of others."""

    def draw(number: int) -> Run:
        stream = random.Random(number)  # noqa: S311  # the same run again
        found = {}
        for name, case in known.items():
            pool = len(old[name])
            ours = [stream.randrange(pool) for _ in range(MOST)] if pool else []
            theirs = [stream.randrange(pool) for _ in range(MOST)] if pool else []
            both = [
                (new[name][i], old[name][j])
                for i, j in zip(ours, ours if same else theirs, strict=True)
            ]
            found[name] = [
                (math.log(min(a, case.budget) / min(b, case.budget)), min(a, b) < float("inf"))
                for a, b in both
            ]
        return found

    return draw


def verdict(values: Sequence[tuple[float, bool]], count: int) -> str:
    """Return the verdict on a family's pairs, one of `count` families, as the gate gives it."""
    logs = [value for value, solved in values if solved]
    if not any(value != 0.0 for value, _ in values):
        return "equal"
    if anytime_p(logs) <= LEVEL / count:
        return "regressed"
    beyond = [math.log(SLOWER) - value for value in logs]
    return "not slower" if anytime_p(beyond) <= LEVEL else "undecided"


def sequential(
    drawn: Run, groups: dict[str, list[str]], cost: dict[str, float]
) -> tuple[str, float]:
    """Return a run's verdict, and its evaluations."""
    spent = {name: FIRST for names in groups.values() for name in names}
    open_ones, found = list(groups), dict.fromkeys(groups, "undecided")
    while True:
        for family in open_ones:
            pairs = [pair for name in groups[family] for pair in drawn[name][: spent[name]]]
            found[family] = verdict(pairs, len(groups))
        if "regressed" in found.values():
            said = "regressed"
            break
        open_ones = [family for family, verdicts in found.items() if verdicts == "undecided"]
        more = [
            name
            for family in open_ones
            for name in groups[family]
            if spent[name] < MOST and any(solved for _, solved in drawn[name][: spent[name]])
        ]
        if not more:
            said = "undecided" if open_ones else "passed"
            break
        for name in more:
            spent[name] = min(MOST, math.ceil(GROWTH * spent[name]))
    return said, sum(cost[name] * n for name, n in spent.items())


def at_once(drawn: Sequence[Run], seeds: int, groups: dict[str, list[str]], family: str) -> float:
    """Return the share of runs with this number of seeds in which a family is found worse."""
    found = 0
    for each in drawn:
        pairs = [pair for name in groups[family] for pair in each[name][:seeds]]
        values = [value for value, solved in pairs if solved]
        found += sign_flip(values, greater=True, resamples=2000) <= LEVEL / len(groups)
    return found / len(drawn)


def fixed_seeds(drawn: Sequence[Run], groups: dict[str, list[str]], family: str) -> int | None:
    """Return the fewest seeds at once that find a slower family in 95 % of runs, None beyond."""
    return next((n for n in range(2, MOST) if at_once(drawn, n, groups, family) >= 0.95), None)


def main() -> None:
    """Print the page."""
    known = {case.id: case for case in cases([suites()], "quick") if case.takes_optimizer}
    rate, groups = rates(), families(known)
    good, slow = (times(known, spec, rate) for spec in ("adam", f"{__file__}:Slower"))
    cost = {
        name: sum(min(t, case.budget) for t in good[name]) / len(good[name])
        if good[name]
        else float(case.budget)
        for name, case in known.items()
    }
    told = [f for f, names in groups.items() if any(good[n] != slow[n] for n in names)]
    rows, said = [], []
    for same in (True, False):
        seeds = "the same seeds" if same else "other seeds"
        slower = [draws(slow, good, known, same=same)(number) for number in range(RUNS // 4)]
        need = {family: fixed_seeds(slower, groups, family) for family in told}
        known_needs = [n for n in need.values() if n is not None]
        whole = max(known_needs) * sum(cost.values())
        few = min(known_needs)
        said.append(
            f"What is slower everywhere is found at once, with {seeds}, by {few} seeds of every "
            f"case, {few * sum(cost.values()):,.0f} evaluations: the first family tells."
        )
        said.append(
            f"All at once, with {seeds}: "
            + ", ".join(f"{family} {n or f'> {MOST}'}" for family, n in need.items())
            + f" seeds; {max(known_needs)} of every case are {whole:,.0f} evaluations."
        )
        runs: list[tuple[str, Draw]] = [
            ("identical code", draws(good, good, known, same=same)),
            ("1.2 times slower", draws(slow, good, known, same=same)),
        ]
        for family in told:
            mixed = {n: slow[n] if n in groups[family] else good[n] for n in known}
            runs.append((f"1.2 times slower in {family}", draws(mixed, good, known, same=same)))
        for name, draw in runs:
            found = [sequential(draw(number), groups, cost) for number in range(RUNS)]
            counts = Counter(outcome for outcome, _ in found)
            shares = [f"{counts[each] / RUNS:.1%}" for each in ("regressed", "undecided", "passed")]
            mean = sum(spent for _, spent in found) / RUNS
            rows.append([name, seeds, *shares, f"{mean:,.0f}", f"{mean / whole:.0%}"])
    print("# Seeds as they are wanted\n")
    print(
        f"`python benchmarks/sequential.py`: the {len(known)} cases of the quick preset, Adam; "
        f"{RUNS} runs of each kind, drawn from {POOL} trials a case; {FIRST} seeds, then more of "
        f"undecided families, up to {MOST}. The last column is of the evaluations that fixed seeds "
        "need.\n"
    )
    heads = ["new run", "seeds", "regressed", "undecided", "not slower", "evaluations", "share"]
    print(tabulate(rows, heads, tablefmt="pipe", disable_numparse=True))
    print("\n" + "\n\n".join(said))


if __name__ == "__main__":
    with one_thread():
        main()
