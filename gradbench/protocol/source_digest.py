"""Digest of the source files that a class depends on, outside site-packages."""

import ast
import contextlib
import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path, PurePath

LONGEST = 256
"""Strings of this many characters or more are not considered as file names."""


def digest(modules: Iterable[str]) -> str:
    """Return a digest of the files of these modules and of all their imports, recursively.

    It includes compiled extensions, and files that a source names in a string, relative to its own
    folder or the working folder (weights, libraries, settings). Of the standard library and
    site-packages it includes only modules that are passed in, without their imports. Files that are
    imported or opened by a computed name are not found.
    """
    waiting = list(dict.fromkeys(modules))
    files = {name: path for name in waiting if (path := _file(name)) is not None}
    seen = set(waiting)
    while waiting:
        name = waiting.pop()
        path = _own(_file(name))
        if path is None:
            continue
        files[name] = path
        if path.suffix != ".py":
            continue
        imports, strings = _parsed(_read(path), _package(name, path))
        files |= {f"{name}:{text}": file for text, file in _mentioned(path, strings)}
        new = [other for other in imports if other not in seen]
        seen.update(new)
        waiting += new
    parts = [
        f"{name}:{hashlib.sha256(_read(path)).hexdigest()}" for name, path in sorted(files.items())
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _file(name: str) -> Path | None:
    """Return the file of a module, loaded or not; nothing is imported to find it."""
    module = sys.modules.get(name)
    if module is not None:
        path = getattr(module, "__file__", None)
        return Path(path) if path else None
    spec = _spec(name)
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


@cache
def _spec(name: str) -> ModuleSpec | None:
    parent, _, _ = name.rpartition(".")
    if not parent:
        return PathFinder.find_spec(name)
    package = sys.modules.get(parent)
    where = getattr(package, "__path__", None)
    if where is None:
        found = _spec(parent)
        where = found.submodule_search_locations if found is not None else None
    return PathFinder.find_spec(name, list(where)) if where is not None else None


@cache
def _own(path: Path | None) -> Path | None:
    """Return the resolved path; None for files of the standard library or site-packages."""
    if path is None:
        return None
    path = path.resolve()
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    library = path.is_relative_to(Path(sysconfig.get_path("stdlib")).resolve())
    return None if installed or library else path


def _mentioned(path: Path, strings: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Yield each of a source's strings that names a file, with the path of that file."""
    folders = (path.parent, Path.cwd())
    for text in strings:
        for folder in folders:
            with contextlib.suppress(OSError, ValueError):
                if _may_hold(folder, text) and (folder / text).is_file():
                    yield text, folder / text
                    break


def _may_hold(folder: Path, text: str) -> bool:
    """Return False if a path in a folder is of no entry: most strings, without a system call."""
    path = PurePath(text)
    names = _names(folder)
    if names is None or path.anchor or not text.isascii() or ".." in path.parts[:1]:
        return True
    return bool(path.parts) and path.parts[0].lower() in names


@cache
def _names(folder: Path) -> frozenset[str] | None:
    """Return the names in a folder in lower case; None if it cannot be listed."""
    try:
        return frozenset(path.name.lower() for path in folder.iterdir())
    except OSError:
        return None


def _package(name: str, path: Path) -> str:
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


@cache
def _parsed(source: bytes, package: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of all modules that a source may import, and strings that may name files.

    The packages around a module are imported with it.
    """
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return (), ()
    parts = [name.split(".") for node in nodes for name in _named(node, package)]
    imports = dict.fromkeys(".".join(p[:i]) for p in parts for i in range(1, len(p) + 1))
    strings = {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    files = sorted(each for each in strings if "." in each and len(each) < LONGEST)
    return tuple(imports), tuple(files)


def _named(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level > 0:
            around = package.split(".")
            around = around[: len(around) - node.level + 1]
            base = ".".join([*around, base] if base else around)
        if base:
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _read(path: Path) -> bytes:
    """Return a file's content, empty if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


CACHED = (_spec, _own, _names)
"""Functions that cache files; call `cache_clear` on each so that files are read again."""
