"""Tuples of line images (section 3.1): a product of labels, with and without the labels.

The quick preset has the dense N1 and 50 tuples a batch, the paper preset the convolutional one and
200. The paper finds end-to-end at chance from k = 3; the dense N1, at the quick budget, is there
from k = 2. A quick trial sees 20,000 images per slot, too few for 0.9 even with their labels (0.8
was measured), so its target is 0.5: half way from chance, which is what tells the two apart.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench.case import Case
from gradbench.record import Expectation, Record

MAY = Expectation.MAY

# (approach, k): expectation, from benchmarks/expectations-quick.md
QUICK = {
    ("end-to-end", 1): MAY,
    ("end-to-end", 2): MAY,
    ("end-to-end", 3): MAY,
    ("decomposition", 3): MAY,
}
PAPER = {(a, k): MAY for a in ("end-to-end", "decomposition") for k in (1, 2, 3, 4)}


def cases(preset: str) -> Iterator[Case]:
    """Yield the tuples; at paper size the script's own numbers of iterations."""
    if preset not in {"quick", "paper"}:
        return
    paper = preset == "paper"
    for (approach, k), expectation in (PAPER if paper else QUICK).items():
        iterations = 20_000 if approach == "end-to-end" else 2_500
        yield Case(
            id=f"line-tuples-k{k}-{approach.replace('-', '')}",
            scenario="gradbench.scenarios.line_tuples:LineTuples",
            setting={"approach": approach, "k": k, "n1": "convolution" if paper else "dense"},
            budget=iterations if paper else 400,
            batch=200 if paper else 50,
            target_score=0.9 if paper else 0.5,
            expectation=expectation,
        )


@pytest.mark.gradbench(cases=cases)
def test_line_tuples(attempt: Callable[[], Record]) -> None:
    """The optimizer learns the sign of the tuple."""
    attempt()
