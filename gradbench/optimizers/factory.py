"""Resolution of an optimizer spec to a factory that builds the optimizer for a network.

One file: a spec's class, its arguments and its wrappers are resolved by trying one build.
"""

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradbench.imports import imported
from gradbench.optimizers import detection, learning_rate, optax_adapter, schedules, wrappers
from gradbench.optimizers import search_space as space
from gradbench.optimizers.names import is_optimizer, named, names
from gradbench.optimizers.requirements import RefusedError, Requirements
from gradbench.optimizers.schedules import Schedules
from gradbench.optimizers.search_space import Axis
from gradbench.optimizers.signatures import check_keywords, named_once, parameters_of
from gradbench.spec import Spec, SpecError, parse
from gradbench.text import first_line

REFUSED = {"SparseAdam": "needs sparse gradients, which no case produces"}
"""Optimizers of torch.optim that no network here can use, with the reason."""

MATRICES_ONLY = {"Muon"}
"""Optimizers of torch.optim that are documented to step on matrices only."""

__all__ = ["Factory", "UnsupportedError", "names", "resolve"]

UNSUPPORTED = "gradbench_unsupported"
"""Class attribute with the reason why the class may refuse a network."""


class UnsupportedError(Exception):
    """This optimizer cannot run on these parameters; the message says why."""


