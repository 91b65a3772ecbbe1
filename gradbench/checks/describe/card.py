"""The card of an optimizer: its measured properties, each with its tolerance and law."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from tabulate import tabulate

from gradbench.checks.conform.mistakes import options_of
from gradbench.checks.contract.memory import state_over_parameters
from gradbench.checks.describe import limits, symmetries
from gradbench.checks.describe.time_left import LATE, InTime, time_left
from gradbench.checks.options import uncompiled
from gradbench.optimizers.factory import Factory, resolve
from gradbench.optimizers.quiet import quiet
from gradbench.results.record import to_json
from gradbench.text import error_line
from gradbench.timing import step_cost

SECONDS = 14.0
"""Time for a card but for its cost: what would last longer is left out."""


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


def card(
    spec: str,
    *,
    seconds: float = SECONDS,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Property]:
    """Return the properties of an optimizer; those that it refuses say why.

    What would last longer than `seconds` is left out. What an optimizer compiles is compiled
    for its cost only: else it runs as it is written, which takes the same steps. `progress` is
    called with a line that says what is measured next. Raises SpecError where the spec cannot be
    resolved.
    """
    factory = resolve(spec)
    progress(f"{spec}: time of a step")
    with uncompiled():
        in_time = time_left(factory, seconds)
    measures: dict[str, Callable[[Factory], list[Property]]] = {
        "symmetries": _symmetries,
        "steps": lambda made: _steps(made, in_time),
        "limits": lambda made: _limits(made, in_time),
        "cost": _cost,
    }
    found: list[Property] = []
    for name, measure in measures.items():
        progress(f"{spec}: {name}")
        try:
            with nullcontext() if measure is _cost else uncompiled():
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


def _steps(factory: Factory, in_time: InTime) -> list[Property]:
    exponent = symmetries.first_step_exponent(factory)
    limit = limits.count(factory)  # is to be in time as well
    memory = symmetries.memory(factory, lambda steps: in_time(steps + limit))
    return [
        Property("a gradient's entry changes", symmetries.reach(factory), "", "equal bits"),
        Property("deterministic", symmetries.deterministic(factory), "", "equal bits"),
        Property("first step ~ gradient to the power", exponent, "1 proportional, 0 sign", "1e-2"),
        Property("steps of memory", memory, "", "99 % of the way"),
        Property("state over parameters, bytes", state_over_parameters(factory), "", "exact"),
    ]


def _limits(factory: Factory, in_time: InTime) -> list[Property]:
    known, count = options_of(factory), limits.count(factory)
    betas = known.get("betas")
    plain = limits.largest_rate(factory) if in_time(count) else LATE
    proportional = isinstance(plain, float) and _is_proportional(factory)
    law = limits.momentum_law(known) if proportional else None
    shown = "" if law is None else f"{law[0]:.4g}: {law[1]}"
    found = [Property("largest stable rate x curvature", plain, shown, "0.1 %")]
    for delay in limits.DELAYS if plain is not None else ():
        rate = limits.largest_rate(factory, delay=delay) if in_time(count) else LATE
        shown = f"{limits.delay_law(delay):.4g}" if law and law[0] == 2.0 else ""
        found.append(Property(f"the same, gradients {delay} late", rate, shown, "0.1 %"))
    shown = ""
    if isinstance(betas, tuple) and betas:
        shown = f"{(2 + 2 * betas[0]) / (1 - betas[0]):.4g}: (2 + 2 beta) / (1 - beta)"
    late = isinstance(known.get("eps"), float) and not in_time(count)
    preconditioned = LATE if late else limits.largest_preconditioned_rate(factory)
    return [*found, Property("the same, preconditioned by eps = 1", preconditioned, shown, "0.1 %")]


def _is_proportional(factory: Factory) -> bool:
    exponent = symmetries.first_step_exponent(factory)
    return exponent is not None and abs(exponent - 1) < 1e-2


def _cost(factory: Factory) -> list[Property]:
    with quiet():
        ratio, state = step_cost.over_floor(factory.spec.text, step_cost.matrix(), "cpu")
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
