"""What every case of every suite must prove of itself. A new scenario is listed nowhere."""

import math
from dataclasses import replace

import pytest
import torch

from gradbench.checks.case import NULL, minimiser, parts, prove
from gradbench.protocol.discovery import cases, suites
from gradbench.scenarios.base import Learner
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.parity import Parity
from gradbench.session.declared_options import PRESETS
from gradbench.training.runner import run_trial
from gradbench.training.trial import Trial

FAMILIES = {
    *("uninformative", "decomposition", "conditioning", "flatness"),
    *("depth", "heterogeneity", "hierarchy", "noise"),
    *("forgetting", "precision", "rotation", "delay"),
}
EVERY = [(case, preset) for preset in PRESETS for case in cases([suites()], preset)]
FIRST = {
    (case.scenario, case.setting.get("approach")): case.id
    for case, preset in EVERY[::-1]
    if preset == "quick"
}
"""Of each scenario and approach the first quick case; `make proof` has all cases."""

CASES = [
    pytest.param(
        case,
        preset,
        id=f"{preset}-{case.id}",
        marks=() if preset == "quick" and case.id in FIRST.values() else pytest.mark.proof,
    )
    for case, preset in EVERY
]


def proof(value):
    return pytest.param(value, marks=pytest.mark.proof)


every_case = pytest.mark.parametrize(("case", "preset"), CASES)


@every_case
def test_null_fails_the_solution_passes_and_chance_is_chance(case, preset):
    assert prove(case, preset).faults == []


@every_case
def test_the_solution_lowers_the_loss(case, preset):
    scenario = case.build()
    target, examples = parts(scenario, preset, 0)
    _, loss = scenario.evaluate(scenario.solution(target), examples)
    assert (
        not scenario.minimises or loss < scenario.evaluate(scenario.network(Draws(0)), examples)[1]
    )


@every_case
@pytest.mark.parametrize("value", [math.nan, *map(proof, (math.inf, None))])
def test_weights_of_any_size_are_scored_and_not_raised_on(case, preset, value):
    """What diverges has diverged, and is no crash of the scenario; None is the largest number."""
    scenario = case.build()
    _, examples = parts(scenario, preset, 0)
    network = scenario.network(Draws(0))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(torch.finfo(parameter.dtype).max if value is None else value)
        scenario.evaluate(network, examples)
        scenario.details(network, examples)


@every_case
def test_what_never_moves_is_unsolved_and_says_so(case, preset):
    if not case.takes_optimizer:
        assert isinstance(case.build().network(Draws(0)), Learner)
        return
    result = run_trial(
        Trial(scenario=case.build(), optimizer=NULL, budget=3, batch=case.batch, preset=preset)
    )
    assert (result.status, result.reason) == ("unsolved", None)
    assert len({score for _, score, _ in result.curve}) == 1
    assert result.notes == ["parameters did not move"]


@every_case
def test_the_target_changes_with_the_seed_and_only_with_it(case, preset):
    described = []
    for seed in [*range(20), 0]:
        scenario = case.build()
        target, examples = parts(scenario, preset, seed)
        # where there is only one target, as for the curves' U, it is the examples that change
        described.append(str(scenario.describe(target) or examples[1].sum(dim=0).tolist()))
    assert described[0] == described[-1]
    assert len(set(described)) > 5


@every_case
def test_facts_are_stated(case, preset):
    scenario = case.build()
    assert scenario.family in FAMILIES
    assert scenario.section
    assert scenario.claim
    assert scenario.chance < scenario.best


def test_a_case_that_proves_nothing_is_found_out(monkeypatch):
    """Each fault is found where it is put in."""
    case = next(c for c in cases([suites()], "quick") if c.id == "parity-d10-weight5")
    cls = type(case.build())
    good, solution = cls.network, cls.solution
    with monkeypatch.context() as patch:
        patch.setattr(
            cls, "network", lambda self, draws: solution(self, {"support": torch.arange(5)})
        )
        patch.setattr(cls, "draw_target", lambda self, draws: {"support": torch.arange(5)})
        said = " ".join(prove(case, "quick", 2).faults)
        assert "never steps passes" in said
        assert "untrained network is better" in said
    with monkeypatch.context() as patch:
        patch.setattr(cls, "solution", lambda self, target: good(self, Draws(0)))
        assert prove(case, "quick", 2).faults == ["parity-d10-weight5: the known solution fails"]
    with monkeypatch.context() as patch:
        patch.setattr(cls, "trivial", solution)
        assert "chance does not measure as 0" in " ".join(prove(case, "quick", 2).faults)


def test_the_null_optimizer_of_a_proof_that_crashes_is_an_error(monkeypatch):
    case = next(cases([suites()], "quick"))
    cls = type(case.build())
    monkeypatch.setattr(cls, "loss", lambda self, outputs, labels: outputs.sum(dim=1) * math.nan)
    with pytest.raises(RuntimeError, match="diverged"):
        prove(case, "quick", 1)


def test_a_minimiser_that_fails_where_the_solution_passes_is_found_out():
    """The non-flat approximation's own minimiser scores 0.85, its true unit 1."""
    case = next(c for c in cases([suites()], "quick") if c.id == "steps-nonflat-start05")
    proof = prove(replace(case, target_score=0.95), "quick", 2)
    assert proof.faults == [f"{case.id}: the minimiser of its training loss fails"]
    assert proof.solution == 1
    assert 0.75 < proof.minimum < 0.9


def test_labels_of_whole_numbers_are_minimised_too():
    class Classes(Parity):
        def sample(self, target, n, draws):
            x, y = super().sample(target, n, draws)
            return x, (y > 0).long()

        def loss(self, outputs, labels):
            both = torch.cat((-outputs, outputs), dim=1)
            return torch.nn.functional.cross_entropy(both, labels, reduction="none")

    scenario = Classes(d=5, weight=2)
    target = scenario.draw_target(Draws(0))
    found = minimiser(scenario, target, Draws(1))
    x, y = scenario.sample(target, 200, Draws(2))
    assert scenario.loss(found(x), y).mean() < scenario.loss(scenario.solution(target)(x), y).mean()


def test_a_proof_leaves_the_callers_random_state_as_it_was():
    torch.manual_seed(123)
    before = torch.get_rng_state()
    prove(next(cases([suites()], "quick")), "quick", 2)
    assert torch.equal(torch.get_rng_state(), before)
