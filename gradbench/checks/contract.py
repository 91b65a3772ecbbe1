"""What torch's own tests hold for its optimizers, for any optimizer.

Each function is a check as in `optimizer.py`: it takes a spec, returns its finding as text, raises
CheckError where a step is silently wrong, and NotCheckedError where the optimizer refuses.

One file: the checks share the problems, the way to run an optimizer, and their exceptions.
"""

import gc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradbench.checks.conform.comparison import NothingComparedError
from gradbench.checks.conform.forms import NotHereError, against
from gradbench.checks.conform.mistakes import options_of
from gradbench.checks.conform.problems import UNUSED, Problem, problems
from gradbench.checks.conform.runs import Path, Run, Way, gap, largest, path
from gradbench.checks.errors import CheckError, NotCheckedError
from gradbench.checks.host_waits import waits_for_no_device
from gradbench.optimizers.factory import Factory, resolve
from gradbench.optimizers.schedules import Schedules
from gradbench.optimizers.stepping import call_step
from gradbench.text import error_line
from gradbench.torch_state import unchanged

STEPS = 60
BRIEF = ("matrices", "groups")
"""The problems on which an optimizer is compared with itself; `gradbench conform` uses all."""

SHORT, LONG = 100, 1000
"""Steps between which memory may not grow."""

FEW = 5
"""Steps in which rounding stays rounding, also where it grows."""

ROUNDING = 1e-9
"""Largest relative difference by another order of sums, in float64."""

ELSEWHERE = 1e-3
"""Largest difference of steps in float32 on two devices, relative to a parameter's norm."""


def _problem(name: str) -> Problem:
    return next(each for each in problems() if each.name == name)


def _path(factory: Factory, name: str, way: Way | None = None, steps: int = STEPS) -> Path:
    """Return the path on a problem; raise NotCheckedError where the optimizer refuses it."""
    try:
        return path(factory, _problem(name), way or Way(), steps)
    except (CheckError, NotCheckedError):
        raise
    except Exception as error:  # noqa: BLE001  # whatever it raises, it is loud
        raise NotCheckedError(f"refused: {error_line(error)}") from None


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


def steps_groups_as_several_optimizers(spec: str) -> str:
    """Check that parameters in groups of their own take the steps that they take in one."""
    return _same(spec, "groups", "one group for each parameter is one group for all")


def goes_on_after_deepcopy(spec: str) -> str:
    """Check that a deep copy of parameters and optimizer goes on as they would have."""
    return _same(spec, "deepcopy", "a deep copy takes the same steps")


def goes_on_after_pickle(spec: str) -> str:
    """Check that unpickled parameters and optimizer go on as they would have."""
    return _same(spec, "pickle", "what was pickled takes the same steps")


def takes_its_rate_as_a_tensor(spec: str) -> str:
    """Check that the learning rate may be a tensor."""
    return _same(spec, "tensor-lr", "the same steps")


def adds_a_group_later(spec: str) -> str:
    """Check that `add_param_group` works after some steps, and that its parameter is trained."""
    found = _path(resolve(spec), "groups")
    if torch.equal(found[-1]["later"], found[0]["later"]):
        raise CheckError("a parameter that was added after ten steps is never changed")
    return "a parameter that is added after ten steps is trained"


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

    _path(factory, "matrices", Way(after=zeros), steps=2)
    return "to zero and to None"


def evaluates_a_closure(spec: str) -> str:
    """Check that `step(closure)` calls it with gradients, also under no_grad, for its loss."""
    factory = resolve(spec)
    needs = factory.requirements
    if needs.fused or needs.create_graph:
        raise NotCheckedError("it takes no closure")
    with unchanged(torch.float64):
        run = Run(factory, _problem("matrices"), Way(), STEPS)
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
        raise CheckError("step(closure) calls the closure without gradients")
    if not needs.closure and returned is None:
        raise CheckError("step(closure) does not return the loss")
    return f"{len(called)} times, with gradients"


def calls_hooks(spec: str) -> str:
    """Check that hooks of `step` and of `state_dict` are called.

    A step that calls that of its base class calls them twice.
    """
    with unchanged(torch.float64):
        run = Run(resolve(spec), _problem("matrices"), Way(), STEPS)
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


