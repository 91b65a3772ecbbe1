"""A spec becomes a factory of optimizers; what is unusual about one is a small frozen record."""

import copy
import difflib
import functools
import importlib.metadata
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradbench import needs, schedules, space, wrappers, zoo
from gradbench.imports import imported
from gradbench.needs import Needs
from gradbench.schedules import Schedules
from gradbench.space import Axis
from gradbench.spec import SHAPE, Spec, SpecError, parse
from gradbench.tuning import FALLBACK

ENTRY_POINTS = "gradbench.optimizers"

REFUSED = {"SparseAdam": "needs sparse gradients, which no case produces"}
"""Optimizers of torch.optim that no network here can use, with the reason."""


class UnsupportedError(Exception):
    """This optimizer cannot run on these parameters; the message says why."""


@dataclass(frozen=True)
class Factory:
    """A resolved spec. `rate` is the learning rate it comes with; None where it has none."""

    spec: Spec
    cls: type[Optimizer]
    arguments: dict[str, Any]
    needed: Callable[[], Needs]
    """Tells what it needs; `needs` asks."""
    rate: float | None
    schedules: Schedules = field(default_factory=Schedules)
    space: tuple[Axis, ...] = ()
    """What its class declares to be searched, less what the spec fixes."""
    modules: tuple[str, ...] = ()
    """Where its class is written, and what the spec adds to it."""

    @property
    def needs(self) -> Needs:
        """What it asks of the training loop; the first time it is stepped on a toy to see."""
        return self.needed()

    @property
    def tunable(self) -> bool:
        """Whether a sweep may choose the learning rate."""
        fixed = "lr" in self.spec.arguments or self.schedules.sets_rates
        return self.rate is not None and not fixed

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The spec's arguments, and the learning rate also where it is the default."""
        return ({} if self.rate is None else {"lr": self.rate}) | self.arguments

    def build(
        self, network: nn.Module, overrides: Mapping[str, Any], *, steps: int = 1, examples: int = 1
    ) -> Optimizer:
        """Construct the optimizer, for so many training steps on so many examples.

        Raises UnsupportedError where it refuses this network.
        """
        if reason := REFUSED.get(self.cls.__name__):
            raise UnsupportedError(reason)
        # copied: an optimizer may change a list that it was given, and other trials share it
        arguments = copy.deepcopy(self.hyperparameters | dict(overrides))
        try:
            return self.needs.construct(self.cls, network, arguments, steps, examples)
        except (ValueError, TypeError, RuntimeError) as error:
            raise UnsupportedError(f"{type(error).__name__}: {error}") from error


@functools.cache
def resolve(text: str) -> Factory:
    """Import what a spec names and check its arguments.

    Raises SpecError, in one line, where the name, the module or an argument is wrong.
    """
    spec = parse(text)
    cls = _class(spec)
    signature = inspect.signature(cls)
    _check_keywords(spec, signature)
    arguments = _arguments(spec, signature)
    found, sample = _try_out(spec, cls, arguments)
    factory = Factory(
        spec,
        cls,
        arguments,
        found,
        _rate(sample, signature),
        space=_space(spec, cls, signature),
        modules=(cls.__module__,),
    )
    for part in spec.added:
        factory = _with(factory, part)
    return factory


def _class(spec: Spec) -> type[Optimizer]:
    cls = _named(spec) if spec.source is None else imported(spec, spec.source, _is_optimizer)
    if not (isinstance(cls, type) and issubclass(cls, Optimizer)):
        raise SpecError(f"{spec.text!r}: {spec.name} is no torch.optim.Optimizer subclass")
    return cls


def _space(spec: Spec, cls: type[Optimizer], signature: inspect.Signature) -> tuple[Axis, ...]:
    try:
        axes = space.declared(cls)
    except ValueError as error:
        raise SpecError(f"{spec.text!r}: {error}") from None
    for axis in axes:
        _check_keywords(replace(spec, arguments={axis.name: None}), signature)
    return tuple(axis for axis in axes if axis.name not in spec.arguments)


