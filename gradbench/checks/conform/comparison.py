"""Compares two optimizers on all problems and options, and names what makes the difference."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from gradbench.checks.conform.diagnosis import diagnosis
from gradbench.checks.conform.gaps import gap
from gradbench.checks.conform.mistakes import options_of
from gradbench.checks.conform.number_type import SINGLE, number_type, said_single, single
from gradbench.checks.conform.problems import Problem, problems
from gradbench.checks.conform.runs import Path, Way
from gradbench.checks.conform.sides import Compared, Refused, Side
from gradbench.checks.options import WAYS_OF_COMPUTING, uncompiled
from gradbench.optimizers.factory import Factory, resolve

STEPS = 100
TOLERANCE = 1e-10
VARIED: tuple[dict[str, Any], ...] = (
    {"weight_decay": 0.1},
    {"momentum": 0.9},
    {"momentum": 0.9, "weight_decay": 0.1},
    {"maximize": True},
    {"eps": 1e-2},
)
"""Options that are set in both optimizers where both have them."""


@dataclass(frozen=True)
class Scope:
    """How far two optimizers are compared, and what counts as a difference.

    `only` names problems, none for all. With `by_norm` differences are relative to a parameter's
    norm, not to the distance that it has moved.
    """

    steps: int = STEPS
    tolerance: float = TOLERANCE
    only: Sequence[str] = ()
    by_norm: bool = False


class NothingComparedError(ValueError):
    """No problem could be compared; the message says why."""


@dataclass(frozen=True)
class Conformance:
    """Whether two optimizers are the same algorithm, and the evidence."""

    a: str
    b: str
    steps: int
    tolerance: float
    compared: list[Compared]
    notes: list[str] = field(default_factory=list)
    diagnosis: str = ""
    """What makes the difference; empty if there is none or no known mistake explains it."""
    left: float | None = None
    """Largest relative difference that the diagnosis leaves."""

    @property
    def same(self) -> bool:
        """Whether no comparison shows a difference."""
        return not any(each.differs for each in self.compared)

    @property
    def first(self) -> Compared | None:
        """The first comparison that shows a difference; None if there is none."""
        return next((each for each in self.compared if each.differs), None)


def conform(a: str, b: str, *, steps: int = STEPS, tolerance: float = TOLERANCE) -> Conformance:
    """Compare the optimizers of two specs, in float64, on equal problems with equal options.

    Where one takes float32 only, both are run in it and compared within its rounding. What they
    compile runs as it is written. What one spec sets is set in both, and what neither sets has A's
    default in both. Raises SpecError for a wrong spec, and NothingComparedError where no problem
    could be compared.
    """
    ours, theirs = resolve(a), resolve(b)
    given, notes = aligned(ours, theirs)
    way, scope = Way(given), Scope(steps, tolerance)
    with uncompiled():
        for factory in (ours, theirs):
            if number_type(factory) is torch.float32:
                way, notes = single(way), [*notes, said_single(factory)]
                scope = Scope(steps, max(tolerance, SINGLE), by_norm=True)
        found = compare(Side(a, ours, way), Side(b, theirs, way), scope)
    if all(each.trouble for each in found.compared):
        raise NothingComparedError(f"{a} and {b}: no problem ran: {found.compared[0].trouble}")
    return replace(found, notes=list(dict.fromkeys(notes)))


def aligned(ours: Factory, theirs: Factory) -> tuple[dict[str, Any], list[str]]:
    """Return the values of options that both have, and notes where their defaults differ.

    Options that both specs set are left to them.
    """
    a, b = options_of(ours), options_of(theirs)
    given: dict[str, Any] = {}
    notes: list[str] = []
    for name in a:
        if name not in b or name in WAYS_OF_COMPUTING:
            continue
        own, other = name in ours.spec.arguments, name in theirs.spec.arguments
        if own and other:
            continue
        one_sided = None in (a[name], b[name]) and a[name] != b[name]
        if not _plain(a[name], b[name]) and not (one_sided and (own or other or name == "lr")):
            continue
        given[name] = b[name] if other or a[name] is None else a[name]
        if a[name] != b[name]:
            notes.append(f"{name} is {a[name]} in A and {b[name]} in B; compared at {given[name]}")
    return given, notes


def _plain(*values: object) -> bool:
    """Return whether all are numbers, all truth values, or all tuples of as many numbers."""
    kinds = {
        type(v) if isinstance(v, bool) else "number" if _number(v) else type(v) for v in values
    }
    if kinds <= {bool} or kinds == {"number"}:
        return True
    lengths = {len(v) for v in values if isinstance(v, tuple | list)}
    return len(lengths) == 1 and all(
        isinstance(v, tuple | list) and all(map(_number, v)) for v in values
    )


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def compare(a: Side, b: Side, scope: Scope) -> Conformance:
    """Compare two sides on the problems of a scope, with all options that are varied.

    Raises NothingComparedError where no problem could be compared.
    """
    paths: dict[tuple[str, str], tuple[Path, Path]] = {}
    compared: list[Compared] = []
    chosen = [each for each in problems() if not scope.only or each.name in scope.only]
    for more, problem in _planned(a, b, chosen):
        ours, theirs = (side.path(problem, more, scope.steps) for side in (a, b))
        if isinstance(ours, str) or isinstance(theirs, str):
            compared.append(_failed(problem, more, ours, theirs))
            continue
        first = gap(ours, theirs, scope.tolerance, by_norm=scope.by_norm)
        compared.append(Compared(problem.name, more, first, differs=first is not None))
        paths[problem.name, repr(more)] = ours, theirs
    if not paths and not any(each.differs for each in compared):
        why = compared[0].trouble if compared else "no problem"
        raise NothingComparedError(f"{a.name} and {b.name}: nothing could be compared: {why}")
    said, left = diagnosis(a, b, compared, paths, scope.steps)
    found = Conformance(a.name, b.name, scope.steps, scope.tolerance, compared)
    return replace(found, diagnosis=said, left=left)


def _planned(
    a: Side, b: Side, chosen: Sequence[Problem]
) -> Iterator[tuple[dict[str, Any], Problem]]:
    """Yield options and problems, the fewest options first; odd ones with few options."""
    names = set(options_of(a.factory)) & set(options_of(b.factory))
    fixed = {*a.factory.spec.arguments, *b.factory.spec.arguments}
    plain = {"weight_decay": 0.0} if "weight_decay" in names - fixed else {}
    for more in (plain, *VARIED):
        if not set(more) <= names - fixed:
            continue
        for problem in chosen:
            if problem.name in {"quadratic", "parity network"} or more in (plain, VARIED[0]):
                yield more, problem


def _failed(
    problem: Problem, more: Mapping[str, Any], ours: Path | str, theirs: Path | str
) -> Compared:
    """Return the comparison of two runs of which at least one has failed."""
    said = [side if isinstance(side, str) else "" for side in (ours, theirs)]
    if all(said):
        return Compared(problem.name, more, trouble=f"not compared: both raise {said[0]}")
    who = "A" if said[0] else "B"
    if isinstance(ours, Refused) or isinstance(theirs, Refused):
        return Compared(problem.name, more, trouble=f"not compared: {who}: {said[0] or said[1]}")
    trouble = f"{who} alone raises {said[0] or said[1]}"
    return Compared(problem.name, more, trouble=trouble, differs=True)
