"""The table of step costs that a session prints."""

from typing import Any

from tabulate import tabulate

HEADERS = ("optimizer", "parameters", "ms/step", "x floor", "state B/parameter", "peak MiB")
LEGEND = """ms/step: median; x floor: over the time in which the memory, as measured now, moves
gradients in and parameters in and out; peak: what a step takes beyond what it keeps"""
MIB = 2**20


class CostTable:
    """A table of the step costs measured in a session, on one device."""

    def __init__(self) -> None:
        self.device = "cpu"
        self.rows: list[tuple[str, ...]] = []

    def add(self, spec: str, parameters: str, said: dict[str, Any]) -> None:
        """Add a row."""
        peak = said["peak_bytes"]
        self.rows.append(
            (
                spec,
                parameters,
                f"{said['seconds'] * 1000:.3g}",
                f"{said['over_floor']:.3g}",
                f"{said['state_bytes_per_parameter']:.2f}",
                "-" if peak is None else f"{peak / MIB:.1f}",
            )
        )

    def text(self) -> str:
        """Return the table with its legend."""
        rows = sorted(self.rows, key=lambda row: row[1])
        align = ("left", "left", *4 * ["right"])
        table: str = tabulate(rows, HEADERS, disable_numparse=True, colalign=align)
        return f"{table}\n{LEGEND}"
