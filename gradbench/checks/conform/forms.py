"""Other forms of one optimizer that must take the same steps: flags, groups, round trips, types."""

import copy
import pickle
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch

from gradbench.checks.conform.comparison import STEPS, Conformance, Scope, compare
from gradbench.checks.conform.mistakes import options_of
from gradbench.checks.conform.number_type import SINGLE, number_type, said_single, single
from gradbench.checks.conform.runs import Run, Way
from gradbench.checks.conform.sides import Side
from gradbench.checks.options import uncompiled
from gradbench.optimizers.factory import Factory, resolve

SMALL = ("quadratic", "matrices", "groups")
"""The problems of a form that takes long, or whose numbers are rounded."""


class NotHereError(Exception):
    """The optimizer has no such form, or this machine cannot run it; the message says why."""


class Form(NamedTuple):
    """A form: its way to run, that of the optimizer beside it, and what is compared."""

    way: Way
    plain: Way = Way()
    scope: Scope = Scope()


def against(spec: str, form: str, *, steps: int = STEPS, only: Sequence[str] = ()) -> Conformance:
    """Compare an optimizer with itself in another form, one of `FORMS`; `only` names problems.

    They are run in float64, but for forms in another type; in float32 where the optimizer takes no
    other. What the optimizer itself compiles runs as it is written, but for the form `compiled`.
    Raises SpecError for a wrong spec, NotHereError where it has no such form or this machine cannot
    run it, and NothingComparedError where no problem could be compared.
    """
    factory = resolve(spec)
    with nullcontext() if form == "compiled" else uncompiled():
        chosen, note = _in_its_type(FORMS[form](factory), factory)
        sides = Side(spec, factory, chosen.plain), Side(f"{spec} ({form})", factory, chosen.way)
        found = compare(*sides, replace(chosen.scope, steps=steps, only=only or chosen.scope.only))
    return replace(found, notes=[*found.notes, *note])


def _in_its_type(form: Form, factory: Factory) -> tuple[Form, list[str]]:
    """Return the form in float32 for an optimizer that takes float32 only, with a note."""
    if form.way.dtype is not torch.float64 or number_type(factory) is torch.float64:
        return form, []
    plain, way = (single(each) for each in (form.plain, form.way))
    scope = replace(form.scope, tolerance=SINGLE, by_norm=True)
    return Form(way, plain, scope), [said_single(factory)]


def _flag(name: str, factory: Factory) -> Form:
    """Return the form with an option of torch's that changes how a step is computed."""
    if name not in options_of(factory):
        raise NotHereError(f"{factory.cls.__name__} has no option {name}")
    plain: dict[str, Any] = {
        flag: False for flag in ("foreach", "fused") if flag in options_of(factory)
    }
    device = "cpu"
    if name == "capturable":
        if not torch.accelerator.is_available():
            raise NotHereError("a step is captured by an accelerator, and there is none here")
        device = str(torch.accelerator.current_accelerator())
    return Form(Way({**plain, name: True}, device=device), Way(plain, device=device))


def _tensor_rate(factory: Factory) -> Form:
    if factory.rate is None or not factory.rate_name:
        raise NotHereError(f"{factory.cls.__name__} has no learning rate to pass as a tensor")
    rate = torch.tensor(factory.rate, dtype=number_type(factory))
    return Form(Way({"lr": rate}))


def _compiled(_: Factory) -> Form:
    def compile_step(run: Run) -> None:
        run.optimizer.step = torch.compile(run.optimizer.step)  # type: ignore[method-assign,assignment]

    return Form(Way(started=compile_step), scope=Scope(only=SMALL[:2]))


def _round_trip(change: Callable[[Run], None], factory: Factory) -> Form:
    if factory.schedules:
        raise NotHereError("a schedule holds the optimizer that it was given")
    return Form(Way(halfway=change))


def _state_dict(run: Run) -> None:
    """Go on with a new optimizer that has loaded the old one's state."""
    state = copy.deepcopy(run.optimizer.state_dict())
    run.optimizer = run.built()
    run.optimizer.load_state_dict(state)


def _copied(run: Run) -> None:
    run.parameters, run.optimizer = copy.deepcopy((run.parameters, run.optimizer))


def _pickled(run: Run) -> None:
    whole = pickle.dumps((run.parameters, run.optimizer))
    run.parameters, run.optimizer = pickle.loads(whole)  # noqa: S301  # what was dumped here


def _rounded(dtype: torch.dtype, tolerance: float, _: Factory) -> Form:
    """Return the form in another type; a step may be below its spacing, so norms are compared."""
    plain = Way(rounded=dtype)
    scope = Scope(tolerance=tolerance, only=SMALL, by_norm=True)
    return Form(Way(dtype=dtype, rounded=dtype), plain, scope)


FORMS: dict[str, Callable[[Factory], Form]] = {
    "foreach": partial(_flag, "foreach"),
    "fused": partial(_flag, "fused"),
    "capturable": partial(_flag, "capturable"),
    "compiled": _compiled,
    "tensor-lr": _tensor_rate,
    "groups": lambda _: Form(Way(apart=True)),
    "state-dict": partial(_round_trip, _state_dict),
    "deepcopy": partial(_round_trip, _copied),
    "pickle": partial(_round_trip, _pickled),
    "float32": partial(_rounded, torch.float32, SINGLE),
    "bfloat16": partial(_rounded, torch.bfloat16, 0.3),
}
"""The forms by name."""
