"""One step of an optimizer on a loss, by its requirements."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim import optimizer as optimizers

from gradbench.optimizers.requirements import Requirements


def call_step(
    optimizer: Optimizer, requirements: Requirements, closure: Callable[[], object]
) -> None:
    """Call `step`, with the closure or its loss where needed, by position or by its keyword."""
    if not requirements.closure:
        optimizer.step()
        return
    given: Any = closure() if requirements.loss_value else closure
    if requirements.closure_name:
        optimizer.step(**{requirements.closure_name: given})
    else:
        optimizer.step(given)


def set_mode(optimizer: Optimizer, requirements: Requirements, name: str) -> None:
    """Call the optimizer's `train()` or `eval()` where it has modes."""
    if requirements.modes:
        getattr(optimizer, name)()


def backward_with_graph(loss: Tensor) -> None:
    """Do `backward(create_graph=True)`, without torch's warning about reference cycles.

    `torch.autograd.grad` does not warn, but its gradients may be views, and it calls no hooks.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph=True")
        loss.backward(create_graph=True)


def step(optimizer: Optimizer, requirements: Requirements, loss: Callable[[], Tensor]) -> None:
    """Take one step on the loss that the function computes."""

    def closure() -> Tensor:
        if requirements.forward_closure:
            return loss()
        if torch.is_grad_enabled():
            optimizer.zero_grad()
        value = loss()
        if torch.is_grad_enabled():
            value.backward()
        return value

    if requirements.fused:
        optimizer.fused_backward(loss(), optimizer.param_groups[0]["lr"])  # type: ignore[attr-defined]
        return
    if requirements.create_graph:
        optimizer.zero_grad()
        backward_with_graph(loss())
    elif requirements.gradients_first or not requirements.closure:
        optimizer.zero_grad()
        loss().backward()
    call_step(optimizer, requirements, closure)


def hooked(instance: Optimizer) -> bool:
    """Return whether step hooks are registered, on this optimizer or on all optimizers."""
    return bool(
        instance._optimizer_step_pre_hooks  # noqa: SLF001
        or instance._optimizer_step_post_hooks  # noqa: SLF001
        or optimizers._global_optimizer_pre_hooks  # noqa: SLF001
        or optimizers._global_optimizer_post_hooks  # noqa: SLF001
    )
