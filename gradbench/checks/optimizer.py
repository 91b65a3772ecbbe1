"""Conformance checks of an optimizer, each in seconds.

`gradbench check SPEC` prints them; `parametrize_with_checks` adds them to a user's test suite.

One file: a check is one function, and `CHECKS` lists them in the order in which they run.
"""

import copy
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from types import FrameType
from typing import Any

import pytest
import torch

from gradbench.checks.conform.runs import plain_paths_once
from gradbench.checks.contract.every import CONTRACT
from gradbench.checks.errors import CheckError, NotCheckedError
from gradbench.checks.options import STEPS as STEPS_TRIED
from gradbench.checks.options import NotTriedError, live_options, rate_matters, uncompiled
from gradbench.isolation.leftovers import Before
from gradbench.isolation.process_check import ProcessCheck
from gradbench.optimizers.factory import UnsupportedError, resolve
from gradbench.optimizers.quiet import quiet
from gradbench.results.record import Status, TrialResult
from gradbench.scenarios.saturation import Saturation
from gradbench.text import error_line
from gradbench.training.loop import Training
from gradbench.training.random_streams import isolated
from gradbench.training.runner import run, run_trial
from gradbench.training.trial import Trial

OPTIONS_SECONDS = 10.0
"""Time for trying an optimizer's options; a plain one takes a second or two."""

STEPS = 60
HALF = 5
BESIDE = 300


Check = Callable[[str], str]
"""Takes a spec; returns its finding as text, raises CheckError or NotCheckedError."""

Found = tuple[str, bool | None, str]
"""A check's name, whether it passed (None: not checked), and its finding."""


def _trial(spec: str, **changes: Any) -> Trial:  # noqa: ANN401
    """Return a trial of a small least-squares problem on a network of one hidden layer."""
    standard: dict[str, Any] = {"budget": STEPS, "batch": 32, "target_score": 2.0}
    scenario = Saturation(approach="dying", n=4, bias=0.0)
    return Trial(scenario=scenario, optimizer=spec, **(standard | changes))


def _run(spec: str, **changes: Any) -> TrialResult:  # noqa: ANN401
    result = run_trial(_trial(spec, **changes))
    if result.status == Status.UNSUPPORTED:
        raise NotCheckedError(f"unsupported: {result.reason}")
    if result.status == Status.CRASHED:
        raise CheckError(f"crashed: {result.reason}")
    return result


def constructs(spec: str) -> str:
    """Check that the optimizer can be constructed; return its requirements."""
    requirements = resolve(spec).requirements
    asked = [name for name, value in vars(requirements).items() if value]
    return f"needs {', '.join(asked)}" if asked else "needs gradients and step()"


def supports_a_network(spec: str) -> str:
    """Check that it accepts the parameters of a network with matrices and biases."""
    try:
        result = _run(spec, budget=1)
    except NotCheckedError as error:
        raise CheckError(str(error)) from None
    counted = result.gradient_evaluations + result.forward_evaluations
    return f"evaluations in the first step: {counted}"


def moves_parameters(spec: str) -> str:
    """Check that it changes the parameters."""
    result = _run(spec)
    if "parameters did not move" in result.notes:
        raise CheckError(f"the parameters are where they were after {STEPS} evaluations")
    return f"after {STEPS} evaluations"


def lowers_a_loss(spec: str) -> str:
    """Check that it lowers the loss of a least-squares problem at its own learning rate."""
    losses = [loss for _, _, loss in _run(spec, budget=10 * STEPS).curve]
    best = min(losses)
    if not best < losses[0]:
        raise CheckError(f"the loss began at {losses[0]:.3g} and was never lower")
    return f"from {losses[0]:.3g} to {best:.3g} at best in {10 * STEPS} evaluations"


def counts_evaluations(spec: str) -> str:
    """Check that every pass through the network is counted as an evaluation."""
    with isolated(_trial(spec)):
        result = TrialResult(0, Status.UNSOLVED)
        try:
            training = Training(_trial(spec), result)
        except UnsupportedError as error:
            raise NotCheckedError(f"unsupported: {error}") from None
        passes = 0

        def count(*_: object) -> None:
            nonlocal passes
            passes += 1

        training.network.register_forward_hook(count)
        training.mode("train")
        for inputs, labels in training.batches.take(HALF):
            training.step(inputs, labels)
    counted = result.gradient_evaluations + result.forward_evaluations
    if counted != passes:
        raise CheckError(f"{passes} passes through the network, {counted} counted")
    if not counted:
        raise CheckError("a step evaluates nothing")
    return f"{counted} in {HALF} steps"


def repeats(spec: str) -> str:
    """Check that two runs of one trial have the same curve, to the bit."""
    first, second = _run(spec), _run(spec)
    if first.curve != second.curve:
        raise CheckError("two runs of one trial differ")
    return "two runs are equal to the bit"