def loads_its_state_into_another_type(spec: str) -> str:
    """Check that a float64 `state_dict` loads beside float32 parameters, and back."""
    factory = resolve(spec)
    if factory.schedules:
        raise NotCheckedError("a schedule holds the optimizer that it was given")
    runs = []
    for dtype in (torch.float64, torch.float32):
        with unchanged(dtype):
            runs.append(Run(factory, _problem("matrices"), Way(dtype=dtype), STEPS))
            for _ in range(3):
                runs[-1].step()
    wide, narrow = runs
    for here, there in ((wide, narrow), (narrow, wide)):
        there.optimizer.load_state_dict(here.optimizer.state_dict())
        with unchanged(there.way.dtype):
            there.step()
        bad = [
            f"{key}: {value.dtype}"
            for p, state in there.optimizer.state.items()
            for key, value in state.items()
            if isinstance(value, Tensor) and value.is_floating_point() and key != "step"
            if value.shape == p.shape and value.dtype != p.dtype
        ]
        if bad:
            raise CheckError(f"after loading into {there.way.dtype}: {', '.join(sorted(set(bad)))}")
    return "float64 to float32 and back"


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


def maximizes(spec: str) -> str:
    """Check that `maximize` on the negative loss takes the steps of minimizing the loss."""
    factory = resolve(spec)
    if not isinstance(options_of(factory).get("maximize"), bool):
        raise NotCheckedError("it has no option maximize")
    plain = _path(factory, "matrices", Way({"maximize": False}))
    other = _path(factory, "matrices", Way({"maximize": True}))
    if (left := largest(plain, other)) > ROUNDING:
        raise CheckError(f"on the negative loss its steps differ by {left:.1e}")
    return "on the negative loss, the same steps"


def depends_on_no_global_seed(spec: str) -> str:
    """Check that torch's global seed changes no step."""
    factory = resolve(spec)
    one = _path(factory, "matrices")

    def reseed(_: Run) -> None:
        torch.manual_seed(12345)

    if largest(one, _path(factory, "matrices", Way(started=reseed))) > 0:
        raise NotCheckedError("its steps depend on torch's global seed: it draws random numbers")
    return "two seeds, the same bits"


def depends_on_no_order(spec: str) -> str:
    """Check that the order in which it is given parameters changes steps by rounding only."""
    depends_on_no_global_seed(spec)  # else there is nothing to see
    factory, problem = resolve(spec), _problem("matrices")
    turned = replace(problem, make=lambda dtype: dict(reversed(problem.make(dtype).items())))
    one = _path(factory, "matrices", steps=FEW)
    other = path(factory, turned, Way(), FEW)
    if (left := largest(one, other)) > ROUNDING:
        raise CheckError(f"given in the opposite order, its steps differ by {left:.1e}")
    return "given in the opposite order, the same steps"


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


def keeps_its_memory(spec: str) -> str:
    """Check that the number of tensors does not grow from step 100 to step 1,000."""
    factory = replace(resolve(spec), schedules=Schedules())  # one may end before
    long = LONG // 5 if factory.requirements.closure else LONG  # a step may evaluate twenty times
    once = _problem("matrices")
    again = replace(once, loss=lambda there, step: once.loss(there, step % SHORT))
    with unchanged(torch.float64):
        run = Run(factory, again, Way(), long)
        counts = []
        for step in range(long):
            run.step()
            if step in {SHORT - 1, long - 1}:  # the problem has made all its tensors by the first
                gc.collect()
                counts.append((_bytes(run.optimizer), _tensors()))
    (before, some), (after, more) = counts
    if after > before:
        raise CheckError(f"its state grows from {before} to {after} bytes in {long} steps")
    if more > some + 10:
        raise CheckError(f"{more - some} tensors more are alive after {long} steps")
    numbers = sum(p.numel() * p.element_size() for p in run.parameters.values())
    return f"state of {before / numbers:.2g} times the parameters, no growth in {long} steps"


def state_over_parameters(factory: Factory) -> float:
    """Return the bytes of the optimizer's state after a few steps over those of its parameters."""
    with unchanged(torch.float64):
        run = Run(factory, _problem("matrices"), Way(), FEW)
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
