"""A case: scenario, sizes, budget and expectation, as plain data without torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from gradbench.imports import module_named
from gradbench.results.record import Expectation

if TYPE_CHECKING:
    from gradbench.scenarios.base import Scenario

LEARNER = "none"
"""The optimizer's name in items of an approach that takes none."""

_WHY = re.compile(r"open|(mechanism|budget): \S.*")
_ID = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A scenario in one setting, with a budget, a target score and an expectation.

    `scenario` is `"module:Class"`, in an installed module or one in the working folder; as text, it
    lets a suite be collected without torch. `setting` holds that class's fields. `budget` counts
    gradient evaluations of `batch` examples each. `target_score` is normalised: 0 is chance, 1 the
    best attainable. `id` consists of letters, digits and hyphens and is the same in all presets.

    `why` is the reason why optimizers fail: `mechanism: ...` (by theory, or by a claim of the paper
    up to its own iterations), `budget: ...` (more evaluations solve it) or `open`.
    """

    id: str
    scenario: str
    setting: Mapping[str, Any] = field(default_factory=dict)
    budget: int
    expectation: Expectation
    batch: int = 128
    target_score: float = 0.9
    why: str = "open"

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"a case id is letters, digits and hyphens: {self.id!r}")
        if self.budget < 1 or self.batch < 1:
            raise ValueError(f"{self.id}: budget and batch are at least 1")
        if not 0 < self.target_score <= 1:
            raise ValueError(f"{self.id}: the target score lies above 0 (chance), up to 1 (solved)")
        if not _WHY.fullmatch(self.why):
            raise ValueError(
                f"{self.id}: why is open, or mechanism: ... or budget: ..., not {self.why!r}"
            )

    @property
    def takes_optimizer(self) -> bool:
        """Whether the case is run with an optimizer; otherwise its approach takes none."""
        return self.expectation is not Expectation.LEARNER

    def build(self) -> "Scenario":
        """Import the scenario's class and build it in this setting.

        Raises ValueError for a field that the scenario does not have.
        """
        module, _, name = self.scenario.partition(":")
        cls: type[Scenario] = getattr(module_named(module), name)
        unknown = sorted(set(self.setting) - {f.name for f in fields(cls)})
        if unknown:
            raise ValueError(f"{self.id}: {name} has no field {', '.join(unknown)}")
        return cls(**self.setting)
