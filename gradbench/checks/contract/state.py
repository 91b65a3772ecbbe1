"""Whether an optimizer goes on by its `state_dict` in another type and on another device."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.optim import Optimizer

from gradbench.checks.conform.gaps import gap
from gradbench.checks.conform.number_type import STEPS, number_type
from gradbench.checks.conform.problems import problem_named
from gradbench.checks.conform.runs import Run, Way
from gradbench.checks.contract.running import path_of, refused_if_it_raises
from gradbench.checks.errors import CheckError, NotCheckedError
from gradbench.optimizers.factory import resolve
from gradbench.torch_state import unchanged

ELSEWHERE = 1e-3
"""Largest difference of steps in float32 on two devices, relative to a parameter's norm."""


@refused_if_it_raises
def loads_its_state_into_another_type(spec: str) -> str:
    """Check that a float64 `state_dict` loads beside float32 parameters, and back."""
    factory = resolve(spec)
    if factory.schedules:
        raise NotCheckedError("a schedule holds the optimizer that it was given")
    if number_type(factory) is torch.float32:
        raise NotCheckedError("it takes float32 only")
    runs = []
    for dtype in (torch.float64, torch.float32):
        with unchanged(dtype):
            runs.append(Run(factory, problem_named("matrices"), Way(dtype=dtype), STEPS))
            for _ in range(3):
                runs[-1].step()
    wide, narrow = runs
    for here, there in ((wide, narrow), (narrow, wide)):
        before = _types(there.optimizer)
        there.optimizer.load_state_dict(here.optimizer.state_dict())
        with unchanged(there.way.dtype):
            there.step()
        bad = sorted(_types(there.optimizer) - before)
        if bad:
            raise CheckError(f"after loading into {there.way.dtype}: {', '.join(bad)}")
    return "float64 to float32 and back"


def _types(optimizer: Optimizer) -> set[str]:
    """Return the types of state that is of a parameter's shape, by name."""
    return {
        f"{key}: {value.dtype}"
        for p, state in optimizer.state.items()
        for key, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.shape == p.shape
    }


@refused_if_it_raises
def loads_its_state_on_another_device(spec: str) -> str:
    """Check that it goes on by its `state_dict` on the accelerator, and then on the CPU again."""
    if not torch.accelerator.is_available():
        raise NotCheckedError("no accelerator here")
    factory = resolve(spec)
    if factory.schedules:
        raise NotCheckedError("a schedule holds the optimizer that it was given")
    device = str(torch.accelerator.current_accelerator())
    moves = {STEPS // 3: device, 2 * STEPS // 3: "cpu"}

    def move(run: Run) -> None:
        if run.spent in moves:
            run.move(moves[run.spent])

    single = Way(dtype=torch.float32, rounded=torch.float32)  # some accelerators have no float64
    plain = path_of(factory, "matrices", single)
    moved = path_of(factory, "matrices", replace(single, after=move))
    if found := gap(plain, moved, ELSEWHERE, by_norm=True):
        where = "before it moved" if found.step <= STEPS // 3 else f"moved to {device} and back"
        raise CheckError(f"{where}, its step {found.step} differs by {found.relative:.1e}")
    return f"to {device} and back"
