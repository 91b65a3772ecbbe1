"""Decodes only the fields of a record that tables of many records show, with msgspec.

Needs msgspec, which comes with the extra `report`.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from gradbench.results.record import SCHEMA, Record, Status
from gradbench.results.validation import MOST, is_cost, is_reading, unlikely

Count = Annotated[int, Meta(ge=0, le=MOST)]
Whole = Annotated[int, Meta(ge=-MOST, le=MOST)]


class Trial(Struct):
    """An evaluation trial without its curve, target and details."""

    seed: Whole
    status: Status
    evaluations_to_target: Count | None
    reason: str | UnsetType | None = UNSET
    gradient_evaluations: Count | UnsetType | None = UNSET
    forward_evaluations: Count | UnsetType | None = UNSET
    seconds_to_target: float | UnsetType | None = UNSET
    seconds: float | UnsetType | None = UNSET
    final_score: float | UnsetType | None = UNSET


class Timing(Struct, frozen=True):
    """The fields of a record's timing that comparisons and warnings need."""

    clock: str | UnsetType | None = UNSET
    device: Any = UNSET
    contended: Any = UNSET
    seconds_per_step: dict[str, float | None] | UnsetType | None = UNSET
    probe_seconds: float | UnsetType | None = UNSET
    launch_bound: Any = UNSET
    recorded_seconds_per_step: dict[str, float | None] | UnsetType | None = UNSET


class Glance(Struct):
    """A record without the points of its sweep; only the first of its probe readings is decoded."""

    case: str
    family: str
    scenario: str
    section: str
    setting: dict[str, Any]
    approach: str
    optimizer: str
    expectation: str
    budget: Whole
    batch: Whole
    target_score: Any
    outcome: str = ""
    solved: Whole = 0
    seeds: Whole = 0
    architecture: Any = None
    tuning_cost: dict[str, Any] = {}
    hyperparameters: dict[str, Any] = {}
    trials: list[Trial] = []
    timing: Timing = Timing()
    path: str = "alone"
    notes: list[str] = []
    informativeness: list[Raw] = []
    ladder: list[str] = []
    key: str = ""
    problem: str = ""
    why: str = ""
    verification: dict[str, Any] = {}
    implausible: str = ""
    schema: Any = SCHEMA


DECODER = msgspec.json.Decoder(Glance)


def glance(line: str) -> Record | None:
    """Return the summary of a line's record; None where the line needs the full parser."""
    try:
        found = DECODER.decode(line)
        data = msgspec.structs.asdict(found)
        data["trials"] = msgspec.to_builtins(found.trials)
        data["timing"] = msgspec.to_builtins(found.timing)
        data["informativeness"] = [msgspec.json.decode(r) for r in found.informativeness[:1]]
    except (msgspec.MsgspecError, RecursionError):
        return None
    checked = is_cost(found.tuning_cost) and all(map(is_reading, data["informativeness"]))
    if unlikely(data) or not checked:
        return None
    return Record(**data)
