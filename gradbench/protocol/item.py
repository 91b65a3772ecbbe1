"""An item: one case with one optimizer, as plain data."""

from dataclasses import dataclass
from typing import Any

from gradbench.protocol.case import Case
from gradbench.scenarios.base import Scenario


@dataclass(frozen=True, kw_only=True)
class Item:
    """A case and its optimizer, as plain data that can be sent to another process.

    `optimizer` is a spec, `paper` for the one the paper trained with, or `none` where the approach
    takes none. `architecture` is the spec of a network that replaces the case's own, or None.
    `tuning` is the number of points of the sweep; 0 keeps the optimizer's own hyperparameters.
    `probes` (none, default, all) are measured in the first evaluation trial.
    """

    case: Case
    optimizer: str
    preset: str = "quick"
    seeds: int = 5
    tuning: int = 5
    device: str = "cpu"
    dtype: str = "float32"
    probes: str = "none"
    stack: str = "auto"
    architecture: str | None = None
    problem: str = ""
    """Digest of the case's problem (see `problem_digest`); empty where it was not computed."""
    first_seed: int = 0
    hyperparameters: dict[str, Any] | None = None
    """Overrides of the optimizer's spec, with which no sweep is run; None where there is one."""
    key: str = ""
    """Key that identifies a finished item when its run is continued; empty where there is none."""


def optimizer_of(item: Item, scenario: Scenario) -> str | None:
    """Return the spec of the item's optimizer.

    None where the approach takes none, and where the paper trained nothing.
    """
    if not item.case.takes_optimizer:
        return None
    return scenario.published if item.optimizer == "paper" else item.optimizer
