"""What an optimizer calls: a closure, and the hooks that torch lets others register."""

import torch
from torch import Tensor

from gradbench.checks.conform.number_type import STEPS
from gradbench.checks.conform.problems import problem_named
from gradbench.checks.conform.runs import Run
from gradbench.checks.contract.running import refused_if_it_raises, way_of
from gradbench.checks.errors import CheckError, NotCheckedError
from gradbench.optimizers.factory import resolve
from gradbench.optimizers.stepping import call_step
from gradbench.torch_state import unchanged


@refused_if_it_raises
def evaluates_a_closure(spec: str) -> str:
    """Check that `step(closure)` calls it with gradients, also under no_grad, for its loss."""
    factory = resolve(spec)
    needs = factory.requirements
    if needs.fused or needs.create_graph or needs.loss_value:
        raise NotCheckedError("it takes no closure")
    way = way_of(factory)
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


@refused_if_it_raises
def calls_hooks(spec: str) -> str:
    """Check that hooks of `step` and of `state_dict` are called.

    A step that calls that of its base class calls them twice.
    """
    factory = resolve(spec)
    way = way_of(factory)
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
