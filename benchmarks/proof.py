"""Prove every case of the presets named, and print the table as Markdown.

    python benchmarks/proof.py quick standard paper > benchmarks/proof.md

Exits with 1 where a case does not prove itself.
"""

import sys
import time

from tabulate import tabulate

from gradbench.checks.case import prove
from gradbench.protocol.discovery import cases, suites
from gradbench.torch_state import one_thread

HEADERS = (
    "case",
    "target",
    "null, best",
    "solution, worst",
    "minimum, worst",
    "chance",
    "untrained",
    "seconds",
)


def main(presets: list[str]) -> int:
    """Print a table per preset; return 1 where a case has a fault."""
    faults: list[str] = []
    print(
        "# What every case proves of itself\n\n"
        "Normalised scores over 10 seeds: the best of an optimizer that never steps, the worst of\n"
        "the known solution and of the minimiser of the training loss (by L-BFGS from the known\n"
        "solution, three seeds; a dash where that is code without weights), the mean of the best\n"
        "constant answer and of the untrained network.\n"
        "`make proof` makes this page."
    )
    for preset in presets:
        rows = []
        for case in cases([suites()], preset):
            begin = time.perf_counter()
            proof = prove(case, preset)
            seconds = time.perf_counter() - begin
            faults += proof.faults
            null = "-" if proof.null is None else f"{proof.null:.3f}"
            scores = (proof.solution, proof.minimum, proof.chance, proof.untrained)
            cells = ("-" if score is None else f"{score:.3f}" for score in scores)
            rows.append([case.id, case.target_score, null, *cells, f"{seconds:.1f}"])
        print(f"\n## {preset}\n")
        print(tabulate(rows, HEADERS, tablefmt="pipe", disable_numparse=True))
    print("\n" + ("\n".join(f"- {fault}" for fault in faults) or "Every case is proved."))
    return 1 if faults else 0


if __name__ == "__main__":
    with one_thread():
        sys.exit(main(sys.argv[1:]))
