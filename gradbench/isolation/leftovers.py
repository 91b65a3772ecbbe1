"""Finds and restores what an optimizer's code left changed in this process.

An optimizer may switch a mode on and not off again, register hooks on all modules, patch a function
of torch, or start a thread; this would affect every later training in the same process.
"""

import builtins
import contextlib
import inspect
import math
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.nn.modules import module as modules

from gradbench.isolation.settings import every, put_back

LIBRARIES = ("torch.", "concurrent.", "multiprocessing.", "tqdm.", "asyncio.", "distributed.")
"""Prefixes of modules with library threads, which do not affect training."""

STAYS = {"environment", "import path"}
"""Settings that importing an optimizer may change for good: they belong to it."""

KNOWN_CHILDREN = ("multiprocessing", "torch/_inductor")
"""Words in the command lines of child processes that end by themselves."""

Namespace = ModuleType | type
Change = tuple[Namespace, str, dict[str, Any]]


class Before:
    """Snapshot of the process's state; `left` compares with it later and restores it."""

    def __init__(self) -> None:
        self.settings = every()
        self.names = [(space, dict(vars(space))) for space in _namespaces()]
        self.hooks = [(name, table, dict(table)) for name, table in _hooks()]
        self.modes = _modes()
        self.threads = set(threading.enumerate())
        self.children = set(multiprocessing.active_children())
        self.processes = set(_processes())

    def left(self) -> tuple[list[str], list[str]]:
        """Restore the state; return the names of restored changes, and of those that remain."""
        back, stuck = put_back(self.settings)
        back += self._patches()
        for name, table, was in self.hooks:
            if dict(table) != was:
                table.clear()
                table.update(was)
                back.append(f"hooks: {name}")
        if _modes() != self.modes:
            stuck.append("a mode that intercepts torch's functions")
        for child in set(multiprocessing.active_children()) - self.children:
            if not type(child).__module__.startswith(LIBRARIES[0]):
                child.kill()
                child.join(1.0)
                back.append(f"a process: {child.name}")
        for number, name in _processes().items():
            if number not in self.processes:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(number, signal.SIGKILL)
                    back.append(f"a process: {name}")
        stuck += [f"a thread: {t.name}" for t in running_threads() if t not in self.threads]
        return back, stuck

    def after_import(self) -> tuple[list[str], list[str]]:
        """Restore what an import may not change; return its names, and those that stay replaced.

        The environment and the import path stay, and functions of torch that were replaced: they
        belong to the optimizer, and it is imported once.
        """
        kept = {name: value for name, value in self.settings.items() if name not in STAYS}
        back, stuck = put_back(kept)
        found = list(self._replaced())
        torchs = [change for change in found if _owner(change[0]).startswith("torch")]
        back += self._restored(change for change in found if change not in torchs)
        return [*back, *stuck], [f"{space.__name__}.{name}" for space, name, _ in torchs]

    def _patches(self) -> list[str]:
        """Restore replaced or overridden functions and constants; return their names."""
        return self._restored(self._replaced())

    def _restored(self, changes: Iterable[Change]) -> list[str]:
        found = []
        for space, name, was in changes:
            with contextlib.suppress(AttributeError, TypeError):
                setattr(space, name, was[name]) if name in was else delattr(space, name)
                found.append(f"{space.__name__}.{name}")
        return found

    def _replaced(self) -> Iterator[Change]:
        """Yield what was replaced or overridden: where, its name, and the names before."""
        for space, was in self.names:
            for name, now in list(vars(space).items()):
                if name not in was:
                    change = _shadows(space, name, now)
                else:
                    change = now is not was[name] and _decides(space, was[name])
                    change = change and not _is_torchs_wrapper(was[name], now)
                if change:
                    yield space, name, was


