"""An item's record: one path, timings of single trials."""

import math

import pytest

from gradbench import Trial
from gradbench.protocol import discovery, trials
from gradbench.protocol.case import Case
from gradbench.protocol.item import Item
from gradbench.protocol.run_item import retimed, run_item
from gradbench.results.record import Expectation, line_of, parse
from gradbench.scenarios.parity import Parity
from gradbench.training import runner
from gradbench.training.runner import TIMED, time_trial

MUST = "parity-d10-weight5"


def item(optimizer="adam", *, budget=60, **changes):
    case = Case(
        id="a",
        scenario="gradbench.scenarios.parity:Parity",
        setting={"d": 5, "weight": 2},
        budget=budget,
        batch=16,
        expectation=Expectation.MAY,
    )
    return Item(case=case, optimizer=optimizer, **{"seeds": 2, "tuning": 3, **changes})


def test_a_stacks_step_time_is_that_of_a_trial_alone():
    record, timed = run_item(item())
    assert record.path == "stacked"
    assert len(timed) == 1
    assert sum(steps for _, steps in timed[0].blocks) == 60  # no more than the budget
    step = timed[0].seconds / 60
    for trial in record.trials:
        assert trial["seconds"] == pytest.approx(step * trial["gradient_evaluations"])
    cost = record.tuning_cost
    assert cost["seconds"] == pytest.approx(step * cost["gradient_evaluations"])
    assert record.timing["first_step_seconds"] == timed[0].blocks[0][0]


def test_a_record_equals_what_is_read_from_its_file():
    """Also where scores and losses are not finite, which JSON has no words for."""
    record, _ = run_item(item("sgd:lr=1e25"))
    assert record.statuses == ["diverged", "diverged"]
    assert record.trials[0]["final_score"] is None
    assert parse(line_of(record)) == record


@pytest.mark.parametrize("optimizer", ["lbfgs", "es", "sgd"])
def test_timed_again_seconds_are_per_evaluation_however_many_a_step_takes(optimizer, monkeypatch):
    """A step of LBFGS takes some twenty evaluations, one of evolution strategies forward ones."""
    mine = item(optimizer, budget=200, tuning=0)
    record, _ = run_item(mine)
    trial = time_trial(
        Trial(scenario=Parity(d=5, weight=2), optimizer=optimizer, seed=0, budget=200, batch=16)
    )
    monkeypatch.setattr(trial, "blocks", [(3.0, 1), (7.0, 4)])
    monkeypatch.setattr("gradbench.protocol.trials.time_trial", lambda _: trial)
    spent = max(trial.gradient_evaluations, trial.forward_evaluations)
    for one in retimed(mine, record).trials:
        theirs = max(one["gradient_evaluations"], one["forward_evaluations"])
        assert one["seconds"] == pytest.approx(10.0 * theirs / spent)


@pytest.mark.parametrize("stack", ["auto", pytest.param("off", marks=pytest.mark.proof)])
def test_a_must_does_not_hang_on_rounding(stack):
    """Momentum's sweep once took a rate where the last bits decided whether a seed was solved."""
    (hard,) = [c for c in discovery.cases([discovery.suites()], "quick") if c.id == MUST]
    record, _ = run_item(
        Item(case=hard, optimizer="sgd:momentum=0.9", seeds=5, tuning=5, stack=stack)
    )
    assert record.expectation == "must"
    assert record.outcome == "passed"
    slowest = max(trial["evaluations_to_target"] for trial in record.trials)
    assert slowest <= hard.budget / 2


def test_a_timing_trial_that_crashes_is_said(monkeypatch):
    from gradbench.protocol import trials
    from gradbench.results.record import Status, TrialResult

    broken = TrialResult(0, Status.CRASHED, "RuntimeError: late")
    monkeypatch.setattr(trials, "time_trial", lambda _: broken)
    record, _ = run_item(item())
    assert "its step was not timed: crashed: RuntimeError: late" in record.notes
    assert record.timing["seconds_per_step"]["median"] is None


def test_trials_of_several_paths_are_timed_by_one_alone_and_the_record_names_the_paths(monkeypatch):
    from gradbench.protocol import trials

    whole = trials.run

    def mixed(*arguments, **keywords):
        results = whole(*arguments, **keywords)
        results[0].path, results[-1].path = "alone", "recorded"
        return results

    monkeypatch.setattr(trials, "run", mixed)
    record, timed = run_item(item(stack="off"))
    assert record.path == "alone and recorded"
    assert len(timed) == 1