def leaves_nothing_behind(spec: str) -> str:
    """Check that a trial leaves the process unchanged; undo changes where that is possible."""
    process = ProcessCheck()
    trouble: Exception | None = None
    try:
        _run(spec, budget=HALF)
    except Exception as error:  # noqa: BLE001  # what it leaves may be what broke it
        trouble = error
    undone, stuck = process.left()
    if found := [*undone, *stuck]:
        raise CheckError(f"left behind: {', '.join(found)}")
    if trouble is not None:
        raise trouble
    return "settings, hooks, functions, threads, and what a short training by SGD comes to"


def resumes(spec: str) -> str:
    """Check that steps from a restored `state_dict` are the same, to the bit."""
    if _goes_on(spec):
        return f"{HALF} steps after the round trip are equal to the bit"
    try:
        repeats(spec)
    except CheckError:
        raise NotCheckedError("two runs differ without a round trip, too") from None
    raise CheckError("it goes on otherwise than it would have: its state_dict is not whole")


def _goes_on(spec: str) -> bool:
    """Return whether steps from a restored `state_dict` are the same, to the bit."""
    with isolated(_trial(spec)):
        try:
            results = (TrialResult(0, Status.UNSOLVED) for _ in "ab")
            whole, again = (Training(_trial(spec), result) for result in results)
        except UnsupportedError as error:
            raise NotCheckedError(f"unsupported: {error}") from None
        for training in (whole, again):
            training.mode("train")
        batches = whole.batches.take(1) * (2 * HALF)  # one batch: some diverge on changing ones
        for batch in batches[:HALF]:
            whole.step(*batch)
        weights, random = copy.deepcopy(whole.network.state_dict()), torch.get_rng_state()
        state = copy.deepcopy(whole.optimizer.state_dict())
        again.spent, schedules = whole.spent, [s.state_dict() for s in whole.schedules]
        for batch in batches[HALF:]:
            whole.step(*batch)
        again.network.load_state_dict(weights)
        try:
            again.optimizer.load_state_dict(state)
        except Exception as error:  # noqa: BLE001  # whatever it raises, it does not load
            raise CheckError(f"load_state_dict: {type(error).__name__}: {error}") from None
        for schedule, kept in zip(again.schedules, schedules, strict=True):
            schedule.load_state_dict(kept)
        torch.set_rng_state(random)
        for batch in batches[HALF:]:
            again.step(*batch)
        if not all(bool(p.isfinite().all()) for p in whole.network.parameters()):
            raise NotCheckedError(f"it diverges: not finite after {2 * HALF} steps on one batch")
        return all(map(torch.equal, whole.network.parameters(), again.network.parameters()))


def trains_alike_beside_others(spec: str) -> str:
    """Check that trials trained together, by default, have the losses of one at a time.

    For 60 evaluations, on a stack for 300, in float64 where that works: only the order of sums may
    differ.
    """
    steps = STEPS
    for dtype in ("float64", "float32"):
        if run(_trials(spec, steps, dtype))[0].path != "alone":
            steps = BESIDE
        trials = _trials(spec, steps, dtype)
        found = run(trials)[::2]  # the first and the last of three
        alone = run(trials[::2], stack="off")
        if any(result.status is not Status.CRASHED for result in alone):
            break
    tolerance = 1e-6 if dtype == "float64" else 0.05
    for one, other in zip(alone, found, strict=True):
        if one.status is not other.status:
            raise CheckError(f"{one.status} trained alone, {other.status} in a stack")
        for (spent, _, loss), (_, _, beside) in zip(one.curve, other.curve, strict=False):
            if abs(loss - beside) > tolerance * max(1.0, abs(loss)):
                raise CheckError(
                    f"loss {loss:.6g} trained alone, {beside:.6g} in a stack at {spent}"
                )
    together = found[0].path != "alone"
    return f"{'on a stack' if together else 'one trial at a time'}, {steps} steps in {dtype}"


def _trials(spec: str, steps: int, dtype: str) -> list[Trial]:
    return [_trial(spec, seed=seed, budget=steps, dtype=dtype) for seed in range(3)]


def options_matter(spec: str) -> str:
    """Check that each option of its constructor changes its steps; its learning rate must."""
    factory = resolve(spec)
    try:
        if not rate_matters(factory):
            raise CheckError(f"{factory.rate_name}, its learning rate, changes none of its steps")
        found = live_options(factory, OPTIONS_SECONDS)
    except NotTriedError as error:
        raise NotCheckedError(f"not tried: {error}") from None
    if found.dead:
        raise NotCheckedError(
            f"without effect in {STEPS_TRIED} steps: {', '.join(found.dead)}; {found.said()}"
        )
    return found.said()


