"""Keeps pytest's log handlers from torch's trace of what it compiles."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

TRACE = "torch.__trace"


@contextmanager
def untraced() -> Iterator[None]:
    """Detach pytest's handlers from the logger of torch's trace.

    pytest attaches them to each logger that does not propagate, from 9.1 on. With any handler torch
    writes the trace, which takes time, and a failed item shows it in hundreds of empty lines.
    """
    logger = logging.root.manager.loggerDict.get(TRACE)
    handlers = logger.handlers if isinstance(logger, logging.Logger) else []
    pytests = [each for each in handlers if type(each).__module__.startswith("_pytest.")]
    for each in pytests:
        handlers.remove(each)
    try:
        yield
    finally:
        handlers.extend(pytests)
