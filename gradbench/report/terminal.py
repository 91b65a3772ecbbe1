"""The table at the end of a run, within 100 columns."""

from tabulate import tabulate

from gradbench.record import Outcome, Record
from gradbench.report.rows import HEADERS, cells, clocks, milliseconds, shorten, to_target, verdict

WIDTH = 100
CASE, OPTIMIZER = 27, 18


def line(record: Record) -> str:
    """Return one finished item in one line."""
    name = shorten(f"{record.case}[{record.optimizer}]", 44)
    parts = (
        f"{record.solved}/{record.seeds}  {to_target(record):>7} ev  {milliseconds(record):>6} ms"
    )
    return shorten(f"{name:<44}  {parts}  {verdict(record)}", WIDTH - 2)


def table(records: list[Record]) -> str:
    """Return the final table: a row per record, and what its columns mean."""
    rows = []
    for record in records:
        case, optimizer, *rest = cells(record)
        rows.append([shorten(case, CASE), shorten(optimizer, OPTIMIZER), *rest[:-1]])
        rows[-1].append(shorten(rest[-1], 24))
    text = tabulate(
        rows,
        HEADERS,
        tablefmt="simple",
        colalign=("left", "left", "right", "right", "right", "right", "left"),
        disable_numparse=True,
    )
    legend = (
        "solved: evaluation seeds; 95 %: Wilson interval in percent; "
        "evaluations: median gradient\nevaluations to target; "
        f"ms/step: median training step by {clocks(records)}, evaluation excluded"
    )
    return f"{text}\n{legend}"


def news(records: list[Record]) -> list[str]:
    """Return one line per record that solved what was thought never to be solved."""
    return [
        f"{r.optimizer} solved {r.case} on {r.solved} of {r.seeds} seeds (never before); section "
        f"{r.section}"
        for r in records
        if r.outcome == Outcome.NEWS
    ]
