"""Optimizers of Optax as optimizers of torch, to compare a port with its original.

Each parameter group is one tree of Optax. Its state is kept as tensors, so that it is saved and
loaded as any other.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from gradbench.optimizers.requirements import RefusedError
from gradbench.spec import Spec, SpecError

if TYPE_CHECKING:
    import jax

SOURCE = "optax"
"""The source in a spec that names Optax: `optax:adamw:learning_rate=1e-3`."""

RENAMED = {"learning_rate": "lr", "decay": "alpha"}
"""Optax's names of options, with torch's; `b1` and `b2` become `betas`."""


def translated(spec: Spec) -> Spec:
    """Return a spec of Optax with torch's names of options; any other spec as it is."""
    if spec.source != SOURCE:
        return spec
    given = {RENAMED.get(name, name): value for name, value in spec.arguments.items()}
    if {"b1", "b2"} & set(given):
        known = inspect.signature(_solver(spec)).parameters
        defaults = (known["b1"].default, known["b2"].default)
        given["betas"] = (given.pop("b1", defaults[0]), given.pop("b2", defaults[1]))
    return replace(spec, arguments=given)


def adapted(spec: Spec) -> type[Optimizer]:
    """Return the optimizer class of torch that runs the Optax optimizer which a spec names.

    Raises SpecError where Optax is not installed or has no such optimizer.
    """
    return _adapted(spec.name, _solver(spec))


@functools.cache
def _adapted(name: str, solver: Callable[..., Any]) -> type[Optimizer]:
    return type(name, (OptaxOptimizer,), {"__init__": _constructor(solver)})


def _solver(spec: Spec) -> Callable[..., Any]:
    try:
        import optax
    except ImportError as error:
        raise SpecError(
            f"{spec.text!r} needs Optax: pip install 'pytest-gradbench[optax]' ({error})"
        ) from None
    solver = getattr(optax, spec.name, None)
    if not callable(solver) or "learning_rate" not in inspect.signature(solver).parameters:
        raise SpecError(f"{spec.text!r}: optax has no optimizer {spec.name!r} with a learning_rate")
    if "linesearch" in inspect.signature(solver).parameters:
        raise SpecError(f"{spec.text!r}: its line search needs the loss as a function of JAX")
    return solver  # type: ignore[no-any-return]


def _constructor(solver: Callable[..., Any]) -> Callable[..., None]:
    """Return an `__init__` that takes the options of a function of Optax, by torch's names."""
    known = inspect.signature(solver).parameters
    options = {RENAMED.get(name, name): p.default for name, p in known.items()}
    if {"b1", "b2"} <= set(options):
        options["betas"] = (options.pop("b1"), options.pop("b2"))
    keyword = inspect.Parameter.KEYWORD_ONLY
    taken = [inspect.Parameter(name, keyword, default=d) for name, d in options.items()]
    given = {
        name: default for name, default in options.items() if default is not inspect.Parameter.empty
    }

    def init(self: "OptaxOptimizer", params: Iterable[Tensor], **chosen: object) -> None:
        Optimizer.__init__(self, params, given | chosen)
        self.solver = solver
        self.names = {RENAMED.get(name, name): name for name in known}

    both = inspect.Parameter.POSITIONAL_OR_KEYWORD
    first = [inspect.Parameter(name, both) for name in ("self", "params")]
    init.__signature__ = inspect.Signature([*first, *taken])  # type: ignore[attr-defined]
    return init


class OptaxOptimizer(Optimizer):
    """The base of the adapted classes.

    `step` raises RefusedError if a parameter has a gradient in some steps and none in others:
    Optax updates every parameter in every step.
    """

    solver: Callable[..., Any]
    names: dict[str, str]
    """Optax's names of options by torch's."""

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step of every group; return the closure's loss, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                self._step(group)
        return loss

    def _step(self, group: dict[str, Any]) -> None:
        import jax

        places = [place for place, p in enumerate(group["params"]) if p.grad is not None]
        if not places:
            return
        used = [group["params"][place] for place in places]
        first = group["params"][0]
        options = dict(group)
        rate = options.pop("lr")
        with jax.enable_x64(True):  # noqa: FBT003  # its only argument
            gradients = [_to_jax(p.grad) for p in used]
            values = [_to_jax(p) for p in used]
            start, update = _compiled(self.solver, self._given(options))
            like, form = jax.tree.flatten(start(rate, values))
            state = self.state[first]
            if state and state["parameters"] != places:
                raise RefusedError("Optax updates every parameter in every step")
            leaves = [
                _to_jax(leaf).astype(to.dtype)
                for leaf, to in zip(state.get("leaves", []), like, strict=False)
            ]
            before = jax.tree.unflatten(form, leaves or like)
            values, after = update(rate, gradients, before, values)
            state["leaves"] = [_to_torch(leaf) for leaf in jax.tree.leaves(after)]
            state["parameters"] = places
            for p, value in zip(used, values, strict=True):
                p.copy_(_to_torch(value))

    def _given(self, options: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
        """Return a group's options by Optax's names."""
        if "betas" in options and "betas" not in self.names:
            options["b1"], options["b2"] = options["betas"]
        own = {self.names.get(name, name): value for name, value in options.items()}
        return tuple((name, own[name]) for name in self.names.values() if name in own)


@functools.cache
def _compiled(
    solver: Callable[..., Any], options: tuple[tuple[str, Any], ...]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the compiled functions that begin a state and that take a step."""
    import jax
    import optax

    def start(rate: float, values: list["jax.Array"]) -> object:
        return solver(learning_rate=rate, **dict(options)).init(values)

    def update(
        rate: float, gradients: list["jax.Array"], state: object, values: list["jax.Array"]
    ) -> tuple[object, object]:
        taken, state = solver(learning_rate=rate, **dict(options)).update(gradients, state, values)
        return optax.apply_updates(values, taken), state

    return jax.jit(start), jax.jit(update)


def _to_jax(tensor: Tensor) -> "jax.Array":
    """Return a copy of a tensor, of any layout and device, as an array of JAX."""
    import jax.numpy as jnp

    plain = tensor.detach().cpu().contiguous()
    if plain.dtype == torch.bfloat16:
        return jnp.array(plain.float().numpy()).astype(jnp.bfloat16)
    return jnp.array(plain.numpy())


def _to_torch(array: "jax.Array") -> Tensor:
    """Return an array of JAX as a tensor of its own memory."""
    if str(array.dtype) == "bfloat16":
        return torch.from_numpy(np.array(array, dtype=np.float32)).bfloat16()
    return torch.from_numpy(np.array(array))
