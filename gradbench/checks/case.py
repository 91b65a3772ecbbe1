"""Proves that a case is well posed: null fails, the known solution passes, chance scores 0.

`tests/scenarios/test_every_case.py` asserts it for the cases that come with gradbench; a suite of
one's own is proved by the same call.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradbench.protocol.case import Case
from gradbench.results.record import Status
from gradbench.scenarios.base import Batch, Scenario, Target
from gradbench.scenarios.draws import Draws
from gradbench.torch_state import unchanged
from gradbench.training.random_streams import draws
from gradbench.training.runner import run_trial
from gradbench.training.trial import Trial

NULL = "gradbench.checks.case:Null"
NULL_BUDGET = 3
"""Budget of the null optimizer, in evaluations: its score never changes."""
MINIMISED, EXAMPLES, ITERATIONS = 3, 8192, 60
"""The minimiser's number of seeds, of examples and of L-BFGS iterations."""


class Null(Optimizer):
    """Optimizer that never changes the parameters; `lr` is ignored."""

    def __init__(self, params: list[torch.nn.Parameter], lr: float = 1e-3) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: Callable[[], torch.Tensor] | None = None) -> None:  # type: ignore[override]
        """Do nothing."""


@dataclass(frozen=True)
class Proof:
    """Normalised scores over seeds, and whether they prove the case.

    `null` is the best that an optimizer that never steps reached on any seed, None for a learner;
    `solution` the worst of the known solution; `minimum` the worst of the `minimiser` of the
    training loss over three seeds, None for a learner and where the known solution is code without
    weights; `chance` the mean of the best constant answer; `untrained` the mean of the initial
    network; `tolerance` five standard deviations of such a mean.
    """

    case: Case
    null: float | None
    solution: float
    minimum: float | None
    chance: float
    untrained: float
    tolerance: float

    @property
    def faults(self) -> list[str]:
        """The failed conditions, a sentence each; empty where the case is proved."""
        target = self.case.target_score
        said = {
            "an optimizer that never steps passes": self.null is not None and self.null >= target,
            "the known solution fails": self.solution < target,
            "the minimiser of its training loss fails": (
                self.minimum is not None and self.minimum < target <= self.solution
            ),
            "chance does not measure as 0": abs(self.chance) >= self.tolerance,
            "an untrained network is better than chance": self.untrained >= self.tolerance,
        }
        return [f"{self.case.id}: {text}" for text, wrong in said.items() if wrong]


def prove(case: Case, preset: str, seeds: int = 10) -> Proof:
    """Return the scores that prove a case, on the targets and held-out sets of its own trials.

    The process's random state stays as it was.

    >>> from gradbench import Case, Expectation, prove
    >>> case = Case(
    ...     id="parity-d6",
    ...     scenario="gradbench.scenarios.parity:Parity",
    ...     setting={"d": 6, "weight": 3},
    ...     budget=100,
    ...     expectation=Expectation.MAY,
    ... )
    >>> prove(case, "quick").faults
    []
    """
    scenario = case.build()
    solution, minimum, chance, untrained, examples = [], [], [], [], 0
    with unchanged(torch.get_default_dtype()):
        for seed in range(seeds):
            target, held_out = parts(scenario, preset, seed)
            if seed < MINIMISED and case.takes_optimizer:
                best = minimiser(scenario, target, draws(_trial(scenario, preset, seed), "data"))
                if best is not None:
                    minimum.append(scenario.evaluate(best, held_out)[0])
            solution.append(scenario.evaluate(scenario.solution(target), held_out)[0])
            chance.append(scenario.evaluate(scenario.trivial(target), held_out)[0])
            start = scenario.network(draws(_trial(scenario, preset, seed), "initialisation"))
            untrained.append(scenario.evaluate(start, held_out)[0])
            examples += len(held_out[0])
    return Proof(
        case=case,
        null=_null(case, preset, seeds) if case.takes_optimizer else None,
        solution=min(solution),
        minimum=min(minimum, default=None),
        chance=fmean(chance),
        untrained=fmean(untrained),
        # an example's score has a standard deviation of about 1
        tolerance=5 * examples**-0.5,
    )


def minimiser(scenario: Scenario, target: Target, draws: Draws) -> nn.Module | None:
    """Return the network that minimises the training loss, as found from the known solution.

    By L-BFGS with a line search, in float64, on 8,192 examples, rounded up to whole cycles: it
    steps only downhill, so that it stays where the known solution is a minimum. None where the loss
    depends on no weights, has no expectation, or is a game's. One example is enough where they do
    not differ.
    """
    if not (scenario.has_expected_loss and scenario.minimises):
        return None
    network = copy.deepcopy(scenario.solution(target)).double()
    weights = list(network.parameters())
    cycles = -(-EXAMPLES // scenario.cycle)
    count = cycles * scenario.cycle if scenario.examples_differ else 1
    drawn = scenario.sample(target, count, draws)
    inputs, labels = (t.double() if t.is_floating_point() else t for t in drawn)
    with torch.enable_grad():
        if not weights or not scenario.loss(network(inputs), labels).requires_grad:
            return None
    steps = torch.optim.LBFGS(weights, max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        steps.zero_grad()
        loss = scenario.loss(network(inputs), labels).mean()
        loss.backward()
        return loss

    with torch.enable_grad():
        steps.step(closure)
    return network.to(torch.get_default_dtype())


def parts(scenario: Scenario, preset: str, seed: int) -> tuple[Target, Batch]:
    """Return the target and the held-out set that a trial of this seed draws."""
    trial = _trial(scenario, preset, seed)
    target = scenario.draw_target(draws(trial, "target"))
    return target, scenario.held_out(target, draws(trial, "evaluation"))


def _trial(scenario: Scenario, preset: str, seed: int) -> Trial:
    return Trial(scenario=scenario, optimizer=None, seed=seed, preset=preset)


def _null(case: Case, preset: str, seeds: int) -> float:
    """Return the best score that an optimizer that never steps reached.

    Raises RuntimeError where its trial did not end as unsolved.
    """
    best = -float("inf")
    for seed in range(seeds):
        result = run_trial(
            Trial(
                scenario=case.build(),
                optimizer=NULL,
                seed=seed,
                budget=NULL_BUDGET,
                batch=case.batch,
                target_score=case.target_score,
                preset=preset,
            )
        )
        if result.status not in {Status.UNSOLVED, Status.SOLVED}:
            raise RuntimeError(f"{case.id}, seed {seed}: {result.status}: {result.reason}")
        best = max(best, *(score for _, score, _ in result.curve))
    return best
