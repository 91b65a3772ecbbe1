"""What an optimizer asks of the training loop, found once by building and stepping it on a toy.

A class may say it itself, in a dictionary `gradbench_needs`. Otherwise its signatures say most, and
one step on a network of two layers the rest: it either works, or its error says what is missing.
No name of an optimizer occurs here.
"""

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradbench.streams import unchanged

STEPS = ("num_iterations", "total_steps", "num_steps", "max_steps", "total_iterations")
EXAMPLES = ("num_data",)
MATRICES = "use_muon"
"""The key of parameter groups by which Muon and its kin tell matrices from the rest."""

SEVERAL = 12
"""Steps on the toy that show whether gradients before the closure matter: LookSAM looks at them in
every tenth."""

Build = Callable[..., Optimizer]
Toy = Callable[[], nn.Module]


@dataclass(frozen=True)
class Needs:
    """What an optimizer asks of the training loop beyond gradients and `step()`."""

    closure: bool = False
    """`step` must be given a closure that re-evaluates the loss on the step's batch."""
    gradients_first: bool = False
    """Gradients must exist before `step(closure)`; they count as an evaluation more."""
    create_graph: bool = False
    """It differentiates the gradients once more."""
    model: bool = False
    """It is built from the network instead of its parameters."""
    groups: str = ""
    """It is built from two parameter groups, told apart by this key: matrices but for the last
    (True), and the rest."""
    matrices: bool = False
    """It steps on matrices only, so it suits networks that have nothing else."""
    steps: str = ""
    """The constructor's argument that takes the number of training steps."""
    examples: str = ""
    """The constructor's argument that takes the number of training examples."""
    modes: bool = False
    """Its `train()` and `eval()` are called around training and evaluation."""
    fused: bool = False
    """`fused_backward(loss, rate)` takes the place of backward and step."""
    elementwise: bool | None = None
    """Each number's step hangs on that number's own history alone, so that one optimizer can train
    many networks; None: its steps are looked at."""

    def construct(
        self, build: Build, network: nn.Module, arguments: dict[str, Any], steps: int, examples: int
    ) -> Optimizer:
        """Build the optimizer for a network that trains for so many steps on so many examples.

        Raises ValueError where it steps on matrices only and the network has other parameters.
        """
        if self.matrices and any(p.ndim != 2 for p in network.parameters()):
            raise ValueError("it steps on matrices only, and this network has other parameters")
        more = {self.steps: steps} if self.steps else {}
        more |= {self.examples: examples} if self.examples else {}
        first: object = list(network.parameters())
        if self.model:
            first = network
        elif self.groups:
            first = grouped(network.parameters(), self.groups)
        return build(first, **(more | arguments))


def grouped(parameters: Iterable[Tensor], key: str) -> list[dict[str, Any]]:
    """Return two groups: hidden matrices, and the rest with the last of several matrices.

    The output layer is no hidden matrix; a network of one matrix has no other.
    Source: K. Jordan, Muon (2024), https://kellerjordan.github.io/posts/muon/.
    """
    every = list(parameters)
    matrices = [p for p in every if p.ndim >= 2]
    hidden = {id(p) for p in (matrices[:-1] or matrices)}
    groups = [
        {"params": [p for p in every if (id(p) in hidden) == wanted], key: wanted}
        for wanted in (True, False)
    ]
    return [group for group in groups if group["params"]]


def declared(cls: type[Optimizer]) -> Needs | None:
    """Return what the class says of itself, None where it says nothing.

    Raises ValueError, with what may be said, where it says anything else.
    """
    said = getattr(cls, "gradbench_needs", None)
    if said is None:
        return None
    try:
        return Needs(**said)
    except TypeError:
        names = ", ".join(field.name for field in fields(Needs))
        raise ValueError(f"gradbench_needs of {cls.__name__} may hold: {names}") from None


def found(
    cls: type[Optimizer], arguments: dict[str, Any], inner: Needs | None = None
) -> tuple[Callable[[], Needs], Optimizer]:
    """Return what tells what the class needs, and one built on a toy.

    It is told when first asked: a step has torch import its compiler, which takes it seconds.
    `inner` is what it wraps, whose way of being built is its own. Raises whatever its construction
    raises, where no way of building it works. The global random states are kept.
    """
    with _apart(), _without_compiler():
        said = declared(cls)
        needs = said or _seen(cls)
        if inner is not None:
            needs = _around(needs, inner)
        ways = ((needs, _toy), (replace(needs, groups=MATRICES), _toy), (needs, _matrices))
        troubles: list[Exception] = []
        for way, toy in ways:
            try:
                sample = way.construct(cls, toy(), arguments, 10, 100)
            except Exception as error:  # noqa: BLE001  # the next way may do
                troubles.append(error)
                continue
            return cache(partial(_stepped, cls, arguments, way, toy, said=bool(said))), sample
    raise troubles[0]


