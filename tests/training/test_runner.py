import math
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from gradbench.results.record import STATUSES, from_json, to_json
from gradbench.results.validation import problem
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.parity import Parity
from gradbench.training import batches
from gradbench.training.batches import Batches
from gradbench.training.random_streams import draws
from gradbench.training.runner import run, run_trial
from gradbench.training.trial import Trial, evaluation_steps

EASY = Parity(d=5, weight=2)


def trial(**changes):
    return Trial(**({"scenario": EASY, "optimizer": "adam:lr=0.01", "budget": 40} | changes))


def by_hand(t, build, steps):
    """The training loop a user writes, on the trial's own streams; returns the parameters."""
    target = t.scenario.draw_target(Draws(t.stream("target")))
    network = t.scenario.network(Draws(t.stream("initialisation")))
    torch.manual_seed(t.stream("optimizer"))
    optimizer = build(network.parameters())
    data = t.stream("data")
    for step in range(steps):
        x, y = t.scenario.sample(target, t.batch, Draws(data, first=step * t.batch))

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = (1 - y * network(x).squeeze(1)).clamp(min=0).mean()
            loss.backward()
            return loss

        if isinstance(optimizer, torch.optim.LBFGS):
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
    return network


def score_of(t, network):
    target = t.scenario.draw_target(Draws(t.stream("target")))
    x, y = t.scenario.held_out(target, Draws(t.stream("evaluation")))
    outputs = network(x).squeeze(1)
    accuracy = (outputs * y > 0).double().mean().item()
    return 2 * accuracy - 1, (1 - y * outputs).clamp(min=0).double().mean().item()


