"""Which parameters an optimizer takes, and how it leaves their gradients."""

import torch
from torch import nn

from gradbench.checks.conform.problems import UNUSED
from gradbench.checks.conform.runs import Run
from gradbench.checks.contract.running import path_of, refused_if_it_raises, way_of
from gradbench.checks.errors import CheckError, NotCheckedError
from gradbench.optimizers.factory import resolve
from gradbench.optimizers.stepping import call_step
from gradbench.text import error_line
from gradbench.torch_state import unchanged


@refused_if_it_raises
def adds_a_group_later(spec: str) -> str:
    """Check that `add_param_group` works after some steps, and that its parameter is trained."""
    found = path_of(resolve(spec), "groups")
    if torch.equal(found[-1]["later"], found[0]["later"]):
        raise CheckError("a parameter that was added after ten steps is never changed")
    return "a parameter that is added after ten steps is trained"


@refused_if_it_raises
def accepts_odd_parameters(spec: str) -> str:
    """Check a scalar, an empty one, other memory layouts, and one without a gradient."""
    factory = resolve(spec)
    found = path_of(factory, "odd shapes")
    if not torch.equal(found[-1][UNUSED], found[0][UNUSED]):
        if factory.requirements.closure:
            raise NotCheckedError("it takes a closure, and steps without gradients")
        raise CheckError("a parameter whose gradient is None is changed")
    still = [n for n, p in found[-1].items() if p.numel() and torch.equal(p, found[0][n])]
    if still != [UNUSED]:
        raise CheckError(f"never changed: {', '.join(n for n in still if n != UNUSED)}")
    return "a scalar, an empty tensor, transposed, channels last, without a gradient"


@refused_if_it_raises
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

    path_of(factory, "matrices", way_of(factory, after=zeros), steps=2)
    return "to zero and to None"


@refused_if_it_raises
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