def has_nothing_left_to_call(spec: str) -> str:
    """Check that the training loop calls every public method that its class adds to torch's."""
    cls = resolve(spec).cls
    own: dict[str, object] = {}
    for base in cls.__mro__:
        if base is torch.optim.Optimizer or base.__module__.startswith("torch."):
            break
        own |= {k: v for k, v in vars(base).items() if k not in own}
    methods = {
        name: value.__wrapped__ if hasattr(value, "__wrapped__") else value
        for name, value in own.items()
        if inspect.isfunction(value)
        and not name.startswith("_")
        and not hasattr(torch.optim.Optimizer, name)
    }
    called: set[object] = set()

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called.add(frame.f_code)

    sys.setprofile(profile)
    try:
        _run(spec)
    finally:
        sys.setprofile(None)
    left = [name for name, method in methods.items() if method.__code__ not in called]
    if left:
        raise NotCheckedError(
            f"never called: {', '.join(f'{name}()' for name in left)}; if its documentation asks "
            "the training loop to, it does not train here as its author meant"
        )
    return f"{len(methods)} public methods of its own, each called"


def runs_on_the_device(spec: str) -> str:
    """Check that it trains on the accelerator."""
    if not torch.accelerator.is_available():
        raise NotCheckedError("no accelerator here")
    device = torch.accelerator.current_accelerator()
    _run(spec, device=str(device))
    return str(device)


CHECKS: tuple[Check, ...] = (
    constructs,
    supports_a_network,
    moves_parameters,
    lowers_a_loss,
    counts_evaluations,
    repeats,
    resumes,
    trains_alike_beside_others,
    options_matter,
    has_nothing_left_to_call,
    leaves_nothing_behind,
    runs_on_the_device,
    *CONTRACT,
)


COMPILED = (supports_a_network, moves_parameters, lowers_a_loss)
"""The checks in which an optimizer's functions are compiled where it compiles them. The others run
them as Python: the steps are the same, and each would compile for shapes of its own."""


def run_checks(spec: str, progress: Callable[[str], None] = lambda _: None) -> list[Found]:
    """Return what each check found, in their order.

    Of checks that fail by one error of the optimizer the first has failed, and the others are not
    checked. `progress` is called before each check with a line that names it. Raises SpecError
    where the spec cannot be resolved.
    """
    resolve(spec)
    with plain_paths_once():
        return _run_checks(spec, progress)


def _run_checks(spec: str, progress: Callable[[str], None]) -> list[Found]:
    found: list[Found] = []
    errors: dict[str, str] = {}  # the first check that failed by an error of the optimizer
    for number, check in enumerate(CHECKS, 1):
        name = check.__name__.replace("_", " ")
        progress(f"{spec}: check {number} of {len(CHECKS)}: {name}")
        before = Before()
        try:
            with quiet(), nullcontext() if check in COMPILED else uncompiled():
                seen = check(spec)
            found.append((name, True, seen))
        except NotCheckedError as error:
            found.append((name, None, str(error)))
        except CheckError as error:
            found.append(_failed(name, str(error), errors))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # from the optimizer itself
            found.append(_failed(name, f"raised {error_line(error)}", errors))
        finally:
            before.left()
    return found


def _failed(name: str, said: str, errors: dict[str, str]) -> Found:
    """Return a failed check; one that was not checked where an earlier one had the same error."""
    error = re.match(r"(?:crashed: |raised )(.*?)(?: \(\S+:\d+\))?$", said)
    if error is None:
        return name, False, said
    earlier = errors.setdefault(error[1], name)
    return (name, False, said) if earlier == name else (name, None, f"the error of '{earlier}'")


def parametrize_with_checks(specs: Sequence[str]) -> pytest.MarkDecorator:
    """Return a decorator that gives a test every spec with every check.

    >>> from gradbench import parametrize_with_checks
    >>> @parametrize_with_checks(["adam", "sgd:lr=0.1"])
    ... def test_optimizer(spec, check):
    ...     check(spec)
    """
    pairs = [
        pytest.param(spec, check, id=f"{spec}-{check.__name__}")
        for spec in specs
        for check in CHECKS
    ]
    return pytest.mark.parametrize(("spec", "check"), pairs)


def parametrize_with_conformance(pairs: Sequence[tuple[str, str]]) -> pytest.MarkDecorator:
    """Return a decorator that gives a test, for each pair of specs, a call that compares them.

    The call raises CheckError where the two are not the same algorithm.

    >>> from gradbench import parametrize_with_conformance
    >>> @parametrize_with_conformance([("adamw", "my_package.optim:AdamW")])
    ... def test_port(conforms):
    ...     conforms()
    """
    calls = [pytest.param(partial(_conforms, a, b), id=f"{a}-{b}") for a, b in pairs]
    return pytest.mark.parametrize("conforms", calls)


def _conforms(a: str, b: str) -> None:
    from gradbench.checks.conform.comparison import conform
    from gradbench.checks.conform.text import verdict

    found = conform(a, b)
    if not found.same:
        raise CheckError("; ".join(verdict(found)))
