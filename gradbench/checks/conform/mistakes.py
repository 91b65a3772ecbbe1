"""What is known to go wrong in implementations: each mistake as a change of a right one's run."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch

from gradbench.checks.conform.problems import problems
from gradbench.checks.conform.reference import EPS
from gradbench.checks.conform.runs import Path, Run, Way
from gradbench.checks.options import WAYS_OF_COMPUTING
from gradbench.optimizers.factory import Factory, resolve
from gradbench.optimizers.signatures import parameters_of

REFERENCE = "gradbench.checks.conform.reference:Reference"


class Mistake(NamedTuple):
    """What an implementation may do otherwise, in words, and how to run an optimizer that does.

    `base`, if any, is a way whose path must be the right implementation's for this to apply.
    """

    said: str
    factory: Factory
    way: Way
    base: Way | None = None


def mistakes(
    factory: Factory, options: Mapping[str, Any], ours: Path, theirs: Path
) -> Iterator[Mistake]:
    """Yield the mistakes that could take an optimizer's path with these options to `theirs`."""
    for said, way in (
        *_scaled(options, ours, theirs),
        *_decays(options_of(factory) | dict(options), options),
        *_options(factory, options),
        *_counts(options),
        *_forgotten(factory, options, ours, theirs),
    ):
        yield Mistake(said, factory, way)
    yield from _formulas(factory, options)


def options_of(factory: Factory) -> dict[str, Any]:
    """Return the constructor's options with their values in the spec, else their defaults."""
    found = {p.name: p.default for p in parameters_of(factory.cls) if p.default is not p.empty}
    return found | factory.hyperparameters


Change = tuple[str, Way]


def _scaled(options: Mapping[str, Any], ours: Path, theirs: Path) -> Iterator[Change]:
    """Yield an update that is a multiple of the other one, by the first step's updates."""
    moved = [
        ((theirs[1][name] - theirs[0][name]).flatten(), (ours[1][name] - ours[0][name]).flatten())
        for name in ours[0]
    ]
    b, a = (torch.cat(side) for side in zip(*moved, strict=True))
    used = a.abs() > 1e-12 * a.abs().max() if a.numel() and a.abs().max() > 0 else a > 1
    if not bool(used.any()):
        return
    factor = float((b[used] / a[used]).median())

    def scale(run: Run) -> None:
        for name, p in run.parameters.items():
            old = run.old[name].to(p)
            p.copy_(old + factor * (p - old))

    yield _factor_in_words(factor), Way(options, after=scale)


def _factor_in_words(factor: float) -> str:
    if abs(factor + 1) < 1e-6:
        return "it steps in the opposite direction: a minus too many, or `maximize` ignored"
    shards = ""
    for count in range(2, 9):
        for ratio, done in (
            (count, "summed, not averaged,"),
            (1 / count, "averaged once too often"),
        ):
            if abs(factor - ratio) < 1e-6 * ratio:
                shards = f" (as if {done} over {count} shards)"
    return f"its rate is off by a constant: its steps are {factor:.10g} times as long{shards}"


