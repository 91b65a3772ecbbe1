"""A step without torch's envelope is the same step, and the envelope stays where it is needed."""

import functools
import warnings

import pytest
import torch
from torch.optim import SGD, Adam
from torch.optim.optimizer import register_optimizer_step_pre_hook

from gradbench.training.stack.shared_optimizer import step_without_hooks


def parameters():
    parameter = torch.nn.Parameter(torch.arange(4.0))
    parameter.grad = torch.ones(4)
    return [parameter]


def counted(step):
    """Decorate a step; what it is called stays, and all else that torch has put on it."""

    @functools.wraps(step)
    def wrapper(self, *args):
        self.param_groups[0]["calls"] = self.param_groups[0].get("calls", 0) + 1
        return step(self, *args)

    return wrapper


def spans(step):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.11's profiler warns of its cycles
        with torch.profiler.profile() as profiler:
            step()
    return [event.key for event in profiler.key_averages() if event.key.startswith("Optimizer")]


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_it_steps_alike_without_the_span(kind):
    one, other = kind(parameters(), lr=0.1), kind(parameters(), lr=0.1)
    for _ in range(3):
        one.step()
        step_without_hooks(other)()
    pair = [optimizer.param_groups[0]["params"][0] for optimizer in (one, other)]
    assert torch.equal(*pair)
    assert not torch.equal(pair[0], torch.arange(4.0))
    assert spans(one.step)
    assert not spans(step_without_hooks(other))


def test_hooks_are_called():
    called = []
    optimizer = SGD(parameters(), lr=0.1)
    for register in (optimizer.register_step_pre_hook, optimizer.register_step_post_hook):
        handle = register(lambda *_: called.append(1))
        step_without_hooks(optimizer)()
        handle.remove()
    handle = register_optimizer_step_pre_hook(lambda *_: called.append(1))
    step_without_hooks(optimizer)()
    handle.remove()
    step_without_hooks(optimizer)()
    assert len(called) == 3


def test_what_others_put_around_a_step_stays():
    SGD(parameters(), lr=0.1)  # from now on torch has wrapped SGD's step, and says so on it

    class Counted(SGD):
        step = counted(SGD.step)

    optimizer = Counted(parameters(), lr=0.1)
    step_without_hooks(optimizer)()
    assert optimizer.param_groups[0]["calls"] == 1
    plain = SGD(parameters(), lr=0.1)
    plain.step = lambda: "of this one"  # as schedules do
    assert step_without_hooks(plain)() == "of this one"
