"""Tries the options of an optimizer's constructor: which change its steps, alone or with others."""

import inspect
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch

from gradbench.checks.conform.gaps import equal
from gradbench.checks.conform.problems import Problem, problems
from gradbench.checks.conform.runs import Path, Way, path
from gradbench.optimizers.factory import Factory
from gradbench.optimizers.signatures import parameters_of
from gradbench.text import error_line

STEPS = 60
"""Steps in which an option must change a bit; a fifth of them for an optimizer with a closure."""

WAYS_OF_COMPUTING = {
    *("foreach", "fused", "capturable", "differentiable", "compile", "device", "multi_tensor"),
}
"""Options that change how a step is computed, but not its result."""

TRIED_ON = ("parity network", "different scales", "sparse in time")


@dataclass(frozen=True)
class LiveOptions:
    """What each option of a constructor does, by its name.

    `dead` changed no bit, `needs` names the option without which it changed none, `raises` has the
    error of every value that was tried, `untried` have defaults that suggest no other value.
    """

    live: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    needs: dict[str, str] = field(default_factory=dict)
    raises: dict[str, str] = field(default_factory=dict)
    untried: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    """Options that were left when the time was over."""

    def said(self) -> str:
        """Return all but the live options in words, and how many are live."""
        parts = [f"{len(self.live) + len(self.needs)} options change its steps"]
        parts += [f"{name} only with {other}" for name, other in self.needs.items()]
        parts += [f"{name} raises {error}" for name, error in self.raises.items()]
        if self.untried:
            parts.append(f"not tried: {', '.join(self.untried)}")
        if self.late:
            parts.append(f"not tried for lack of time: {', '.join(self.late)}")
        return "; ".join(parts)


def live_options(factory: Factory, seconds: float = math.inf) -> LiveOptions:
    """Try every option at values that its default suggests, alone and, if dead, beside others.

    Excluded are the learning rate, the options that the spec sets, and ways of computing. What an
    optimizer compiles is run as it is written: the result is the same, and every option's values
    would be compiled anew. After a number of seconds the rest is left out. Raises NotTriedError
    where the optimizer trains none of the problems.
    """
    with uncompiled():
        return _tried(factory, time.monotonic() + seconds)


def rate_matters(factory: Factory) -> bool:
    """Return whether another learning rate changes a step; True also where it has none to change.

    Raises NotTriedError where the optimizer trains none of the problems.
    """
    name, rate = factory.rate_name, factory.rate
    if not name or rate is None or rate == 0 or name in factory.spec.arguments:
        return True
    with uncompiled():
        error, changed = Trials(factory).changes({}, {name: 0.6 * rate})
    return changed or bool(error)


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run functions that torch.compile has wrapped as they are written."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and it takes seconds to import
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def _tried(factory: Factory, end: float) -> LiveOptions:
    fixed = {*factory.spec.arguments, factory.rate_name, "lr", *WAYS_OF_COMPUTING}
    options = [p for p in parameters_of(factory.cls) if p.name not in fixed]
    options = [p for p in options if p.default is not p.empty]
    others = {p.name: _others(p) for p in options}
    found = LiveOptions(untried=[name for name, values in others.items() if not values])
    trials = Trials(factory)
    for name, values in others.items():
        if not values:
            continue
        if time.monotonic() > end:
            found.late.append(name)
            continue
        errors, moved = [], False
        for value in values:
            error, changed = trials.changes({}, {name: value})
            errors += [error] * bool(error)
            if moved := changed:
                break
        if moved:
            found.live.append(name)
        elif (needed := _needed(trials, name, values, others, end)) is None:
            found.late.append(name)
        elif needed:
            found.needs[name] = needed
        elif len(errors) == len(values):
            found.raises[name] = errors[0]
        else:
            found.dead.append(name)
    return found


def _needed(
    trials: "Trials", name: str, values: list[Any], others: dict[str, list[Any]], end: float
) -> str | None:
    """Return another option's setting beside which an option changes steps, empty if none does.

    Options whose names share a word with it are tried first. None where the time is over before
    that is known.
    """
    words = set(name.split("_"))
    for other, alternatives in sorted(
        others.items(), key=lambda each: words.isdisjoint(each[0].split("_"))
    ):
        if time.monotonic() > end:
            return None
        for value in alternatives[:1] if other != name else []:
            if any(trials.changes({other: value}, {name: each})[1] for each in values[:1]):
                return f"{other}={value}"
    return ""


class NotTriedError(ValueError):
    """No option could be tried; the message says why."""


class Trials:
    """Short runs of an optimizer with some options; each is made once, when it is asked for.

    They are made on the problems that it can train: in float64, or in float32 where it trains none
    in float64. Raises NotTriedError where there is none.
    """

    def __init__(self, factory: Factory) -> None:
        self.factory = factory
        self.known: dict[tuple[str, str], Path | str] = {}
        said = ""
        for self.dtype in (torch.float64, torch.float32):
            for names in (TRIED_ON, ("matrices",)):  # it may step on matrices only
                self.known.clear()
                chosen = [each for each in problems() if each.name in names]
                plain = [self._path(each, {}) for each in chosen]
                self.problems = [
                    each for each, found in zip(chosen, plain, strict=True) if _moves(found)
                ]
                if self.problems:
                    return
                said = said or next((each for each in plain if isinstance(each, str)), "")
        raise NotTriedError(said or f"it moves no parameter in {STEPS} steps")

    def changes(self, beside: dict[str, Any], options: dict[str, Any]) -> tuple[str, bool]:
        """Return what options raise, empty if nothing, and whether they change any bit.

        The problems are tried one after another, up to the first where either is so.
        """
        for problem in self.problems:
            plain, other = self._path(problem, beside), self._path(problem, beside | options)
            if isinstance(other, str) or isinstance(plain, str):
                return (other if isinstance(other, str) else "", False)
            if _differ(plain, other):
                return "", True
        return "", False

    def _path(self, problem: Problem, options: dict[str, Any]) -> Path | str:
        key = problem.name, repr(sorted(options.items()))
        if key not in self.known:
            try:
                way = Way(options, self.dtype, follows=False)
                steps = STEPS // 5 if self.factory.requirements.closure else STEPS
                self.known[key] = path(self.factory, problem, way, steps)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever it raises
                self.known[key] = error_line(error)
        return self.known[key]


def _moves(found: Path | str) -> bool:
    return not isinstance(found, str) and _differ(found[:1], found[-1:])


def _differ(one: Path, other: Path) -> bool:
    """Return whether two paths differ at any step: at the last both may have diverged."""
    return any(not equal(a[name], b[name]) for a, b in zip(one, other, strict=True) for name in a)


def _others(parameter: inspect.Parameter) -> list[Any]:
    """Return values other than an option's default; empty for a default of another type."""
    value = parameter.default
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, 2 * value + 3] if value else [0.3, 1]
    if isinstance(value, float):
        return list(_other_numbers(value))
    if isinstance(value, tuple) and value and all(type(v) in {int, float} for v in value):
        shrunk = tuple(0.7 * v for v in value)
        return [shrunk, tuple(chain((0.5 * value[0],), value[1:]))]
    return []


def _other_numbers(value: float) -> Iterator[float]:
    if value == 0:
        yield from (0.3, 0.01)
    elif abs(value) < 1e-3:
        yield from (0.1, 1e-2)
    else:
        yield from (0.6 * value, 1.5 * value)
