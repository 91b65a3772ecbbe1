"""The registry of probes: the selection for each family, and measurement during training."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from gradbench.probes.alignment import (
    alignment_in_function,
    alignment_in_parameters,
    gradient_alignment,
)
from gradbench.probes.curvature import NAME as CONDITION
from gradbench.probes.curvature import effective_condition_number
from gradbench.probes.flatness import NAME as GAIN
from gradbench.probes.flatness import gain
from gradbench.probes.parities import NAME as VARIANCE
from gradbench.probes.reading import Reading, nothing
from gradbench.probes.signal import NAME as SIGNAL
from gradbench.probes.signal import second_moment, signal_to_noise
from gradbench.probes.target import NAME as TARGET
from gradbench.probes.target import target_signal
from gradbench.probes.variance import variance_over_targets
from gradbench.scenarios.base import Batch, Scenario, Target
from gradbench.scenarios.draws import Draws
from gradbench.text import error_line

BATCH = 256
"""Largest batch on which flatness and alignment are measured."""

PRODUCTS = 24
"""Most products with the Gauss-Newton matrix at one evaluation."""


@dataclass(frozen=True)
class View:
    """Input of a probe: one network at one evaluation of one trial, with its scenario and data."""

    scenario: Scenario
    target: Target
    network: nn.Module
    batch: Batch
    examples: int
    """Number of examples for which one probe may compute gradients."""
    seed: int
    update: Tensor | None
    """The last change of the parameters, flat, shape `(P,)`; None before the first step."""


def _variance(view: View) -> list[Reading]:
    return [
        variance_over_targets(view.scenario, view.network, examples=view.examples, seed=view.seed)
    ]


def _common(view: View) -> dict[str, Any]:
    return {"target": view.target, "examples": view.examples, "seed": view.seed}


def _signal(view: View) -> list[Reading]:
    return [signal_to_noise(view.scenario, view.network, **_common(view))]


def _target(view: View) -> list[Reading]:
    return [target_signal(view.scenario, view.network, **_common(view))]


def _moment(view: View) -> list[Reading]:
    return [second_moment(view.scenario, view.network, **_common(view))]


def _condition(view: View) -> list[Reading]:
    draws = Draws(view.seed)
    size = max(2, view.examples // (3 * PRODUCTS + 1))
    batch = view.scenario.sample(view.target, size, draws)
    loss = view.scenario.loss
    return [effective_condition_number(view.network, loss, batch, products=PRODUCTS)]


def _gain(view: View) -> list[Reading]:
    scenario = view.scenario
    return [gain(view.network, scenario.loss, view.batch, residual=scenario.residual)]


def _alignment(view: View) -> list[Reading]:
    network, batch = view.network, view.batch
    loss, solution = view.scenario.loss, view.scenario.solution(view.target)
    found = {"of the gradient": gradient_alignment(network, loss, solution, batch)}
    if view.update is not None:
        found["of the update"] = (
            alignment_in_function(network, loss, solution, batch, view.update),
            alignment_in_parameters(network, solution, view.update),
        )
    return [replace(r, probe=f"{r.probe} {whose}") for whose, both in found.items() for r in both]


Probe = Callable[[View], list[Reading]]

PROBES: dict[str, Probe] = {
    TARGET: _target,
    VARIANCE: _variance,
    SIGNAL: _signal,
    "second moment": _moment,
    CONDITION: _condition,
    GAIN: _gain,
    "alignment": _alignment,
}

HEADLINE = {
    "uninformative": TARGET,
    "decomposition": SIGNAL,
    "conditioning": CONDITION,
    "flatness": GAIN,
}
"""The probe that the tables show for each family; it is recorded first."""


def chosen(which: str, family: str) -> list[str]:
    """Return the names of the probes to measure, the family's own first.

    `which` is "none", "all", or any other value for the family's own probe and alignment.
    """
    if which == "none":
        return []
    own = [HEADLINE[family]] if family in HEADLINE else []
    rest = PROBES if which == "all" else ("alignment",)
    return own + [name for name in rest if name not in own]


def measure(
    scenario: Scenario,
    target: Target,
    network: nn.Module,
    *,
    names: Iterable[str],
    examples: int,
    seed: int,
    update: Tensor | None = None,
) -> list[Reading]:
    """Return the readings of these probes for one network at one evaluation.

    Together they compute the gradients of about `examples` examples. A probe that fails gives a
    reading without a value, with the error in its note. The network is not changed.
    """
    names = list(names)
    draws = Draws(seed)
    # alignment costs ten gradients per example of the batch; the other probes share the rest
    size = max(4, min(BATCH, examples // 32))
    batch = scenario.sample(target, size, draws)
    share = max(size, (examples - 10 * size * ("alignment" in names)) // max(1, len(names) - 1))
    view = View(scenario, target, network, batch, share, seed, update)
    found = []
    for name in names:
        try:
            found += PROBES[name](view)
        except Exception as error:  # noqa: BLE001  # a probe never ends a trial
            found.append(nothing(name, error_line(error)))
    return found
