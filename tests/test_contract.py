"""What every case of every suite must prove of itself. A new scenario is listed nowhere."""

import pytest
import torch

from gradbench.case import PRESETS
from gradbench.discover import cases, suites
from gradbench.runner import run_trial
from gradbench.trial import Trial

CASES = [
    pytest.param(c, p, id=f"{p}-{c.id}", marks=[pytest.mark.proof] if p != "quick" else [])
    for p in PRESETS
    for c in cases([suites()], p)
]
every_case = pytest.mark.parametrize(("case", "preset"), CASES)
SEEDS = range(5)


def parts(case, preset, seed):
    """The case's scenario, a target and its held-out set, as a trial of this seed draws them."""
    scenario = case.build()
    trial = Trial(scenario=scenario, optimizer="sgd", seed=seed, preset=preset)
    target = scenario.draw_target(torch.Generator().manual_seed(trial.stream("target")))
    examples = scenario.held_out(target, torch.Generator().manual_seed(trial.stream("evaluation")))
    return scenario, target, examples


@every_case
def test_an_optimizer_that_never_steps_fails(case, preset, odd):
    for seed in SEEDS:
        trial = Trial(
            scenario=case.build(),
            optimizer=f"{odd}:Null",
            seed=seed,
            budget=3,  # what never moves is no better later
            batch=case.batch,
            target_score=case.target_score,
            preset=preset,
        )
        result = run_trial(trial)
        assert (result.status, result.reason) == ("unsolved", None)
        assert len({score for _, score, _ in result.curve}) == 1
        assert result.notes == ["parameters did not move"]


@every_case
def test_the_known_solution_passes(case, preset):
    for seed in SEEDS:
        scenario, target, examples = parts(case, preset, seed)
        score, loss = scenario.evaluate(scenario.solution(target), examples)
        assert score >= case.target_score
        assert loss < scenario.evaluate(scenario.network(), examples)[1]


@every_case
def test_the_target_changes_with_the_seed_and_only_with_it(case, preset):
    described = []
    for seed in [*range(20), 0]:
        scenario, target, examples = parts(case, preset, seed)
        # where there is only one target, as for the curves' U, it is the examples that change
        described.append(str(scenario.describe(target) or examples[1].sum(dim=0).tolist()))
    assert described[0] == described[-1]
    assert len(set(described)) > 5


@every_case
def test_chance_measures_as_chance(case, preset):
    scores = []
    for seed in range(10):
        scenario, target, examples = parts(case, preset, seed)
        scores.append(scenario.evaluate(scenario.trivial(target), examples)[0])
    # an example's score has a standard deviation of about 1: 5 of them for the mean over seeds
    assert abs(sum(scores) / len(scores)) < 5 * (len(examples[0]) * len(scores)) ** -0.5


@every_case
def test_an_untrained_network_is_no_better_than_chance(case, preset):
    scores = []
    for seed in range(10):
        scenario, _, examples = parts(case, preset, seed)
        torch.manual_seed(seed)
        scores.append(scenario.evaluate(scenario.network(), examples)[0])
    assert sum(scores) / len(scores) < 5 * (len(examples[0]) * len(scores)) ** -0.5


@every_case
def test_facts_are_stated(case, preset):
    scenario = case.build()
    assert scenario.family in {"uninformative", "decomposition", "conditioning", "flatness"}
    assert scenario.section
    assert scenario.claim
    assert scenario.chance < scenario.best
