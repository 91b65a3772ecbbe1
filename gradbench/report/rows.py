"""One record as the cells that every report shows."""

from gradbench.record import Record, Status
from gradbench.statistics import censored_median, wilson

HEADERS = ("case", "optimizer", "solved", "95 %", "evaluations", "ms/step", "outcome")


def shorten(text: str, width: int) -> str:
    """Return the text cut in its middle to a width."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def to_target(record: Record) -> str:
    """Return the median evaluations to target, or that it lies beyond the budget."""
    times = [trial["evaluations_to_target"] for trial in record.trials]
    middle = censored_median(times) if times else None
    return f">{record.budget}" if middle is None else f"{middle:.0f}"


def milliseconds(record: Record) -> str:
    """Return the median step in milliseconds."""
    seconds = (record.timing.get("seconds_per_step") or {}).get("median")
    return "-" if seconds is None else f"{seconds * 1000:.3g}"


def verdict(record: Record) -> str:
    """Return the outcome with what was expected, and the trials' odd endings."""
    odd = [s for s in record.statuses if s not in (Status.SOLVED, Status.UNSOLVED)]
    kinds = ", ".join(f"{odd.count(kind)} {kind}" for kind in dict.fromkeys(odd))
    word = record.outcome.upper() if record.outcome in ("news", "failed") else record.outcome
    return f"{word} ({record.expectation}{'; ' if kinds else ''}{kinds})"


def cells(record: Record) -> list[str]:
    """Return the record's cells, one for each of HEADERS."""
    low, high = wilson(record.solved, record.seeds)
    return [
        record.case,
        record.optimizer,
        f"{record.solved}/{record.seeds}",
        f"{100 * low:.0f}-{100 * high:.0f}",
        to_target(record),
        milliseconds(record),
        verdict(record),
    ]


def clocks(records: list[Record]) -> str:
    """Return which clocks the step times were read from."""
    return ", ".join(sorted({record.timing.get("clock") or "none" for record in records}))
