"""Write the fastest standard optimizer of each case, from the tables of expectations.

    python benchmarks/fastest.py

gradbench/protocol/fastest.json holds, by preset and case, the budget and the fewest median
evaluations to target among the four; cases of which none solves half of its seeds are left out.
"""

import json
import re
from importlib.resources import files
from pathlib import Path

HERE = Path(__file__).parent
COLUMNS = 7
MEDIAN = re.compile(r" at (\d+)")


def fastest(table: str) -> dict[str, dict[str, int]]:
    """Return the budget and the fewest median evaluations of each case of a table."""
    found = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != COLUMNS or not cells[1].isdecimal():
            continue
        medians = [int(match[1]) for cell in cells[2:6] if (match := MEDIAN.search(cell))]
        if medians:
            found[cells[0]] = {"budget": int(cells[1]), "evaluations": min(medians)}
    return found


def measured() -> dict[str, dict[str, dict[str, int]]]:
    """Return the fastest of each preset that has a table."""
    tables = {"quick": ("quick", "beyond"), "standard": ("standard", "beyond-standard")}
    return {
        preset: {
            case: row
            for name in names
            for case, row in fastest((HERE / f"expectations-{name}.md").read_text()).items()
        }
        for preset, names in tables.items()
    }


if __name__ == "__main__":
    place = Path(str(files("gradbench.protocol") / "fastest.json"))
    place.write_text(json.dumps(measured(), indent=1) + "\n", encoding="utf-8")
