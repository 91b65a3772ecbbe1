"""Every optimizer of torch and of the collection: it runs, or it says why not; docs/optimizers.md.

GRADBENCH_WRITE=1 pytest tests/optimizers/test_every_optimizer.py      # writes the table anew
"""

import os
import re
import warnings
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from tabulate import tabulate

from gradbench import Trial, run_trial
from gradbench.optimizers import third_party
from gradbench.optimizers.factory import resolve
from gradbench.optimizers.requirements import Requirements
from gradbench.results.record import Status
from gradbench.scenarios.saturation import Saturation
from gradbench.spec import SpecError

PAGE = Path(__file__).parents[2] / "docs" / "optimizers.md"
MARK = "<!-- from here on by tests/optimizers/test_every_optimizer.py -->\n"
COLLECTION = 128
LEAST = 120

WRAPPERS = ("SAM", "LookSAM", "FriendlySAM", "WSAM", "Lookahead", "ScheduleFreeWrapper")


def attempt(spec):
    """Whether a spec trains a network of matrices and biases, and what it needs or what fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            requirements = resolve(spec).requirements
            result = run_trial(
                Trial(
                    scenario=Saturation(approach="dying", n=4, bias=0.0),
                    optimizer=spec,
                    budget=24,
                    batch=16,
                    target_score=9.0,
                )
            )
        except SpecError as error:
            return False, re.sub(r"\s+", " ", str(error).partition(": ")[2])
    if result.status != Status.UNSOLVED or result.notes:
        return False, f"{result.status}: {result.reason or result.notes}"
    asked = [field.name for field in fields(Requirements) if getattr(requirements, field.name)]
    return True, ", ".join(asked).replace("_", " ") or "-"


def rows():
    builtin = {
        name
        for name, value in vars(torch.optim).items()
        if isinstance(value, type)
        and issubclass(value, torch.optim.Optimizer)
        and value is not torch.optim.Optimizer
    }
    members = [("torch.optim", f"torch.optim:{name}", name) for name in sorted(builtin)]
    for name in third_party.names():
        cls = third_party.load(name).__name__
        members.append(("pytorch_optimizer", f"pytorch_optimizer:{cls}", cls))
    members += [("wrapper", f"adamw+pytorch_optimizer:{name}", name) for name in WRAPPERS]
    found = []
    for source, spec, name in members:
        runs, said = attempt(spec)
        found.append((name, source, "runs" if runs else "refused", said.replace("|", "/")))
    return found


@pytest.mark.proof
def test_the_table_of_all_optimizers():
    pytest.importorskip("pytorch_optimizer")
    found = rows()
    ours = [row for row in found if row[1] == "pytorch_optimizer"]
    assert len(ours) == COLLECTION
    assert sum(row[2] == "runs" for row in ours) >= LEAST
    assert all(row[2] == "runs" for row in found if row[1] == "wrapper")
    assert all(row[3] for row in found)  # what is refused says why
    headers = ("optimizer", "from", "", "what it asks of the loop, or what is wrong")
    table = tabulate(found, headers, tablefmt="pipe", disable_numparse=True)
    head, _, told = PAGE.read_text(encoding="utf-8").partition(MARK)
    told, heading, rest = told.partition("\n\n## ")
    if os.environ.get("GRADBENCH_WRITE"):
        PAGE.write_text(f"{head}{MARK}\n{table}{heading}{rest}", encoding="utf-8")
        return
    pinned = (PAGE.parents[1] / "constraints.txt").read_text(encoding="utf-8")
    if f"torch=={torch.__version__.partition('+')[0]}\n" not in pinned:
        pytest.skip("the page is of the torch in constraints.txt")
    assert told.strip() == table, (
        "GRADBENCH_WRITE=1 pytest tests/optimizers/test_every_optimizer.py writes it anew"
    )
