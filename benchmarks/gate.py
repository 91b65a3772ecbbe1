"""How often the baseline gate cries wolf, and how often it catches what is broken.

    python benchmarks/gate.py > benchmarks/gate.md

Runs of Adam at a fixed rate on the cheap cases, five seeds each. False alarms: pairs of runs of
identical code whose seeds all differ. Power: the same seeds with a rate off by a factor of three
either way, and without Adam's correction of bias. The rate is the one of the cases' own sweep.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tabulate import tabulate

from gradbench import Trial, run_trial
from gradbench.analysis import baseline
from gradbench.analysis.statistics import wilson
from gradbench.protocol.case import Case
from gradbench.protocol.discovery import cases, suites
from gradbench.results.record import Record
from gradbench.torch_state import one_thread

SEEDS = 5
PAIRS = 200
BROKEN = 20

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
    Variant("no correction of bias", spec=f"{__file__}:Uncorrected"),
)


class Uncorrected(torch.optim.Adam):
    """Adam that forgets to correct its averages for having begun at zero."""

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
                p.addcdiv_(m, v.sqrt() + group["eps"], value=-group["lr"])


def times(case: Case, variant: Variant, seeds: Sequence[int]) -> list[int | None]:
    """Return the evaluations to the target of each seed."""
    rate = CHEAP[case.id] * variant.factor
    return [
        run_trial(
            Trial(
                scenario=case.build(),
                optimizer=variant.spec,
                hyperparameters={"lr": rate},
                seed=seed,
                budget=case.budget,
                batch=case.batch,
                target_score=case.target_score,
            )
        ).evaluations_to_target
        for seed in seeds
    ]


def records(found: dict[str, list[int | None]], run: int, known: dict[str, Case]) -> list[Record]:
    """Return one run's records: five seeds of each case, numbered from 0."""
    made = []
    for case_id, spent in found.items():
        case, scenario = known[case_id], known[case_id].build()
        five = spent[run * SEEDS : (run + 1) * SEEDS]
        trials = [
            {"seed": i, "status": "solved" if t else "unsolved", "evaluations_to_target": t}
            for i, t in enumerate(five)
        ]
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
    """Whether a run fails against a baseline."""
    families = {record.family for record in new}
    return any(baseline.change(family, "adam", new, old).regressed for family in families)


def rows() -> Iterator[list[str]]:
    """Yield what was tried, how often the gate failed it, and the 95 % interval."""
    known = {case.id: case for case in cases([suites()], "quick") if case.id in CHEAP}

    def run(variant: Variant, runs: int) -> list[list[Record]]:
        found = {i: times(c, variant, range(runs * SEEDS)) for i, c in known.items()}
        return [records(found, number, known) for number in range(runs)]

    good = run(GOOD, 2 * PAIRS)
    pairs = zip(good[:PAIRS], good[PAIRS:], strict=True)
    yield said("identical code, other seeds", [alarm(a, b) for a, b in pairs])
    for variant in WRONG:
        wrong = run(variant, BROKEN)
        pairs = zip(wrong, good[:BROKEN], strict=True)
        yield said(variant.name, [alarm(a, b) for a, b in pairs])


def said(name: str, alarms: list[bool]) -> list[str]:
    """Return one row."""
    low, high = wilson(sum(alarms), len(alarms))
    share = f"{sum(alarms) / len(alarms):.1%}"
    return [name, str(len(alarms)), share, f"{low:.0%} to {high:.0%}"]


if __name__ == "__main__":
    with one_thread():
        print("# The baseline gate, tried\n")
        print(
            f"`python benchmarks/gate.py`: {len(CHEAP)} cheap cases, {SEEDS} seeds, fixed rate.\n"
        )
        print(tabulate(list(rows()), ["new run", "runs", "failed", "95 %"], tablefmt="pipe"))
