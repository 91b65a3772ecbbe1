"""The memory of an optimizer: its state, and whether it grows."""

import gc
import time
from collections import Counter
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from gradbench.checks.conform.problems import problem_named
from gradbench.checks.conform.runs import Run
from gradbench.checks.contract.running import refused_if_it_raises, way_of
from gradbench.checks.errors import CheckError
from gradbench.optimizers.factory import Factory, resolve
from gradbench.optimizers.schedules import Schedules
from gradbench.torch_state import unchanged

SHORT, LONG = 100, 1000
"""Steps between which memory may not grow."""

SECONDS = 3.0
"""Time for these steps, from which on fewer are taken."""

FEW = 5
"""Steps in which an optimizer makes its state."""


@refused_if_it_raises
def keeps_its_memory(spec: str) -> str:
    """Check that the number of tensors does not grow from step 100 to step 1,000.

    A slow optimizer takes as many as it can in some seconds, but at least 200.
    """
    factory = replace(resolve(spec), schedules=Schedules())  # one may end before
    long = LONG // 5 if factory.requirements.closure else LONG  # a step may evaluate twenty times
    once = problem_named("matrices")
    again = replace(
        once,
        make=lambda dtype: {"wide": once.make(dtype)["wide"]},
        loss=lambda there, step: once.loss(there, step % SHORT),
    )
    way = way_of(factory)
    with unchanged(way.dtype):
        run = Run(factory, again, way, long)
        begun = time.monotonic()
        for _ in range(SHORT):  # in which the problem makes all its tensors
            run.step()
        before, some = _held(run.optimizer)
        in_time = int(SHORT * SECONDS / (time.monotonic() - begun))
        long = max(2 * SHORT, min(long, in_time))
        for _ in range(long - SHORT):
            run.step()
        after, more = _held(run.optimizer)
    if after > before:
        raise CheckError(f"its state grows from {before} to {after} bytes in {long} steps")
    if more > some + 10:
        raise CheckError(f"{more - some} tensors more are alive after {long} steps")
    numbers = sum(p.numel() * p.element_size() for p in run.parameters.values())
    return f"state of {before / numbers:.2g} times the parameters, no growth in {long} steps"


def _held(optimizer: Optimizer) -> tuple[int, int]:
    """Return the bytes of the optimizer's state and the number of tensors that are alive."""
    gc.collect()
    return _bytes(optimizer), _tensors()


def state_over_parameters(factory: Factory) -> float:
    """Return the bytes of the optimizer's state after a few steps over those of its parameters."""
    way = way_of(factory)
    with unchanged(way.dtype):
        run = Run(factory, problem_named("matrices"), way, FEW)
        for _ in range(FEW):
            run.step()
        numbers = sum(p.numel() * p.element_size() for p in run.parameters.values())
        return _bytes(run.optimizer) / numbers


def _tensors() -> int:
    """Return the number of tensors that are alive."""
    alive = Counter(map(type, gc.get_objects()))
    return sum(number for kind, number in alive.items() if issubclass(kind, Tensor))


def _bytes(optimizer: Optimizer) -> int:
    """Return the bytes of all tensors in the optimizer's state, also in nested containers."""
    seen: dict[int, int] = {}
    waiting: list[Any] = list(optimizer.state.values())
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            seen[id(value)] = value.numel() * value.element_size()
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple | set):
            waiting += value
    return sum(seen.values())
