"""Optimizers made of optimizers, as `adamw+sam` or `sgd+lookahead` in a spec.

Two conventions are in use: a wrapper takes a built optimizer (`Lookahead(optimizer)`), or the
parameters and the class to build (`SAM(params, base_optimizer=AdamW, lr=...)`). Its constructor's
argument names say which.
"""

import copy
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from gradbench.needs import Needs

INSTANCE, CLASS, MODEL = "optimizer", "base_optimizer", "model"


def wrapped(
    inner: type[Optimizer],
    needs: Needs,
    outer: type[Optimizer],
    given: Mapping[str, Any],
    within: Iterable[str],
) -> type[Optimizer]:
    """Return the class that is built as the inner one is, and wraps it in the outer one.

    `given` are the outer one's arguments, `within` the names of the inner one's. Raises ValueError
    where the outer one wraps nothing, where one name would be an argument of both, or where the
    inner one has methods that a wrapper would hide.
    """
    takes = _takes(outer)
    if INSTANCE not in takes and CLASS not in takes:
        raise ValueError(f"{outer.__name__} wraps no optimizer: it takes {', '.join(takes)}")
    both = sorted(set(within) & (set(takes) | set(given))) if CLASS in takes else []
    if both or ("lr" in given and "lr" not in takes):
        raise ValueError(
            f"{outer.__name__} hands its arguments on, so {', '.join(both) or 'lr'} "
            "is the inner one's: write it before the + alone"
        )
    own = [name for name, has in (("train()", needs.modes), ("fused_backward", needs.fused)) if has]
    if own and not (needs.modes and callable(getattr(outer, "train", None))):
        raise ValueError(f"{inner.__name__} has {own[0]}, which {outer.__name__} would hide")

    def build(self: Optimizer, params: Any, **arguments: Any) -> None:  # noqa: ANN401
        more = copy.deepcopy(dict(given))
        if MODEL in takes:
            more[MODEL] = params
        if CLASS in takes:
            every = list(params.parameters()) if isinstance(params, nn.Module) else params
            more |= {"params": every, CLASS: inner} | arguments
        else:
            more[INSTANCE] = inner(params, **arguments)
        outer.__init__(self, **more)

    return type(f"{outer.__name__}Of{inner.__name__}", (outer,), {"__init__": build})


def takes_model(outer: type[Optimizer]) -> bool:
    """Whether a wrapper wants the network too."""
    return MODEL in _takes(outer)


def _takes(cls: type[Optimizer]) -> list[str]:
    return list(inspect.signature(cls).parameters)
