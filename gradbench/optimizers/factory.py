"""Resolution of an optimizer spec to a factory that builds the optimizer for a network."""

import copy
import difflib
import functools
import importlib.metadata
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradbench.imports import imported
from gradbench.optimizers import detection, schedules, third_party, wrappers
from gradbench.optimizers import search_space as space
from gradbench.optimizers.requirements import RefusedError, Requirements
from gradbench.optimizers.schedules import Schedules
from gradbench.optimizers.search_space import Axis
from gradbench.optimizers.signatures import parameters_of
from gradbench.spec import SHAPE, Spec, SpecError, parse
from gradbench.text import first_line

ENTRY_POINTS = "gradbench.optimizers"

DEFAULT_LR = 1e-3
"""Centre of the sweep for an optimizer without a default learning rate."""

RATE = "gradbench_rate"
"""Class attribute that names the constructor's argument for the learning rate."""

REFUSED = {"SparseAdam": "needs sparse gradients, which no case produces"}
"""Optimizers of torch.optim that no network here can use, with the reason."""

MATRICES_ONLY = {"Muon"}
"""Optimizers of torch.optim that are documented to step on matrices only."""

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
        return self.cls.__module__.startswith("torch.optim.")

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
    spec = parse(text)
    cls = _class(spec)
    signature = inspect.signature(cls).replace(parameters=_named_once(cls))
    _check_keywords(spec, signature)
    name = _rate_name(spec, cls, signature)
    choices, like = _choices(spec, signature, name), _tensor_rate(signature, name)
    if like is not None:
        for choice in choices:
            choice[name] = torch.full_like(like, choice.get(name, like.item()))
    found, sample, way, arguments = _try_out(spec, cls, choices)
    rate, name, why = _rate(sample, signature, way, name, arguments)
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
            raise SpecError(f"{part.text!r}: {first_line(error)}") from None
        known = added.known and named.__module__.startswith(("gradbench.", "torch.optim."))
        added = replace(added, known=known)
        return replace(factory, schedules=added, modules=(*factory.modules, named.__module__))
    outer = _class(part)
    _check_keywords(part, inspect.signature(outer))
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


def names() -> list[str]:
    """Return the bare names that a spec may use, in lower case."""
    return sorted(
        _builtin() | {point.name.lower() for point in _entry_points()} | {*third_party.names()}
    )


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
    if (member := third_party.load(name)) is not None:
        return member
    near = difflib.get_close_matches(name, names(), n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"write {SHAPE}"
    raise SpecError(f"unknown optimizer {spec.name!r}; {hint} (gradbench list shows all names)")


def _is_optimizer(value: object) -> TypeGuard[type[Optimizer]]:
    return isinstance(value, type) and issubclass(value, Optimizer) and value is not Optimizer


def _check_keywords(spec: Spec, signature: inspect.Signature, *, first: bool = True) -> None:
    """Raise SpecError for an unknown argument; `first` excludes the callable's first parameter."""
    parameters = list(signature.parameters.values())[int(first) :]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    takes = [p.name for p in parameters]
    for key in spec.arguments:
        if key not in takes:
            raise SpecError(
                f"{spec.text!r}: {spec.name} has no argument {key!r}; it takes {', '.join(takes)}"
            )


def _named_once(cls: type[Optimizer]) -> list[inspect.Parameter]:
    """Return the constructor's parameters, each once, in an order that is valid in a signature."""
    own = list(inspect.signature(cls).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in own):  # a subclass that hands its arguments on
        names = {p.name for p in own}
        own += [p for p in parameters_of(cls) if p.name not in names]
        own = [p.replace(kind=p.KEYWORD_ONLY) if p.kind is not p.VAR_KEYWORD else p for p in own]
        return sorted(
            (p for p in own if p.kind is not p.VAR_POSITIONAL),
            key=lambda p: p.kind is p.VAR_KEYWORD,
        )
    return own


def _rate_name(spec: Spec, cls: type[Optimizer], signature: inspect.Signature) -> str:
    """Return the constructor's argument that takes the learning rate.

    Raises SpecError where the class names one that its constructor does not take.
    """
    name = str(getattr(cls, RATE, "lr"))
    variable = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    if name != "lr" and name not in signature.parameters and not variable:
        raise SpecError(
            f"{spec.text!r}: {RATE} of {cls.__name__} is {name!r}; its constructor takes "
            f"{', '.join(signature.parameters)}"
        )
    return name


def _tensor_rate(signature: inspect.Signature, name: str) -> Tensor | None:
    """Return a copy of the rate's default value where that is a tensor of one number."""
    default = signature.parameters[name].default if name in signature.parameters else None
    if not isinstance(default, Tensor) or default.numel() != 1:
        return None
    return default.detach().clone()


def _choices(spec: Spec, signature: inspect.Signature, name: str) -> list[dict[str, Any]]:
    """Return the arguments to try: the spec's, and with `DEFAULT_LR` where a rate may be required.

    A rate without a default is always passed. Where the default is None, or `**` may accept a rate,
    construction without it is tried first.
    """
    given = {"lr", name} & set(spec.arguments)
    rate = signature.parameters.get(name)
    plain, with_rate = dict(spec.arguments), {name: DEFAULT_LR} | spec.arguments
    if given:
        return [plain]
    if rate is None:
        variable = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
        return [plain, with_rate] if variable else [plain]
    if rate.default is rate.empty:
        return [with_rate]
    return [plain, with_rate] if rate.default is None else [plain]


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


def _rate(
    sample: Optimizer,
    signature: inspect.Signature,
    way: Requirements,
    name: str,
    arguments: Mapping[str, Any],
) -> tuple[float | None, str, str]:
    """Return the rate of a constructed optimizer, the argument that takes it, and why it has none.

    The rate is the first number among the given argument, the optimizer's defaults, its first
    parameter group and the argument's default value. The argument is empty where the parameter
    groups set their own rates.
    """
    parameters = signature.parameters
    variable = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    taken = name in parameters or variable
    if taken:
        default = parameters[name].default if name in parameters else None
        first = sample.param_groups[0] if sample.param_groups else {}
        for holds in (arguments, sample.defaults or {}, first, {name: default}):
            if (value := _number(holds.get(name))) is not None:
                return value, name, ""
    own = [_number(group.get("lr")) for group in sample.param_groups]
    if way.groups and own and own[0] is not None and None not in own:
        return own[0], "", ""
    if name not in parameters:
        more = " that can be read" if variable else ""
        return None, name, f"its constructor takes no {name}{more}"
    shown = "" if default is inspect.Parameter.empty else f", by default {default!r:.40}"
    return None, name, f"its {name}{shown}, is no number to start from"


def _number(value: object) -> float | None:
    """Return a rate as a float, where it is a number or a tensor of one; else None."""
    if isinstance(value, Tensor):
        return float(f"{value.item():.7g}") if value.numel() == 1 else None
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else None
