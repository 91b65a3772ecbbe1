"""Draws the figures of docs/paper.md from the points that stand in benchmarks/paper.jsonl."""

from pathlib import Path
from typing import Any

DASHES = ("-", "--", ":", "-.")


def draw(figure: dict[str, Any], file: Path) -> None:
    """Write a figure as SVG; lines of one label share colour and dashes.

    `figure` is a `common.Figure` as JSON has it. Raises ImportError without matplotlib.
    """
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "gradbench"
    canvas, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    labels = list(dict.fromkeys(label for label, _ in figure["lines"]))
    shown = set()
    for label, points in figure["lines"]:
        style = labels.index(label)
        axes.plot(
            *zip(*points, strict=True),
            color=f"C{style % 10}",
            linestyle=DASHES[style % len(DASHES)],
            linewidth=1.2,
            marker="." if len(points) < 12 else None,
            label=None if label in shown else label,
        )
        shown.add(label)
    for name in figure["log"]:
        getattr(axes, f"set_{name}scale")("log")
    axes.set_xlabel(figure["x"])
    axes.set_ylabel(figure["y"])
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    file.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(file, metadata={"Date": None})
    plt.close(canvas)