@contextmanager
def _apart() -> Iterator[None]:
    """Quiet, in float32, and whatever the toy draws."""
    with unchanged(torch.float32), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Have torch build optimizers without importing its compiler, which takes it seconds.

    It does so to mark one method as none that torch.compile should look into.
    """
    marked = Optimizer.add_param_group
    Optimizer.add_param_group = inspect.unwrap(marked)  # type: ignore[method-assign]
    try:
        yield
    finally:
        Optimizer.add_param_group = marked  # type: ignore[method-assign]


def _around(outer: Needs, inner: Needs) -> Needs:
    """Return what a wrapper needs: built as what it wraps is, stepped as both ask."""
    merged = {
        field.name: getattr(outer, field.name) or getattr(inner, field.name)
        for field in fields(Needs)
    }
    merged["elementwise"] = None  # a wrapper may couple what is within
    return Needs(**merged)


def _seen(cls: type[Optimizer]) -> Needs:
    """Return what the signatures of the constructor and of `step` show."""
    required = [p.name for p in _required(cls)]
    return Needs(
        # a parameter of `step` without a default must be the closure
        closure=bool(_required(cls.step)[1:]),
        model=required[:1] == ["model"],
        steps=next((name for name in required if name in STEPS), ""),
        examples=next((name for name in required if name in EXAMPLES), ""),
        modes=all(callable(getattr(cls, name, None)) for name in ("train", "eval")),
        fused=callable(getattr(cls, "fused_backward", None)),
    )


def _required(function: Callable[..., Any]) -> list[inspect.Parameter]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [p for p in parameters if p.default is p.empty and p.kind in positional]


@_apart()
def _stepped(
    build: Build, arguments: dict[str, Any], needs: Needs, toy: Toy, *, said: bool
) -> Needs:
    """Return the needs; unless the class has said all, with what a step complains of."""
    if said or needs.fused:
        return needs
    if not needs.closure:
        told = _trouble(build, arguments, needs, toy)
        if "does not require grad" in told:
            return replace(needs, create_graph=True)
        if "closure" not in told:
            matrices = bool(told) and not _trouble(build, arguments, needs, _matrices)
            return replace(needs, matrices=matrices)
        needs = replace(needs, closure=True)
    first = replace(needs, gradients_first=True)
    without, with_them = (_after(build, arguments, way, toy) for way in (needs, first))
    if with_them is None or (without is not None and torch.equal(without, with_them)):
        return needs
    return first


def _trouble(build: Build, arguments: dict[str, Any], needs: Needs, toy: Toy) -> str:
    """Return what a step complains of; empty where it works."""
    try:
        _step(build, arguments, needs, toy)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a trial would meet it too
        return f"{type(error).__name__}: {error}".lower()
    return ""


def _after(build: Build, arguments: dict[str, Any], needs: Needs, toy: Toy) -> Tensor | None:
    """Return the parameters after some steps, flat; None where it fails."""
    try:
        after = _step(build, arguments, needs, toy, times=SEVERAL)
        return torch.cat([p.detach().flatten() for p in after])
    except (Exception, SystemExit):  # noqa: BLE001  # a way that fails is not the one
        return None


def _step(
    build: Build, arguments: dict[str, Any], needs: Needs, toy: Toy, *, times: int = 1
) -> list[Tensor]:
    """Take steps on the toy and return its parameters."""
    network = toy()
    optimizer = needs.construct(build, network, arguments, 10, 100)
    if needs.modes:
        optimizer.train()  # type: ignore[attr-defined]

    def closure() -> Tensor:
        if torch.is_grad_enabled():
            optimizer.zero_grad()
        loss: Tensor = network(torch.ones(3, 2)).square().mean()
        if torch.is_grad_enabled():
            loss.backward()
        return loss

    for _ in range(times):
        if needs.gradients_first or not needs.closure:
            closure()
        optimizer.step(*([closure] if needs.closure else []))  # type: ignore[arg-type]
    return list(network.parameters())


def _toy() -> nn.Module:
    torch.default_generator.manual_seed(0)  # the CPU's alone
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


def _matrices() -> nn.Module:
    torch.default_generator.manual_seed(0)  # the CPU's alone
    return nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False))
