"""Figure 4 over k, eps and rate: docs/predictions.md, section 1.

    python benchmarks/eps_map.py > benchmarks/eps_map.md

Some minutes on one core.
"""

import itertools
import math

from tabulate import tabulate

from gradbench.scenarios.allocation import Allocation
from gradbench.torch_state import one_thread
from gradbench.training.runner import run
from gradbench.training.trial import Trial

D, BATCH, BUDGET, TARGET = 100, 10, 1500, 0.9
KS = (10, 32, 100, 316, 1000)
EPS = tuple(10.0**-power for power in range(8, 0, -1))
RATES = (0.01, 0.1, 1.0)
SEEDS = (0, 1)
APPROACHES = ("end-to-end", "decomposition")


def best(approach: str, k: int, eps: float) -> tuple[bool, float]:
    """Return whether both seeds are solved at one rate, and the best mean of final scores."""
    found = []
    for rate in RATES:
        results = run(
            [
                Trial(
                    scenario=Allocation(approach=approach, d=D, k=k),
                    optimizer=f"adam:lr={rate:g},betas=(0.9,0.99),eps={eps:g}",
                    seed=seed,
                    budget=BUDGET,
                    batch=BATCH,
                    target_score=TARGET,
                )
                for seed in SEEDS
            ]
        )
        scores = [r.final_score for r in results if r.final_score is not None]
        mean = sum(scores) / len(scores) if len(scores) == len(SEEDS) else -math.inf
        found.append((all(r.status == "solved" for r in results), mean))
    return any(solved for solved, _ in found), max(score for _, score in found)


def critical(solved: list[bool]) -> float | None:
    """Return the eps at which an approach begins to fail; None where it lies off the grid."""
    count = next((i for i, good in enumerate(solved) if not good), len(solved))
    return math.sqrt(EPS[count - 1] * EPS[count]) if 0 < count < len(EPS) else None


def main() -> None:
    """Print both maps, and the critical eps."""
    print("# Figure 4 over k and eps\n\nScores at the best of three rates; bold where solved.\n")
    limits = []
    for approach in APPROACHES:
        rows = []
        for k in KS:
            cells = [best(approach, k, eps) for eps in EPS]
            at = critical([solved for solved, _ in cells])
            limits.append([approach, k, at, None if at is None else at * BATCH * k])
            rows.append([k, *(f"**{s:.2f}**" if good else f"{s:.2f}" for good, s in cells)])
        print(f"## {approach}\n")
        headers = ("k", *(f"eps {eps:.0e}" for eps in EPS))
        print(tabulate(rows, headers, tablefmt="pipe", disable_numparse=True), "\n")
    headers = ("approach", "k", "critical eps", "times B k")
    print("## Critical eps\n")
    print(tabulate(limits, headers, tablefmt="pipe", floatfmt=".2g", missingval="off the grid"))
    for approach, group in itertools.groupby(limits, key=lambda row: row[0]):
        scaled = [row[3] for row in group if row[3] is not None]
        if scaled:
            print(
                f"\n{approach}: times B k it varies by a factor of {max(scaled) / min(scaled):.2g}."
            )


if __name__ == "__main__":
    with one_thread():
        main()
