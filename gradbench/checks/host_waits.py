"""How often an optimizer's step makes the host wait for an accelerator, also where there is none.

Without one it is counted on the CPU: what is made from parameters and gradients, or on a device
that is given as an object, would lie on the accelerator, and to read its value is to wait, also
where a tensor is given for a number (`p.add_(d, alpha=tensor)`, `p[index]`). That is an estimate:
it does not see waits inside an extension's own kernels, nor in hooks of a backward pass.
"""

import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gradbench.checks.conform.mistakes import options_of
from gradbench.checks.conform.problems import problem_named
from gradbench.checks.conform.runs import Run, Way
from gradbench.checks.errors import NotCheckedError
from gradbench.optimizers.factory import Factory, resolve
from gradbench.optimizers.stepping import step
from gradbench.text import error_line
from gradbench.torch_state import unchanged

BEFORE = 3
"""Steps before the one whose waits are counted; the first ones set up the state."""

READS = frozenset(
    "tolist numpy cpu __array__ __contains__ __format__ __repr__ nonzero argwhere equal allclose "  # noqa: SIM905  # a list has a line each
    "masked_select unique unique_consecutive bincount linalg_cholesky cholesky linalg_eig "
    "linalg_eigh linalg_eigvals linalg_eigvalsh linalg_inv inverse linalg_lstsq linalg_matrix_rank "
    "linalg_pinv pinverse linalg_solve linalg_svd svd linalg_svdvals linspace logspace".split()
)
"""Functions whose result the host waits for: numbers, a size that depends on values, or the
verdict of a decomposition (torch's documentation notes it for each)."""

NUMBER = torch.ops.aten._local_scalar_dense.default  # noqa: SLF001
"""What torch calls to read one number, for `item`, `bool`, and where a tensor is given for one."""


TORCH = Path(torch.__file__).parent

CHECKS = Path(__file__).parent
"""The folder of the problems, whose data are copied to the device in the counted step."""


class Waits(TorchFunctionMode):
    """Notes each call that would read a value from the accelerator, as `name at file:line`.

    `parameters` are where the accelerator's tensors start from.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__()
        self.found: list[str] = []
        self.calling = ""
        self._numbers = _Numbers(self)
        for parameter in parameters:
            _mark(parameter)

    def __enter__(self) -> Self:
        """Begin to note calls."""
        super().__enter__()
        self._numbers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop."""
        self._numbers.__exit__(*error)
        super().__exit__(*error)

    def note(self) -> None:
        """Note a wait in the function that is called."""
        self.found.append(f"{self.calling} at {_place()}")

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401  # torch's signature
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # whatever the function returns
        kwargs = kwargs or {}
        self.calling = _name(func)
        inputs = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        there = any(map(_is_marked, inputs))
        if there and _reads(func, args, kwargs):
            self.note()
        result = func(*args, **kwargs)
        if _moves_to_host(func, args, kwargs):
            return result.clone()  # as from another device, a tensor of its own
        device = kwargs.get("device")
        if device != "cpu" and (there or isinstance(device, torch.device)):
            for each in tree_leaves(result):
                if isinstance(each, Tensor):
                    _mark(each)
        return result


class _Numbers(TorchDispatchMode):
    """Notes each read of one number from the accelerator, whoever asks for it."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401  # torch's signature
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # whatever the function returns
        if func is NUMBER and _is_marked(args[0]):
            self._waits.note()
        return func(*args, **(kwargs or {}))


def _mark(tensor: Tensor) -> None:
    tensor._gradbench_on_device = True  # type: ignore[attr-defined]  # noqa: SLF001


def _is_marked(tensor: Tensor) -> bool:
    return getattr(tensor, "_gradbench_on_device", False)


def _name(func: Callable[..., Any]) -> str:
    return getattr(func, "__name__", "")


def _moves_to_host(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a call copies to the host; a device object is taken for a parameter's."""
    if _name(func) != "to":
        return _name(func) == "cpu"
    where = [*args[1:2], kwargs.get("device"), kwargs.get("other")]
    return "cpu" in [each for each in where if not isinstance(each, Tensor)] or any(
        isinstance(each, Tensor) and not _is_marked(each) for each in where
    )


def _reads(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether the host waits for what a call reads."""
    name = _name(func)
    if name in ("__getitem__", "__setitem__"):
        indices = tree_leaves(args[1])
        masked = any(isinstance(i, Tensor) and i.dtype == torch.bool for i in indices)
        return masked and not (name == "__setitem__" and _fills(args[2]))
    if name == "where":
        return len(args) + len(kwargs) == 1
    if name in ("tensor", "new_tensor", "as_tensor"):  # of a list, number by number
        listed = [each for each in args if isinstance(each, list | tuple)]
        return any(isinstance(each, Tensor) and _is_marked(each) for each in tree_leaves(listed))
    if name == "linalg_matrix_norm":
        return (args[1] if len(args) > 1 else kwargs.get("ord")) in (2, -2, "nuc")
    if name == "copy_":
        return not _is_marked(args[0])
    return name in READS or _moves_to_host(func, args, kwargs)


def _fills(value: Any) -> bool:  # noqa: ANN401  # a number or a tensor
    """Return whether a mask is filled with one number of the host's, which needs no waiting."""
    return not isinstance(value, Tensor) or (value.numel() == 1 and not _is_marked(value))


def _place() -> str:
    """Return file and line of the innermost caller that is not torch's own machinery."""
    frames = [f for f in traceback.extract_stack() if not _is_machinery(Path(f.filename))]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"


def _is_machinery(file: Path) -> bool:
    inside = file.is_relative_to(TORCH) and file.relative_to(TORCH).parts[0] not in {"optim", "nn"}
    return inside or file == Path(__file__)


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
        waits.found.clear()
        step(run.optimizer, factory.requirements, run.loss)
    return list(waits.found)


def tells(device: str) -> bool:
    """Return whether torch can warn of each wait for this device."""
    return hasattr(torch.get_device_module(device), "set_sync_debug_mode")


def counted_on(device: str, factory: Factory) -> list[str]:
    """Return where one step waits for an accelerator, by the warnings of torch."""
    module: Any = torch.get_device_module(device)
    run = _run(factory, Way(dtype=torch.float32, device=device))
    for _ in range(BEFORE):
        run.step()
    before = module.get_sync_debug_mode()
    module.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            step(run.optimizer, factory.requirements, run.loss)
    finally:
        module.set_sync_debug_mode(before)
    return [
        f"a read at {Path(each.filename).name}:{each.lineno}"
        for each in seen
        if "synchroniz" in str(each.message) and not Path(each.filename).is_relative_to(CHECKS)
    ]


def _run(factory: Factory, way: Way) -> Run:
    matrices = problem_named("matrices")
    return Run(factory, matrices, way, BEFORE + 1)


def waits_for_no_device(spec: str) -> str:
    """Count how often `step` waits for the accelerator: at best never."""
    factory = resolve(spec)
    here = torch.accelerator.is_available()  # the other call raises before torch 2.7
    device = str(torch.accelerator.current_accelerator()) if here else "cpu"
    told = here and tells(device)
    with unchanged(torch.float32):
        try:
            found = counted_on(device, factory) if told else counted_on_the_cpu(factory)
        except Exception as error:  # noqa: BLE001  # whatever it raises, it is loud
            raise NotCheckedError(f"refused: {error_line(error)}") from None
    how = "for the device" if told else "for an accelerator (counted on the CPU)"
    if found:
        raise NotCheckedError(f"a step waits {how} {len(found)} times, first by {found[0]}")
    return f"a step never waits {how}"
