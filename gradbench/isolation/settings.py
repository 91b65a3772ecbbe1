"""Process-wide settings that affect training: read, applied in other processes, restored."""

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from gradbench import imports


class Setting(NamedTuple):
    """Getter and setter of a process-wide setting; the setter is None where none exists."""

    get: Callable[[], Any]
    put: Callable[[Any], object] | None


def _deterministic() -> tuple[bool, bool]:
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.are_deterministic_algorithms_enabled(), warn


def _set_deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _device() -> str:
    try:
        return str(torch.get_default_device())
    except AttributeError:  # torch 2.6, once it was set to None
        return "cpu"


def _set_device(value: str) -> None:
    torch.set_default_device(None if value == "cpu" else value)  # "cpu" would add a function mode


def _anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _autocast() -> list[tuple[str, bool, str]]:
    kinds = ["cpu"]
    if torch.accelerator.is_available() and (found := torch.accelerator.current_accelerator()):
        kinds.append(found.type)
    return [
        (kind, torch.is_autocast_enabled(kind), str(torch.get_autocast_dtype(kind)))
        for kind in kinds
    ]


def _set_autocast(value: list[tuple[str, bool, str]]) -> None:
    for kind, enabled, dtype in value:
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, getattr(torch, dtype.removeprefix("torch.")))


def _flushes() -> bool:
    """Whether numbers below the smallest normal one become 0 (torch.set_flush_denormal)."""
    smallest = torch.tensor([1e-310], dtype=torch.float64, device="cpu")
    return bool(smallest.mul(1.0).item() == 0.0)


def _backends() -> dict[str, Any]:
    found = {name: getattr(torch.backends.cudnn, name) for name in CUDNN}
    return found | {"mkldnn": torch.backends.mkldnn.enabled}


def _set_backends(value: Mapping[str, Any]) -> None:
    for name in CUDNN:
        if getattr(torch.backends.cudnn, name) != value[name]:
            setattr(torch.backends.cudnn, name, value[name])
    if torch.backends.mkldnn.enabled != value["mkldnn"]:
        torch.backends.mkldnn.set_flags(value["mkldnn"])


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if COMPILER not in name}


def _set_environment(value: Mapping[str, str]) -> None:
    for name in set(_environment()) - set(value):
        del os.environ[name]
    os.environ.update(value)


def _is_ours(folder: object) -> bool:
    """Return whether gradbench, or torch's compiler, has added a folder to the import path."""
    return folder in imports.ADDED or str(folder).endswith(VENDORED)


def _import_path() -> list[str]:
    return [each for each in sys.path if not _is_ours(each)]


def _set_import_path(value: list[str]) -> None:
    kept = [each for each in sys.path if _is_ours(each)]
    sys.path[:] = value + kept


def _signal_handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _set_signal_handlers(value: Mapping[int, Any]) -> None:
    """Set the handlers that differ and are Python's; raises ValueError but in the main thread."""
    now = _signal_handlers()
    for number, handler in value.items():
        if handler is not None and now[number] != handler:
            signal.signal(number, handler)


COMPILER = "TORCHINDUCTOR"
VENDORED = str(Path("setuptools", "_vendor"))
COMPILER_DEPTH = 2000
"""Changes that torch.compile itself makes at its first use: names in the environment, setuptools'
vendored libraries on the import path, and at least this recursion limit. They do not affect
training and are ignored."""

CUDNN = ("enabled", "benchmark", "deterministic")

CARRIED: dict[str, Setting] = {
    "matmul precision": Setting(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    ),
    "deterministic algorithms": Setting(_deterministic, _set_deterministic),
    "anomaly detection": Setting(_anomaly, lambda value: torch.autograd.set_detect_anomaly(*value)),
    "autocast": Setting(_autocast, _set_autocast),
    "denormal numbers": Setting(_flushes, torch.set_flush_denormal),
    "backends": Setting(_backends, _set_backends),
    "numpy's errors": Setting(np.geterr, lambda value: np.seterr(**value)),
}
"""Settings that affect an item's record; workers apply the values of the controller's process."""

OWN: dict[str, Setting] = {
    "default type": Setting(torch.get_default_dtype, torch.set_default_dtype),
    "default device": Setting(_device, _set_device),
    "gradient mode": Setting(torch.is_grad_enabled, torch.set_grad_enabled),
    "inference mode": Setting(torch.is_inference_mode_enabled, None),
    "threads": Setting(torch.get_num_threads, torch.set_num_threads),
    "working folder": Setting(os.getcwd, os.chdir),
    "import path": Setting(_import_path, _set_import_path),
    "environment": Setting(_environment, _set_environment),
    "recursion limit": Setting(
        lambda: max(sys.getrecursionlimit(), COMPILER_DEPTH), sys.setrecursionlimit
    ),
    "signal handlers": Setting(_signal_handlers, _set_signal_handlers),
    "trace function": Setting(sys.gettrace, sys.settrace),
    "profile function": Setting(sys.getprofile, sys.setprofile),
    "output streams": Setting(
        lambda: (sys.stdout, sys.stderr, sys.stdin),
        lambda value: vars(sys).update(zip(("stdout", "stderr", "stdin"), value, strict=True)),
    ),
}
"""Further settings that an item may leave changed in its process."""


def every() -> dict[str, Any]:
    """Return the settings of this process."""
    return {name: each.get() for name, each in (OWN | CARRIED).items()}


def put_back(values: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Restore settings; return the names of those that were restored, and of those that remain."""
    back: list[str] = []
    stuck: list[str] = []
    for name, value in values.items():
        setting = (OWN | CARRIED)[name]
        if setting.get() != value:
            _put(setting, value)
            (back if setting.get() == value else stuck).append(name)
    return back, stuck


def carried() -> dict[str, Any]:
    """Return the settings of this process that an item's record depends on, as plain data."""
    return {name: setting.get() for name, setting in CARRIED.items()}


@contextmanager
def applied(values: Mapping[str, Any]) -> Iterator[None]:
    """Apply these settings and the warning filter `default`; restore both afterwards.

    A filter that turns warnings into errors would otherwise make an optimizer that warns crash in
    one process and train in another.
    """
    before = carried()
    try:
        for name, value in values.items():
            if value != before[name]:
                _put(CARRIED[name], value)
        with warnings.catch_warnings():
            warnings.resetwarnings()
            warnings.simplefilter("default")
            yield
    finally:
        for name, value in before.items():
            if CARRIED[name].get() != value:
                _put(CARRIED[name], value)


def _put(setting: Setting, value: Any) -> None:  # noqa: ANN401
    with contextlib.suppress(Exception):  # not available on this machine
        if setting.put is not None:
            setting.put(value)
