"""The third-party collection of optimizers that specs name without a module: the extra `zoo`."""

import importlib
from importlib.util import find_spec

COLLECTION = "pytorch_optimizer"


def installed() -> bool:
    """Return whether the collection is installed, without importing it."""
    return find_spec(COLLECTION) is not None


def names() -> list[str]:
    """Return the collection's names, in lower case; none where it is not installed."""
    if not installed():
        return []
    return [
        str(name).lower() for name in importlib.import_module(COLLECTION).get_supported_optimizers()
    ]


def load(name: str) -> object:
    """Return the collection's member of a name in any letter case; None where there is none.

    The collection's own list lacks its wrappers (SAM, Lookahead ...): they are found as attributes.
    """
    if not installed():
        return None
    collection = importlib.import_module(COLLECTION)
    if name.lower() in names():
        return collection.load_optimizer(name.lower())
    return next((v for k, v in vars(collection).items() if k.lower() == name.lower()), None)
