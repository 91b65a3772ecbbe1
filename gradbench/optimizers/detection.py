"""Detection of an optimizer's requirements by building and stepping it on a toy network.

A class may declare them in a dictionary `gradbench_needs`. Otherwise its signatures and source
suggest ways of building and stepping it, and the first that works and moves the toy's parameters
is kept. Neither the text of an error nor the name of an optimizer decides.
"""

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradbench.optimizers.quiet import quiet
from gradbench.optimizers.requirements import MATRICES, Build, Requirements, declared
from gradbench.optimizers.signatures import counts_by_default_none, seen, splits
from gradbench.optimizers.stepping import set_mode, step
from gradbench.torch_state import unchanged

FEW = 3
"""Steps on the toy after which its parameters must have moved."""

SEVERAL = 12
"""Steps on the toy that show whether gradients before the closure matter: LookSAM uses them in
every tenth step only."""

Toy = Callable[[], nn.Module]
Way = tuple[Requirements, Toy]
Arguments = dict[str, Any]


def found(
    cls: type[Optimizer], choices: Sequence[Arguments], inner: Requirements | None = None
) -> tuple[Callable[[], Requirements], Optimizer, Requirements, Arguments]:
    """Return a requirement detector, a sample built on a toy, and its requirements and arguments.

    The detector is lazy and cached: a step makes torch import its compiler, which takes seconds.
    The first of `choices` (constructor arguments) that can be used for construction is taken.
    `inner` holds the requirements of the wrapped optimizer, which decide how a wrapper is built.
    Raises the error of the first attempt where all fail. The global random states are restored, and
    printed output is discarded.
    """
    with _apart(), _without_compiler():
        said = declared(cls)
        ways = _ways(cls, said, inner)
        trouble: Exception | None = None
        for way, toy in ways:
            for arguments in choices:
                try:
                    sample = way.construct(cls, toy(), copy.deepcopy(arguments), 10, 100)
                    _must_be_an_optimizer(sample)
                except (Exception, SystemExit) as error:  # noqa: BLE001  # the next way may do
                    trouble = trouble or _as_exception(error)
                    continue
                left = ways[ways.index((way, toy)) :]
                if said is None:
                    left = [(_with_modes(each, sample), toy) for each, toy in left]
                detector = cache(partial(_stepped, cls, arguments, left, said=said is not None))
                return detector, sample, way, arguments
    raise trouble or ValueError("there is no way of building it")


def _must_be_an_optimizer(made: object) -> None:
    if not isinstance(made, Optimizer):
        raise TypeError(f"it makes a {type(made).__name__}, which is no torch.optim.Optimizer")


