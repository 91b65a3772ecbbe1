"""The gallery: what thirty-six optimizers do on a case or two of every scenario, at quick size.

    python benchmarks/gallery.py docs/gallery.md [RUN]

Runs them (three seeds, three rates; or takes a run that is there) and writes the page. Needs the
extra `zoo`.
"""

import sys
from pathlib import Path

import pytest
from tabulate import tabulate

from gradbench.record import Expectation, Record, Status
from gradbench.report.markdown import ran_on
from gradbench.report.rows import to_target
from gradbench.runs import load

SUITES = Path(__file__).parents[1] / "suites"

OPTIMIZERS = (
    *("adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "asgd", "lbfgs", "nadam"),
    *("radam", "rmsprop", "rprop", "sgd", "sgd:momentum=0.9", "sgd:momentum=0.9,nesterov=True"),
    *("adabelief", "adamp", "adan", "adopt", "amos", "diffgrad", "grams", "lamb", "lion", "mars"),
    *("novograd", "pid", "prodigy", "schedulefreeadamw", "signsgd", "tiger", "yogi"),
    *(
        "sgd:momentum=0.9+sam",
        "sgd:momentum=0.9+lookahead",
        "adam+cosine",
        "adam+linear:warmup=0.1",
    ),
)
CASES = (
    *("parity-d5-weight2", "parity-d10-weight5", "periodic-d5-r2", "line-tuples-k1-endtoend"),
    *("allocation-k10-endtoend", "allocation-k10-decomposition", "curves-convolution-script"),
    *("curves-conditioned-script", "steps-endtoend", "steps-forwardonly-standard"),
    *("saturation-sigmoid-depth4", "saturation-dying-bias4"),
)
SETTINGS = ("--gb-seeds=3", "--gb-tune=3", "--gb-probes=none", "--gb-gate=record")


def main(page: Path, folder: Path | None) -> None:
    """Run what is to be run and write the page."""
    if folder is None:
        chosen = ["-k", " or ".join(CASES), *SETTINGS, "-q"]
        pytest.main([str(SUITES), *chosen, *(f"--optimizer={spec}" for spec in OPTIMIZERS)])
        folder = Path("reports/latest")
    run = load(folder)
    rows = [row(spec, run.records) for spec in run.optimizers]
    rows.sort(key=lambda cells: -int(cells[1].split("/")[0]))
    headers = ["optimizer", "solved", *(_broken(case) for case in CASES)]
    table = tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
    page.write_text(
        "# Gallery\n\n"
        f"{len(rows)} optimizers on {len(CASES)} cases at quick size, by "
        "`python benchmarks/gallery.py docs/gallery.md`. A cell: seeds solved, and the median "
        "gradient evaluations to the target; a star: the best of three learning rates lies on the "
        "sweep's edge. Each was given the same three points (its default rate, ten times that, a "
        "tenth) and, where the best lay on the edge, one more. The order is by seeds solved; with "
        "three seeds, differences of a few mean nothing. "
        + ran_on(run.about)
        + "\n\n"
        + table
        + "\n",
        encoding="utf-8",
    )


def row(spec: str, records: list[Record]) -> list[str]:
    """Return an optimizer's cells."""
    own = {r.case: r for r in records if r.optimizer == spec}
    every = [r for r in own.values() if r.expectation != Expectation.LEARNER]
    solved, seeds = (sum(getattr(r, name) for r in every) for name in ("solved", "seeds"))
    return [f"`{spec}`", f"{solved}/{seeds}", *(cell(own[case]) for case in CASES if case in own)]


def cell(record: Record) -> str:
    """Return one case's cell."""
    if Status.UNSUPPORTED in record.statuses:
        return "unsupported"
    edge = "*" if any("edge" in note for note in record.notes) else ""
    count = f"{record.solved}/{record.seeds}{edge}"
    return f"{count} {to_target(record)}" if record.solved else count


def _broken(case: str) -> str:
    return case.replace("-", " ")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
