"""One step of an optimizer on a loss, given what it needs; knows no scenario and counts nothing."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

from gradbench.needs import Needs


def call_step(optimizer: Optimizer, needs: Needs, closure: Callable[[], object]) -> None:
    """Call `step`, with the closure where one is needed, by position or by its keyword."""
    if not needs.closure:
        optimizer.step()
    elif needs.closure_name:
        optimizer.step(**{needs.closure_name: closure})  # type: ignore[arg-type]  # as below
    else:
        optimizer.step(closure)  # type: ignore[arg-type]  # torch types it as -> float


def set_mode(optimizer: Optimizer, needs: Needs, name: str) -> None:
    """Call the optimizer's `train()` or `eval()` where it has modes."""
    if needs.modes:
        getattr(optimizer, name)()


def step(optimizer: Optimizer, needs: Needs, loss: Callable[[], Tensor]) -> None:
    """Take one step on the loss that the function computes."""

    def closure() -> Tensor:
        if needs.forward_closure:
            return loss()
        if torch.is_grad_enabled():
            optimizer.zero_grad()
        value = loss()
        if torch.is_grad_enabled():
            value.backward()
        return value

    if needs.fused:
        optimizer.fused_backward(loss(), optimizer.param_groups[0]["lr"])  # type: ignore[attr-defined]
        return
    if needs.create_graph:
        optimizer.zero_grad()
        loss().backward(create_graph=True)
    elif needs.gradients_first or not needs.closure:
        optimizer.zero_grad()
        loss().backward()
    call_step(optimizer, needs, closure)
