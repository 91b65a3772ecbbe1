"""How often an optimizer's step makes the host wait for an accelerator, also where there is none.

Without one it is counted on the CPU: what is made from parameters and gradients, or on a device
that is given as an object, would lie on the accelerator, and to read its value is to wait. That is
an estimate: it does not see waits inside an extension's own kernels.
"""

import inspect
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from gradbench.checks.conform.mistakes import options_of
from gradbench.checks.conform.problems import problems
from gradbench.checks.conform.runs import Run, Way
from gradbench.checks.errors import NotCheckedError
from gradbench.optimizers.factory import Factory, resolve
from gradbench.optimizers.stepping import call_step
from gradbench.text import error_line
from gradbench.torch_state import unchanged

BEFORE = 3
"""Steps before the one whose waits are counted; the first ones set up the state."""

READS = frozenset(
    "item tolist numpy cpu __bool__ __float__ __int__ __index__ __complex__ __array__ __contains__ "  # noqa: SIM905  # a list has a line each
    "nonzero argwhere is_nonzero equal allclose masked_select unique unique_consecutive bincount "
    "linalg_cholesky cholesky linalg_eig linalg_eigh linalg_eigvals linalg_eigvalsh linalg_inv "
    "inverse linalg_lstsq linalg_solve linalg_svd svd linalg_svdvals".split()
)
"""Functions whose result the host waits for: a number, a size that depends on values, or the
verdict of a decomposition (torch's documentation notes it for each)."""


class Waits(TorchFunctionMode):
    """Notes each call that would read a value from the accelerator, as `name at file:line`.

    `parameters` are where the accelerator's tensors start from.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__()
        self.found: list[str] = []
        for parameter in parameters:
            _mark(parameter)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401  # torch's signature
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # whatever the function returns
        kwargs = kwargs or {}
        inputs = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        there = any(map(_is_marked, inputs))
        if there and _reads(func, args, kwargs):
            self.found.append(f"{_name(func)} at {_place()}")
        result = func(*args, **kwargs)
        if _moves_to_host(func, args, kwargs):
            return result.clone()  # as from another device, a tensor of its own
        if there or isinstance(kwargs.get("device"), torch.device):
            for each in tree_leaves(result):
                if isinstance(each, Tensor):
                    _mark(each)
        return result


def _mark(tensor: Tensor) -> None:
    tensor._gradbench_on_device = True  # type: ignore[attr-defined]  # noqa: SLF001


def _is_marked(tensor: Tensor) -> bool:
    return getattr(tensor, "_gradbench_on_device", False)


def _name(func: Callable[..., Any]) -> str:
    return getattr(func, "__name__", "")


def _moves_to_host(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a call copies to the host; a device object is taken for a parameter's."""
    moved = _name(func) == "to" and "cpu" in (*args[1:2], kwargs.get("device"))
    return moved or _name(func) == "cpu"


def _reads(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether the host waits for what a call reads."""
    name = _name(func)
    if name in ("__getitem__", "__setitem__"):
        indices = tree_leaves(args[1])
        masked = any(isinstance(i, Tensor) and i.dtype == torch.bool for i in indices)
        return masked and not (name == "__setitem__" and _fills(args[2]))
    if name == "where":
        return len(args) + len(kwargs) == 1
    if name == "copy_":
        return not _is_marked(args[0])
    return name in READS or _moves_to_host(func, args, kwargs)


def _fills(value: Any) -> bool:  # noqa: ANN401  # a number or a tensor
    """Return whether a mask is filled with one number of the host's, which needs no waiting."""
    return not isinstance(value, Tensor) or (value.numel() == 1 and not _is_marked(value))


def _place() -> str:
    """Return file and line of the innermost caller that is not torch's own machinery."""
    skipped = (__file__, inspect.getfile(TorchFunctionMode), inspect.getfile(Tensor))
    frames = [f for f in traceback.extract_stack() if f.filename not in skipped]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"


def counted_on_the_cpu(factory: Factory) -> list[str]:
    """Return the calls of one step that would wait for an accelerator.

    An option `foreach` that is None is set, as torch sets it on accelerators.
    """
    known = options_of(factory)
    options = {"foreach": True} if "foreach" in known and known["foreach"] is None else {}
    run = _run(factory, Way(options, dtype=torch.float32, rounded=torch.float32))
    with Waits(run.parameters.values()) as waits:
        for _ in range(BEFORE):
            run.step()
        run.optimizer.zero_grad()
        run.loss().backward()
        waits.found.clear()
        call_step(run.optimizer, factory.requirements, run.loss)
    return list(waits.found)


def counted_on(device: str, factory: Factory) -> list[str]:
    """Return the warnings of torch about waiting in one step on an accelerator.

    Raises NotCheckedError where the device's module does not tell.
    """
    module: Any = torch.get_device_module(device)
    if not hasattr(module, "set_sync_debug_mode"):
        raise NotCheckedError(f"{device} does not tell")
    run = _run(factory, Way(dtype=torch.float32, device=device))
    for _ in range(BEFORE):
        run.step()
    run.optimizer.zero_grad()
    run.loss().backward()
    before = module.get_sync_debug_mode()
    module.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            call_step(run.optimizer, factory.requirements, run.loss)
    finally:
        module.set_sync_debug_mode(before)
    return [str(each.message) for each in seen if "synchroniz" in str(each.message)]


def _run(factory: Factory, way: Way) -> Run:
    matrices = next(each for each in problems() if each.name == "matrices")
    return Run(factory, matrices, way, BEFORE + 1)


def waits_for_no_device(spec: str) -> str:
    """Count how often `step` waits for the accelerator: at best never."""
    factory, here = resolve(spec), torch.accelerator.is_available()
    with unchanged(torch.float32):
        try:
            if here:
                found = counted_on(str(torch.accelerator.current_accelerator()), factory)
            else:
                found = counted_on_the_cpu(factory)
        except NotCheckedError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it raises, it is loud
            raise NotCheckedError(f"refused: {error_line(error)}") from None
    how = "for the device" if here else "for an accelerator (counted on the CPU)"
    if found:
        raise NotCheckedError(f"a step waits {how} {len(found)} times, first by {found[0]}")
    return f"a step never waits {how}"