def _as_exception(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(repr(error))


def _ways(cls: type[Optimizer], said: Requirements | None, inner: Requirements | None) -> list[Way]:
    """Return ways of building the optimizer, the likeliest first."""
    base = said or seen(cls)
    if inner is not None:
        base = _around(base, inner)
    found: list[Way] = [(base, _toy)]
    if said is None and inner is None:
        with_counts = replace(base, **counts_by_default_none(cls))
        found += [(with_counts, _toy)] if with_counts != base else []
    if not (base.model or base.lists or base.groups):
        keys = splits(cls)
        found += [(replace(base, groups=key, named=False), _toy) for key in keys]
        if MATRICES not in keys:
            found.append((replace(base, groups=MATRICES, named=False), _toy))
        found.append((replace(base, named=not base.named), _toy))
        found.append((replace(base, model=True, named=False), _toy))
    return [*found, (base, _matrices)]


def _with_modes(way: Requirements, sample: Optimizer) -> Requirements:
    """Return the way, with `modes` set also where only the instance has `train` and `eval`."""
    has = [callable(getattr(sample, name, None)) for name in ("train", "eval")]
    return replace(way, modes=way.modes or all(has))


def _around(outer: Requirements, inner: Requirements) -> Requirements:
    """Return a wrapper's requirements: each field is the outer's where set, else the inner's."""
    merged = {
        field.name: getattr(outer, field.name) or getattr(inner, field.name)
        for field in fields(Requirements)
    }
    merged["elementwise"] = None  # a wrapper may couple the inner one's elements
    return Requirements(**merged)


@contextmanager
def _apart() -> Iterator[None]:
    """Run in float32 without output or warnings, and restore the global random states."""
    with unchanged(torch.float32), warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Build optimizers without torch importing its compiler, which takes seconds.

    torch imports it to exclude `Optimizer.add_param_group` from compilation.
    """
    marked = Optimizer.add_param_group
    Optimizer.add_param_group = inspect.unwrap(marked)  # type: ignore[method-assign]
    try:
        yield
    finally:
        Optimizer.add_param_group = marked  # type: ignore[method-assign]


@_apart()
def _stepped(
    build: Build, arguments: Arguments, ways: Sequence[Way], *, said: bool
) -> Requirements:
    """Return the requirements of the first way of stepping that moves the toy's parameters.

    Fall back to the first way that steps without an error, then to the first way. A forward closure
    that is never followed by a backward pass is no way: what fails with gradients passes without
    them. Requirements that the class declares (`said`) are returned without a step.
    """
    first = ways[0][0]
    if said:
        return first
    works: Requirements | None = None
    for way, toy in ways:
        for requirements in _steps(way):
            kept = replace(requirements, matrices=toy is _matrices)
            after = _after(build, arguments, requirements, toy, FEW)
            if after is None:
                continue
            if not torch.equal(_flat(after), _flat(toy())):
                if way.gradients_first:  # required by the wrapped optimizer
                    return kept
                return _with_gradients(build, arguments, kept, toy)
            if not requirements.forward_closure or _has_gradients(after):
                works = works or kept
    return works or first


def _steps(way: Requirements) -> Iterator[Requirements]:
    """Yield ways of stepping, the simplest first; ways that ignore the optimizer's modes last."""
    if way.fused:
        yield way
        way = replace(way, fused=False)
    for each in [way, replace(way, modes=False)] if way.modes else [way]:
        if not each.closure:
            yield each
            yield replace(each, create_graph=True)
        yield replace(each, closure=True)
        yield replace(each, closure=True, gradients_first=True)
        yield replace(each, closure=True, forward_closure=True)
        yield replace(each, closure=True, loss_value=True)
        yield replace(each, closure=True, loss_value=True, forward_closure=True)


def _with_gradients(
    build: Build, arguments: Arguments, requirements: Requirements, toy: Toy
) -> Requirements:
    """Return the requirements, with `gradients_first` set where it changes the parameters."""
    if not requirements.closure or requirements.forward_closure or requirements.loss_value:
        return requirements
    first = replace(requirements, gradients_first=True)
    plain = replace(requirements, gradients_first=False)
    without, with_them = (_after(build, arguments, way, toy, SEVERAL) for way in (plain, first))
    if with_them is None or (without is not None and torch.equal(_flat(without), _flat(with_them))):
        return plain
    return first


def _after(
    build: Build, arguments: Arguments, requirements: Requirements, toy: Toy, times: int
) -> nn.Module | None:
    """Return the toy after `times` steps; None where a step fails."""
    plain = replace(requirements, matrices=False)
    try:
        return _step(build, arguments, plain, toy, times)
    except (Exception, SystemExit):  # noqa: BLE001  # a way that fails is not the one
        return None


def _has_gradients(network: nn.Module) -> bool:
    return any(p.grad is not None for p in network.parameters())


def _flat(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def _step(
    build: Build, arguments: Arguments, requirements: Requirements, toy: Toy, times: int
) -> nn.Module:
    """Take steps on the toy and return it."""
    network = toy()
    optimizer = requirements.construct(build, network, copy.deepcopy(arguments), 10, 100)

    def loss() -> Tensor:
        value: Tensor = network(torch.ones(3, 2)).square().mean()
        return value

    for _ in range(times):
        set_mode(optimizer, requirements, "train")
        step(optimizer, requirements, loss)
        set_mode(optimizer, requirements, "eval")
    return network


def _toy() -> nn.Module:
    torch.default_generator.manual_seed(0)  # seeds only the CPU's generator
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


def _matrices() -> nn.Module:
    torch.default_generator.manual_seed(0)  # seeds only the CPU's generator
    return nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False))
