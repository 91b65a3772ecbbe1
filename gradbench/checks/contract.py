"""What torch's own tests hold for its optimizers, for any optimizer.

Each function is a check as in `optimizer.py`: it takes a spec, returns its finding as text, raises
CheckError where a step is silently wrong, and NotCheckedError where the optimizer refuses.

One file: the checks share the problems, the way to run an optimizer, and their exceptions.
"""

import functools
import gc
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradbench.checks.conform.comparison import NothingComparedError
from gradbench.checks.conform.forms import NotHereError, against
from gradbench.checks.conform.gaps import Gap, gap
from gradbench.checks.conform.mistakes import options_of
from gradbench.checks.conform.number_type import SINGLE, STEPS, number_type
from gradbench.checks.conform.problems import UNUSED, problem_named
from gradbench.checks.conform.runs import Path, Run, Way, path
from gradbench.checks.errors import CheckError, NotCheckedError
from gradbench.checks.host_waits import waits_for_no_device
from gradbench.optimizers.factory import Factory, resolve
from gradbench.optimizers.schedules import Schedules
from gradbench.optimizers.stepping import call_step
from gradbench.spec import SpecError
from gradbench.text import error_line
from gradbench.torch_state import unchanged

BRIEF = ("matrices", "groups")
"""The problems on which an optimizer is compared with itself; `gradbench conform` uses all."""

SHORT, LONG = 100, 1000
"""Steps between which memory may not grow."""

MEMORY_SECONDS = 3.0
"""Time for these steps, from which on fewer are taken."""

FEW = 5
"""Steps in which rounding stays rounding, also where it grows."""

ROUNDING = 1e-9
"""Largest relative difference by another order of sums, in float64."""

ELSEWHERE = 1e-3
"""Largest difference of steps in float32 on two devices, relative to a parameter's norm."""


def _loud(check: Callable[[str], str]) -> Callable[[str], str]:
    """Return a check that raises NotCheckedError where the optimizer raises: that is not silent."""

    @functools.wraps(check)
    def checked(spec: str) -> str:
        try:
            return check(spec)
        except (CheckError, NotCheckedError, SpecError):
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever an optimizer raises
            raise NotCheckedError(f"refused: {error_line(error)}") from None

    return checked


def _way(factory: Factory, options: Mapping[str, Any] | None = None, **changes: Any) -> Way:  # noqa: ANN401
    """Return a way to run an optimizer in the type of numbers that it takes."""
    dtype = number_type(factory)
    return Way(options or {}, dtype=dtype, rounded=dtype, **changes)


def _path(factory: Factory, name: str, way: Way | None = None, steps: int = STEPS) -> Path:
    return path(factory, problem_named(name), way or _way(factory), steps)


def _gap(one: Path, other: Path, factory: Factory) -> Gap | None:
    """Return where two paths differ by more than another order of sums explains."""
    single = number_type(factory) is torch.float32
    return gap(one, other, SINGLE if single else ROUNDING, by_norm=single)


def _same(spec: str, form: str, said: str) -> str:
    """Check that an optimizer equals itself in another form."""
    try:
        found = against(spec, form, steps=STEPS, only=BRIEF)
    except (NotHereError, NothingComparedError) as error:
        raise NotCheckedError(str(error)) from None
    if found.same:
        return said
    first = found.first
    if first is not None and first.trouble:
        raise NotCheckedError(f"refused: {first.trouble.removeprefix('B alone raises ')}")
    why = f"; {found.diagnosis}" if found.diagnosis else ""
    raise CheckError(f"{first.problem if first else ''}: {first.said() if first else ''}{why}")


@_loud
def steps_groups_as_several_optimizers(spec: str) -> str:
    """Check that parameters in groups of their own take the steps that they take in one."""
    return _same(spec, "groups", "one group for each parameter is one group for all")


@_loud
def goes_on_after_deepcopy(spec: str) -> str:
    """Check that a deep copy of parameters and optimizer goes on as they would have."""
    return _same(spec, "deepcopy", "a deep copy takes the same steps")


@_loud
def goes_on_after_pickle(spec: str) -> str:
    """Check that unpickled parameters and optimizer go on as they would have."""
    return _same(spec, "pickle", "what was pickled takes the same steps")


@_loud
def takes_its_rate_as_a_tensor(spec: str) -> str:
    """Check that the learning rate may be a tensor."""
    return _same(spec, "tensor-lr", "the same steps")


