"""How often the baseline gate cries wolf, and how often it catches what is broken.

    python benchmarks/gate.py > benchmarks/gate.md

Runs of Adam at a fixed rate on the cheap cases, five seeds each. False alarms: pairs of runs of
identical code, whose seeds all differ (`baseline`) or are the same (`changed`). Power: the same
seeds with broken Adams. The rate is the one of the cases' own sweep.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tabulate import tabulate

from gradbench import Trial, TrialResult, run
from gradbench.analysis import baseline
from gradbench.analysis.moved import moved
from gradbench.analysis.statistics import wilson
from gradbench.protocol.case import Case
from gradbench.protocol.discovery import cases, suites
from gradbench.results.record import Record
from gradbench.torch_state import one_thread

SEEDS = 5
PAIRS = 200
BROKEN = 40

# case: Adam's rate
CHEAP = {
    "parity-d5-weight2": 0.1,
    "parity-d30-weight2": 0.1,
    "periodic-d5-r1": 0.1,
    "curves-conditioned-text": 0.01,
    "curves-conditioned-script": 0.1,
    "saturation-dying-bias0": 0.1,
    "saturation-dying-bias2": 0.1,
    "steps-forwardonly-standard": 0.1,
    "allocation-k100-decomposition": 0.1,
}


@dataclass(frozen=True)
class Variant:
    """An optimizer at a multiple of each case's rate."""

    name: str
    spec: str = "adam"
    factor: float = 1.0


GOOD = Variant("Adam")
WRONG = (
    Variant("rate three times too large", factor=3.0),
    Variant("rate three times too small", factor=1 / 3),
    Variant("half the rate", factor=0.5),
    Variant("no correction of bias", spec=f"{__file__}:Uncorrected"),
    Variant("no correction of the first moment", spec=f"{__file__}:FirstUncorrected"),
    Variant("eps of 1e-4", spec="adam:eps=1e-4"),
    Variant("a weight decay of 1e-4 too much", spec="adam:weight_decay=1e-4"),
    Variant("betas swapped", spec="adam:betas=(0.999,0.9)"),
)


class Uncorrected(torch.optim.Adam):
    """Adam that forgets to correct its averages for having begun at zero."""

    second_corrected = False

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Take one step; `closure` is not asked for."""
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["m"], state["v"] = torch.zeros_like(p), torch.zeros_like(p)
                m, v = state["m"], state["v"]
                m.lerp_(p.grad, 1 - first)
                v.lerp_(p.grad.square(), 1 - second)
                state["step"] = state.get("step", 0) + 1
                root = v.sqrt()
                if self.second_corrected:
                    root /= (1 - second ** state["step"]) ** 0.5
                p.addcdiv_(m, root + group["eps"], value=-group["lr"])


class FirstUncorrected(Uncorrected):
    """Adam that forgets to correct its average of gradients only."""

    second_corrected = True


def trials(case: Case, variant: Variant, seeds: Sequence[int]) -> list[TrialResult]:
    """Return the trial of each seed."""
    planned = [
        Trial(
            scenario=case.build(),
            optimizer=variant.spec,
            hyperparameters={"lr": CHEAP[case.id] * variant.factor},
            seed=seed,
            budget=case.budget,
            batch=case.batch,
            target_score=case.target_score,
        )
        for seed in seeds
    ]
    return run(planned)


def records(
    found: dict[str, list[TrialResult]], number: int, known: dict[str, Case]
) -> list[Record]:
    """Return one run's records: five seeds of each case, numbered from 0."""
    made = []
    for case_id, spent in found.items():
        case, scenario = known[case_id], known[case_id].build()
        five = spent[number * SEEDS : (number + 1) * SEEDS]
        trials = [each.plain() | {"seed": i} for i, each in enumerate(five)]
        made.append(
            Record(
                case=case_id,
                family=scenario.family,
                scenario=scenario.name,
                section=scenario.section,
                setting=scenario.setting,
                approach="",
                optimizer="adam",
                expectation=case.expectation.value,
                budget=case.budget,
                batch=case.batch,
                target_score=case.target_score,
                trials=trials,
            )
        )
    return made


def alarm(new: list[Record], old: list[Record]) -> bool:
    """Whether a run fails under the gate `baseline`."""
    families = {record.family for record in new}
    many = len(families)
    changes = (baseline.change(f, "adam", new, old, families=many) for f in families)
    return any(change.regressed for change in changes)


def rows() -> Iterator[list[str]]:
    """Yield what was tried, and how often each gate failed it, with the 95 % interval."""
    known = {case.id: case for case in cases([suites()], "quick") if case.id in CHEAP}

    def runs(variant: Variant, count: int) -> list[list[Record]]:
        found = {i: trials(c, variant, range(count * SEEDS)) for i, c in known.items()}
        return [records(found, number, known) for number in range(count)]

    good, again = runs(GOOD, 2 * PAIRS), runs(GOOD, PAIRS)
    others = zip(good[:PAIRS], good[PAIRS:], strict=True)
    same = zip(good[:PAIRS], again, strict=True)
    yield [
        "identical code",
        str(PAIRS),
        said([alarm(a, b) for a, b in others]),
        said([bool(moved(a, b)) for a, b in same]),
    ]
    for variant in WRONG:
        pairs = list(zip(runs(variant, BROKEN), good[:BROKEN], strict=True))
        held = said([alarm(a, b) for a, b in pairs])
        yield [variant.name, str(BROKEN), held, said([bool(moved(a, b)) for a, b in pairs])]


def said(alarms: list[bool]) -> str:
    """Return a share with its interval."""
    low, high = wilson(sum(alarms), len(alarms))
    return f"{sum(alarms) / len(alarms):.1%} ({low:.0%} to {high:.0%})"


if __name__ == "__main__":
    with one_thread():
        print("# The baseline gate, tried\n")
        print(
            f"`python benchmarks/gate.py`: {len(CHEAP)} cheap cases, {SEEDS} seeds, fixed rate.\n"
        )
        heads = ["new run", "runs", "`baseline` fails (95 %)", "`changed` fails (95 %)"]
        print(tabulate(list(rows()), heads, tablefmt="pipe"))
