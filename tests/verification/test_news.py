"""What solves a `never` is trained again by a process that is given gradients only."""

import json

import pytest
import torch

from gradbench.protocol.case import Case
from gradbench.protocol.discovery import suites
from gradbench.protocol.item import Item
from gradbench.results.record import Expectation, read
from gradbench.results.weights import carried
from gradbench.training.runner import run_trial
from gradbench.verification.guest import from_bytes, shell, to_bytes
from gradbench.verification.news import Claim
from gradbench.verification.witness import replayed, trial_of

SUITE = """
import pytest
from gradbench import Case, Expectation

def cases(preset):
    yield Case(
        id="own",
        scenario="gradbench.scenarios.parity:Parity",
        setting={"d": 5, "weight": 2},
        budget=20,
        batch=64,
        expectation=Expectation.NEVER,
    )

@pytest.mark.gradbench(cases=cases)
def test_own(attempt):
    attempt()
"""

CHEATS = """
import gc, os, torch
from torch.optim import SGD
from gradbench.training.loop import Training
from gradbench.scenarios.base import Scenario

KEPT = os.path.join(os.path.dirname(__file__), "kept.pt")

def trainings(optimizer):
    mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for each in gc.get_objects():
        if isinstance(each, Training) and {id(p) for p in each.network.parameters()} & mine:
            yield each

class Base(SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)

class ReadsTheTarget(Base):
    def step(self, closure=None):
        for training in trainings(self):
            target = training.scenario.draw_target(draws(training.trial, "target"))
            solution = training.scenario.solution(target)
            with torch.no_grad():
                for p, q in zip(training.network.parameters(), solution.parameters()):
                    p.copy_(q)

class KeepsTheSolution(Base):
    def step(self, closure=None):
        kept = torch.load(KEPT) if os.path.exists(KEPT) else {}
        ours = [p for group in self.param_groups for p in group["params"]]
        if not hasattr(self, "start"):
            self.start = float(ours[0].detach().double().sum())
        for training in trainings(self):
            target = training.scenario.draw_target(draws(training.trial, "target"))
            solution = [p.detach() for p in training.scenario.solution(target).parameters()]
            kept[self.start] = solution
            torch.save(kept, KEPT)
        with torch.no_grad():
            for p, q in zip(ours, kept.get(self.start, [])):
                p.copy_(q)

class PatchesTheScore(Base):
    def step(self, closure=None):
        Scenario.evaluate = lambda self, network, examples: (1.0, 0.0)

class PassesThatNobodyCounts(Base):
    def step(self, closure=None):
        super().step()
        for training in trainings(self):
            for inputs, labels in list(training.batches.ready) * 20:
                loss = training.scenario.loss(training.network(inputs), labels).mean()
                self.zero_grad()
                loss.backward()
                super().step()
        self.zero_grad()

from gradbench.training.random_streams import draws
"""


@pytest.fixture
def run(pytester):
    """Run the suite, of a case that is thought never to be solved; return record and result."""

    def run(*optimizers, options=()):
        pytester.makepyfile(test_own=SUITE)
        (pytester.path / "cheats.py").write_text(CHEATS)
        result = pytester.runpytest_subprocess(
            *(f"--optimizer={each}" for each in optimizers),
            *("--gb-seeds=2", "--gb-tune=0", "--gb-probes=none", "--gb-stack=off", *options),
        )
        return read(pytester.path / "reports" / "latest" / "records.jsonl"), result

    return run


@pytest.mark.proof
@pytest.mark.parametrize("optimizer", ["adam:lr=0.1", "lbfgs"])
def test_what_is_true_is_verified(run, optimizer, pytester):
    (record,), result = run(optimizer)
    assert record.outcome == "news"
    assert record.verification["verified"], record.verification
    assert min(record.verification["scores"].values()) > 0.9
    statuses = [each["status"] for each in record.verification["replays"]]
    assert statuses == ["solved"] * 4
    result.stdout.fnmatch_lines(["*solved own on 2 of 2 seeds*; verified: *"])
    files = {trial["weights"] for trial in record.trials}
    assert all((pytester.path / "reports" / "latest" / name).is_file() for name in files)
    assert len(files) == 2


@pytest.mark.proof
def test_a_run_that_goes_on_takes_the_weights_over(run, pytester):
    (first,), _ = run("adam:lr=0.1", options=("--gb-gate=record",))
    file = pytester.path / "reports" / "latest" / "records.jsonl"
    unverified = json.loads(file.read_text()) | {"verification": {}}
    file.write_text(json.dumps(unverified) + "\n")
    old = file.parent.resolve()
    (second,), _ = run("adam:lr=0.1", options=("--gb-resume",))
    new = file.parent.resolve()
    assert old != new
    assert second.verification["verified"], second.verification
    for trial, before in zip(second.trials, first.trials, strict=True):
        assert (new / trial["weights"]).read_bytes() == (old / before["weights"]).read_bytes()


