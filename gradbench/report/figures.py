"""The paper's figures 1, 3, 4, 5, 6 and 7, redrawn from a run's own records, and a profile.

A figure shows one optimizer and is drawn where the run has the figure's cases. The profile shows
all optimizers.

One file: a figure is a function, and the figures share their axes and colours.
"""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradbench.analysis.statistics import wilson
from gradbench.report.bands import band
from gradbench.report.rows import distinct, shown, varying
from gradbench.report.view import arrivals
from gradbench.results.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HINT = "figures need matplotlib: pip install 'pytest-gradbench[figures]'"
SNR = "signal-to-noise ratio"
PANEL = (3.2, 2.7)
SINGLE = 0.9488
"""Best accuracy on a single line image, measured: see `gradbench.scenarios.line_tuples`."""

FEW = 6  # panels in a row at most
SAYS = {
    **dict.fromkeys(
        ("figure1-parities", "figure3-line-tuples", "figure4-allocation"),
        "line: median, band: lowest to highest of n seeds; ",
    ),
    "figure5-signal-to-noise": "one network, n = 1; ",
    "figure6-curves": "above: seed 0; below: median and range of n seeds; ",
    "figure7-steps": "seed 0; solved seeds with the Wilson 95 % interval; ",
    "profile": "n trials; the last share's 95 % interval is over the cases; ",
}
PER_INCH = 20  # characters per inch of a figure's caption


class FiguresError(ValueError):
    """Figures that cannot be drawn; the message is one line that says why."""


Draw = Callable[[list[Record]], "Figure | None"]


def _drawn() -> dict[str, Draw]:
    """Return the functions that draw the paper's figures, by the figures' names."""
    return {
        "figure1-parities": lambda r: by_difficulty(r, "parity", "accuracy"),
        "figure3-line-tuples": lambda r: by_difficulty(r, "line-tuples", "accuracy"),
        "figure4-allocation": lambda r: by_difficulty(r, "allocation", "-loss"),
        "figure5-signal-to-noise": signal_to_noise,
        "figure6-curves": curves,
        "figure7-steps": steps,
    }


def write(
    folder: Path, records: Sequence[Record], every: Sequence[Record], kind: str, caption: str
) -> list[Path]:
    """Write the figures of one optimizer's `records` and the profile of `every` record.

    Return the paths. `caption` describes the run in each caption. Raises FiguresError without
    matplotlib, and where nothing can be drawn.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise FiguresError(f"{HINT} ({error})") from None
    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 9, "svg.hashsalt": "gradbench", "axes.grid": True})
    mpl.rcParams.update({"grid.alpha": 0.25, "axes.spines.top": False, "axes.spines.right": False})
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    found = [(name, draw(list(records))) for name, draw in _drawn().items()]
    found.append(("profile", profile(list(every))))
    paths = []
    for name, figure in found:
        if figure is None:
            continue
        whose = f"{shown(records[0].optimizer)}; " if name != "profile" else ""
        whose += SAYS.get(name, "")
        wide = int(PER_INCH * figure.get_size_inches()[0])
        figure.supxlabel(textwrap.fill(f"{whose}{caption}", wide), fontsize=6.5, color="#555555")
        paths.append(folder / f"{name}.{kind}")
        figure.savefig(paths[-1], metadata={"Date": None} if kind == "svg" else None, dpi=200)
        plt.close(figure)
    if not paths:
        raise FiguresError("there is nothing to draw: no records of the paper's scenarios")
    return paths


def panels(count: int) -> tuple["Figure", list["Axes"]]:
    """Return a figure with a number of panels in rows."""
    from matplotlib import pyplot as plt

    columns = min(count, FEW)
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(PANEL[0] * columns, PANEL[1] * rows + 0.3),
        squeeze=False,
        layout="constrained",
    )
    flat = list(axes.flat)
    for unused in flat[count:]:
        unused.set_visible(False)
    return figure, flat[:count]


def span(record: Record) -> tuple[float, float]:
    """Return the values of the paper's axis at the normalised scores 0 and 1."""
    k = record.setting.get("k", 1)
    if record.scenario == "allocation":  # -loss is the mean of p_y
        return 1 / k, 1.0
    if record.scenario == "line-tuples":  # the best that single images allow
        return 0.5, (1 + (2 * SINGLE - 1) ** k) / 2
    return (0.5, 1.0) if record.scenario == "parity" else (0.0, 1.0)


def by_difficulty(records: list[Record], scenario: str, label: str) -> "Figure | None":
    """Draw score against gradient evaluations: a panel per setting, a line per approach."""
    settings: dict[str, list[Record]] = {}
    differ = varying(records).get(scenario, set()) - {"n1"}
    for record in records:
        if record.scenario == scenario and band(record.trials):
            named = {k: v for k, v in record.setting.items() if k in differ or k in record.ladder}
            name = ", ".join(f"{k} = {v}" for k, v in named.items())
            settings.setdefault(name, []).append(record)
    if not settings:
        return None
    figure, axes = panels(len(settings))
    for axis, (name, group) in zip(axes, settings.items(), strict=True):
        for record in group:
            _line(axis, record)
        axis.set(title=name, xlabel="gradient evaluations", ylabel=label)
        low, high = span(group[0])
        axis.set_ylim(low - 0.3 * (high - low), high + 0.05 * (high - low))
        axis.legend(fontsize=7)
    return figure


