"""The output of --gb-dry-run: items, gradient evaluations, and an estimate of the time."""

from collections.abc import Callable, Sequence

from gradbench.protocol.item import Item
from gradbench.protocol.run_item import estimate
from gradbench.torch_state import one_thread


def dry_run(items: Sequence[tuple[str, Item]], write: Callable[[str], None]) -> None:
    """Write a line per named item and the total; a few steps of each are run."""
    total_evaluations, total_seconds = 0, 0.0
    with one_thread():
        for name, item in items:
            evaluations, seconds, trouble = estimate(item)
            total_evaluations += evaluations
            total_seconds += seconds
            said = trouble or f"{evaluations:>12,} {_duration(seconds):>10}"
            write(f"{name:<48} {said}")
    write(
        f"{'at most; time of one trial after another here':<48} "
        f"{total_evaluations:>12,} {_duration(total_seconds):>10}"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
