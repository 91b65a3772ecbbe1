"""Section 3: decomposition against end-to-end."""

import itertools
import json
from collections.abc import Callable
from statistics import median
from typing import Any

from common import (
    FIGURE_3,
    OURS,
    UNTESTED,
    Figure,
    Found,
    Row,
    curves,
    finals,
    last,
    spread,
    times,
    trained,
    verdict,
)

from gradbench.analysis.statistics import wilson
from gradbench.probes import published_signal_to_noise, second_moment, signal_to_noise
from gradbench.scenarios.allocation import Allocation
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.line_tuples import LineTuples

FIGURE_TRIALS, ESCAPE_TRIALS = 24, 20


def trials(part: str) -> list[dict[str, Any]]:
    """Return what benchmarks/figure3.py has measured so far of one of its parts."""
    lines = FIGURE_3.read_text(encoding="utf-8").splitlines() if FIGURE_3.exists() else []
    return [trial for trial in map(json.loads, lines) if trial["part"] == part]


def read(found: list[dict[str, Any]], label: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
    """Return figure and cost of those trials; of a lost curve its end where that is known."""
    ends = [t for t in found if not t["curve"] and t["evaluations"] is not None]
    lines = [(label(t), [(at, s) for at, s in t["curve"] if at]) for t in found if t["curve"]]
    lines += [(label(t), [(t["evaluations"], t["score"])]) for t in ends]
    return {
        "figure": Figure("gradient evaluations", "score", lines, "x") if lines else None,
        "seconds": sum(t["seconds"] for t in found),
    }


def missing(found: list[dict[str, Any]], wanted: int) -> str:
    """Say how many trials are still to be run."""
    left = wanted - len(found)
    return f"{left} of its {wanted} trials are missing" if left else ""


def where(found: list[dict[str, Any]]) -> str:
    """Say where the trials ran, and of how many no curve is left."""
    lost = sum(not t["curve"] for t in found)
    places = " and ".join(sorted({t["device"] for t in found}))
    return f"trained on {places}" + (f"; of {lost} trials the curve was lost" if lost else "")


def share(successes: int, of: int) -> str:
    """Return a share of trials with its 95 % interval."""
    low, high = wilson(successes, of)
    return f"{successes} of {of} ({100 * low:.0f} to {100 * high:.0f} %)"


def figure_3() -> Found:
    """Read what benchmarks/figure3.py has measured so far."""
    found = trials("figure")
    shown, holds = [], []
    for approach, k in itertools.product(("end-to-end", "decomposition"), (1, 2, 3, 4)):
        own = [t for t in found if (t["approach"], t["k"]) == (approach, k)]
        if not own:
            continue
        solved = sum(t["status"] == "solved" for t in own)
        shown.append(f"{approach} k = {k}: {share(solved, len(own))} seeds reach 0.9")
        wanted = approach == "decomposition" or k < 3
        holds.append(solved == len(own) if wanted else solved == 0)
    whole = len(found) == FIGURE_TRIALS
    late = [str(t["escape"]) for t in found if t["k"] == 2 and t["escape"] and t["budget"] > 2_500]
    return Found(
        verdict(*holds) if whole else UNTESTED,
        f"{'; '.join(shown) or '0 trials'}; end-to-end k = 2 leaves its plateau at "
        f"{', '.join(late) or 'no'} evaluations, or not within 20,000; {where(found)}",
        missing(found, FIGURE_TRIALS),
        **read(found, lambda t: f"{t['approach']}, k = {t['k']}"),
    )


def escape() -> Found:
    """Why k = 2 leaves its plateau or not: what benchmarks/figure3.py has measured so far."""
    found = trials("escape")

    def kind(trial: dict[str, Any]) -> str:
        return f"{trial['start']}, {'stored' if trial['stored'] else 'fresh'}"

    shown = []
    for start, data in itertools.product(("fan-in", "script"), ("fresh", "stored")):
        own = [t for t in found if kind(t) == f"{start}, {data}"]
        if not own:
            continue
        at = [t["escape"] for t in own if t["escape"] is not None]
        after = f" after {', '.join(map(str, at))}" if at else ""
        shown.append(f"{start}, {data}: {share(len(at), len(own))} escape{after}")
    whole = len(found) == ESCAPE_TRIALS
    return Found(
        OURS if whole else UNTESTED,
        f"{'; '.join(shown) or '0 trials'}; {where(found)}",
        f"{missing(found, ESCAPE_TRIALS)}; one that escapes ends sooner, so that those which have "
        "ended lean to it",
        **read(found, kind),
    )


def stored() -> Found:
    """Train on stored examples, passed again and again, and on fresh ones."""
    found = {
        count: finals(LineTuples(k=1), 5_000, 100, stored=count, seeds=2)
        for count in (0, 2_000, 20_000, 200_000)
    }
    return Found(
        verdict(median(found[200_000]) > median(found[0]) - 0.02),
        "dense N1, k = 1, 5,000 batches of 100: "
        + ", ".join(f"{count or 'fresh'} {spread(v)}" for count, v in found.items()),
        "2.5 passes over 200,000; the script makes 8 over 500,000",
    )


def equations_2_and_3() -> Found:
    """Second moments of both estimators at the start."""
    ratios = {}
    for k in (10, 100):
        found = [
            second_moment(scenario, scenario.network(Draws(0)), examples=1024).value or 0.0
            for scenario in (Allocation(a, 100, k) for a in ("end-to-end", "decomposition"))
        ]
        ratios[k] = found[0] / found[1]
    return Found(
        verdict(*(0.7 * k < ratio < 1.4 * k for k, ratio in ratios.items())),
        ", ".join(f"k = {k}: {ratio:.3g} times" for k, ratio in ratios.items()),
    )


def figure_4() -> Found:
    """D = 1000 by the script's Adam, and by the same Adam with torch's default eps."""
    ends, small = {}, {}
    for approach, k in itertools.product(("end-to-end", "decomposition"), (10, 1000)):
        scenario = Allocation(approach=approach, d=1000, k=k)
        ends[f"{approach} k = {k}"] = trained(scenario, 2500, 100, seeds=2)
        adam = "adam:lr=0.1,betas=(0.9,0.99),eps=1e-8"
        small[f"{approach} k = {k}"] = trained(
            scenario, 2500, 100, seeds=2, optimizer=adam, target_score=0.9
        )
    shown = [f"{name} {spread(last(v))}" for name, v in ends.items()]
    other = [f"{name} {times(v)}" for name, v in small.items()]
    gap = max(last(ends["end-to-end k = 1000"])) < 0.7 < min(last(ends["decomposition k = 1000"]))
    closed = all(r.evaluations_to_target is not None for r in small["end-to-end k = 1000"])
    return Found(
        verdict(gap, not closed),
        f"score at the end, eps 1e-5: {', '.join(shown)}; evaluations to 0.9 with eps 1e-8: "
        f"{', '.join(other)}",
        "with a smaller eps the plateau is left: see predictions.md" * closed,
        curves(
            {f"{name}, eps 1e-5": v for name, v in ends.items()}
            | {f"{name}, eps 1e-8": v for name, v in small.items() if "1000" in name}
        ),
    )


def figure_5() -> Found:
    """Take the true value and the script's own estimate, for both approaches and k = 1 to 4."""
    shown, holds, lines = [], [], []
    for approach in ("decomposition", "end-to-end"):
        cells, bounds, scripts = [], [], []
        for k in (1, 2, 3, 4):
            scenario = LineTuples(approach=approach, k=k)
            readings, published = [], []
            for seed in range(3):
                network = scenario.network(Draws(seed))
                readings.append(signal_to_noise(scenario, network, examples=100_000, seed=seed))
                published.append(
                    published_signal_to_noise(scenario, network, examples=20_000, seed=seed)
                )
            true = ", ".join(map(str, readings))
            cells.append(f"k = {k} {true} ({median(published):.1e})")
            bounds.append(max(reading.bound for reading in readings))
            scripts.append(median(published))
        shown.append(f"{approach}: " + "; ".join(cells))
        falls = all(a > 100 * b for a, b in itertools.pairwise(bounds))
        holds.append(falls == (approach == "end-to-end"))
        lines.append((f"{approach}, largest of three (or its bound)", pairs(bounds)))
        lines.append((f"{approach}, as the script computes it", pairs(scripts)))
    return Found(
        verdict(*holds),
        "dense N1, three starts (in brackets as the script computes it from 20,000 tuples, "
        "median): " + ". ".join(shown),
        "with decomposition it is one quantity for all k by definition; end-to-end the script's "
        "points at k >= 2 are its sample's noise, about 1/N",
        Figure("k", "signal-to-noise ratio", lines, "y"),
    )


def pairs(values: list[float]) -> list[tuple[float, float]]:
    """Return points of values at 1, 2, ..."""
    return [(float(k), value) for k, value in enumerate(values, start=1)]


ROWS = (
    Row(
        "figure-3",
        "3.1",
        "decomposition learns tuples of every k, end-to-end stays at chance from k = 3",
        figure_3,
    ),
    Row("escape", "3.1", "(ours) why k = 2 leaves its plateau or not", escape),
    Row("stored", "3.1", "(script) stored examples stand for fresh ones", stored),
    Row(
        "equations-2-3",
        "3.2",
        "end-to-end's second moment is about k times larger",
        equations_2_and_3,
    ),
    Row("figure-4", "3.2", "end-to-end ends worse the larger k, by its variance", figure_4),
    Row(
        "figure-5",
        "3.3",
        "the signal-to-noise ratio is constant in k with decomposition and falls end-to-end",
        figure_5,
    ),
)
