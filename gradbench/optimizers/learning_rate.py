"""Finds an optimizer's learning rate: the argument that takes it, and its value untuned."""

import inspect
from collections.abc import Mapping
from numbers import Real
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from gradbench.optimizers.requirements import Requirements
from gradbench.spec import Spec, SpecError

DEFAULT_LR = 1e-3
"""Centre of the sweep for an optimizer without a default learning rate."""

RATE = "gradbench_rate"
"""Class attribute that names the constructor's argument for the learning rate."""


def argument(spec: Spec, cls: type[Optimizer], signature: inspect.Signature) -> str:
    """Return the constructor's argument that takes the learning rate.

    Raises SpecError where the class names one that its constructor does not take.
    """
    name = str(getattr(cls, RATE, "lr"))
    variable = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    if name != "lr" and name not in signature.parameters and not variable:
        raise SpecError(
            f"{spec.text!r}: {RATE} of {cls.__name__} is {name!r}; its constructor takes "
            f"{', '.join(signature.parameters)}"
        )
    return name


def tensor_default(signature: inspect.Signature, name: str) -> Tensor | None:
    """Return a copy of the rate's default value where that is a tensor of one number."""
    default = signature.parameters[name].default if name in signature.parameters else None
    if not isinstance(default, Tensor) or default.numel() != 1:
        return None
    return default.detach().clone()


def arguments_to_try(spec: Spec, signature: inspect.Signature, name: str) -> list[dict[str, Any]]:
    """Return the arguments to try: the spec's, and with `DEFAULT_LR` where a rate may be required.

    A rate without a default is always passed. Where the default is None, or `**` may accept a rate,
    construction without it is tried first.
    """
    given = {"lr", name} & set(spec.arguments)
    rate = signature.parameters.get(name)
    plain, with_rate = dict(spec.arguments), {name: DEFAULT_LR} | spec.arguments
    if given:
        return [plain]
    if rate is None:
        variable = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
        return [plain, with_rate] if variable else [plain]
    if rate.default is rate.empty:
        return [with_rate]
    return [plain, with_rate] if rate.default is None else [plain]


def default_rate(
    sample: Optimizer,
    signature: inspect.Signature,
    way: Requirements,
    name: str,
    arguments: Mapping[str, Any],
) -> tuple[float | None, str, str]:
    """Return the rate of a constructed optimizer, the argument that takes it, and why it has none.

    The rate is the first number among the given argument, the optimizer's defaults, its first
    parameter group and the argument's default value. The argument is empty where the parameter
    groups set their own rates.
    """
    parameters = signature.parameters
    variable = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    taken = name in parameters or variable
    if taken:
        default = parameters[name].default if name in parameters else None
        first = sample.param_groups[0] if sample.param_groups else {}
        for holds in (arguments, sample.defaults or {}, first, {name: default}):
            if (value := _number(holds.get(name))) is not None:
                return value, name, ""
    own = [_number(group.get("lr")) for group in sample.param_groups]
    if way.groups and own and own[0] is not None and None not in own:
        return own[0], "", ""
    if name not in parameters:
        more = " that can be read" if variable else ""
        return None, name, f"its constructor takes no {name}{more}"
    shown = "" if default is inspect.Parameter.empty else f", by default {default!r:.40}"
    return None, name, f"its {name}{shown}, is no number to start from"


def _number(value: object) -> float | None:
    """Return a rate as a float, where it is a number or a tensor of one; else None."""
    if isinstance(value, Tensor):
        return float(f"{value.item():.7g}") if value.numel() == 1 else None
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else None