def _with(factory: Factory, part: Spec) -> Factory:
    """Return the factory with a schedule, or wrapped in another optimizer."""
    named = (
        schedules.named(part.name)
        if part.source is None
        else imported(part, part.source, _is_optimizer)
    )
    if isinstance(named, type) and schedules.is_schedule(named):
        _check_keywords(part, inspect.signature(named), first=not schedules.is_own(named))
        try:
            added = factory.schedules.with_(schedules.built(named, part.arguments))
            added.tried()
        except Exception as error:  # noqa: BLE001  # it would end every trial
            text = (str(error).splitlines() or [type(error).__name__])[0]
            raise SpecError(f"{part.text!r}: {text}") from None
        known = added.known and named.__module__.startswith(("gradbench.", "torch.optim."))
        added = replace(added, known=known)
        return replace(factory, schedules=added, modules=(*factory.modules, named.__module__))
    outer = _class(part)
    _check_keywords(part, inspect.signature(outer))
    try:
        within = factory.spec.arguments
        cls = wrappers.wrapped(factory.cls, factory.needs, outer, part.arguments, within)
    except ValueError as error:
        raise SpecError(f"{factory.spec.text!r}: {error}") from None
    inner = replace(factory.needs, model=factory.needs.model or wrappers.takes_model(outer))
    found, _ = _try_out(factory.spec, cls, factory.arguments, inner)
    return replace(factory, cls=cls, needed=found, modules=(*factory.modules, outer.__module__))


def names() -> list[str]:
    """Return the bare names that a spec may use, in lower case."""
    return sorted(_builtin() | {point.name.lower() for point in _entry_points()} | {*zoo.names()})


def _builtin() -> set[str]:
    return {name.lower() for name, value in vars(torch.optim).items() if _is_optimizer(value)}


def _entry_points() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=ENTRY_POINTS)


def _named(spec: Spec) -> object:
    name = spec.name.lower()
    for candidate, value in vars(torch.optim).items():
        if candidate.lower() == name and isinstance(value, type):
            return value
    for point in _entry_points():
        if point.name.lower() == name:
            return imported(
                Spec(spec.text, point.module, point.attr, spec.arguments),
                point.module,
                _is_optimizer,
            )
    if (member := zoo.load(name)) is not None:
        return member
    near = difflib.get_close_matches(name, names(), n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"write {SHAPE}"
    raise SpecError(f"unknown optimizer {spec.name!r}; {hint} (gradbench list shows all names)")


def _is_optimizer(value: object) -> TypeGuard[type[Optimizer]]:
    return isinstance(value, type) and issubclass(value, Optimizer) and value is not Optimizer


def _check_keywords(spec: Spec, signature: inspect.Signature, *, first: bool = True) -> None:
    """Refuse an argument that is not taken; with `first`, the first is not the user's to give."""
    parameters = list(signature.parameters.values())[int(first) :]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    takes = [p.name for p in parameters]
    for key in spec.arguments:
        if key not in takes:
            raise SpecError(
                f"{spec.text!r}: {spec.name} has no argument {key!r}; it takes {', '.join(takes)}"
            )


def _arguments(spec: Spec, signature: inspect.Signature) -> dict[str, Any]:
    """Return the spec's arguments, with a learning rate where the class has no default for it."""
    rate = signature.parameters.get("lr")
    given = {} if rate is None or rate.default is not rate.empty else {"lr": FALLBACK}
    return given | spec.arguments


def _try_out(
    spec: Spec, cls: type[Optimizer], arguments: dict[str, Any], inner: Needs | None = None
) -> tuple[Callable[[], Needs], Optimizer]:
    """Return what tells its needs, and one; what cannot be built here would fail in every case."""
    try:
        return needs.found(cls, arguments, inner)
    except (Exception, SystemExit) as error:
        raise SpecError(
            f"{spec.text!r}: cannot construct {spec.name}: {type(error).__name__}: {error}"
        ) from error


def _rate(sample: Optimizer, signature: inspect.Signature) -> float | None:
    """Return the rate of a constructed optimizer whose constructor takes one, else None."""
    parameters = signature.parameters.values()
    takes = any(p.name == "lr" or p.kind is p.VAR_KEYWORD for p in parameters)
    rate = sample.defaults.get("lr") if takes else None
    return float(rate) if isinstance(rate, int | float | Tensor) else None
