"""Bare names of optimizers: torch's, those of installed packages, and of known collections."""

import difflib
import importlib.metadata
from typing import TypeGuard

import torch
from torch.optim import Optimizer

from gradbench.imports import imported
from gradbench.optimizers import third_party
from gradbench.spec import SHAPE, Spec, SpecError

ENTRY_POINTS = "gradbench.optimizers"


def names() -> list[str]:
    """Return the bare names that a spec may use, in lower case."""
    return sorted(
        _builtin() | {point.name.lower() for point in _entry_points()} | {*third_party.names()}
    )


def _builtin() -> set[str]:
    return {name.lower() for name, value in vars(torch.optim).items() if is_optimizer(value)}


def _entry_points() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=ENTRY_POINTS)


def named(spec: Spec) -> object:
    """Return what a bare name means: a class of torch.optim, an entry point or of a collection.

    Raises SpecError, with similar names, where it means nothing.
    """
    name = spec.name.lower()
    for candidate, value in vars(torch.optim).items():
        if candidate.lower() == name and isinstance(value, type):
            return value
    for point in _entry_points():
        if point.name.lower() == name:
            return imported(
                Spec(spec.text, point.module, point.attr, spec.arguments),
                point.module,
                is_optimizer,
            )
    if (member := third_party.load(name)) is not None:
        return member
    near = difflib.get_close_matches(name, names(), n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"write {SHAPE}"
    if trouble := third_party.trouble():
        hint = f"{hint}; {trouble}"
    raise SpecError(f"unknown optimizer {spec.name!r}; {hint} (gradbench list shows all names)")


def is_optimizer(value: object) -> TypeGuard[type[Optimizer]]:
    """Return whether a value is a proper subclass of torch's Optimizer."""
    return isinstance(value, type) and issubclass(value, Optimizer) and value is not Optimizer