def test_trials_alone_are_timed_themselves():
    record, timed = run_item(item(stack="off"))
    assert record.path == "alone"
    assert [result.seed for result in timed] == [0, 1]
    for trial, result in zip(record.trials, timed, strict=True):
        assert trial["seconds"] == sum(seconds for seconds, _ in result.blocks)


def test_a_timing_run_is_a_first_step_and_blocks_of_eight():
    trial = Trial(scenario=Parity(d=5, weight=2), optimizer="sgd", budget=1000, batch=4)
    result = time_trial(trial)
    steps = [count for _, count in result.blocks]
    assert steps[0] == 1
    assert sum(steps) == 1 + 8 * TIMED
    assert all(count <= 8 for count in steps)
    assert result.curve == []


@pytest.mark.filterwarnings("ignore:noisy")
def test_once_a_stack_is_refused_the_whole_item_is_alone(odd, monkeypatch):
    """The sweep finds it; the evaluation does not try again."""
    stacks = []

    class Counted(runner.Stack):
        def __init__(self, trainings, **how):
            stacks.append(len(trainings))
            super().__init__(trainings, **how)

    monkeypatch.setattr(runner, "Stack", Counted)
    record, _ = run_item(item(f"{odd}:NoisyDeclared"))
    assert record.path == "alone"
    assert stacks == [3]
    assert math.isfinite(record.trials[0]["final_score"])
    assert record.notes.count("trained one at a time: it draws random numbers") == 1


def slowed(tmp_path, factor):
    """A file with plain gradient descent whose rate is in units of its own."""
    path = tmp_path / f"slow{len(factor)}.py"
    path.write_text(
        "import torch\n"
        "class Slow(torch.optim.SGD):\n"
        "    def __init__(self, params, lr=0.1):\n"
        "        super().__init__(params, lr=lr)\n"
        "    def step(self, closure=None):\n"
        "        for p in self.param_groups[0]['params']:\n"
        f"            p.grad.mul_({factor})\n"
        "        return super().step()\n"
    )
    return f"{path}:Slow"


def test_a_sweep_goes_on_from_its_edge_until_the_best_lies_inside(tmp_path):
    record, _ = run_item(item(slowed(tmp_path, "0.01"), tuning=3))
    rates = list(dict.fromkeys(point["lr"] for point in record.tuning))
    assert rates == [0.1, 1.0, 0.01, 10.0, 100.0, 1000.0]
    assert record.hyperparameters["lr"] in {10.0, 100.0}
    assert not any("edge" in note for note in record.notes)
    plain = {
        rate: run_item(item(f"sgd:lr={0.01 * rate:g}", seeds=3, tuning=0))[0].solved
        for rate in (1.0, record.hyperparameters["lr"])
    }
    assert plain[1.0] < plain[record.hyperparameters["lr"]] == 3


def test_a_sweep_ends_after_four_further_points_and_says_so(tmp_path):
    """The stocks' score is smooth: the faster of too slow rates is always the better one."""
    case = Case(
        id="b",
        scenario="gradbench.scenarios.allocation:Allocation",
        setting={"d": 20, "k": 5},
        budget=40,
        batch=16,
        expectation=Expectation.MAY,
    )
    record, _ = run_item(
        Item(case=case, optimizer=slowed(tmp_path, "0.0000001"), seeds=1, tuning=3)
    )
    rates = list(dict.fromkeys(point["lr"] for point in record.tuning))
    assert rates == [0.1, 1.0, 0.01, 10.0, 100.0, 1000.0, 10_000.0]
    assert record.hyperparameters["lr"] == 10_000.0
    assert "the best learning rate lies on the sweep's edge" in record.notes


def test_a_stacked_sweep_has_seconds_also_where_the_evaluation_was_one_at_a_time(monkeypatch):
    evaluate = trials.TrialRunner.evaluate

    def alone(self, hyperparameters, seeds):
        self.stack = "off"
        return evaluate(self, hyperparameters, seeds)

    monkeypatch.setattr(trials.TrialRunner, "evaluate", alone)
    record, timed = run_item(item())
    assert record.path == "alone"
    cost, each = record.tuning_cost, timed[0].evaluation_seconds
    assert cost["seconds"] == pytest.approx(each * cost["gradient_evaluations"])