def _decays(known: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[Change]:
    """Yield weight decay of every kind, in place of the optimizer's own."""
    value = known.get("weight_decay")
    decay = float(value) if isinstance(value, int | float) else 0.0
    if not decay:
        return
    without = {**options, "weight_decay": 0.0}

    def coupled(times: float) -> Callable[[Run], None]:
        return partial(
            _into_gradients, -times * decay if options.get("maximize") else times * decay
        )

    def decoupled(times: float, *, by_rate: bool = True) -> Callable[[Run], None]:
        return partial(_into_parameters, times * decay, by_rate)

    yield "its weight decay is ignored", Way(without)
    yield "its weight decay is coupled: added to the gradient", Way(without, before=coupled(1))
    yield (
        "its weight decay is decoupled: subtracted from the parameters before the step",
        Way(without, before=decoupled(1)),
    )
    yield (
        "its weight decay is decoupled and comes after the step, not before it",
        Way(without, after=decoupled(1)),
    )
    yield (
        "its weight decay is decoupled and not multiplied by the rate",
        Way(without, before=decoupled(1, by_rate=False)),
    )
    yield "its weight decay is coupled, and applied twice", Way(without, before=coupled(2))
    yield "its weight decay is decoupled, and applied twice", Way(without, before=decoupled(2))
    yield (
        "its weight decay is both coupled and decoupled",
        Way(without, before=lambda run: (coupled(1)(run), decoupled(1)(run))[0]),
    )
    yield "its weight decay has the wrong sign, coupled", Way(without, before=coupled(-1))
    yield "its weight decay has the wrong sign, decoupled", Way(without, before=decoupled(-1))


def _into_gradients(decay: float, run: Run) -> None:
    for p in run.parameters.values():
        if p.grad is not None:
            p.grad.add_(p, alpha=decay)


def _into_parameters(decay: float, by_rate: bool, run: Run) -> None:  # noqa: FBT001
    for group in run.optimizer.param_groups:
        factor = 1 - decay * (float(group["lr"]) if by_rate else 1.0)
        for p in group["params"]:
            if p.grad is not None:
                p.mul_(factor)


def _options(factory: Factory, options: Mapping[str, Any]) -> Iterator[Change]:
    """Yield options that are ignored, exchanged or toggled."""
    known = options_of(factory) | dict(options)
    betas = known.get("betas")
    if isinstance(betas, tuple | list) and len(betas) >= 2:
        swapped = (betas[1], betas[0], *betas[2:])
        yield "its betas are swapped", Way({**options, "betas": swapped})
        yield "its first beta is ignored", Way({**options, "betas": (0.0, *betas[1:])})
    for name in ("momentum", "eps", "dampening"):
        value = known.get(name)
        if isinstance(value, float) and value:
            yield f"its {name} is ignored", Way({**options, name: 0.0})
    if known.get("momentum") and "dampening" in known:
        damped = {**options, "dampening": known["momentum"]}
        yield "its momentum is an average: dampened like (1 - momentum)", Way(damped)
    for name, value in known.items():
        if isinstance(value, bool) and name not in WAYS_OF_COMPUTING:
            toggled = {**options, name: not value}
            yield f"it acts as if {name} were {not value}", Way(toggled)


def _counts(options: Mapping[str, Any]) -> Iterator[Change]:
    """Yield counts of steps, on which bias corrections depend, that are off."""

    def ahead(run: Run) -> None:
        """Take a step along gradients of zero, and undo what it did to the parameters."""
        old = run.copies()
        for p in run.parameters.values():
            p.grad = torch.zeros_like(p)
        run.optimizer.step()
        with torch.no_grad():
            for name, p in run.parameters.items():
                p.copy_(old[name])
        run.optimizer.zero_grad()

    def counted(count: float, run: Run) -> None:
        for state in run.optimizer.state.values():
            if "step" in state:
                state["step"] = state["step"] * 0 + count

    def missing(run: Run) -> None:
        ahead(run)
        counted(1e9, run)

    def behind(run: Run) -> None:
        if run.spent == 0:
            counted(0.0, run)

    yield "its bias correction is missing", Way(options, started=missing)
    yield "its bias correction counts one step ahead", Way(options, started=ahead)
    yield "its bias correction counts one step behind", Way(options, after=behind)


def _forgotten(
    factory: Factory, options: Mapping[str, Any], ours: Path, theirs: Path
) -> Iterator[Change]:
    """Yield state that is lost halfway, where the paths were equal up to there."""
    half = len(ours) // 2
    if any(not torch.equal(ours[half][name], theirs[half][name]) for name in ours[half]):
        return

    def zero(key: str, run: Run) -> None:
        for state in run.optimizer.state.values():
            if key in state:
                state[key] = state[key] * 0

    yield "it loses its state on the way", Way(options, halfway=lambda r: r.optimizer.state.clear())
    run = Run(factory, problems()[0], Way(options), steps=1)
    run.step()
    for key in dict.fromkeys(key for state in run.optimizer.state.values() for key in state):
        yield f"it loses its state {key!r} on the way", Way(options, halfway=partial(zero, key))


def _formulas(factory: Factory, options: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield Adam or RMSprop by its formula, with eps or bias corrections otherwise."""
    known = options_of(factory) | dict(options)
    eps, betas = known.get("eps"), known.get("betas")
    if known.get("weight_decay") or not isinstance(eps, float):
        return
    if isinstance(betas, tuple | list) and len(betas) == 2:
        given: dict[str, Any] = {"beta1": betas[0], "beta2": betas[1], "correct": (True, True)}
    elif isinstance(known.get("alpha"), float):
        given = {"beta1": None, "beta2": known["alpha"], "correct": (False, False)}
    else:
        return
    given |= {"lr": known.get("lr", math.nan), "eps": eps}
    reference, base = resolve(REFERENCE), Way(given)
    for place in EPS:
        changed = {**given, "eps_place": place}
        yield Mistake(f"its eps is {place}", reference, Way(changed), base)
    if given["beta1"] is None:
        return
    for count, said in ((1, "ahead"), (-1, "behind")):
        changed = {**given, "ahead": count}
        yield Mistake(f"its bias correction counts one step {said}", reference, Way(changed), base)
    for correct, said in (
        ((False, True), "its bias correction of the first moment is missing"),
        ((True, False), "its bias correction of the second moment is missing"),
        ((False, False), "its bias corrections are missing"),
    ):
        yield Mistake(said, reference, Way({**given, "correct": correct}), base)
