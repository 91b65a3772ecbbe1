"""What seeds the baseline's test needs when it takes them as they are wanted, by real trials.

    python benchmarks/sequential.py > benchmarks/sequential.md

Adam at a fixed rate on the cheap cases of `gate.py`, against itself and against one that leaves out
every sixth step: 1.2 times slower. A simulated run draws trials from these: with other seeds than
the baseline's (worse than any other machine's roundings), or with the same ones. It begins with
five seeds and doubles them where a family is undecided, up to the baseline's number. Beside it: the
fewest seeds of a test that takes them all at once and finds the slower one in 95 % of runs.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from gate import CHEAP, Variant, trials
from tabulate import tabulate

from gradbench.analysis.baseline import LEVEL, SLOWER
from gradbench.analysis.sequential import anytime_p
from gradbench.analysis.statistics import sign_flip
from gradbench.protocol.case import Case
from gradbench.protocol.discovery import cases, suites
from gradbench.torch_state import one_thread

POOL = 600
RUNS = 400
FIRST, MOST = 5, 160
FAMILIES = 4  # of the cheap cases


class Slower(torch.optim.Adam):
    """Adam that leaves out every sixth step."""

    calls = 0

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step, or leave it out."""
        self.calls += 1
        if self.calls % 6 != 0:
            super().step(closure)


Times = dict[str, list[float]]
"""Evaluations to the target by case, a number per seed; the budget where it was not reached."""

Pairs = Callable[[int, int], dict[str, list[tuple[float, bool]]]]
"""From a run's number and its seeds: by case, log of new over old, and whether either solved."""


def times(known: dict[str, Case], variant: Variant) -> Times:
    """Return the evaluations of `POOL` seeds of every case."""
    found = {}
    for name, case in known.items():
        spent = [trial.evaluations_to_target for trial in trials(case, variant, range(POOL))]
        found[name] = [float("inf") if t is None else float(max(t, 1)) for t in spent]
    return found


def pairs(new: Times, old: Times, known: dict[str, Case], *, same: bool) -> Pairs:
    """Return what draws the pairs of a run: of equal seeds, or of others."""

    def draw(run: int, seeds: int) -> dict[str, list[tuple[float, bool]]]:
        stream = random.Random(run)  # noqa: S311  # the same run again
        found = {}
        for name, case in known.items():
            ours = [stream.randrange(POOL) for _ in range(MOST)][:seeds]
            theirs = [stream.randrange(POOL) for _ in range(MOST)][:seeds]
            chosen = zip(ours, ours if same else theirs, strict=True)
            both = [(new[name][i], old[name][j]) for i, j in chosen]
            found[name] = [
                (
                    math.log(min(a, case.budget) / min(b, case.budget)),
                    min(a, b) < float("inf"),
                )
                for a, b in both
            ]
        return found

    return draw


def families(known: dict[str, Case]) -> dict[str, list[str]]:
    """Return the cases of each family."""
    found: dict[str, list[str]] = {}
    for name, case in known.items():
        found.setdefault(case.build().family, []).append(name)
    return found


def verdict(values: Sequence[tuple[float, bool]]) -> str:
    """Return the verdict on a family's pairs, as the gate gives it."""
    logs = [value for value, solved in values if solved]
    if not any(value != 0.0 for value, _ in values):
        return "equal"
    if anytime_p(logs) <= LEVEL / FAMILIES:
        return "regressed"
    beyond = [math.log(SLOWER) - value for value in logs]
    return "not slower" if anytime_p(beyond) <= LEVEL else "undecided"


def sequential(draw: Pairs, run: int, known: dict[str, Case]) -> tuple[str, float]:
    """Return a run's verdict, and its evaluations of seeds per case on average."""
    groups = families(known)
    seeds, spent = FIRST, dict.fromkeys(known, FIRST)
    while True:
        drawn = {name: values[: spent[name]] for name, values in draw(run, MOST).items()}
        found = {
            family: verdict([pair for name in names for pair in drawn[name]])
            for family, names in groups.items()
        }
        open_ones = [family for family, said in found.items() if said == "undecided"]
        if "regressed" in found.values() or not open_ones or seeds >= MOST:
            break
        seeds = min(2 * seeds, MOST)
        for family in open_ones:
            spent |= dict.fromkeys(groups[family], seeds)
    said = "regressed" if "regressed" in found.values() else "undecided" if open_ones else "passed"
    return said, sum(spent.values()) / len(spent)


def at_once(draw: Pairs, seeds: int, known: dict[str, Case]) -> float:
    """Return the share of runs with this number of seeds in which a family is found worse.

    Each family gets one sign-flip test.
    """
    groups = families(known)
    found = 0
    for run in range(RUNS // 4):
        drawn = draw(run, seeds)
        values = (
            [v for n in names for v, solved in drawn[n] if solved] for names in groups.values()
        )
        found += any(sign_flip(v, greater=True, resamples=2000) <= LEVEL / FAMILIES for v in values)
    return found / (RUNS // 4)


def main() -> None:
    """Print the page."""
    known = {case.id: case for case in cases([suites()], "quick") if case.id in CHEAP}
    good = times(known, Variant("Adam"))
    slow = times(known, Variant("slower", spec=f"{__file__}:Slower"))
    rows = []
    for name, new, same in (
        ("identical code, the same seeds", good, True),
        ("identical code, other seeds", good, False),
        ("1.2 times slower, the same seeds", slow, True),
        ("1.2 times slower, other seeds", slow, False),
    ):
        draw = pairs(new, good, known, same=same)
        found = [sequential(draw, run, known) for run in range(RUNS)]
        counts = Counter(said for said, _ in found)
        shares = [f"{counts[said] / RUNS:.1%}" for said in ("regressed", "undecided", "passed")]
        rows.append([name, *shares, f"{sum(n for _, n in found) / RUNS:.1f}"])
    print("# Seeds as they are wanted\n")
    print(
        f"`python benchmarks/sequential.py`: {len(CHEAP)} cheap cases, {RUNS} runs of each kind "
        f"drawn from {POOL} trials a case; {FIRST} seeds, doubled up to {MOST}.\n"
    )
    heads = ["new run", "regressed", "undecided", "not 1.2 times slower", "seeds a case"]
    print(tabulate(rows, heads, tablefmt="pipe", disable_numparse=True))
    for same, text in ((True, "the same seeds"), (False, "other seeds")):
        draw = pairs(slow, good, known, same=same)
        need = next((n for n in range(2, MOST) if at_once(draw, n, known) >= 0.95), None)
        print(
            f"\nAll at once, with {text}: {need} seeds a case find the slower one in 95 % of runs."
        )


if __name__ == "__main__":
    with one_thread():
        main()
