"""Printable text, JSON input, and files written atomically."""

import json
import os
import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

ESCAPED = "backslashreplace"
"""Error handler for text that UTF-8 cannot hold, such as half of a surrogate pair: escapes it."""


_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""Matches the start of an escaped half of a surrogate pair in JSON."""


def from_json(text: str) -> Any:  # noqa: ANN401
    """Return the data of a JSON text, with halves of surrogate pairs escaped, so that it can be
    written again.

    Raises ValueError or RecursionError where the text is not JSON.
    """  # noqa: D205
    data = json.loads(text)
    return _escaped(data) if _HALF.search(text) else data


def _escaped(data: Any) -> Any:  # noqa: ANN401
    if isinstance(data, str):
        return data.encode("utf-8", errors=ESCAPED).decode()
    if isinstance(data, list):
        return [_escaped(each) for each in data]
    if isinstance(data, dict):
        return {_escaped(name): _escaped(each) for name, each in data.items()}
    return data


def printable(text: str) -> str:
    """Return the text with unprintable characters escaped: terminals execute some of them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file atomically: readers never see a part of it, and writers do not interfere.

    Raises OSError where it cannot be written; no part of it remains then.
    """
    data = content.encode("utf-8", errors=ESCAPED) if isinstance(content, str) else content
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its type where there is none."""
    return (_message(error).splitlines() or [type(error).__name__])[0]


def error_line(error: BaseException) -> str:
    """Return an exception's type and the first 300 characters of its message's first line."""
    message = printable(first_line(error)[:300]) if _message(error) else ""
    return f"{type(error).__name__}: {message}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as trouble:  # noqa: BLE001  # an exception may fail to say what it is
        return f"its message raises {type(trouble).__name__}"