def _namespaces() -> Iterator[Namespace]:
    """Yield modules and classes whose functions a training calls."""
    yield from (torch, torch.nn, torch.nn.functional, torch.optim, torch.autograd, torch.linalg)
    yield from (builtins, math, os, random, time, modules)
    yield from (torch.Tensor, torch.nn.Module, torch.nn.Parameter, torch.Generator)
    yield from (m for n, m in list(sys.modules.items()) if n.startswith("torch.optim."))
    yield from {v for v in vars(torch.optim).values() if isinstance(v, type)}
    yield from {v for v in vars(torch.nn).values() if isinstance(v, type)}
    ours = [m for n, m in list(sys.modules.items()) if n.partition(".")[0] == "gradbench"]
    yield from ours
    classes = {v for each in ours for v in vars(each).values() if isinstance(v, type)}
    yield from (each for each in classes if each.__module__.startswith("gradbench."))


def _shadows(space: Namespace, name: str, new: object) -> bool:
    """Whether a class has a new function that overrides an inherited one."""
    bases = space.__mro__[1:-1] if isinstance(space, type) else ()
    old = next((vars(base)[name] for base in bases if name in vars(base)), None)
    return callable(new) and old is not None and not _is_torchs_wrapper(old, new)


def _decides(space: Namespace, value: object) -> bool:
    """Whether a name is a function, or one of this package's constants."""
    own = _owner(space).startswith("gradbench")
    return callable(value) or (own and isinstance(value, int | float | str | tuple))


def _owner(space: Namespace) -> str:
    """Return the name of a module, or of a class's module."""
    return space.__name__ if isinstance(space, ModuleType) else space.__module__


TORCH = str(Path(torch.__file__).parent)
COMPILER = str(Path(TORCH, "_dynamo"))


def _is_torchs_wrapper(old: object, new: object) -> bool:
    """Return whether the change is one that torch makes itself, by wrapping its own functions.

    It wraps a class's `step` when the first instance is built. The first use of torch.compile wraps
    more functions, and patches the construction of modules.
    """
    if getattr(getattr(new, "__code__", None), "co_filename", "").startswith(COMPILER):
        return True
    layers = [new]
    while inspect.isfunction(layers[-1]) and hasattr(layers[-1], "__wrapped__"):
        layers.append(layers[-1].__wrapped__)
    files = [getattr(getattr(each, "__code__", None), "co_filename", "") for each in layers]
    own = inspect.unwrap(old) if inspect.isfunction(old) else old
    return layers[-1] is own and all(f.startswith(TORCH) for f in files)


def _hooks() -> Iterator[tuple[str, dict[Any, Any]]]:
    optimizer = sys.modules["torch.optim.optimizer"]
    for where in (modules, optimizer):
        for name, value in vars(where).items():
            if name.startswith("_global") and isinstance(value, dict):
                yield name, value


def _modes() -> tuple[int, int]:
    """Return the numbers of active function and dispatch modes; 0 where torch cannot count them."""
    names = ("_len_torch_function_stack", "_len_torch_dispatch_stack")
    functions, operations = (getattr(torch._C, name, lambda: 0)() for name in names)  # noqa: SLF001
    return functions, operations


def _processes() -> dict[int, str]:
    """Return the names of this process's children by number, where the system tells.

    Without those of `multiprocessing` and of torch's compiler, which know how to end them.
    """
    found = {}
    for file in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for number in map(int, file.read_text().split()):
                with contextlib.suppress(OSError):
                    words = Path(f"/proc/{number}/cmdline").read_text().split("\0")
                    # one that has ended has no command line
                    if words[0] and not any(
                        known in word for word in words for known in KNOWN_CHILDREN
                    ):
                        found[number] = Path(words[0]).name
    return found


def running_threads() -> list[threading.Thread]:
    """Return the running threads that do not belong to one of `LIBRARIES`."""
    found = []
    for thread in threading.enumerate():
        target = getattr(thread, "_target", None)
        of = (type(thread).__module__, getattr(target, "__module__", None) or "")
        if not any(f"{name}.".startswith(LIBRARIES) for name in of):
            found.append(thread)
    return found
