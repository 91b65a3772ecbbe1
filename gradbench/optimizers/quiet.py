"""Runs code of others without its output."""

import contextlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Discard output to stdout and stderr, including writes to file descriptors 1 and 2."""
    kept = []
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123
                for stream in (1, 2):
                    kept.append((os.dup(stream), stream))
                    os.dup2(nowhere.fileno(), stream)
            yield
        finally:
            for copy, stream in kept:
                os.dup2(copy, stream)
                os.close(copy)
