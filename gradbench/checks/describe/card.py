"""The card of an optimizer: its measured properties, each with its tolerance and law."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from tabulate import tabulate

from gradbench.checks.conform.mistakes import options_of
from gradbench.checks.contract import state_over_parameters
from gradbench.checks.describe import limits, symmetries
from gradbench.optimizers.factory import Factory, resolve
from gradbench.results.record import to_json
from gradbench.text import error_line
from gradbench.timing import step_cost

LIMITS_SECONDS = 8.0
"""Time since a card was begun after which no further limit is measured, each of which takes a slow
optimizer six; a plain one's whole card needs some five seconds."""

LATE = "not measured for lack of time"


@dataclass(frozen=True)
class Property:
    """A measured property; `law` is what theory says, empty where it says nothing."""

    name: str
    value: str | float | bool | None
    law: str = ""
    tolerance: str = ""

    def shown(self) -> str:
        """Return the value in words."""
        if isinstance(self.value, bool):
            return "yes" if self.value else "no"
        if isinstance(self.value, float):
            return f"{self.value:.4g}"
        return "-" if self.value is None else str(self.value)


def card(spec: str, *, limits_seconds: float = LIMITS_SECONDS) -> list[Property]:
    """Return the properties of an optimizer; those that it refuses say why.

    After `limits_seconds` no further limit is measured. Raises SpecError where the spec cannot be
    resolved.
    """
    factory, end = resolve(spec), time.monotonic() + limits_seconds
    measures: dict[str, Callable[[Factory], list[Property]]] = {
        "symmetries": _symmetries,
        "steps": _steps,
        "limits": lambda made: _limits(made, end),
        "cost": _cost,
    }
    found: list[Property] = []
    for name, measure in measures.items():
        try:
            found += measure(factory)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever an optimizer raises
            found.append(Property(name, f"refused: {error_line(error)}"))
    return found


def _symmetries(factory: Factory) -> list[Property]:
    bound = f"{symmetries.TOLERANCE:g} of the way in {symmetries.STEPS} steps"
    return [
        Property(f"{'unchanged by a' if 'loss' in name else 'follows'} {name}", holds, "", bound)
        for name, holds in symmetries.follows(factory).items()
    ]


def _steps(factory: Factory) -> list[Property]:
    exponent = symmetries.first_step_exponent(factory)
    return [
        Property("a gradient's entry changes", symmetries.reach(factory), "", "equal bits"),
        Property("deterministic", symmetries.deterministic(factory), "", "equal bits"),
        Property("first step ~ gradient to the power", exponent, "1 proportional, 0 sign", "1e-2"),
        Property("steps of memory", symmetries.memory(factory), "", "99 % of the way"),
        Property("state over parameters, bytes", state_over_parameters(factory), "", "exact"),
    ]


def _limits(factory: Factory, end: float) -> list[Property]:
    known = options_of(factory)
    betas, plain = known.get("betas"), limits.largest_rate(factory)
    proportional = plain is not None and _is_proportional(factory)
    law = limits.momentum_law(known) if proportional else None
    shown = "" if law is None else f"{law[0]:.4g}: {law[1]}"
    found = [Property("largest stable rate x curvature", plain, shown, "0.1 %")]
    for delay in limits.DELAYS if plain is not None else ():
        in_time = time.monotonic() < end
        late = limits.largest_rate(factory, delay=delay) if in_time else LATE
        shown = f"{limits.delay_law(delay):.4g}" if law and law[0] == 2.0 else ""
        found.append(Property(f"the same, gradients {delay} late", late, shown, "0.1 %"))
    shown = ""
    if isinstance(betas, tuple) and betas:
        shown = f"{(2 + 2 * betas[0]) / (1 - betas[0]):.4g}: (2 + 2 beta) / (1 - beta)"
    in_time = time.monotonic() < end
    preconditioned = limits.largest_preconditioned_rate(factory) if in_time else LATE
    return [*found, Property("the same, preconditioned by eps = 1", preconditioned, shown, "0.1 %")]


def _is_proportional(factory: Factory) -> bool:
    exponent = symmetries.first_step_exponent(factory)
    return exponent is not None and abs(exponent - 1) < 1e-2


def _cost(factory: Factory) -> list[Property]:
    spec = factory.spec.text
    ratio, state = step_cost.over_floor(spec, step_cost.matrix(), "cpu")
    size = "1024 x 1024, float32"
    return [
        Property(f"step's time over the memory's, {size}", ratio, "", "median of 9"),
        Property(f"state, bytes a parameter, {size}", state, "", "exact"),
    ]


def text(specs: Sequence[str], cards: Sequence[list[Property]], style: str) -> str:
    """Return cards side by side as text or Markdown, or as JSON."""
    if style == "json":
        plain = [
            {"spec": spec, "torch": torch.__version__, "properties": list(map(asdict, one))}
            for spec, one in zip(specs, cards, strict=True)
        ]
        return to_json(plain, indent=2)
    known: list[dict[str, Property]] = [{each.name: each for each in one} for one in cards]
    names = list(dict.fromkeys(name for one in known for name in one))
    rows = [_row(name, known) for name in names]
    kind = "github" if style == "markdown" else "simple"
    headers = ["", *specs, "law", "tolerance"]
    return str(tabulate(rows, headers, tablefmt=kind, disable_numparse=True))


def _row(name: str, known: Sequence[dict[str, Property]]) -> list[Any]:
    there = [one.get(name) for one in known]
    laws = dict.fromkeys(each.law for each in there if each is not None and each.law)
    bounds = dict.fromkeys(each.tolerance for each in there if each is not None)
    shown = ["" if each is None else each.shown() for each in there]
    return [name, *shown, "; ".join(laws), "; ".join(bounds)]
