"""Declares the options to pytest. Every pytest session loads this module, so it imports little."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

PRESETS = ("quick", "standard", "paper")
"""Sizes, batches and budgets of the cases: minutes, hours, and the paper's own."""

GATES = {
    "record": "nothing fails",
    "expect": "an unsolved must and a crash fail",
    "baseline": "a crash and what is worse than the baseline fail",
    "changed": "a crash and any number other than the baseline's fail",
    "strict": "an unsolved must, a crash and news fail",
}

PROBES = ("none", "default", "all")
STACK = ("auto", "on", "off")
DTYPES = ("float32", "float64", "bfloat16", "float16")

# option without dashes: metavar, default, help
SINGLE = {
    "gb-preset": ("NAME", "quick", "sizes and budgets of the cases: " + ", ".join(PRESETS)),
    "gb-seeds": ("N", "5", "evaluation seeds per case"),
    "gb-tune": ("N", "5", "points of the learning-rate sweep; 0 takes optimizers as they come"),
    "gb-device": ("DEVICE", "auto", "torch device; auto is the accelerator, else the CPU"),
    "gb-dtype": ("TYPE", "float32", "type of parameters and data: " + ", ".join(DTYPES)),
    "gb-gate": (
        "GATE",
        "expect",
        "what makes a case fail: " + "; ".join(f"{name}: {text}" for name, text in GATES.items()),
    ),
    "gb-probes": (
        "WHICH",
        "default",
        "how informative the gradients are, on the first seed: " + ", ".join(PROBES),
    ),
    "gb-engine": (
        "ENGINE",
        "auto",
        "where cases run: auto, inline, processes:N, dask:ADDRESS, slurm:key=value,..., your own",
    ),
    "gb-timeout": (
        "SECONDS",
        "",
        "time limit of a case, its sweep included; one that takes longer is tried once more",
    ),
    "gb-stack": (
        "WHEN",
        "auto",
        "a case's trials train together: auto (where that is faster), on, off",
    ),
    "gb-baseline": ("FILE", "", "recorded run to compare with; fails what got worse"),
    "gb-time-against": (
        "SPEC",
        "",
        "an older version of the optimizer, timed in turn with the new one; fails a slower step",
    ),
    "gb-report-dir": ("DIR", "reports", "folder under which the run's folder is made"),
}

FLAGS = ("gb-update-baseline", "gb-resume", "gb-time", "gb-dry-run")


def add(parser: "pytest.Parser") -> None:
    """Declare the options and their ini twins (`gb_preset = standard`)."""
    group = parser.getgroup("gradbench", "gradbench: optimizers against the failures of gradients")
    group.addoption(
        "--optimizer",
        action="append",
        default=None,
        metavar="SPEC",
        help="optimizer to attempt the cases, repeatable: adam, sgd:lr=0.1,momentum=0.9, "
        "package.module:Class, ./file.py:Class:lr=3e-4, or paper (each case's published one)",
    )
    parser.addini("gb_optimizer", "specs for --optimizer, one per line", type="linelist")
    group.addoption(
        "--architecture",
        action="append",
        default=None,
        metavar="SPEC",
        help="network that replaces each case's own where the case allows it, repeatable: "
        "mlp:width=512, sinusoidal, package.module:factory, ./file.py:factory, "
        "or paper (the case's own)",
    )
    parser.addini("gb_architecture", "specs for --architecture, one per line", type="linelist")
    for name, (metavar, default, text) in SINGLE.items():
        group.addoption(f"--{name}", metavar=metavar, help=f"{text} (default: {default or 'none'})")
        parser.addini(name.replace("-", "_"), f"ini twin of --{name}")
    _add_flags(group)


def _add_flags(group: "pytest.OptionGroup") -> None:
    """Declare the options that take no value, and --gb-resume, whose value may be left out."""
    group.addoption(
        "--gb-update-baseline",
        action="store_true",
        help="write this run into the file of --gb-baseline instead of holding it against it",
    )
    group.addoption(
        "--gb-resume",
        nargs="?",
        const="latest",
        metavar="RUN",
        help="take over what an interrupted run has finished, if nothing that decides its numbers "
        "has changed; RUN is a run's folder or its name, by default the last one",
    )
    group.addoption(
        "--gb-time",
        action="store_true",
        help="time every case's step again at the end, one after another with nothing beside it",
    )
    group.addoption(
        "--gb-dry-run",
        action="store_true",
        help="print the items, their gradient evaluations and an estimate of the time; run nothing",
    )


def given(config: "pytest.Config") -> bool:
    """Whether any option or ini setting of gradbench is given in this session."""
    names = [*SINGLE, "optimizer", "architecture"]
    inis = [name.replace("-", "_") if name in SINGLE else f"gb_{name}" for name in names]
    return any(config.getoption(f"--{name}") for name in [*names, *FLAGS]) or any(
        config.getini(name) for name in inis
    )
