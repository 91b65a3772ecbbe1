"""Apply the rule for expectations to recorded runs, and print the evidence as Markdown.

    python benchmarks/expectations.py reports/RUN... > benchmarks/expectations-quick.md

Of several runs, a later one's records of a case take the place of an earlier one's. A case is
"must" where all four standard optimizers, tuned, solved every seed, the slowest within half of the
budget; "never" where none solved any (and theory says why); "may" otherwise. Says how likely five
of these seeds fail a must anywhere in a run. Exits with 1 where a suite now says otherwise, or
where that is more likely than 1 %.
"""

import json
import math
import sys
from pathlib import Path

from tabulate import tabulate

from gradbench.protocol.discovery import cases, suites
from gradbench.report.rows import to_target
from gradbench.results.record import Expectation, Record, read

ENOUGH, LIKELY = 100, 0.01

STANDARD = {
    "sgd": "SGD",
    "sgd:momentum=0.9": "momentum",
    "adam": "Adam",
    "adam:betas=(0.0,0.0),eps=1e-20": "sign descent",
}


def slowest(record: Record) -> float:
    """Return the most evaluations to the target, infinite where a seed was not solved."""
    times = [trial["evaluations_to_target"] for trial in record.trials]
    return math.inf if None in times else max(times)


def rule(records: list[Record], stated: Expectation) -> Expectation:
    """Return what the four optimizers' results make of a case.

    That theory says why, which never also needs, is the suite's to state.
    """
    if all(slowest(record) <= record.budget / 2 for record in records):
        # a must of few seeds is the suite's to state: those of a hundred show a margin
        return Expectation.MUST if records[0].seeds >= ENOUGH else stated
    if any(record.solved for record in records):
        return Expectation.MAY
    return Expectation.NEVER if stated == Expectation.NEVER else Expectation.MAY


def failure(records: list[Record], seeds: int = 5) -> float:
    """Return how likely some must fails for an optimizer in one whole run, at the worst of them.

    Exactly: of each record's seeds a run draws `seeds` without order, and a must fails where one of
    them is not solved.
    """
    chances = []
    for optimizer in STANDARD:
        own = [record for record in records if record.optimizer == optimizer]
        passed = (math.comb(r.solved, seeds) / math.comb(r.seeds, seeds) for r in own)
        chances.append(1 - math.prod(passed))
    return max(chances)


def cell(record: Record) -> str:
    """Return how many seeds were solved, how fast, and at which rate."""
    rate = record.hyperparameters.get("lr")
    times = [t for trial in record.trials if (t := trial["evaluations_to_target"]) is not None]
    most = f" to {max(times)}" if times else ""
    return f"{record.solved}/{record.seeds} at {to_target(record)}{most} (lr {rate:g})"


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
            print(f"left out: {case}, not in the suites any more", file=sys.stderr)
            continue
        stated = suite[case].expectation
        verdict = rule([records[spec] for spec in STANDARD], stated)
        wrong += verdict != stated
        said = stated if verdict == stated else f"{stated} (rule: {verdict})"
        budget = records["sgd"].budget
        rows.append([case, budget, *(cell(records[spec]) for spec in STANDARD), said])
    first = runs[0]
    print(f"# Where the {first['preset']} preset's expectations come from\n")
    print(
        f"Seeds solved, median and most gradient evaluations to the target, and the rate that the "
        f"sweep of {first['tuning']} points chose; {first['seeds']} seeds; {first['cpu']}, "
        f"torch {first['versions']['torch']}, protocol {first['protocol']}.\n"
    )
    print("Sign descent is `adam:betas=(0.0,0.0),eps=1e-20`: each step is the gradient's sign.\n")
    print(tabulate(rows, ["case", "budget", *STANDARD.values(), "expectation"], tablefmt="pipe"))
    musts = [
        record
        for case, records in found.items()
        if case in suite and suite[case].expectation == Expectation.MUST
        for record in records.values()
    ]
    chance = failure(musts)
    print(
        f"\nFive of these seeds fail a must anywhere in a whole run with a chance of {chance:.2%} "
        f"for the likeliest of the four. A must's slowest seed needs at most half of its budget."
    )
    return 1 if wrong or chance > LIKELY else 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
