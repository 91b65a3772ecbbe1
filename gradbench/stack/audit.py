"""Whether one optimizer may train many trials at once: its steps are looked at, not its name.

An optimizer is element-wise where each number's step hangs on that number's own history alone.
Two things are asked for. Every operation of a dozen steps that touches a tensor of more than one
element is point-wise: so no norm, sum or product carries anything from one number to another. And
steps on stacked rows, also after one has left, equal separate ones to the bit: so no choice by a
tensor's shape does. A class that declares `elementwise` in `gradbench_needs` is taken at its word.
"""

import functools
import random
import warnings
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gradbench.optimizers import Factory, resolve
from gradbench.stack.rows import Rows
from gradbench.stack.shared import Shared

STEPS = 12
TRIALS = 3
LEAVES = 6
"""Steps after which one of the trials leaves."""

FREE = {"clone", "copy", "detach", "empty_like", "fill", "full_like", "ones_like", "zero"}
FREE |= {"zeros_like", "alias"}
"""Operations that no tag calls point-wise, though they are."""


class Sharing(StrEnum):
    """How an optimizer trains many trials of a case."""

    TOGETHER = "together"
    APART = "apart"
    ALONE = "alone"


@functools.cache
def audit(text: str, dtype: torch.dtype) -> tuple[Sharing, str]:
    """Return how the optimizer of a spec may train many trials, and why not closer together."""
    factory = resolve(text)
    needs = factory.needs
    for name in ("closure", "create_graph", "fused", "modes"):
        if getattr(needs, name):
            return Sharing.ALONE, f"its steps need {name}"
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
        try:
            return _audit(factory, dtype)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a trial alone may do better
            return Sharing.ALONE, f"{type(error).__name__} on a stack"
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002


def _audit(factory: Factory, dtype: torch.dtype) -> tuple[Sharing, str]:
    before = _random_state()
    wanted = _separate(factory, dtype)
    if _random_state() != before:
        return Sharing.ALONE, "it draws random numbers"
    if not torch.equal(_apart(factory, dtype), wanted):
        return Sharing.ALONE, "its steps on a stack's views are others"
    needs = factory.needs
    searched = any(axis.name != "lr" for axis in factory.space) and not needs.elementwise
    if searched or needs.model or needs.groups or needs.matrices or needs.elementwise is False:
        return (
            Sharing.APART,
            "it is told of its parameters, or other points of its space may couple",
        )
    seen = _Operations()
    try:
        found = _together(factory, dtype, seen)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # it may look at shapes
        return Sharing.APART, f"{type(error).__name__} over several trials"
    if needs.elementwise or (not seen.coupling and torch.equal(found, wanted)):
        return Sharing.TOGETHER, ""
    return Sharing.APART, f"not element-wise: {', '.join(sorted(seen.coupling)) or 'other steps'}"


def _random_state() -> tuple[Any, ...]:
    legacy: Any = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), random.getstate(), legacy[1].tolist(), legacy[2]


class _Operations(TorchDispatchMode):
    """Notes the operations that may carry something from one number to another."""

    def __init__(self) -> None:
        super().__init__()
        self.coupling: set[str] = set()

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: Any = (),  # noqa: ANN401
        kwargs: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        leaves = tree_leaves((args, kwargs))
        if any(isinstance(leaf, Tensor) and leaf.numel() > 1 for leaf in leaves):
            name = func.overloadpacket.__name__
            if torch.Tag.pointwise not in func.tags and not _free(name):
                self.coupling.add(name)
        return func(*args, **(kwargs or {}))


def _free(name: str) -> bool:
    base = name.removeprefix("_foreach_").removesuffix("_")
    if base in FREE or name.startswith("_fused_"):
        return True
    if not name.startswith("_foreach_") or base == "max":  # of a list's tensors, one number each
        return False
    packet = getattr(torch.ops.aten, base, None)
    kinds = [getattr(packet, each).tags for each in packet.overloads()] if packet else []
    return any(torch.Tag.pointwise in tags for tags in kinds)


def _networks(dtype: torch.dtype) -> list[nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1)) for _ in range(TRIALS)]
    return [nn.Sequential(*three).to(dtype) for three in layers]


def _gradients(width: int, dtype: torch.dtype) -> Tensor:
    """Return gradients of every step and trial, `(STEPS, TRIALS, width)`, some of them zero."""
    stream = torch.Generator().manual_seed(1)
    drawn = torch.randn(STEPS, TRIALS, width, generator=stream, dtype=torch.float64) / 10
    return torch.where(drawn.abs() < 0.01, 0.0, drawn).to(dtype)


def _build(factory: Factory, network: nn.Module) -> tuple[Optimizer, Callable[[], None]]:
    """Return an optimizer and what takes a step of it and its schedules."""
    optimizer = factory.build(network, {}, steps=STEPS, examples=STEPS)
    taken = 0
    schedules = factory.schedules.put(optimizer, lambda: taken, STEPS) if factory.schedules else []

    def step() -> None:
        nonlocal taken
        optimizer.step()
        taken += 1
        for schedule in schedules:
            schedule.step()

    return optimizer, step


def _flat(networks: list[nn.Module]) -> Tensor:
    return torch.stack(
        [torch.cat([p.detach().flatten() for p in n.parameters()]) for n in networks]
    )


def _put(rows: Rows, gradients: Tensor) -> None:
    """Put a step's gradients, one row per trial, in their places, as the parameters' order is."""
    start = 0
    for index, shape in enumerate(rows.shapes):
        size = shape.numel()
        place = rows.view(rows.grads, index)
        place.copy_(gradients[:, start : start + size].view(place.shape))
        start += size


def _separate(factory: Factory, dtype: torch.dtype) -> Tensor:
    """Train one network after another, each on tensors of its own; return their parameters."""
    networks = _networks(dtype)
    for row, network in enumerate(networks):
        _, step = _build(factory, network)
        parameters = list(network.parameters())
        width = sum(p.numel() for p in parameters)
        steps = LEAVES if row == 1 else STEPS
        for gradient in _gradients(width, dtype)[:steps, row]:
            parts = gradient.split([p.numel() for p in parameters])
            for p, part in zip(parameters, parts, strict=True):
                p.grad = part.view(p.shape).clone()
            step()
    return _flat(networks)


def _apart(factory: Factory, dtype: torch.dtype) -> Tensor:
    """Train them in turn on views of a stack."""
    networks = _networks(dtype)
    rows, left = Rows(networks), list(range(TRIALS))
    steps = [_build(factory, network)[1] for network in networks]
    for number, gradients in enumerate(_gradients(rows.starts[-1], dtype)):
        if number == LEAVES:
            left = [0, 2]
            rows.keep(left)
        _put(rows, gradients[left])
        rows.attach_grads()
        for row in left:
            steps[row]()
    return _flat(networks)


def _together(factory: Factory, dtype: torch.dtype, watch: _Operations) -> Tensor:
    """Train them by one optimizer on a stack, whose steps are watched."""
    networks = _networks(dtype)
    rows, left, step = Rows(networks), list(range(TRIALS)), lambda: None

    def build(holder: nn.Module) -> Optimizer:
        nonlocal step
        optimizer, step = _build(factory, holder)
        return optimizer

    shared = Shared(rows, range(TRIALS), build)
    for number, gradients in enumerate(_gradients(rows.starts[-1], dtype)):
        if number == LEAVES:
            left = [0, 2]
            rows.keep(left)
            shared.keep(rows, left)
        _put(rows, gradients[left])
        shared.parameter.grad = shared.grads
        with watch:
            step()
    return _flat(networks)
