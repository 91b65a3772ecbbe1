"""The hardest cases of each ladder that an optimizer solves."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gradbench.report.rows import varying
from gradbench.results.record import Expectation, Record


@dataclass(frozen=True)
class Ladder:
    """Cases that differ only in difficulty, and the hardest of them that each optimizer solves.

    `hardest` names, per optimizer, the solved rungs for which no other solved rung is at least as
    hard on every axis and harder on one. `theory` names the rungs that are expected never to be
    solved.
    """

    family: str
    name: str
    rungs: int
    hardest: dict[str, str]
    theory: str


def ladders(records: Iterable[Record]) -> list[Ladder]:
    """Return every ladder of two rungs or more; a rung is solved on more than half of its seeds."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    kept = [r for r in records if r.ladder and r.expectation != Expectation.LEARNER]
    differ = varying(kept)
    for record in kept:
        groups.setdefault(_apart(record, differ[record.scenario]), []).append(record)
    return [
        _ladder(key, group) for key, group in groups.items() if len({r.case for r in group}) > 1
    ]


def _apart(record: Record, differ: set[str]) -> tuple[str, ...]:
    """Return the key of a record's ladder: family, name and other settings.

    The name holds the settings that differ within the run.
    """
    rest = {name: v for name, v in record.setting.items() if name not in record.ladder}
    words = [f"{name}={value}" for name, value in rest.items() if name in differ]
    other = [f"{name}={value}" for name, value in rest.items() if name not in differ]
    name = " ".join([record.scenario, record.approach, *words]).replace("_", " ")
    return record.family, " ".join(name.split()), ",".join(other)


def _ladder(key: tuple[str, ...], group: list[Record]) -> Ladder:
    axes = [a for a in group[0].ladder if len({r.setting.get(a) for r in group}) > 1]
    never = [r for r in group if r.expectation == Expectation.NEVER]
    solved: dict[str, list[Record]] = {r.optimizer: [] for r in group}
    for record in group:
        if 2 * record.solved > record.seeds:
            solved[record.optimizer].append(record)
    hardest = {name: _named(_largest(found, axes), axes) for name, found in solved.items()}
    return Ladder(key[0], key[1], len({r.case for r in group}), hardest, _named(never, axes))


def _largest(group: list[Record], axes: list[str]) -> list[Record]:
    rungs = {tuple(r.setting.get(axis, 0) for axis in axes): r for r in group}
    return [
        r
        for r in rungs.values()
        if not any(_below(r.setting, s.setting, axes) for s in rungs.values())
    ]


def _below(a: dict[str, Any], b: dict[str, Any], axes: list[str]) -> bool:
    pairs = [(a.get(axis, 0), b.get(axis, 0)) for axis in axes]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def _named(group: list[Record], axes: list[str]) -> str:
    """Return the rungs' names, each once; empty where there are none."""
    names = [", ".join(f"{axis} = {r.setting.get(axis, 0):g}" for axis in axes) for r in group]
    return "; ".join(dict.fromkeys(names))
