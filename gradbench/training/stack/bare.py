"""Calls an optimizer's step without torch's hooks and profiler."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch.optim import Optimizer, optimizer

ENVELOPE = Optimizer.profile_hook_step(lambda *_: None).__code__
"""What every class's step is wrapped in: its hooks, inside a span for torch's profiler. The span
costs about 40 us, more than a small stack's step of SGD."""


def bare_step(instance: Optimizer) -> Callable[[], Any]:
    """Return the optimizer's step; where it has no hooks to call, without the envelope."""
    step = type(instance).step
    if "step" in vars(instance) or getattr(step, "__code__", None) is not ENVELOPE:
        return instance.step
    if _hooked(instance):
        return instance.step
    return partial(step.__wrapped__, instance)  # type: ignore[attr-defined]  # by functools.wraps


def _hooked(instance: Optimizer) -> bool:
    return bool(
        instance._optimizer_step_pre_hooks  # noqa: SLF001
        or instance._optimizer_step_post_hooks  # noqa: SLF001
        or optimizer._global_optimizer_pre_hooks  # noqa: SLF001
        or optimizer._global_optimizer_post_hooks  # noqa: SLF001
    )
