"""Engines, executors with a `submit` method that run items, and the choice of one."""

import os
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from gradbench.engines.worker import WorkerContext, call
from gradbench.imports import imported
from gradbench.isolation.settings import carried
from gradbench.spec import SpecError, parse
from gradbench.text import first_line


class Engine(Protocol):
    """An executor as in `concurrent.futures`, of which only this part is required.

    Its futures have `done()` and `result()`; `running()` and `add_done_callback()` are used where
    they exist. An engine may have `flush()`, called after a series of submissions,
    `abandon(future)`, which ends one call, and `shutdown()`, as executors do.
    """

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any:  # noqa: ANN401
        """Submit a call and return the future of its result."""
        ...


@dataclass(frozen=True)
class Chosen:
    """An engine, its name in run.json, and how many calls it runs at once.

    `workers()` returns the number of calls that run at once, None where it is unknown. `shared` is
    whether calls may share a device.
    """

    engine: Engine
    name: str
    workers: Callable[[], int | None]
    shared: bool


class Inline:
    """Runs each call in this process, when it is submitted."""

    def __init__(self, progress: Callable[[int, str], None] = lambda _, __: None) -> None:
        self.progress, self.submitted = progress, 0
        self.context = WorkerContext()

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:  # noqa: ANN401
        """Run one call to its end."""
        place, self.submitted = self.submitted, self.submitted + 1
        future: Future[Any] = Future()
        self.context.progress = lambda text: self.progress(place, text)
        future.set_result(call(function, args, self.context))
        return future


def choose(  # noqa: PLR0913  # all that decides where items run
    wanted: str,
    items: int,
    device: str,
    *,
    timeout: float | None = None,
    progress: Callable[[int, str], None] = lambda _, __: None,
    owners: AbstractSet[str] = frozenset(),
) -> Chosen:
    """Return the engine of the option for a number of items on a device.

    `owners` are those of the items that take an optimizer (see `owner`).

    Raises ValueError or ImportError, in one line, where the engine cannot be used, or where there
    is a `timeout` and the engine cannot end a worker.
    """
    name, _, arguments = wanted.partition(":")
    if name == "slurm":
        from gradbench.engines.slurm import Slurm

        slurm = Slurm(arguments, timeout)
        return Chosen(slurm, "slurm", lambda: None, shared=torch.device(device).type != "cpu")
    if name not in {"auto", "inline", "processes"} and timeout is not None:
        raise ValueError(f"--gb-timeout: {name} cannot end a worker; processes and slurm can")
    if name == "dask":
        from gradbench.engines.dask import connect

        executor, count, ours = connect(arguments)
        shared = ours > 1 or torch.device(device).type != "cpu"
        return Chosen(executor, wanted, count, shared=shared)
    if name not in {"auto", "inline", "processes"}:
        return Chosen(custom(wanted), wanted, lambda: None, shared=True)
    places = _places(wanted, items, device, owners, timeout)
    if not places:
        return Chosen(Inline(progress), "inline", lambda: 1, shared=False)
    from gradbench.engines.processes import Processes

    engine = Processes(places, progress, timeout, owner)
    shared = len(places) > len(set(places))
    return Chosen(engine, f"processes:{len(places)}", lambda: len(places), shared=shared)


def _places(
    wanted: str, items: int, device: str, owners: AbstractSet[str], timeout: float | None
) -> list[str]:
    """Return the device of each process; empty where items run in this one."""
    places = workers(wanted, items, device, owners)
    if places or timeout is None:
        return places
    if wanted == "inline":
        raise ValueError("--gb-timeout: inline cannot end a worker; processes and slurm can")
    return [device]


def owner(item: Any, *_: object) -> str:  # noqa: ANN401  # an item, or who attempts it
    """Return the owner of an item: a process runs the items of one owner only.

    The empty string for a learner, `paper` or an optimizer of torch on the case's own network.
    Every other pair of optimizer and network is an owner, with processes of its own.
    """
    known = item.optimizer in {"paper", "none"} or _is_torchs(item.optimizer)
    return "" if known and item.architecture is None else f"{item.optimizer} {item.architecture}"


def _is_torchs(text: str) -> bool:
    spec = parse(text)
    names = {name.lower() for name in vars(torch.optim)}
    parts = (spec, *spec.added)
    return all(each.source is None and each.name.lower() in names for each in parts)


def custom(text: str) -> Engine:
    """Return an engine of the user's own: `module:Factory[:key=value,...]`, or of a file.

    Raises ValueError, in one line, where the spec names none.
    """
    spec = parse(text)
    if spec.source is None or spec.added:
        raise SpecError(f"{text!r} is no engine: write module:Factory or ./file.py:Factory")
    factory: Any = imported(spec, spec.source, callable)
    try:
        engine: Engine = factory(**spec.arguments)
    except Exception as error:
        raise SpecError(f"{text!r}: {type(error).__name__}: {error}") from error
    if not callable(getattr(engine, "submit", None)):
        raise SpecError(f"{text!r}: {spec.name} has no submit(function, *args)")
    return engine


ITEMS_EACH = 4
"""Minimum number of items per process under `auto`: starting a process takes seconds."""


ALONE_EACH = 32
"""Minimum number of items of a single owner for a process: its start then takes below 5 %."""


def workers(
    engine: str, items: int, device: str, owners: AbstractSet[str] = frozenset()
) -> list[str]:
    """Return the device of each process; empty where the items run in this one.

    `processes:N` starts N. `processes` starts one for each core on a CPU, or one for each device
    of an accelerator. `auto` starts as many, but at most one for every four items. It starts a
    single process where there are several owners, since importing one optimizer may change what
    others do, or where one that is not torch's has at least 32 items.
    """
    kind = torch.device(device)
    name, _, count = engine.partition(":")
    if name == "inline":
        return []
    if kind.type == "cpu" or kind.index is not None:
        devices = [device]
        found = cores() if kind.type == "cpu" else 1
    else:
        number = torch.get_device_module(kind).device_count()
        devices = [f"{kind.type}:{index}" for index in range(number)]
        found = number
    found = int(count or found)
    if name == "auto":
        found = min(found, items // ITEMS_EACH)
        stranger = owners - {""} and items >= ALONE_EACH
        if found < 2 and len(owners) < 2 and not stranger:
            return []
        found = max(found, 1)
    return [devices[index % len(devices)] for index in range(found)]


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device_name(spec: str) -> str:
    """Resolve `auto` to this machine's accelerator, or the CPU where it has none.

    Raises ValueError where this torch cannot use the device.
    """
    if spec == "auto":
        if not torch.accelerator.is_available():  # the other call raises before torch 2.7
            return "cpu"
        accelerator = torch.accelerator.current_accelerator()
        return "cpu" if accelerator is None else accelerator.type
    try:
        torch.empty(0, device=torch.device(spec))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"cannot use device {spec!r}: {first_line(error)}") from None
    return spec


def environment(device: str, dtype: str) -> dict[str, Any]:
    """Return the settings that a run's numbers and timings depend on, for run.json."""
    kind = torch.device(device)
    module: Any = None if kind.type == "cpu" else torch.get_device_module(kind)
    name = getattr(module, "get_device_name", lambda _: None)(kind)
    return {
        "device": {"type": kind.type, "name": name},
        "threads": 1,
        "dtype": dtype,
        "tf32": torch.get_float32_matmul_precision() != "highest",
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "settings": carried(),
    }
