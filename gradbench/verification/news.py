"""Verifies records that solved a `never`: trains them again and scores them on new data."""

import json
import math
import os
import pickle
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradbench.imports import search_path
from gradbench.results.record import Outcome, Record, Status
from gradbench.results.run_folder import RunFolder

if TYPE_CHECKING:
    from gradbench.protocol.item import Item

AGAIN = 2
"""Number of solved seeds that are trained again; as many new ones if every seed was solved."""

MORE = 5
"""Number of new seeds where not every seed of the run was solved."""

RANDOM_SEEDS = 2**31
"""Upper bound of new seeds; the system's generator draws them, so they are not predictable."""

ENOUGH = 0.95
"""Share of the target score that final weights must have on other held-out data."""

FEW = 2
"""Number of evaluations too small to learn from; a claim with no more gets a remark."""

LONGEST = 1800
"""Seconds that the examination of one record may take."""


@dataclass(frozen=True)
class Claim:
    """Input of an examination: an item, its hyperparameters, and the weights that solved it."""

    item: "Item"
    hyperparameters: dict[str, Any]
    weights: dict[int, str]
    """Paths of files with final weights, by the seed that they solved."""
    again: tuple[int, ...]
    """The seeds to train: solved ones of the run, and new ones."""


def verify(folder: RunFolder, items: "Iterable[Item]", say: Callable[[str], None]) -> None:
    """Examine each unverified record of the folder that is news, and store the findings in it.

    After an interrupt, the remaining records stay unverified.
    """
    named = {item.key: item for item in items}
    records = list(folder.whole)
    due = [
        r for r in records if r.outcome == Outcome.NEWS and not r.verification and r.key in named
    ]
    if not due:
        return
    try:
        for record in due:
            say(f"training again what solved {record.case}")
            record.verification = _examined(record, named[record.key], folder.path)
    except KeyboardInterrupt:
        pass
    folder.change(records)


def _examined(record: Record, item: "Item", folder: Path) -> dict[str, Any]:
    solved = [t for t in record.trials if t["status"] == Status.SOLVED]
    weights = {t["seed"]: str(folder / t["weights"]) for t in solved if t.get("weights")}
    seeds = [t["seed"] for t in solved][:AGAIN]
    new = [
        secrets.randbelow(RANDOM_SEEDS)
        for _ in range(AGAIN if record.solved == record.seeds else MORE)
    ]
    optimized = [f"-{'O' * sys.flags.optimize}"] if sys.flags.optimize > 0 else []
    claim = Claim(item, record.hyperparameters, weights, (*seeds, *new))
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "answer.json"
        try:
            done = subprocess.run(  # noqa: S603
                [sys.executable, *optimized, "-m", "gradbench.verification.witness", str(answer)],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(search_path())},
                input=pickle.dumps(claim),
                capture_output=True,
                timeout=LONGEST,
                check=False,
            )
            found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        except subprocess.TimeoutExpired:
            return {"verified": False, "said": f"training it again took more than {LONGEST} s"}
        except (OSError, ValueError):
            last = done.stderr.decode(errors="replace").strip().split("\n")[-1][:300]
            return {"verified": False, "said": f"it could not be trained again: {last}"}
    return found | _judged(record, {"its": seeds, "new": new}, found)


def _judged(record: Record, seeds: dict[str, list[int]], found: dict[str, Any]) -> dict[str, Any]:
    """Return whether the findings confirm the claim, and the reasons in a sentence.

    All weights must be there and reach `ENOUGH` of the target score. All of the run's seeds that
    were trained again must be solved, and at least one of the new seeds.
    """
    said, holds = [], True
    whose = {"its": "seeds of the run", "new": "new seeds"}
    scores = list(found["scores"].values())
    if not scores or len(scores) < record.solved:
        said.append("not every solved trial's final weights were kept")
        holds = False
    else:
        low = min(scores, key=lambda score: -math.inf if math.isnan(score) else score)
        holds = low >= ENOUGH * record.target_score
        said.append(f"its weights score {low:.3g} on data that the trials did not have")
    for kind, chosen in seeds.items():
        trained = [each for each in found["replays"] if each["seed"] in chosen]
        solved = [each for each in trained if each["status"] == Status.SOLVED]
        said.append(f"given gradients only it solves {len(solved)} of {len(trained)} {whose[kind]}")
        broken = next((each["reason"] for each in trained if each["reason"]), None)
        if broken:
            said.append(str(broken))
        holds = holds and len(solved) >= (len(trained) if kind == "its" else 1)
    first = [t["evaluations_to_target"] for t in record.trials if t["status"] == Status.SOLVED]
    if min(first) <= FEW:
        said.append(f"at its target after {min(first)} evaluations, from which nothing is learned")
    return {"verified": holds, "said": "; ".join(said)}