@pytest.mark.parametrize(
    ("spec", "build"),
    [
        ("sgd:lr=0.1", lambda p: torch.optim.SGD(p, lr=0.1)),
        ("sgd:lr=0.1,momentum=0.9", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
        ("adam:lr=0.01", lambda p: torch.optim.Adam(p, lr=0.01)),
        ("lbfgs:max_iter=3", lambda p: torch.optim.LBFGS(p, max_iter=3)),
    ],
)
def test_a_trial_is_the_loop_a_user_writes(spec, build):
    t = trial(optimizer=spec, scenario=Parity(d=10, weight=5), budget=150, target_score=math.inf)
    result = run_trial(t)
    evaluations = [row[0] for row in result.curve]
    steps = sum(count for _, count in result.blocks)
    score, loss = score_of(t, by_hand(t, build, steps))
    assert result.curve[-1][1] == pytest.approx(score, abs=1e-12)
    assert result.curve[-1][2] == pytest.approx(loss, rel=1e-6)
    assert evaluations[-1] >= 150
    if "lbfgs" not in spec:
        assert evaluations[-1] == steps == 150


def test_each_call_of_the_closure_counts():
    calls = 0
    t = trial(optimizer="lbfgs:max_iter=4", budget=30, target_score=math.inf)

    class Counting(torch.optim.LBFGS):
        def step(self, closure):
            def counted():
                nonlocal calls
                calls += 1
                return closure()

            return super().step(counted)

    result = run_trial(t)
    steps = sum(count for _, count in result.blocks)
    by_hand(t, lambda p: Counting(p, max_iter=4), steps)
    assert result.gradient_evaluations == calls == result.curve[-1][0]
    assert result.forward_evaluations == 0
    assert calls > steps


def test_forward_evaluations_are_counted_apart_and_spend_the_budget(odd):
    result = run_trial(trial(optimizer=f"{odd}:ForwardOnly", budget=60, target_score=math.inf))
    assert result.status == "unsolved"
    assert (result.gradient_evaluations, result.forward_evaluations) == (0, 60)
    assert not result.notes


@pytest.mark.parametrize("name", ["Null", "NullClosure"])
def test_what_never_moves_is_unsolved_and_says_so(name, odd):
    result = run_trial(trial(optimizer=f"{odd}:{name}"))
    assert (result.status, result.notes) == ("unsolved", ["parameters did not move"])
    assert result.curve[-1][0] == 40


def test_an_exception_is_a_crash_with_its_first_line(odd):
    result = run_trial(trial(optimizer=f"{odd}:Raises"))
    assert result.status == "crashed"
    assert result.reason.startswith("RuntimeError: the third step fails (odd_optimizers.py:")
    assert result.gradient_evaluations == 3
    assert [row[0] for row in result.curve] == [0, 1, 2]


def test_not_a_number_is_divergence(odd):
    result = run_trial(trial(optimizer=f"{odd}:Poison"))
    assert (result.status, result.reason) == ("diverged", "not finite after 1 evaluations")


def test_a_loss_that_runs_away_is_divergence():
    result = run_trial(trial(optimizer="sgd:lr=1e30", budget=100))
    assert result.status == "diverged"


def test_what_refuses_the_network_is_unsupported(odd):
    result = run_trial(trial(optimizer=f"{odd}:Vectors"))
    assert result.status == "unsupported"
    assert result.reason.startswith("it steps on matrices only")


def test_solved_is_two_looks_in_a_row_and_dates_from_the_first():
    result = run_trial(trial(budget=1000))
    assert result.status == "solved"
    evaluations = [row[0] for row in result.curve]
    above = [row[1] >= 0.9 for row in result.curve]
    assert above[-2:] == [True, True]
    assert not any(a and b for a, b in pairwise(above[:-1]))
    assert result.evaluations_to_target == evaluations[-2]
    assert 0 < result.seconds_to_target < sum(s for s, _ in result.blocks)


def test_one_look_at_the_target_is_not_enough():
    solved = run_trial(trial(budget=1000))
    first = solved.evaluations_to_target
    result = run_trial(trial(budget=first))
    assert result.curve[-1][1] >= 0.9
    assert (result.status, result.evaluations_to_target) == ("unsolved", None)


@pytest.mark.parametrize(("raises", "status"), [(False, "diverged"), (True, "crashed")])
@pytest.mark.parametrize("count", [1, 3])
def test_what_fails_at_the_target_before_it_is_confirmed_was_never_there(
    raises, status, count, odd, record
):
    first = run_trial(trial(budget=1000)).evaluations_to_target
    spec = f"{odd}:FailsLate:lr=0.01,at={first},raises={raises}"
    late = trial(optimizer=spec, budget=1000)
    for result in run([late] * count):
        assert result.status == status
        assert max(row[1] for row in result.curve if row[0] <= first) >= 0.9
        assert (result.evaluations_to_target, result.seconds_to_target) == (None, None)
        line = record("a", times=[None])
        line.trials, line.budget = [result.plain()], 1000
        line.seeds, line.solved = 1, 0
        assert problem(from_json(to_json(vars(line))), STATUSES) == ""


def test_looks_are_a_grid_of_ratio_five_quarters_and_the_budget():
    for budget in (1, 2, 7, 600, 50_000):
        grid = list(evaluation_steps(budget))
        assert grid[0] == 0
        assert grid[-1] == budget
        assert grid == sorted(set(grid))
        assert all(b <= max(a + 1, round(1.25 * a)) for a, b in pairwise(grid))


def test_same_spec_and_seed_give_the_same_bits_in_any_company():
    wanted = trial(seed=3, budget=200, target_score=math.inf)
    others = [trial(seed=s, optimizer=o) for s in (0, 3) for o in ("sgd:lr=0.1", "lbfgs", "adam")]
    alone = run([wanted])[0].curve
    assert run([*others, wanted])[-1].curve == alone
    assert run([wanted, *others])[0].curve == alone
    torch.manual_seed(99)
    assert run([wanted])[0].curve == alone
    assert run_trial(wanted).curve == run_trial(wanted).curve


def test_an_optimizer_that_draws_random_numbers_repeats_itself(odd):
    t = trial(optimizer=f"{odd}:Noisy", budget=30)
    with pytest.warns(DeprecationWarning, match="noisy"):
        first = run_trial(t).curve
    torch.rand(5), random.random(), np.random.random()
    with pytest.warns(DeprecationWarning, match="noisy"):
        assert run_trial(t).curve == first


def test_a_trial_leaves_the_random_state_and_default_type_as_they_were():
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    wanted = (torch.rand(1).item(), random.random(), np.random.random())
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    result = run_trial(trial(dtype="float64"))
    assert (torch.rand(1).item(), random.random(), np.random.random()) == wanted
    assert torch.get_default_dtype() is torch.float32
    assert result.curve != run_trial(trial()).curve


def test_the_seed_the_preset_and_the_purpose_each_change_a_stream():
    t = trial()
    streams = [t.stream("data"), t.stream("target"), trial(seed=1).stream("data")]
    streams += [trial(preset="paper").stream("data")]
    streams += [trial(scenario=Parity(d=5, weight=3)).stream("data")]
    assert len(set(streams)) == 5
    assert trial(optimizer="sgd").stream("data") == t.stream("data")
    assert all(0 <= s < 2**63 for s in streams)


def test_batch_t_belongs_to_step_t():
    """Two optimizers that move differently see the same batches, whatever looks fall between."""
    seen = []

    class Spy(Parity):
        def loss(self, outputs, labels):
            if torch.is_grad_enabled():
                seen.append(labels.clone())
            return super().loss(outputs, labels)

    scenario = Spy(d=6, weight=3)
    run_trial(trial(scenario=scenario, optimizer="sgd:lr=0.1", budget=70, target_score=math.inf))
    plain, seen = seen, []
    run_trial(
        trial(scenario=scenario, optimizer="lbfgs:max_iter=1", budget=90, target_score=math.inf)
    )
    batches = [b for i, b in enumerate(seen) if i == 0 or not torch.equal(b, seen[i - 1])]
    assert len(batches) > 10
    assert all(torch.equal(a, b) for a, b in zip(plain, batches, strict=False))


@pytest.mark.parametrize("stored", [10, 200])
def test_stored_examples_come_again_in_their_order(stored):
    """200 is no multiple of the batches that are drawn at once."""
    scenario = Parity(d=5, weight=2)
    fresh, again = (
        Trial(scenario=scenario, optimizer="sgd", batch=10, stored=s) for s in (0, stored)
    )
    target = scenario.draw_target(draws(fresh, "target"))
    plain, cycled = Batches(fresh, target), Batches(again, target)
    wanted = [plain.take(1)[0] for _ in range(stored // 10)]
    for t in range(150):
        x, y = cycled.take(1)[0]
        assert torch.equal(x, wanted[t % len(wanted)][0])
        assert torch.equal(y, wanted[t % len(wanted)][1])


def test_examples_are_stored_in_whole_batches():
    with pytest.raises(ValueError, match="a multiple of the batch of 10"):
        Trial(scenario=Parity(d=5, weight=2), optimizer="sgd", batch=10, stored=15)


@pytest.mark.parametrize("spec", ["lbfgs", "lbfgs:max_iter=3", "{odd}:Twice:lr=0.5"])
def test_no_look_is_taken_twice(spec, odd):
    result = run_trial(trial(optimizer=spec.format(odd=odd), budget=300))
    evaluations = [row[0] for row in result.curve]
    assert all(a < b for a, b in pairwise(evaluations))
    assert result.status == "solved"


@pytest.mark.parametrize("name", ["Twice", "TwiceByAnotherName"])
def test_a_closure_is_given_where_it_is_declared_or_required(name, odd):
    result = run_trial(trial(optimizer=f"{odd}:{name}:lr=0.1", target_score=math.inf))
    assert (result.status, result.reason) == ("unsolved", None)
    assert result.gradient_evaluations == 2 * sum(steps for _, steps in result.blocks) == 40


def test_what_a_trial_leaves_behind_does_not_reach_the_next(odd):
    wanted = run_trial(trial()).curve
    run_trial(trial(optimizer=f"{odd}:Leak", budget=5))
    assert torch.is_grad_enabled()
    assert run_trial(trial()).curve == wanted
    shrinking = trial(optimizer=f"{odd}:Shrinks:scale=[1.0]")
    assert run_trial(shrinking).curve == run_trial(shrinking).curve


def test_an_optimizer_that_leaves_the_program_has_crashed(odd):
    result = run_trial(trial(optimizer=f"{odd}:Exits"))
    assert result.status == "crashed"
    assert result.reason.startswith("SystemExit: 3")


def test_an_accelerator_draws_more_batches_at_once_but_none_beyond_the_budget(monkeypatch):
    some = Trial(scenario=Parity(d=5, weight=2), optimizer="sgd", batch=10, budget=200)
    assert batches.chunk(some, 20) == batches.CHUNK
    monkeypatch.setattr(batches, "accelerated", lambda _: True)
    assert batches.chunk(some, 20) == 200
    assert batches.chunk(replace(some, budget=10**6), 20) == batches.CHUNK_BYTES // 200
    assert batches.chunk(some, 10**9) == batches.CHUNK


def test_the_batches_of_a_trial_are_the_same_however_many_are_drawn_at_once():
    some = Trial(scenario=Parity(d=5, weight=2), optimizer="sgd", batch=10)
    target = some.scenario.draw_target(draws(some, "target"))
    plain, other = Batches(some, target), Batches(some, target, at_once=7)
    taken = [batch for most in (1, 3, 50, 30) for batch in plain.take(most)]
    again = [batch for most in (2, 9, 40) for batch in other.take(most)]
    while len(again) < len(taken):
        again += other.take(1)
    for (x, y), (u, v) in zip(taken, again, strict=True):
        assert torch.equal(x, u)
        assert torch.equal(y, v)
    assert len(plain.ready) == -len(taken) % batches.CHUNK
