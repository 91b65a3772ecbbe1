"""One optimizer that steps the rows of several trials."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradbench.optimizers.stepping import hooked
from gradbench.training.stack.parameters import StackedParameters

ENVELOPE = Optimizer.profile_hook_step(lambda *_: None).__code__
"""Code of torch's wrapper of every `step`: it calls hooks inside a profiler span. The span costs
about 40 us, more than a small stack's step of SGD."""


class UnstackableError(Exception):
    """These trials must run one at a time; the message says why."""


class Shared:
    """An elementwise optimizer of a range of rows as one tensor; `members` are the row indices.

    Raises UnstackableError where the optimizer registers hooks on parameters or freezes them.
    """

    def __init__(
        self, rows: StackedParameters, members: range, build: Callable[[nn.Module], Optimizer]
    ) -> None:
        self.members = list(members)
        holder = nn.Module()
        self.parameter = nn.Parameter(rows.values[members.start : members.stop])
        holder.register_parameter("rows", self.parameter)
        self.optimizer = build(holder)
        hooks = ("_backward_hooks", "_post_accumulate_grad_hooks")
        if any(getattr(self.parameter, name, None) for name in hooks):
            raise UnstackableError("it registers hooks on parameters")
        if not self.parameter.requires_grad:
            raise UnstackableError("it freezes parameters")
        self.grads = rows.grads[members.start : members.stop]

    def step(self) -> None:
        """Step all rows with the gradients in their buffers."""
        self.parameter.grad = self.grads
        step_without_hooks(self.optimizer)()

    def keep(self, rows: StackedParameters, left: Sequence[int]) -> None:
        """Keep only rows with an old index in `left`, to which `rows` has already been reduced."""
        index = [i for i, place in enumerate(self.members) if place in set(left)]
        self.members = [new for new, place in enumerate(left) if place in set(self.members)]
        if not self.members:
            return
        state = self.optimizer.state[self.parameter]
        chosen = torch.tensor(index, device=self.parameter.device)
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == self.parameter.shape:
                state[name] = value[chosen]
        part = slice(self.members[0], self.members[-1] + 1)
        self.parameter.data, self.grads = rows.values[part], rows.grads[part]


def step_without_hooks(instance: Optimizer) -> Callable[[], Any]:
    """Return the optimizer's step, without torch's wrapper where no hooks are registered."""
    step = type(instance).step
    if "step" in vars(instance) or getattr(step, "__code__", None) is not ENVELOPE:
        return instance.step
    if hooked(instance):
        return instance.step
    return partial(step.__wrapped__, instance)  # type: ignore[attr-defined]  # by functools.wraps
