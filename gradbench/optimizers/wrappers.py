"""Optimizers that wrap another optimizer, as `adamw+sam` or `sgd+lookahead` in a spec.

Two conventions are in use: a wrapper takes a built optimizer (`Lookahead(optimizer)`), or the
parameters and the class to build (`SAM(params, base_optimizer=AdamW, lr=...)`). The names
of its constructor's arguments suggest which; where construction fails, the other is tried.
"""

import copy
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from gradbench.optimizers.requirements import Requirements

INNER = (
    *("optimizer", "base_optimizer", "inner_optimizer", "optimizer_cls", "optimizer_class"),
    *("base_optimizer_cls", "base", "base_opt", "inner", "opt"),
)
"""Usual names of the argument that takes the wrapped optimizer, an instance or a class."""

INSTANCES = ("optimizer", "inner", "inner_optimizer", "base", "base_opt", "opt")
"""Names of `INNER` for which an instance is tried before a class."""

MODEL = "model"


def wrapped(
    inner: type[Optimizer],
    requirements: Requirements,
    outer: type[Optimizer],
    given: Mapping[str, Any],
    within: Iterable[str],
) -> list[type[Optimizer]]:
    """Return classes that wrap the inner optimizer in the outer one and are built like the inner.

    One per convention that the outer one may follow, the likelier first. `given` are the outer
    one's arguments, `within` the names of the inner one's. Raises ValueError where the outer one
    takes no optimizer, where an argument may belong to either, or where the wrapper would hide
    methods of the inner one.
    """
    names = takes(outer)
    slot = next((name for name in INNER if name in names), None)
    if slot is None:
        raise ValueError(f"{outer.__name__} wraps no optimizer: it takes {', '.join(names)}")
    own = [
        name
        for name, has in (("train()", requirements.modes), ("fused_backward", requirements.fused))
        if has
    ]
    if own and not (requirements.modes and callable(getattr(outer, "train", None))):
        raise ValueError(f"{inner.__name__} has {own[0]}, which {outer.__name__} would hide")
    by_class = _holder(names, slot) is not None
    both = sorted(set(within) & (set(names) | set(given))) if by_class else []
    if both or ("lr" in given and "lr" not in names):
        raise ValueError(
            f"{outer.__name__} hands its arguments on, so {', '.join(both) or 'lr'} "
            "is the inner one's: write it before the + alone"
        )
    first = slot not in INSTANCES
    conventions = [first, not first] if by_class else [False]
    return [_made(inner, outer, given, slot, by_class=each) for each in conventions]


def _made(
    inner: type[Optimizer],
    outer: type[Optimizer],
    given: Mapping[str, Any],
    slot: str,
    *,
    by_class: bool,
) -> type[Optimizer]:
    """Return a class that passes the inner class (`by_class`) or an instance to the outer one."""
    names = takes(outer)

    def build(self: Optimizer, params: Any, **arguments: Any) -> None:  # noqa: ANN401
        more = copy.deepcopy(dict(given))
        if MODEL in names:
            more[MODEL] = params
        every = list(params.parameters()) if isinstance(params, nn.Module) else params
        if (holder := _holder(names, slot)) is not None:
            more[holder] = every
        if by_class:
            more |= {slot: inner} | arguments
        else:
            more[slot] = inner(params, **arguments)
        outer.__init__(self, **more)

    return type(f"{outer.__name__}Of{inner.__name__}", (outer,), {"__init__": build})


def _holder(names: list[str], slot: str) -> str | None:
    """Return the argument that takes the parameters; None where there is none."""
    usual = [name for name in names if name in {"params", "parameters"}]
    first = [names[0]] if names[0] not in {slot, MODEL} else []
    return next(iter([*usual, *first]), None)


def takes_model(outer: type[Optimizer]) -> bool:
    """Return whether a wrapper's constructor takes the network too."""
    return MODEL in takes(outer)


def is_inner(name: str) -> bool:
    """Return whether an argument of this name takes the wrapped optimizer."""
    return name in INNER


def takes(cls: type[Optimizer]) -> list[str]:
    """Return the names of the constructor's arguments."""
    return list(inspect.signature(cls).parameters)