@pytest.mark.parametrize("name", ["../../etc/passwd", "weights/none.npz", "not base64", 3, None])
def test_a_name_of_no_weights_is_passed_over(tmp_path, name):
    trial = {"weights": name}
    carried(trial, tmp_path)
    assert trial == {}


CAUGHT = {
    "ReadsTheTarget": "solves 0 of 2 seeds of the run",
    "KeepsTheSolution": "solves 0 of 2 new seeds",
    "PatchesTheScore": "its weights score ",
    "PassesThatNobodyCounts": "solves 0 of 2 seeds of the run",
}


@pytest.mark.proof
@pytest.mark.parametrize("cheat", CAUGHT)
def test_a_cheat_is_not(run, cheat):
    (record,), result = run(f"./cheats.py:{cheat}:lr=0.003", options=("--gb-engine=processes:1",))
    assert record.outcome == "news", (record.statuses, record.reason)
    assert not record.verification["verified"]
    assert CAUGHT[cheat] in record.verification["said"]
    result.stdout.fnmatch_lines(["*= solved, not verified =*", "*solved own on*; NOT VERIFIED: *"])
    assert "= NEWS =" not in result.stdout.str()


@pytest.mark.proof
def test_a_cheat_on_a_case_that_others_solve_is_implausible(pytester):
    (pytester.path / "cheats.py").write_text(CHEATS)
    result = pytester.runpytest_subprocess(
        *(str(suites()), "-k", "parity-d10-weight5", "--gb-tune=0", "--gb-probes=none"),
        *("--optimizer=./cheats.py:ReadsTheTarget", "--optimizer=adam:lr=0.1", "--gb-seeds=2"),
    )
    cheat, honest = read(pytester.path / "reports" / "latest" / "records.jsonl")
    assert "75 times below that of the fastest standard optimizer, 75" in cheat.implausible
    assert honest.implausible == ""
    result.stdout.fnmatch_lines(["*ReadsTheTarget*passed (must), implausible"])


def item(**changes):
    case = Case(
        id="own",
        scenario="gradbench.scenarios.parity:Parity",
        setting={"d": 5, "weight": 2},
        budget=40,
        batch=64,
        target_score=1.0,
        expectation=Expectation.NEVER,
    )
    return Item(case=case, **changes)


@pytest.mark.proof
@pytest.mark.parametrize(
    "optimizer",
    [
        "adam+sam",
        *(
            pytest.param(each, marks=pytest.mark.proof)
            for each in (
                *("adam:lr=0.01", "lbfgs", "es", "sgd:lr=0.1,momentum=0.9+cosine"),
                "schedulefreesgd",
            )
        ),
    ],
)
def test_it_trains_as_alone_to_the_bit(optimizer):
    """Gradients of another process are the same numbers."""
    chosen = item(optimizer=optimizer)
    alone = run_trial(trial_of(chosen, 3))
    found = replayed(Claim(chosen, {}, {}, (3,)), 3)
    assert (found["status"], found["reason"]) == (alone.status, alone.reason)
    assert found["evaluations_to_target"] == alone.evaluations_to_target
    assert found["gradient_evaluations"] == alone.gradient_evaluations


@pytest.mark.proof
@pytest.mark.parametrize("optimizer", ["adahessian", "lomo"])
def test_what_needs_more_than_gradients_says_so(optimizer):
    found = replayed(Claim(item(optimizer=optimizer), {}, {}, (3,)), 3)
    assert found["status"] == "unsupported"
    assert "it " in found["reason"]


def test_numbers_travel_whole():
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        values = [
            torch.randn(2, 3).to(dtype),
            torch.zeros(0, dtype=dtype),
            torch.ones((), dtype=dtype),
        ]
        back = from_bytes(to_bytes(values), values)
        assert all(torch.equal(a, b) for a, b in zip(values, back, strict=True))
    with pytest.raises(ValueError, match="bytes of numbers are due"):
        from_bytes(b"1234", values)


def test_a_shell_has_the_parameters_in_order():
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    made = shell([(n, p.detach()) for n, p in network.named_parameters()])
    assert [n for n, _ in made.named_parameters()] == [n for n, _ in network.named_parameters()]
    assert all(map(torch.equal, made.parameters(), network.parameters()))
