"""`Trial`: everything that determines one training run."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradbench.scenarios.base import Scenario

EVALUATION_RATIO = 1.25
STREAMS = 4
"""Version of the random streams: the protocol that last changed the problem of a seed."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training run: a scenario, an optimizer with its hyperparameters, a seed and a budget.

    `optimizer` is a spec such as `"adam"` or `"sgd:lr=0.1"`, None for an approach that takes no
    optimizer; `hyperparameters` override the spec's arguments. `budget` counts gradient evaluations
    of `batch` examples each; `target_score` is normalised (0 chance, 1 solved).
    `architecture` is the spec of a network that replaces the scenario's own, None for the latter.
    `stored` is the size of a fixed training set that is repeated in the same order, a multiple of
    `batch`; with 0 every batch is new.
    `probes` (none, default, all) may use `probe_budget` further gradient evaluations.
    """

    scenario: "Scenario"
    optimizer: str | None
    seed: int = 0
    budget: int = 1000
    batch: int = 128
    target_score: float = 0.9
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    preset: str = "quick"
    device: str = "cpu"
    dtype: str = "float32"
    architecture: str | None = None
    probes: str = "none"
    probe_budget: int = 0
    stored: int = 0

    def __post_init__(self) -> None:
        if self.stored < 0 or self.stored % self.batch:
            raise ValueError(
                f"stored: a multiple of the batch of {self.batch}, or 0, not {self.stored}"
            )

    def stream(self, purpose: str) -> int:
        """Return the seed of one of the trial's streams, below 2^63.

        It depends on `STREAMS`, the scenario, its setting without the approach, the preset, the
        seed and the purpose: all approaches, optimizers and rates get the same targets and data.
        """
        key = json.dumps(
            [STREAMS, self.scenario.name, self.scenario.setting, self.preset, self.seed, purpose],
            sort_keys=True,
        )
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def probe_steps(budget: int) -> list[int]:
    """Return the evaluation steps with probes: 0, and the first from 1/16 and 1/4 of the budget on.

    Probes are also measured when the trial ends.

    >>> probe_steps(600)
    [0, 38, 185]
    """
    grid = list(evaluation_steps(budget))
    return [next(at for at in grid if at >= budget * part) for part in (0, 1 / 16, 1 / 4)]


def evaluation_steps(budget: int) -> Iterator[int]:
    """Yield the gradient evaluations at which a trial is evaluated: 0, then a grid of ratio 1.25,
    then the budget.

    >>> list(evaluation_steps(10))
    [0, 1, 2, 3, 4, 5, 6, 8, 10]
    """  # noqa: D205
    yield 0
    at = 1
    while at < budget:
        yield at
        at = max(at + 1, round(at * EVALUATION_RATIO))
    yield budget