@_loud
def adds_a_group_later(spec: str) -> str:
    """Check that `add_param_group` works after some steps, and that its parameter is trained."""
    found = _path(resolve(spec), "groups")
    if torch.equal(found[-1]["later"], found[0]["later"]):
        raise CheckError("a parameter that was added after ten steps is never changed")
    return "a parameter that is added after ten steps is trained"


@_loud
def accepts_odd_parameters(spec: str) -> str:
    """Check a scalar, an empty one, other memory layouts, and one without a gradient."""
    factory = resolve(spec)
    found = _path(factory, "odd shapes")
    if not torch.equal(found[-1][UNUSED], found[0][UNUSED]):
        if factory.requirements.closure:
            raise NotCheckedError("it takes a closure, and steps without gradients")
        raise CheckError("a parameter whose gradient is None is changed")
    still = [n for n, p in found[-1].items() if p.numel() and torch.equal(p, found[0][n])]
    if still != [UNUSED]:
        raise CheckError(f"never changed: {', '.join(n for n in still if n != UNUSED)}")
    return "a scalar, an empty tensor, transposed, channels last, without a gradient"


@_loud
def zeroes_gradients_both_ways(spec: str) -> str:
    """Check that gradients set to zero and to None give the same steps."""
    factory = resolve(spec)

    def zeros(run: Run) -> None:
        for p in run.optimizer.param_groups[0]["params"]:
            p.grad = torch.zeros_like(p)
        run.optimizer.zero_grad(set_to_none=False)
        if any(p.grad is None or p.grad.any() for p in run.optimizer.param_groups[0]["params"]):
            raise CheckError("zero_grad(set_to_none=False) leaves no gradient of zero")
        run.optimizer.zero_grad(set_to_none=True)
        if any(p.grad is not None for p in run.optimizer.param_groups[0]["params"]):
            raise CheckError("zero_grad(set_to_none=True) leaves a gradient")

    _path(factory, "matrices", _way(factory, after=zeros), steps=2)
    return "to zero and to None"


@_loud
def evaluates_a_closure(spec: str) -> str:
    """Check that `step(closure)` calls it with gradients, also under no_grad, for its loss."""
    factory = resolve(spec)
    needs = factory.requirements
    if needs.fused or needs.create_graph:
        raise NotCheckedError("it takes no closure")
    way = _way(factory)
    with unchanged(way.dtype):
        run = Run(factory, problem_named("matrices"), way, STEPS)
        called: list[bool] = []

        def closure() -> Tensor:
            called.append(torch.is_grad_enabled())
            run.optimizer.zero_grad()
            loss = run.loss()
            if torch.is_grad_enabled() and not needs.forward_closure:
                loss.backward()
            return loss

        if needs.gradients_first:
            closure()
        called.clear()
        returned: object = None
        with torch.no_grad():
            if needs.closure:
                call_step(run.optimizer, needs, closure)
            else:
                returned = run.optimizer.step(closure)  # type: ignore[arg-type]  # as in stepping
    if not called:
        raise NotCheckedError("step(closure) does not call the closure: a loop must not rely on it")
    if not needs.closure and not called[0]:
        raise CheckError("under torch.no_grad(), step(closure) calls the closure without gradients")
    if not needs.closure and returned is None:
        raise CheckError("step(closure) does not return the loss")
    return f"{len(called)} times, with gradients"


@_loud
def calls_hooks(spec: str) -> str:
    """Check that hooks of `step` and of `state_dict` are called.

    A step that calls that of its base class calls them twice.
    """
    factory = resolve(spec)
    way = _way(factory)
    with unchanged(way.dtype):
        run = Run(factory, problem_named("matrices"), way, STEPS)
        seen: list[str] = []
        optimizer = run.optimizer
        optimizer.register_step_pre_hook(lambda *_: seen.append("step pre-hook"))
        optimizer.register_step_post_hook(lambda *_: seen.append("step post-hook"))
        optimizer.register_state_dict_pre_hook(lambda *_: seen.append("state_dict pre-hook"))
        optimizer.register_load_state_dict_post_hook(lambda *_: seen.append("load post-hook"))
        run.step()
        optimizer.load_state_dict(optimizer.state_dict())
    wanted = ("step pre-hook", "step post-hook", "state_dict pre-hook", "load post-hook")
    if missing := [name for name in wanted if name not in seen]:
        raise CheckError(f"never called: {', '.join(missing)}")
    return ", ".join(wanted)


