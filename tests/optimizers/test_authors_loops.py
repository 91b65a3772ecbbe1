"""Each convention's own documented loop, by hand, against a trial: equal to the last bit."""

import copy

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from gradbench import Trial, run_trial
from gradbench.results.record import Status, TrialResult
from gradbench.scenarios.saturation import Saturation
from gradbench.torch_state import seed_globals
from gradbench.training.random_streams import isolated
from gradbench.training.state import TrialState
from gradbench.training.trial import evaluation_steps

BUDGET = 200
SCENARIO = Saturation(approach="dying", n=4, bias=0.0)


class Loop:
    """What a user's loop has at hand, and the curve that it writes."""

    def __init__(self, trial):
        with isolated(trial):
            training = TrialState(trial, TrialResult(0, Status.UNSOLVED))
            self.network, self.held_out = copy.deepcopy(training.network), training.held_out
            self.batches = [b for _ in range(4) for b in training.batches.take(64)]
        with torch.no_grad():
            for p, start in zip(self.network.parameters(), training.start, strict=True):
                p.copy_(start)  # some optimizers change parameters when they are built
        self.due, self.spent, self.curve = list(evaluation_steps(BUDGET)), 0, []

    def loss(self, batch):
        self.spent += 1
        return SCENARIO.loss(self.network(batch[0]), batch[1]).mean()

    def __iter__(self):
        self.look()
        for batch in self.batches:
            if self.spent >= BUDGET:
                break
            yield batch
            self.look()

    def look(self, before=lambda: None, after=lambda: None):
        if self.spent >= self.due[0]:
            self.due = [d for d in self.due if d > self.spent] or [10**9]
            before()
            self.curve.append((self.spent, *SCENARIO.evaluate(self.network, self.held_out)))
            after()


def zoo(name):
    return getattr(pytest.importorskip("pytorch_optimizer"), name)


def plain(loop, optimizer, *, create_graph=False, schedule=None):
    for batch in loop:
        optimizer.zero_grad()
        loop.loss(batch).backward(create_graph=create_graph)
        optimizer.step()
        if schedule is not None:
            schedule.step()


def closures(loop, optimizer, *, first=False):
    for batch in loop:

        def closure(batch=batch):
            optimizer.zero_grad()
            loss = loop.loss(batch)
            loss.backward()
            return loss

        if first:
            closure()
        optimizer.step(closure)


def adam(loop):
    plain(loop, torch.optim.Adam(loop.network.parameters(), lr=0.01))


def heavyball(loop):
    cls = pytest.importorskip("heavyball").AdamW
    plain(loop, cls(loop.network.parameters(), lr=0.01))


def lbfgs(loop):
    closures(loop, torch.optim.LBFGS(loop.network.parameters(), lr=0.1))


def alig(loop):
    optimizer = zoo("AliG")(loop.network.parameters(), max_lr=0.1)
    for batch in loop:
        optimizer.zero_grad()
        loss = loop.loss(batch)
        loss.backward()
        optimizer.step(lambda loss=loss: float(loss))
        loop.spent += 1  # a trial's closure evaluates anew, forward only


def sam(loop):
    parameters = loop.network.parameters()
    optimizer = zoo("SAM")(parameters, torch.optim.AdamW, rho=0.05, lr=0.01)
    closures(loop, optimizer, first=True)


def lookahead(loop):
    inner = torch.optim.SGD(loop.network.parameters(), lr=0.1)
    plain(loop, zoo("Lookahead")(inner, k=3))


def adahessian(loop):
    optimizer = zoo("AdaHessian")(loop.network.parameters(), lr=0.1)
    plain(loop, optimizer, create_graph=True)


