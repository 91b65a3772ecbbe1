"""Which scores tell failing cases from working ones before training, and which do not.

    pytest suites --optimizer=adam --gb-probes=all
    python benchmarks/separation.py reports/latest docs/probes.svg

Draws every probe's value at the start against whether the optimizer solved the case on at least
half of the seeds, one panel per family and probe, and prints the areas under the ROC curve: 1 where
the score puts every solved case above every unsolved one, 0.5 where it tells nothing, 0 where it is
the wrong way round. Needs the extra `figures`.
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from tabulate import tabulate

from gradbench.probes import registry
from gradbench.results.record import Record, read

mpl.rcParams["svg.hashsalt"] = "gradbench"

FAMILIES = tuple(registry.HEADLINE)
PROBES = {
    # probe: whether a higher value should be better
    registry.TARGET: True,
    registry.VARIANCE: True,
    registry.SIGNAL: True,
    "second moment": False,
    registry.CONDITION: False,
    registry.GAIN: True,
    "alignment in function of the gradient": True,
}
SMALLEST = 1e-16
"""Where zeros and values below resolution are drawn."""


def points(records: list[Record], probe: str) -> list[tuple[float, bool, bool]]:
    """Return value or bound, whether solved, whether resolved, of each case at the start."""
    found = []
    for record in records:
        entry: dict[str, Any] | None = next(
            (e for e in record.informativeness if e["probe"] == probe and e["evaluations"] == 0),
            None,
        )
        if entry is None or entry["value"] is None:
            continue
        value = entry["value"] if entry["resolved"] else entry["bound"]
        if value is None:
            continue
        found.append((float(value), 2 * record.solved >= record.seeds, bool(entry["resolved"])))
    return found


def area(found: list[tuple[float, bool, bool]], *, higher: bool) -> float | None:
    """Return the area under the ROC curve; None where one of the two kinds is missing."""
    good = [value for value, solved, _ in found if solved]
    bad = [value for value, solved, _ in found if not solved]
    if not good or not bad:
        return None
    wins = sum((g > b) + 0.5 * (g == b) for g in good for b in bad) / (len(good) * len(bad))
    return wins if higher else 1 - wins


def panel(axes: Any, found: list[tuple[float, bool, bool]], title: str) -> None:  # noqa: ANN401
    """Draw one family and probe."""
    for value, solved, resolved in found:
        axes.plot(
            max(value, SMALLEST),
            1 if solved else 0,
            marker="o" if resolved else "<",
            markersize=7,
            markeredgecolor="#1b6ca8" if solved else "#b3261e",
            markerfacecolor=("#1b6ca8" if solved else "#b3261e") if resolved else "none",
            alpha=0.75,
            linestyle="none",
        )
    axes.set_xscale("log")
    axes.set_ylim(-0.6, 1.6)
    axes.set_yticks([0, 1], ["unsolved", "solved"], fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.xaxis.set_major_locator(mpl.ticker.LogLocator(numticks=5))
    axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes.set_title(title, fontsize=9)
    axes.grid(visible=True, axis="x", alpha=0.3)


def main(folder: Path, picture: Path) -> None:
    """Draw the picture and print the table."""
    records = [r for r in read(folder / "records.jsonl") if r.informativeness]
    figure, grid = plt.subplots(
        len(PROBES), len(FAMILIES), figsize=(12, 11), squeeze=False, layout="constrained"
    )
    rows = []
    for line, (probe, higher) in zip(grid, PROBES.items(), strict=True):
        row = [probe, "higher" if higher else "lower"]
        for axes, family in zip(line, FAMILIES, strict=True):
            found = points([r for r in records if r.family == family], probe)
            auc = area(found, higher=higher)
            told = "-" if auc is None else f"{auc:.2f}"
            own = "*" if registry.HEADLINE[family] == probe else ""
            row.append(f"{told} ({len(found)}){own}")
            if found:
                panel(axes, found, f"{family}: {told}{own}")
            else:
                axes.axis("off")
                axes.set_title(f"{family}: no value", fontsize=9)
        line[0].set_ylabel(probe.replace(" of the gradient", "").replace(" ", "\n", 1), fontsize=9)
        rows.append(row)
    figure.savefig(picture, metadata={"Date": None})
    print(tabulate(rows, ["score at the start", "better", *FAMILIES], tablefmt="pipe"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