@_loud
def loads_its_state_into_another_type(spec: str) -> str:
    """Check that a float64 `state_dict` loads beside float32 parameters, and back."""
    factory = resolve(spec)
    if factory.schedules:
        raise NotCheckedError("a schedule holds the optimizer that it was given")
    if number_type(factory) is torch.float32:
        raise NotCheckedError("it takes float32 only")
    runs = []
    for dtype in (torch.float64, torch.float32):
        with unchanged(dtype):
            runs.append(Run(factory, problem_named("matrices"), Way(dtype=dtype), STEPS))
            for _ in range(3):
                runs[-1].step()
    wide, narrow = runs
    for here, there in ((wide, narrow), (narrow, wide)):
        before = _types(there.optimizer)
        there.optimizer.load_state_dict(here.optimizer.state_dict())
        with unchanged(there.way.dtype):
            there.step()
        bad = sorted(_types(there.optimizer) - before)
        if bad:
            raise CheckError(f"after loading into {there.way.dtype}: {', '.join(bad)}")
    return "float64 to float32 and back"


def _types(optimizer: Optimizer) -> set[str]:
    """Return the types of state that is of a parameter's shape, by name."""
    return {
        f"{key}: {value.dtype}"
        for p, state in optimizer.state.items()
        for key, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.shape == p.shape
    }


