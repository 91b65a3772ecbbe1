"""The third-party collection of optimizers that specs name without a module: the extra `zoo`."""

import functools
import importlib
from importlib.util import find_spec
from types import ModuleType

from gradbench.text import error_line

COLLECTION = "pytorch_optimizer"


def trouble() -> str:
    """Return why the collection cannot be used though it is installed; empty if nothing is wrong.

    What it imports may be missing or too old.
    """
    found = _collection()
    return found if isinstance(found, str) else ""


@functools.cache
def _collection() -> ModuleType | str | None:
    """Return the collection; the reason if it cannot be imported, None if it is not installed."""
    if find_spec(COLLECTION) is None:
        return None
    try:
        return importlib.import_module(COLLECTION)
    except Exception as error:  # noqa: BLE001  # whatever it or what it imports raises
        return f"{COLLECTION} cannot be imported: {error_line(error)}"


def names() -> list[str]:
    """Return the collection's names, in lower case; none where it cannot be imported."""
    collection = _collection()
    if not isinstance(collection, ModuleType):
        return []
    return [str(name).lower() for name in collection.get_supported_optimizers()]


def load(name: str) -> object:
    """Return the collection's member of a name in any letter case; None where there is none.

    The collection's own list lacks its wrappers (SAM, Lookahead ...): they are found as attributes.
    """
    collection = _collection()
    if not isinstance(collection, ModuleType):
        return None
    if name.lower() in names():
        return collection.load_optimizer(name.lower())
    return next((v for k, v in vars(collection).items() if k.lower() == name.lower()), None)
