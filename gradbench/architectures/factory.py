"""Resolution of an architecture spec to a factory of networks that replace a case's own."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from gradbench.architectures import gallery
from gradbench.imports import imported
from gradbench.scenarios.base import Scenario
from gradbench.scenarios.draws import Draws
from gradbench.spec import Spec, SpecError, parse

GIVEN = ("input_shape", "output_size")
"""Keyword arguments with which every factory is called."""

Factory = Callable[..., nn.Module]


class FixedError(Exception):
    """The case fixes its network, or this one does not fit it; the message says why."""


@functools.cache
def resolve(text: str) -> Factory:
    """Return the factory of an architecture spec, with its arguments checked and bound.

    Raises SpecError, in one line, where the name, the module or an argument is wrong.
    """
    try:
        spec = parse(text)
    except SpecError as error:
        if "is no optimizer spec" not in str(error):
            raise
        shape = "a name, or module:factory or ./file.py:factory[:key=value,...]"
        raise SpecError(f"{text!r} is no architecture; write {shape}") from None
    if spec.added:
        raise SpecError(f"{text!r}: an architecture is one part; + joins optimizers")
    factory = _named(spec) if spec.source is None else imported(spec, spec.source, _is_factory)
    if not callable(factory):
        raise SpecError(f"{text!r}: {spec.name} cannot be called")
    try:
        inspect.signature(factory).bind(**dict.fromkeys(GIVEN), **spec.arguments)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"{text!r}: {spec.name} is called with input_shape, output_size and the spec's "
            f"arguments: {error}"
        ) from None
    return functools.partial(factory, **spec.arguments)


def module(text: str) -> str:
    """Return the name of the module that defines a spec's factory."""
    factory: Any = resolve(text)
    return str(factory.func.__module__)


def names() -> list[str]:
    """Return the bare names that a spec may use."""
    return sorted(name for name, value in vars(gallery).items() if _is_factory(value))


def _named(spec: Spec) -> object:
    if spec.name not in names():
        raise SpecError(
            f"unknown architecture {spec.name!r}; there are paper, {', '.join(names())}, "
            "package.module:factory and ./file.py:factory"
        )
    return getattr(gallery, spec.name)


def _is_factory(value: object) -> bool:
    if not callable(value) or inspect.isbuiltin(value):
        return False
    try:
        return set(GIVEN) <= set(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return False


def build(scenario: Scenario, text: str, draws: Draws) -> nn.Module:
    """Build a spec's network for a scenario, initialised from torch's global generator.

    Weights outside the replaced part are drawn from `draws`.
    Raises FixedError where the scenario fixes its network or where this one does not fit it.
    """
    factory = resolve(text)

    def made(**shapes: Any) -> nn.Module:  # noqa: ANN401
        found = factory(**shapes)
        if not isinstance(found, nn.Module):
            raise TypeError(f"it returned {type(found).__name__}, no torch.nn.Module")
        return found

    try:
        network = scenario.open_network(made, draws)
    except Exception as error:
        raise FixedError(f"{text} does not fit: {type(error).__name__}: {error}") from error
    if network is None:
        raise FixedError(f"{scenario.name} fixes its network here")
    _check(scenario, network, text)
    return network


def _check(scenario: Scenario, network: nn.Module, text: str) -> None:
    """Raise FixedError where the network does not fit.

    It must return a tensor of the shape that the case's own network returns, leave its inputs as
    they are, and have parameters that are trained.
    """
    draws = Draws(0)
    inputs, _ = scenario.sample(scenario.draw_target(draws), 2, draws)
    before = inputs.clone()
    network.eval()
    try:
        with torch.no_grad():
            outputs: Any = network(inputs)
    except Exception as error:
        raise FixedError(f"{text} does not fit: {type(error).__name__}: {error}") from error
    finally:
        network.train()
    if not torch.equal(inputs, before):
        raise FixedError(f"{text} changes its inputs, which are evaluated again: copy them first")
    if not isinstance(outputs, torch.Tensor):
        raise FixedError(f"{text} does not fit: it returns {type(outputs).__name__}, no tensor")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        wanted = scenario.network(draws)(inputs).shape
    if outputs.shape != wanted:
        shapes = f"{tuple(outputs.shape)}, not {tuple(wanted)}"
        raise FixedError(f"{text} does not fit: two outputs of shape {shapes}")
    if not any(p.requires_grad for p in network.parameters()):
        raise FixedError(f"{text} has no parameters that could be trained")