@_loud
def loads_its_state_on_another_device(spec: str) -> str:
    """Check that it goes on by its `state_dict` on the accelerator, and then on the CPU again."""
    if not torch.accelerator.is_available():
        raise NotCheckedError("no accelerator here")
    factory = resolve(spec)
    if factory.schedules:
        raise NotCheckedError("a schedule holds the optimizer that it was given")
    device = str(torch.accelerator.current_accelerator())
    moves = {STEPS // 3: device, 2 * STEPS // 3: "cpu"}

    def move(run: Run) -> None:
        if run.spent in moves:
            run.move(moves[run.spent])

    single = Way(dtype=torch.float32, rounded=torch.float32)  # some accelerators have no float64
    plain = _path(factory, "matrices", single)
    moved = _path(factory, "matrices", replace(single, after=move))
    if found := gap(plain, moved, ELSEWHERE, by_norm=True):
        where = "before it moved" if found.step <= STEPS // 3 else f"moved to {device} and back"
        raise CheckError(f"{where}, its step {found.step} differs by {found.relative:.1e}")
    return f"to {device} and back"


@_loud
def maximizes(spec: str) -> str:
    """Check that `maximize` on the negative loss takes the steps of minimizing the loss."""
    factory = resolve(spec)
    if not isinstance(options_of(factory).get("maximize"), bool):
        raise NotCheckedError("it has no option maximize")
    plain = _path(factory, "matrices", _way(factory, {"maximize": False}))
    other = _path(factory, "matrices", _way(factory, {"maximize": True}))
    if found := _gap(plain, other, factory):
        raise CheckError(
            f"on the negative loss its step {found.step} differs by {found.relative:.1e}"
        )
    return "on the negative loss, the same steps"


@_loud
def depends_on_no_global_seed(spec: str) -> str:
    """Check that torch's global seed changes no step."""
    factory = resolve(spec)
    one = _path(factory, "matrices")

    def reseed(_: Run) -> None:
        torch.manual_seed(12345)

    if gap(one, _path(factory, "matrices", _way(factory, started=reseed)), 0.0):
        raise NotCheckedError("its steps depend on torch's global seed: it draws random numbers")
    return "two seeds, the same bits"


@_loud
def depends_on_no_order(spec: str) -> str:
    """Check that the order in which it is given parameters changes steps by rounding only."""
    depends_on_no_global_seed(spec)  # else there is nothing to see
    factory, problem = resolve(spec), problem_named("matrices")
    if factory.requirements.groups:  # the last matrix is not one of the hidden ones
        raise NotCheckedError("its groups are made by the order of the parameters")
    turned = replace(problem, make=lambda dtype: dict(reversed(problem.make(dtype).items())))
    one = _path(factory, "matrices", steps=FEW)
    other = path(factory, turned, _way(factory), FEW)
    if found := _gap(one, other, factory):
        raise CheckError(
            f"given in the opposite order, its step {found.step} differs by {found.relative:.1e}"
        )
    return "given in the opposite order, the same steps"


@_loud
def trains_complex_parameters(spec: str) -> str:
    """Check that a complex parameter steps as its real and imaginary parts would."""
    factory = resolve(spec)
    if not factory.of_torch and "complex" not in str(getattr(factory.cls, "__doc__", "")).lower():
        raise NotCheckedError("it does not say that it takes complex parameters")
    with unchanged(torch.float64):
        holder = nn.Module()
        p = nn.Parameter(torch.tensor([[1.0 + 2.0j, -0.5 + 0.3j]], dtype=torch.complex128))
        holder.register_parameter("p", p)
        try:
            optimizer = factory.build(holder, {}, steps=5, examples=5)
            for _ in range(5):
                optimizer.zero_grad()
                p.abs().square().sum().backward()
                call_step(optimizer, factory.requirements, lambda: p.abs().square().sum())
        except Exception as error:  # noqa: BLE001  # it need not take them
            raise NotCheckedError(f"not taken: {error_line(error)}") from None
        if not bool(torch.isfinite(torch.view_as_real(p.detach())).all()):
            raise CheckError("a complex parameter is not finite after five steps")
    return "five steps on a complex parameter"


@_loud
def keeps_its_memory(spec: str) -> str:
    """Check that the number of tensors does not grow from step 100 to step 1,000.

    A slow optimizer takes as many as it can in some seconds, but at least 200.
    """
    factory = replace(resolve(spec), schedules=Schedules())  # one may end before
    long = LONG // 5 if factory.requirements.closure else LONG  # a step may evaluate twenty times
    once = problem_named("matrices")
    again = replace(
        once,
        make=lambda dtype: {"wide": once.make(dtype)["wide"]},
        loss=lambda there, step: once.loss(there, step % SHORT),
    )
    way = _way(factory)
    with unchanged(way.dtype):
        run = Run(factory, again, way, long)
        begun = time.monotonic()
        for _ in range(SHORT):  # in which the problem makes all its tensors
            run.step()
        before, some = _held(run.optimizer)
        in_time = int(SHORT * MEMORY_SECONDS / (time.monotonic() - begun))
        long = max(2 * SHORT, min(long, in_time))
        for _ in range(long - SHORT):
            run.step()
        after, more = _held(run.optimizer)
    if after > before:
        raise CheckError(f"its state grows from {before} to {after} bytes in {long} steps")
    if more > some + 10:
        raise CheckError(f"{more - some} tensors more are alive after {long} steps")
    numbers = sum(p.numel() * p.element_size() for p in run.parameters.values())
    return f"state of {before / numbers:.2g} times the parameters, no growth in {long} steps"


def _held(optimizer: Optimizer) -> tuple[int, int]:
    """Return the bytes of the optimizer's state and the number of tensors that are alive."""
    gc.collect()
    return _bytes(optimizer), _tensors()


def state_over_parameters(factory: Factory) -> float:
    """Return the bytes of the optimizer's state after a few steps over those of its parameters."""
    way = _way(factory)
    with unchanged(way.dtype):
        run = Run(factory, problem_named("matrices"), way, FEW)
        for _ in range(FEW):
            run.step()
        numbers = sum(p.numel() * p.element_size() for p in run.parameters.values())
        return _bytes(run.optimizer) / numbers


def _tensors() -> int:
    """Return the number of tensors that are alive."""
    alive = Counter(map(type, gc.get_objects()))
    return sum(number for kind, number in alive.items() if issubclass(kind, Tensor))


def _bytes(optimizer: Optimizer) -> int:
    """Return the bytes of all tensors in the optimizer's state, also in nested containers."""
    seen: dict[int, int] = {}
    waiting: list[Any] = list(optimizer.state.values())
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            seen[id(value)] = value.numel() * value.element_size()
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple | set):
            waiting += value
    return sum(seen.values())


CONTRACT: tuple[Callable[[str], str], ...] = (
    steps_groups_as_several_optimizers,
    adds_a_group_later,
    accepts_odd_parameters,
    zeroes_gradients_both_ways,
    evaluates_a_closure,
    calls_hooks,
    loads_its_state_into_another_type,
    loads_its_state_on_another_device,
    takes_its_rate_as_a_tensor,
    goes_on_after_deepcopy,
    goes_on_after_pickle,
    maximizes,
    depends_on_no_global_seed,
    depends_on_no_order,
    trains_complex_parameters,
    keeps_its_memory,
    waits_for_no_device,
)
