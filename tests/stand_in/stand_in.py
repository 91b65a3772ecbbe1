"""Runs a program with a device of its own memory, which torch takes for an accelerator.

    python tests/stand_in/stand_in.py FOLDER gradbench check adam
    python tests/stand_in/stand_in.py FOLDER pytest suites --gb-device=stand_in --optimizer=adam
    python tests/stand_in/stand_in.py FOLDER script.py

It is built in FOLDER by the C++ compiler, in some 40 seconds, and used again from there. What has
no place on it is computed on the CPU; it has no events, no graphs and no random numbers of its own.
"""

import importlib.util
import runpy
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

NAME = "stand_in"


def build(folder: Path) -> Path:
    """Compile the device into a folder, unless it is there, and return its file."""
    import torch
    from torch.utils.cpp_extension import include_paths, library_paths

    made = folder / f"{NAME}_device-{torch.__version__}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not made.exists():
        folders = [*include_paths(), sysconfig.get_paths()["include"]]
        command = ["c++", "-shared", "-fPIC", "-std=c++20", "-O1", "-w"]
        command += [f"-isystem{each}" for each in folders]
        command += [str(Path(__file__).with_suffix(".cpp")), "-o", str(made)]
        command += [f"-L{each}" for each in library_paths()]
        command += ["-lc10", "-ltorch", "-ltorch_cpu", "-ltorch_python"]
        subprocess.run(command, check=True)
    return made


def register(folder: Path) -> ModuleType:
    """Build and load the device, name it `stand_in`, and return the extension."""
    import torch

    spec = importlib.util.spec_from_file_location(f"{NAME}_device", build(folder))
    device = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = device
    spec.loader.exec_module(device)
    torch.utils.rename_privateuse1_backend(NAME)
    torch._register_device_module(NAME, _module(device))
    torch.utils.generate_methods_for_privateuse1_backend()
    return device


def _module(device: ModuleType) -> ModuleType:
    """Return what torch calls as `torch.stand_in`."""
    import torch

    modes = ["default"]
    module = ModuleType(f"torch.{NAME}")
    module.is_available = module.is_initialized = lambda: True
    module._is_in_bad_fork = lambda: False
    module.device_count = lambda: 1
    module.current_device = lambda: 0
    module.manual_seed_all = module._lazy_init = module.set_rng_state = lambda *_: None
    module.get_rng_state = lambda *_: torch.zeros(1, dtype=torch.uint8)
    module.get_amp_supported_dtype = lambda: [torch.bfloat16]
    module.get_sync_debug_mode = lambda: modes[-1]

    def set_sync_debug_mode(mode: str) -> None:
        modes.append(mode)
        device.warn(mode == "warn")

    module.set_sync_debug_mode = set_sync_debug_mode
    return module


def main(folder: str, program: str, *arguments: str) -> int:
    """Run a program with the device registered; return its exit code."""
    register(Path(folder))
    if program == "pytest":
        import pytest

        return int(pytest.main([*arguments]))
    if program != "gradbench":
        runpy.run_path(program)
        return 0
    from gradbench.cli import main as gradbench

    return gradbench([*arguments])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
