"""Do scores at the start predict who solves what? docs/predictions.md, section 2.

    python benchmarks/predict.py GALLERY PROBES > benchmarks/predict.md

GALLERY is a run of many optimizers, PROBES one of the same cases with `--gb-probes=all`.
"""

import sys
from pathlib import Path

import numpy as np
from separation import FAMILIES, PROBES
from tabulate import tabulate

from gradbench.results.record import Expectation, Record, read

RESAMPLINGS = 1000


def start(record: Record, probe: str) -> float | None:
    """Return a probe's value at the start, or its bound; None where neither is known."""
    for entry in record.informativeness:
        if entry["probe"] == probe and entry["evaluations"] == 0 and entry["value"] is not None:
            known = entry["value"] if entry["resolved"] else entry["bound"]
            return None if known is None else float(known)
    return None


def area(scores: np.ndarray, passed: np.ndarray) -> float:
    """Return the area under the ROC curve, ties as halves; nan where one kind is missing."""
    good, bad = scores[passed], scores[~passed]
    if len(good) == 0 or len(bad) == 0:
        return float("nan")
    ordered = np.sort(bad)
    below = np.searchsorted(ordered, good, "left")
    ties = np.searchsorted(ordered, good, "right") - below
    return float((below + ties / 2).sum() / (len(good) * len(bad)))


def interval(scores: np.ndarray, passed: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval over cases and optimizers; `scores` and `passed` (cases, specs)."""
    draws, found = np.random.default_rng(0), []
    for _ in range(RESAMPLINGS):
        cases = draws.integers(len(scores), size=len(scores))
        specs = draws.integers(scores.shape[1], size=scores.shape[1])
        part = np.ix_(cases, specs)
        found.append(area(scores[part].ravel(), passed[part].ravel()))
    low, high = np.nanquantile(found, (0.025, 0.975))
    return float(low), float(high)


def shown(scores: np.ndarray, passed: np.ndarray) -> str:
    """Return the area and its interval."""
    low, high = interval(scores, passed)
    return f"{area(scores.ravel(), passed.ravel()):.2f} ({low:.2f} to {high:.2f})"


def main(gallery: Path, probes: Path) -> None:
    """Print the table."""
    records = [r for r in read(gallery / "records.jsonl") if r.expectation != Expectation.LEARNER]
    looked = {r.case: r for r in read(probes / "records.jsonl")}
    specs = list(dict.fromkeys(r.optimizer for r in records))
    outcome = {(r.case, r.optimizer): 2 * r.solved >= r.seeds > 0 for r in records}
    rows = []
    for family in FAMILIES:
        cases = list(dict.fromkeys(r.case for r in records if r.family == family))
        passed = np.array([[outcome[case, spec] for spec in specs] for case in cases])
        others = (passed.sum(axis=1, keepdims=True) - passed) / (len(specs) - 1)
        rows.append([family, "base rate of the others", len(cases), shown(others, passed)])
        for probe, higher in PROBES.items():
            values = [start(looked[case], probe) if case in looked else None for case in cases]
            known = [i for i, value in enumerate(values) if value is not None]
            if len(known) < 3:
                continue
            sign = 1.0 if higher else -1.0
            scores = np.array([[sign * float(values[i] or 0.0)] for i in known])
            spread = np.broadcast_to(scores, (len(known), len(specs)))
            rows.append([family, probe, len(known), shown(spread, passed[known])])
    print(f"# Scores at the start and who solves what\n\n{len(specs)} optimizers.\n")
    headers = ("family", "score", "cases", "area under the ROC curve (95 %)")
    print(tabulate(rows, headers, tablefmt="pipe"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
