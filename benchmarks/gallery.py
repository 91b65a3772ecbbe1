"""The gallery: what forty optimizers do on every case of the quick preset.

    python benchmarks/gallery.py docs/gallery.md [RUN]

Runs them (three seeds, three rates; or takes a run that is there, as docs/gallery-beyond.md does
one of `-m beyond`), about an hour on two cores, and writes the page, with what each case tells
about optimizers for the time that it takes. Needs the extra `zoo`.
"""

import math
import sys
from collections import Counter
from pathlib import Path
from statistics import median

import pytest
from tabulate import tabulate

from gradbench.protocol import discovery
from gradbench.report.markdown import ran_on
from gradbench.results.record import Record, Status, or_zero
from gradbench.results.runs import load

SUITES = Path(__file__).parents[1] / "suites"

OPTIMIZERS = (
    *("adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "asgd", "lbfgs", "nadam"),
    *("radam", "rmsprop", "rprop", "sgd", "sgd:momentum=0.9", "sgd:momentum=0.9,nesterov=True"),
    *("adabelief", "adamp", "adan", "adopt", "amos", "diffgrad", "grams", "lamb", "lion", "mars"),
    *("adabound", "lars", "madgrad", "qhadam"),
    *("novograd", "pid", "prodigy", "schedulefreeadamw", "signsgd", "tiger", "yogi"),
    *(
        "sgd:momentum=0.9+sam",
        "sgd:momentum=0.9+lookahead",
        "adam+cosine",
        "adam+linear:warmup=0.1",
    ),
)
SETTINGS = ("--gb-seeds=3", "--gb-tune=3", "--gb-probes=none", "--gb-gate=record")


FAMILIES = (
    *("uninformative", "decomposition", "conditioning", "flatness"),
    *("depth", "heterogeneity", "hierarchy", "noise"),
    *("forgetting", "precision", "rotation", "delay"),
)


def main(page: Path, folder: Path | None) -> None:
    """Run what is to be run and write the page."""
    if folder is None:
        pytest.main([str(SUITES), *SETTINGS, "-q", *(f"--optimizer={spec}" for spec in OPTIMIZERS)])
        folder = Path("reports/latest")
    run = load(folder)
    quick = {case.id for case in discovery.cases([SUITES], "quick") if case.takes_optimizer}
    records = [r for r in run.records if r.case in quick]  # without what has left the preset
    specs = sorted(run.optimizers, key=lambda spec: -solved(records, spec))
    cases = list(dict.fromkeys(r.case for r in records))
    found = {(r.case, r.optimizer): r for r in records}
    there = [name for name in FAMILIES if any(r.family == name for r in records)]
    vectors = Counter(tuple(passed(found[c, s]) for c in cases) for s in specs)
    ranked = sorted(cases, key=lambda c: -information(found, c, specs))
    page.write_text(
        "# Gallery\n\n"
        f"{len(specs)} optimizers on {len(cases)} cases of the quick preset, by "
        f"`python benchmarks/gallery.py docs/{page.name}`. Each was given the same three rates "
        "(its default, ten times that, a tenth) and, where the best lay on the edge, up to four "
        "more; three seeds. The order is by seeds solved; with three seeds, differences of a few "
        "mean nothing. " + ran_on(run.about) + "\n\n"
        f"The cases tell {len(vectors)} outcomes apart, of which the most frequent is shared by "
        f"{vectors.most_common(1)[0][1]}; {share(edges(records))} of the sweeps ended with the "
        "best rate on their edge.\n\n"
        "## Optimizers\n\n"
        "Seeds solved, by family.\n\n"
        + table([row(spec, records, there) for spec in specs], ("optimizer", "solved", *there))
        + "\n\n## Cases\n\n"
        "A digit per optimizer, in the order above: the seeds that it solved of three (`-` where "
        "it cannot run). The information is the entropy, in bits, of passing or not (a half of "
        "the seeds or more) over the optimizers: 1 where a half of them pass, 0 where all or none "
        "do. Seconds are of training by the wall clock, sweep and seeds, median over "
        "optimizers.\n\n"
        + table(
            [
                [
                    f"`{case}`",
                    "`" + "".join(digit(found[case, spec]) for spec in specs) + "`",
                    f"{information(found, case, specs):z.2f}",
                    f"{median(seconds(found[case, spec]) for spec in specs):.1f}",
                ]
                for case in ranked
            ],
            ("case", "seeds solved", "bits", "seconds"),
        )
        + "\n",
        encoding="utf-8",
    )


def table(rows: list[list[str]], headers: tuple[str, ...]) -> str:
    """Return a table in Markdown."""
    return str(tabulate(rows, headers, tablefmt="pipe", disable_numparse=True))


def solved(records: list[Record], spec: str, family: str | None = None) -> int:
    """Return an optimizer's solved seeds, of all families or of one."""
    return sum(r.solved for r in records if r.optimizer == spec and family in {None, r.family})


def row(spec: str, records: list[Record], families: list[str]) -> list[str]:
    """Return an optimizer's cells: seeds solved of those run, in all and by family."""

    def cell(family: str | None) -> str:
        seeds = sum(r.seeds for r in records if r.optimizer == spec and family in {None, r.family})
        return f"{solved(records, spec, family)}/{seeds}"

    return [f"`{spec}`", cell(None), *(cell(family) for family in families)]


def passed(record: Record) -> bool:
    """Whether at least half of the seeds were solved."""
    return 2 * record.solved >= record.seeds > 0


def digit(record: Record) -> str:
    """Return one case's seeds in one letter."""
    return "-" if Status.UNSUPPORTED in record.statuses else str(record.solved)


def information(found: dict[tuple[str, str], Record], case: str, specs: list[str]) -> float:
    """Return the entropy, in bits, of passing a case over the optimizers."""
    part = sum(passed(found[case, spec]) for spec in specs) / len(specs)
    return -sum(p * math.log2(p) for p in (part, 1 - part) if p > 0)


def seconds(record: Record) -> float:
    """Return what sweep and evaluation took, in seconds of training."""
    spent = [trial["seconds"] for trial in record.trials if trial.get("seconds") is not None]
    return sum(spent) + or_zero(record.tuning_cost.get("seconds"))


def edges(records: list[Record]) -> float:
    """Return the share of sweeps whose best rate lay on the edge to the end."""
    swept = [r for r in records if r.tuning]
    return sum(any("edge" in note for note in r.notes) for r in swept) / max(1, len(swept))


def share(part: float) -> str:
    """Return a share in percent."""
    return f"{100 * part:.0f} %"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
