"""Apply the rule for expectations to recorded runs, and print the evidence as Markdown.

    python benchmarks/expectations.py reports/RUN... > benchmarks/expectations-quick.md

A case is "must" where all four standard optimizers, tuned, solved every seed; "never" where none
solved any (and theory says why); "may" otherwise. Exits with 1 where a suite now says
otherwise.
"""

import json
import sys
from pathlib import Path

from tabulate import tabulate

from gradbench.discover import cases, suites
from gradbench.record import Expectation, Record, Status, read
from gradbench.report.rows import to_target

STANDARD = {
    "sgd": "SGD",
    "sgd:momentum=0.9": "momentum",
    "adam": "Adam",
    "adam:betas=(0.0,0.0),eps=1e-20": "sign descent",
}


def rule(records: list[Record], stated: Expectation) -> Expectation:
    """Return what the four optimizers' results make of a case.

    That theory says why, which never also needs, is the suite's to state.
    """
    if all(status == Status.SOLVED for record in records for status in record.statuses):
        return Expectation.MUST
    if any(record.solved for record in records):
        return Expectation.MAY
    return Expectation.NEVER if stated == Expectation.NEVER else Expectation.MAY


def cell(record: Record) -> str:
    """Return how many seeds were solved, how fast, and at which rate."""
    rate = record.hyperparameters.get("lr")
    return f"{record.solved}/{record.seeds} at {to_target(record)} (lr {rate:g})"


def main(folders: list[Path]) -> int:
    """Print the table of these runs; return 1 where a suite contradicts the rule."""
    runs = [json.loads((folder / "run.json").read_text()) for folder in folders]
    found: dict[str, dict[str, Record]] = {}
    for folder in folders:
        for record in read(folder / "records.jsonl"):
            if record.expectation == Expectation.LEARNER:
                continue
            found.setdefault(record.case, {})[record.optimizer] = record
    suite = {case.id: case for case in cases([suites()], runs[0]["preset"])}
    rows, wrong = [], 0
    for case, records in found.items():
        if missing := [name for spec, name in STANDARD.items() if spec not in records]:
            print(f"{case}: no run of {', '.join(missing)}", file=sys.stderr)
            return 2
        if case not in suite:
            print(f"{case}: not in the suites any more", file=sys.stderr)
            return 2
        stated = suite[case].expectation
        verdict = rule([records[spec] for spec in STANDARD], stated)
        wrong += verdict != stated
        said = stated if verdict == stated else f"{stated} (rule: {verdict})"
        budget = records["sgd"].budget
        rows.append([case, budget, *(cell(records[spec]) for spec in STANDARD), said])
    first = runs[0]
    print(f"# Where the {first['preset']} preset's expectations come from\n")
    print(
        f"Seeds solved, median gradient evaluations to the target, and the rate that the sweep of "
        f"{first['tuning']} points chose; {first['seeds']} seeds; {first['cpu']}, "
        f"torch {first['versions']['torch']}.\n"
    )
    print("Sign descent is `adam:betas=(0.0,0.0),eps=1e-20`: each step is the gradient's sign.\n")
    print(tabulate(rows, ["case", "budget", *STANDARD.values(), "expectation"], tablefmt="pipe"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
