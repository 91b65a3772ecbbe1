"""Finds the cases in suite files without running pytest."""

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

from gradbench.protocol.case import Case


def suites() -> Path:
    """Return the folder of the suites: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "suites"
    return inside if inside.is_dir() else package.parent / "suites"


def cases(paths: Sequence[Path], preset: str) -> Iterator[Case]:
    """Yield the cases of these suite files, or of the `test_*.py` in these folders.

    Raises FileNotFoundError where a path does not exist.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"there is no suite {path}")
        for file in sorted(path.rglob("test_*.py")) if path.is_dir() else [path]:
            yield from _of_file(file, preset)


def _of_file(file: Path, preset: str) -> Iterator[Case]:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for function in vars(module).values():
        for mark in getattr(function, "pytestmark", []):
            if mark.name == "gradbench":
                yield from mark.kwargs["cases"](preset)