@dataclass(frozen=True)
class Factory:
    """A resolved spec, which builds optimizers; `rate` is the untuned learning rate, or None."""

    spec: Spec
    cls: type[Optimizer]
    arguments: dict[str, Any]
    needed: Callable[[], Requirements]
    """Returns the requirements, which may be detected at the first call; see `requirements`."""
    rate: float | None
    rate_name: str = "lr"
    """The constructor's argument that takes the rate; empty where its parameter groups bring rates
    of their own, which are then scaled together."""
    rate_like: Tensor | None = None
    """The rate's default where that is a tensor: rates are passed in its shape and type."""
    no_rate: str = ""
    """Why it has no rate, where it has none."""
    schedules: Schedules = field(default_factory=Schedules)
    space: tuple[Axis, ...] = ()
    """The search space that its class declares, without the axes that the spec fixes."""
    modules: tuple[str, ...] = ()
    """Modules of its class, and of the wrappers and schedules that the spec adds."""

    @property
    def requirements(self) -> Requirements:
        """Requirements of the optimizer; the first access may step it on a toy to detect them."""
        return self.needed()

    @property
    def of_torch(self) -> bool:
        """Whether the class is one of torch.optim."""
        return f"{self.cls.__module__}.".startswith("torch.optim.")  # Muon's is torch.optim

    @property
    def may_refuse(self) -> bool:
        """Whether its class declares, or torch documents, that it may not support a network."""
        known = self.of_torch and self.cls.__name__ in {*REFUSED, *MATRICES_ONLY}
        return known or bool(getattr(self.cls, UNSUPPORTED, ""))

    @property
    def tunable(self) -> bool:
        """Whether a sweep may choose the learning rate."""
        fixed = {"lr", self.rate_name} & set(self.spec.arguments)
        return self.rate is not None and not fixed and not self.schedules.sets_rates

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The spec's arguments, and the learning rate, as `lr`, also where it is the default."""
        found = ({} if self.rate is None else {"lr": self.rate}) | self.arguments
        if self.rate_name in self.arguments:
            found["lr"] = found.pop(self.rate_name)
        return found

    def chosen(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the hyperparameters of a record that its sweep may have chosen."""
        names = ["lr", *(axis.name for axis in self.space)]
        return {name: known[name] for name in names if known.get(name) is not None}

    def build(
        self, network: nn.Module, overrides: Mapping[str, Any], *, steps: int = 1, examples: int = 1
    ) -> Optimizer:
        """Construct the optimizer for a number of training steps and examples.

        Raises UnsupportedError where a known limitation excludes this network, and any other error
        of the constructor.
        """
        if self.of_torch and (reason := REFUSED.get(self.cls.__name__)):
            raise UnsupportedError(reason)
        # copied: an optimizer may change a list that it was given, and other trials share it
        arguments = copy.deepcopy(self.hyperparameters | dict(overrides))
        rate = arguments.pop("lr", None)
        if rate is not None and self.rate_name:
            like = self.rate_like
            arguments[self.rate_name] = rate if like is None else torch.full_like(like, rate)
        try:
            built = self.requirements.construct(self.cls, network, arguments, steps, examples)
        except RefusedError as error:
            raise UnsupportedError(str(error)) from error
        if rate is not None and self.rate is not None and not self.rate_name:
            for group in built.param_groups:
                group["lr"] *= rate / self.rate
        return built


@functools.cache
def resolve(text: str) -> Factory:
    """Return the factory of a spec: import its class and check its arguments.

    Raises SpecError, in one line, where the name, the module or an argument is wrong.
    """
    spec = optax_adapter.translated(parse(text))
    cls = _class(spec)
    signature = inspect.signature(cls).replace(parameters=named_once(cls))
    check_keywords(spec, signature)
    name = learning_rate.argument(spec, cls, signature)
    choices = learning_rate.arguments_to_try(spec, signature, name)
    like = learning_rate.tensor_default(signature, name)
    if like is not None:
        for choice in choices:
            choice[name] = torch.full_like(like, choice.get(name, like.item()))
    found, sample, way, arguments = _try_out(spec, cls, choices)
    rate, name, why = learning_rate.default_rate(sample, signature, way, name, arguments)
    if like is not None:
        arguments = dict(spec.arguments)
    factory = Factory(
        spec,
        cls,
        arguments,
        found,
        rate,
        name,
        like,
        why,
        space=_space(spec, cls, signature),
        modules=(cls.__module__,),
    )
    for part in spec.added:
        factory = _with(factory, part)
    return factory


def _class(spec: Spec) -> type[Optimizer]:
    if spec.source == optax_adapter.SOURCE:
        return optax_adapter.adapted(spec)
    cls = named(spec) if spec.source is None else imported(spec, spec.source, is_optimizer)
    if not (isinstance(cls, type) and issubclass(cls, Optimizer)):
        raise SpecError(f"{spec.text!r}: {spec.name} is no torch.optim.Optimizer subclass")
    return cls


def _space(spec: Spec, cls: type[Optimizer], signature: inspect.Signature) -> tuple[Axis, ...]:
    try:
        axes = space.declared(cls)
    except ValueError as error:
        raise SpecError(f"{spec.text!r}: {error}") from None
    for axis in axes:
        check_keywords(replace(spec, arguments={axis.name: None}), signature)
    return tuple(axis for axis in axes if axis.name not in spec.arguments)


def _with(factory: Factory, part: Spec) -> Factory:
    """Return the factory with a schedule, or wrapped in another optimizer."""
    cls = (
        schedules.named(part.name)
        if part.source is None
        else imported(part, part.source, is_optimizer)
    )
    if isinstance(cls, type) and schedules.is_schedule(cls):
        check_keywords(part, inspect.signature(cls), first=not schedules.is_own(cls))
        try:
            added = factory.schedules.with_(schedules.built(cls, part.arguments))
            added.tried()
        except Exception as error:  # noqa: BLE001  # it would end every trial
            raise SpecError(f"{part.text!r}: {first_line(error)}") from None
        known = added.known and cls.__module__.startswith(("gradbench.", "torch.optim."))
        added = replace(added, known=known)
        return replace(factory, schedules=added, modules=(*factory.modules, cls.__module__))
    outer = _class(part)
    check_keywords(part, inspect.signature(outer))
    try:
        within = factory.spec.arguments
        classes = wrappers.wrapped(factory.cls, factory.requirements, outer, part.arguments, within)
    except ValueError as error:
        raise SpecError(f"{factory.spec.text!r}: {error}") from None
    inner = replace(
        factory.requirements, model=factory.requirements.model or wrappers.takes_model(outer)
    )
    trouble: SpecError | None = None
    for cls in classes:
        try:
            found, *_ = _try_out(factory.spec, cls, [factory.arguments], inner)
        except SpecError as error:
            trouble = trouble or error
            continue
        modules = (*factory.modules, outer.__module__)
        return replace(factory, cls=cls, needed=found, modules=modules)
    raise trouble or SpecError(f"{factory.spec.text!r}: {outer.__name__} cannot be built")


def _try_out(
    spec: Spec,
    cls: type[Optimizer],
    choices: list[dict[str, Any]],
    inner: Requirements | None = None,
) -> tuple[Callable[[], Requirements], Optimizer, Requirements, dict[str, Any]]:
    """Return the result of `detection.found`; raise SpecError where the optimizer cannot be built.

    An optimizer that cannot be built on the toy would fail in every case.
    """
    try:
        return detection.found(cls, choices, inner)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = " ".join(str(error).split())[:300]
        hint = "" if isinstance(error, ImportError) else _missing(spec, cls, choices[-1])
        raise SpecError(
            f"{spec.text!r}: cannot construct {spec.name}: {type(error).__name__}: {text}{hint}"
        ) from error


def _missing(spec: Spec, cls: type[Optimizer], given: dict[str, Any]) -> str:
    """Return a hint for a failed construction: an inner optimizer, arguments or a declaration."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [p for p in parameters_of(cls) if p.kind not in variable][1:]
    lacking = [p.name for p in named if p.default is p.empty and p.name not in given]
    wraps = [name for name in wrappers.takes(cls) if wrappers.is_inner(name)]
    if wraps:
        return f"; it wraps another optimizer: write that one first, e.g. adam+{spec.name.lower()}"
    if lacking:
        values = ",".join(f"{name}=VALUE" for name in lacking)
        return f"; write {spec.name}:{values}"
    return "; what it is built from can be said in its class's gradbench_needs (docs/optimizers.md)"
