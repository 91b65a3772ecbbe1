"""Finds the known mistake that explains all of the difference between two optimizers."""

from collections.abc import Iterator, Mapping, Sequence

import torch

from gradbench.checks.conform.gaps import largest
from gradbench.checks.conform.mistakes import Mistake, mistakes
from gradbench.checks.conform.problems import Problem, problems
from gradbench.checks.conform.runs import Path, Way, path
from gradbench.checks.conform.sides import Compared, Side

EXPLAINED = 1e-6
"""Largest part of the difference that a mistake may leave, on every problem, to be named."""

SMALLEST = 1e-10
"""What it may leave of a small difference."""

Pairs = Mapping[str, tuple[Path, Path]]
"""The paths of the right and of the other optimizer, by problem."""


def diagnosis(
    a: Side,
    b: Side,
    compared: Sequence[Compared],
    paths: Mapping[tuple[str, str], tuple[Path, Path]],
    steps: int,
) -> tuple[str, float | None]:
    """Return the mistake that explains the difference, and what it leaves; empty if none does.

    It must explain all problems that differ with the options of the first that does. `paths` are by
    problem and options.
    """
    wrong = [each for each in compared if each.first is not None]
    wrong = [each for each in wrong if each.options == wrong[0].options]
    if not wrong:
        return "", None
    more = wrong[0].options
    pairs = {each.problem: paths[each.problem, repr(more)] for each in wrong}
    turned = {name: (theirs, ours) for name, (ours, theirs) in pairs.items()}
    for right, known, names in ((a, pairs, ("B", "A")), (b, turned, ("A", "B"))):
        ours, theirs = next(iter(known.values()))
        if still := _still(theirs) - _still(ours):
            said = "a parameter" if still == set(theirs[0]) else ", ".join(sorted(still))
            return f"{names[0]} never changes {said}", None
        options = {**right.way.options, **more}
        for mistake in mistakes(right.factory, options, ours, theirs):
            left = _left(mistake, right.way, known, steps)
            if left is not None:
                return f"{names[0]} is {names[1]}, but {mistake.said}", left
    return "", None


def _left(mistake: Mistake, way: Way, known: Pairs, steps: int) -> float | None:
    """Return the largest difference that a mistake leaves; None if that is too large."""
    by_name = {problem.name: problem for problem in problems()}
    left = 0.0
    for name, pair in known.items():
        bound = max(SMALLEST, EXPLAINED * min(1.0, largest(*pair)))
        for found in _differences(mistake, way, by_name[name], pair, steps):
            if not found <= bound:
                return None
            left = max(left, found)
    return left


def _differences(
    mistake: Mistake, way: Way, problem: Problem, pair: tuple[Path, Path], steps: int
) -> Iterator[float]:
    """Yield the differences of the mistake's base to the right path, and of it to the other one.

    A mistake of the right optimizer itself is made on the way in which that is run.
    """
    try:
        if mistake.base is not None:
            yield largest(path(mistake.factory, problem, mistake.base, steps), pair[0])
            yield largest(path(mistake.factory, problem, mistake.way, steps), pair[1])
        else:
            yield largest(path(mistake.factory, problem, way.also(mistake.way), steps), pair[1])
    except (Exception, SystemExit):  # noqa: BLE001  # options that it refuses
        yield float("inf")


def _still(one: Path) -> set[str]:
    """Return the names of the parameters that are at the end where they were at the start."""
    return {name for name in one[0] if torch.equal(one[-1][name], one[0][name])}