class InPlace(torch.optim.Optimizer):
    """Steps by a gradient over its curvature, and writes to gradients that have graphs."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})
        self.accumulated = 0
        for p in self.param_groups[0]["params"]:
            p.register_post_accumulate_grad_hook(self.count)

    def count(self, _):
        self.accumulated += 1

    def step(self, closure=None):
        params = self.param_groups[0]["params"]
        grads = [p.grad for p in params]
        turned = torch.autograd.grad(grads, params, [g.sign() for g in grads], retain_graph=True)
        for p, g, h in zip(params, grads, turned, strict=True):
            g.detach_()  # impossible for a view
            p.data.sub_(g / (1 + h.abs()), alpha=self.param_groups[0]["lr"])
        assert self.accumulated % len(params) == 0
        assert self.accumulated > 0


def in_place(loop):
    plain(loop, InPlace(loop.network.parameters()), create_graph=True)


def schedulefree(loop):
    optimizer = zoo("ScheduleFreeAdamW")(loop.network.parameters(), lr=0.01)
    loop.look()  # before the first step there is nothing to leave
    optimizer.train()
    for batch in loop.batches:
        optimizer.zero_grad()
        loop.loss(batch).backward()
        optimizer.step()
        loop.look(optimizer.eval, optimizer.train)
        if loop.spent >= BUDGET:
            break


def adammini(loop):
    plain(loop, zoo("AdamMini")(loop.network, lr=0.01))


def muon(loop):
    hidden, *rest = loop.network.parameters()
    groups = [{"params": [hidden], "use_muon": True}, {"params": rest, "use_muon": False}]
    plain(loop, zoo("Muon")(groups, lr=0.01))


def ranger21(loop):
    plain(loop, zoo("Ranger21")(loop.network.parameters(), num_iterations=BUDGET, lr=0.01))


def lomo(loop):
    optimizer = zoo("LOMO")(loop.network, lr=0.1)
    for batch in loop:
        optimizer.fused_backward(loop.loss(batch), lr=0.1)


def onecycle(loop):
    optimizer = torch.optim.SGD(loop.network.parameters(), lr=0.1)
    plain(loop, optimizer, schedule=OneCycleLR(optimizer, max_lr=0.3, total_steps=BUDGET + 1))


SPECS = {
    "adam:lr=0.01": adam,
    "heavyball:AdamW:lr=0.01": heavyball,
    "lbfgs:lr=0.1": lbfgs,
    "alig:max_lr=0.1": alig,
    "adamw:lr=0.01+sam:rho=0.05": sam,
    "sgd:lr=0.1+lookahead:k=3": lookahead,
    "adahessian:lr=0.1": adahessian,
    f"{__file__}:InPlace": in_place,
    "schedulefreeadamw:lr=0.01": schedulefree,
    "adammini:lr=0.01": adammini,
    "pytorch_optimizer:Muon:lr=0.01": muon,
    "ranger21:lr=0.01": ranger21,
    "lomo:lr=0.1": lomo,
    f"sgd:lr=0.1+onecyclelr:max_lr=0.3,total_steps={BUDGET + 1}": onecycle,
}


@pytest.mark.filterwarnings("ignore:Using backward")  # the loop that AdaHessian documents
@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(spec, marks=pytest.mark.proof if place % 2 else ())
        for place, spec in enumerate(SPECS)
    ],
)
def test_a_trial_is_the_documented_loop_to_the_bit(spec):
    if SPECS[spec] not in (adam, lbfgs, onecycle, in_place):
        pytest.importorskip("heavyball" if SPECS[spec] is heavyball else "pytorch_optimizer")
    with torch.compiler.set_stance("force_eager"):  # heavyball would look for a compiler
        trial = Trial(scenario=SCENARIO, optimizer=spec, budget=BUDGET, batch=32, target_score=9.0)
        result = run_trial(trial)
        assert result.status == Status.UNSOLVED, result.reason
        with isolated(trial):
            loop = Loop(trial)
            seed_globals(trial.stream("optimizer"))
            SPECS[spec](loop)
    assert loop.curve == result.curve
    assert loop.spent == result.gradient_evaluations + result.forward_evaluations
    assert len({loss for _, _, loss in loop.curve}) > 5  # it moves