def _line(axis: "Axes", record: Record) -> None:
    """Draw the seeds' median, and their range as a band."""
    found = band(record.trials)
    if found is None:
        return
    zero, one = span(record)
    x = np.array(found["x"], dtype=float)
    mid, low, high = (
        zero + (one - zero) * np.array(found[name], dtype=float) for name in ("mid", "low", "high")
    )
    words = [str(v) for v in record.setting.values() if isinstance(v, str)]
    label = ", ".join([record.approach or record.case, *words])
    (line,) = axis.plot(x, mid, label=f"{label} (n = {len(record.trials)})")
    axis.fill_between(x, low, high, alpha=0.2, color=line.get_color(), lw=0)


def signal_to_noise(records: list[Record]) -> "Figure | None":
    """Draw figure 5: the signal-to-noise ratio at the start against k, for both approaches."""
    points: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for record in records:
        entry = next(
            (
                e
                for e in record.informativeness
                if e["probe"] == SNR and e["evaluations"] == 0 and e["value"] is not None
            ),
            None,
        )
        if record.scenario == "line-tuples" and entry:
            points.setdefault(record.approach, []).append((record.setting["k"], entry))
    if not points:
        return None
    figure, (axis,) = panels(1)
    for number, (approach, found) in enumerate(points.items()):
        colour = f"C{number}"
        for k, entry in found:
            if entry.get("resolved"):
                low, high = entry.get("interval") or (entry["value"], entry["value"])
                value = entry["value"]
                axis.errorbar(k, value, [[value - low], [high - value]], fmt="o", color=colour)
            else:
                axis.plot(k, entry["bound"], marker="v", color=colour, fillstyle="none")
        axis.plot([], [], marker="o", ls="", color=colour, label=approach)
    axis.plot([], [], marker="v", ls="", color="grey", fillstyle="none", label="95 % bound")
    ks = sorted({k for found in points.values() for k, _ in found})
    axis.set(yscale="log", xticks=ks, xlabel="k", ylabel="SNR at the start, one tuple (95 %)")
    axis.legend(fontsize=7)
    return figure


def curves(records: list[Record]) -> "Figure | None":
    """Draw figure 6: a held-out curve with each approach's answer, above the approach's score."""
    group = [r for r in records if r.scenario == "curves" and _kept(r, "curve")]
    if not group:
        return None
    figure, axes = panels(2 * len(group)) if len(group) > FEW else _two_rows(len(group))
    above, below = axes[: len(group)], axes[len(group) :]
    for top, bottom, record in zip(above, below, group, strict=True):
        target, answer = (np.array(v, dtype=float) for v in _kept(record, "curve"))
        if record.approach != "autoencoder":  # changes of slope: W p sums them twice
            target, answer = target.cumsum().cumsum(), answer.cumsum().cumsum()
        top.plot(target, color="black", lw=1, label="curve")
        top.plot(answer, label="answer")
        top.set(title=f"{record.approach}, {record.setting.get('data')}")
        top.legend(fontsize=7)
        _line(bottom, record)
        bottom.set(xlabel="gradient evaluations", ylabel="score")
        bottom.legend(fontsize=7)
    return figure


def _two_rows(columns: int) -> tuple["Figure", list["Axes"]]:
    from matplotlib import pyplot as plt

    size = (PANEL[0] * columns, 2 * PANEL[1] + 0.3)
    figure, axes = plt.subplots(2, columns, figsize=size, squeeze=False, layout="constrained")
    return figure, list(axes.flat)


def steps(records: list[Record]) -> "Figure | None":
    """Draw figure 7: each approach's answered level against the true level."""
    group = [r for r in records if r.scenario == "steps" and _kept(r, "answers")]
    if not group:
        return None
    figure, axes = panels(len(group))
    for axis, record in zip(axes, group, strict=True):
        pairs = np.array(_kept(record, "answers"), dtype=float)
        ends = [pairs[:, 0].min(), pairs[:, 0].max()]
        axis.plot(ends, ends, color="black", lw=0.8)
        axis.plot(pairs[:, 0], pairs[:, 1], ".", ms=4)
        low, high = wilson(record.solved, record.seeds)
        axis.set(
            title=f"{record.case.removeprefix('steps-')}: {record.solved}/{record.seeds} "
            f"({100 * low:.0f}-{100 * high:.0f} %)",
            xlabel="true level (seed 0)",
            ylabel="answer",
        )
    return figure


def _kept(record: Record, name: str) -> Any:  # noqa: ANN401
    """Return a table of the first trial's details; None unless it is 2-D and finite."""
    value = (record.trials[0].get("details") or {}).get(name) if record.trials else None
    try:
        numbers = np.array(value, dtype=float)
        whole = numbers.ndim == 2 and bool(np.isfinite(numbers).all())
    except (TypeError, ValueError, OverflowError):
        return None
    return value if whole else None


def profile(records: list[Record]) -> "Figure | None":
    """Draw the share of trials that have reached the target against gradient evaluations."""
    found = arrivals(records)
    if not found:
        return None
    figure, (axis,) = panels(1)
    figure.set_size_inches(5, 3.6)
    names = distinct(list(found))
    for spec, seen in found.items():
        x, y = np.array(seen["evaluations"], dtype=float).T
        low, high = seen["interval"]
        label = f"{names[spec]} (n = {seen['n']}; at the end {100 * low:.0f}-{100 * high:.0f} %)"
        axis.step(x, y, where="post", label=label)
    axis.set(xlabel="gradient evaluations", ylabel="share of trials at the target", ylim=(0, 1))
    axis.legend(fontsize=7)
    return figure
