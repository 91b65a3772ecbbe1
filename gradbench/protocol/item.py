"""An item: one case with one optimizer, as plain data."""

from dataclasses import dataclass

from gradbench.protocol.case import Case
from gradbench.scenarios.base import Scenario


@dataclass(frozen=True, kw_only=True)
class Item:
    """A case and who attempts it, as plain data that can travel to another process.

    `optimizer` is a spec, `paper` for the one the paper trained with, or `none` where the approach
    takes none. `architecture` is the spec of a network in the place of the case's own, or None.
    `tuning` is the number of points of the sweep; 0 takes the optimizer as it comes.
    `probes` (none, default, all) look at the first evaluation trial.
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
    """Digest of the problem that the case poses; empty where nobody has taken it."""
    key: str = ""
    """What a finished item is recognised by when its run is continued; empty where it is not."""


def optimizer_of(item: Item, scenario: Scenario) -> str | None:
    """Return the spec of the optimizer that attempts the item.

    None where the approach takes none, and where the paper trained nothing.
    """
    if not item.case.takes_optimizer:
        return None
    return scenario.published if item.optimizer == "paper" else item.optimizer
