"""Imports the objects that specs name in modules and files."""

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.abc import SourceLoader
from pathlib import Path
from types import ModuleType

from gradbench.spec import Spec, SpecError

ADDED: set[str] = set()
"""Folders that this module has added to the import path: no optimizer left them behind."""

CONTENT = "__gradbench_content__"
"""Attribute of a module imported from a file: the bytes of its source."""


def imported(spec: Spec, source: str, fits: Callable[[object], bool]) -> object:
    """Return the object that a spec names in a module or a file; `fits` selects suggestions.

    Raises SpecError, in one line, where it cannot be imported or has no such name.
    """
    try:
        module = _from_file(source) if source.endswith(".py") else module_named(source)
    except FileNotFoundError:
        raise SpecError(f"{spec.text!r}: there is no file {source}") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also pytest's skip at module level
        raise SpecError(
            f"{spec.text!r}: cannot import {source}: {type(error).__name__}: {error}"
            f"{_as_module(spec, source, error)}"
        ) from error
    if not hasattr(module, spec.name):
        have = [name for name, value in vars(module).items() if fits(value)]
        have = difflib.get_close_matches(spec.name, have, n=3) or have
        near = f"; it has {', '.join(have[:8])}{', ...' if len(have) > 8 else ''}" if have else ""
        raise SpecError(f"{spec.text!r}: {source} has no {spec.name}{near}")
    return getattr(module, spec.name)


def search_path() -> list[str]:
    """Return the import path without entries that are no text, such as paths: they find nothing."""
    entries: list[object] = [*sys.path]
    return [entry for entry in entries if isinstance(entry, str)]


def import_sources(spec: Spec) -> None:
    """Import the modules and files that a spec and those added to it name.

    Raises whatever importing them raises.
    """
    for each in (spec, *spec.added):
        if each.source is not None:
            imported(each, each.source, callable)


def _as_module(spec: Spec, source: str, error: BaseException) -> str:
    """Return a hint to name the module, for a file of a package with relative imports."""
    path = Path(source).expanduser().resolve()
    if "relative import" not in str(error) or not (path.parent / "__init__.py").is_file():
        return ""
    parts = [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return (
        f"; it is a file of the package {parts[0]}: in {folder}, or where that is on the path, "
        f"write {'.'.join(parts)}:{spec.name}"
    )


def module_named(name: str) -> ModuleType:
    """Import a module that is installed or lies in the working folder."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        _add(str(Path.cwd()))
    return importlib.import_module(name)


def _add(folder: str) -> None:
    ADDED.add(folder)
    sys.path.insert(0, folder)


def _from_file(source: str) -> ModuleType:
    """Import a file, again only if it has changed, so that two specs of it name the same classes.

    It is compiled here: Python's own cache treats a file of the same size and time, in whole
    seconds, as unchanged.
    """
    path = Path(source).expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError(source)
    name = f"{path.stem}@{path.parent}"  # no importable name, so it hides no other module
    text = path.read_bytes()
    known = sys.modules.get(name)
    if known is not None and vars(known).get(CONTENT) == text:
        return known
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or not isinstance(module_spec.loader, SourceLoader):
        raise ImportError(f"not a Python file: {source}")
    module = importlib.util.module_from_spec(module_spec)
    setattr(module, CONTENT, text)
    _make_neighbours_importable(path.parent)
    sys.modules[name] = module
    try:
        exec(module_spec.loader.source_to_code(text, path), vars(module))  # noqa: S102
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _make_neighbours_importable(folder: Path) -> None:
    """Put a file's folder first on the import path, and forget neighbours of other files.

    Two versions of an optimizer lie in two folders, whose helpers have the same names: each file
    gets those beside it. One that is only imported within a function is that of the last file.
    """
    if sys.path[:1] != [str(folder)]:
        if str(folder) in ADDED and str(folder) in sys.path:
            sys.path.remove(str(folder))
        _add(str(folder))
    others = {Path(each) for each in ADDED} - {folder}
    tops = {name for name in sys.modules if "." not in name and "@" not in name}
    foreign = {top for top in tops if _has(folder, top) and _home(sys.modules[top]) in others}
    for name in list(sys.modules):
        if name.partition(".")[0] in foreign:
            del sys.modules[name]


def _has(folder: Path, name: str) -> bool:
    """Return whether a folder holds a module or a package of that name."""
    return (folder / f"{name}.py").is_file() or any((folder / name).glob("*.py"))


def _home(module: ModuleType | None) -> Path | None:
    """Return the folder on the import path in which a module or a package lies."""
    parts = list(getattr(module, "__path__", []))
    file = parts[0] if parts else getattr(module, "__file__", None)
    return None if file is None else Path(file).parent
