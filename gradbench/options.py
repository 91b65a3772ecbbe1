"""The command line's options and their ini twins, read and checked without torch."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gradbench.case import PRESETS
from gradbench.spec import Spec, SpecError, labels, parse
from gradbench.verdict import GATES

if TYPE_CHECKING:
    from collections.abc import Sequence

PROBES = ("none", "default", "all")
STACK = ("auto", "on", "off", "graph")
ENGINES = r"auto|inline|processes(:[1-9]\d{0,3})?|dask:.+|slurm(:.+)?"
FACTORY = r"(.+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*(:.+)?"
DTYPES = ("float32", "float64", "bfloat16", "float16")

# option without dashes: metavar, default, help
_SINGLE = {
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
        "a case's trials train together: auto (where that is faster), on, off, graph",
    ),
    "gb-baseline": ("FILE", "", "recorded run to hold this one against; fails what got worse"),
    "gb-time-against": (
        "SPEC",
        "",
        "an older version of the optimizer, timed in turn with the new one; fails a slower step",
    ),
    "gb-report-dir": ("DIR", "reports", "folder under which the run's folder is made"),
}


@dataclass(frozen=True)
class Contestant:
    """An optimizer and, unless it is each case's own, an architecture, as specs."""

    optimizer: str
    architecture: str | None

    @property
    def name(self) -> str:
        """What records are compared by."""
        on = self.architecture
        return self.optimizer if on is None else f"{self.optimizer} on {on}"


@dataclass(frozen=True)
class Options:
    """What the user asked for, checked."""

    optimizers: tuple[Spec, ...]
    architectures: tuple[Spec | None, ...]
    preset: str
    seeds: int
    tuning: int
    device: str
    dtype: str
    gate: str
    probes: str
    stack: str
    engine: str
    timeout: float | None
    resume: Path | None
    time: bool
    report_dir: Path
    baseline: Path | None
    update_baseline: bool
    time_against: Spec | None
    dry_run: bool

    @property
    def contestants(self) -> dict[str, Contestant]:
        """Every optimizer on every architecture, by what they are called in ids and names."""
        named = labels([spec for spec in self.architectures if spec is not None])
        networks: dict[str, str | None] = {"": None} if None in self.architectures else {}
        specs = [spec.text for spec in self.architectures if spec is not None]
        networks |= {f"-{label}": text for label, text in zip(named, specs, strict=True)}
        optimizers = zip(labels(list(self.optimizers)), self.optimizers, strict=True)
        found: dict[str, Contestant] = {}
        for label, spec in optimizers:
            for network, text in networks.items():
                name, number = label + network, 2
                while name in found:
                    name, number = f"{label}{network}-{number}", number + 1
                found[name] = Contestant(spec.text, text)
        return found


def add(parser: pytest.Parser) -> None:
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
        help="network in the place of each case's own where that is open, repeatable: "
        "mlp:width=512, sinusoidal, package.module:factory, ./file.py:factory, "
        "or paper (the case's own)",
    )
    parser.addini("gb_architecture", "specs for --architecture, one per line", type="linelist")
    for name, (metavar, default, text) in _SINGLE.items():
        group.addoption(f"--{name}", metavar=metavar, help=f"{text} (default: {default or 'none'})")
        parser.addini(name.replace("-", "_"), f"ini twin of --{name}")
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


def read(config: pytest.Config) -> Options:
    """Return the options.

    Raises pytest.UsageError, in one line, for a value that cannot be used.
    """
    try:
        specs = _optimizers(config.getoption("--optimizer") or config.getini("gb_optimizer"))
    except SpecError as error:
        raise pytest.UsageError(str(error)) from None
    reports = config.invocation_params.dir / Path(_value(config, "gb-report-dir")).expanduser()
    return Options(
        optimizers=specs,
        architectures=_architectures(config),
        preset=_choice(config, "gb-preset", PRESETS),
        seeds=_count(config, "gb-seeds", at_least=1),
        tuning=_count(config, "gb-tune", at_least=0),
        device=_value(config, "gb-device"),
        dtype=_choice(config, "gb-dtype", DTYPES),
        gate=_choice(config, "gb-gate", tuple(GATES)),
        probes=_choice(config, "gb-probes", PROBES),
        stack=_stack(config),
        engine=_engine(config),
        timeout=_timeout(config),
        resume=_resume(config, reports),
        time=config.getoption("--gb-time"),
        report_dir=reports,
        baseline=_baseline(config),
        update_baseline=config.getoption("--gb-update-baseline"),
        time_against=_against(config),
        dry_run=config.getoption("--gb-dry-run"),
    )


def _architectures(config: pytest.Config) -> tuple[Spec | None, ...]:
    texts = config.getoption("--architecture") or config.getini("gb_architecture") or ["paper"]
    try:
        specs = _optimizers(texts)
    except SpecError as error:
        raise pytest.UsageError(f"--architecture: {error}") from None
    if _value(config, "gb-time-against") and texts != ["paper"]:
        raise pytest.UsageError(
            "--gb-time-against times each case's own network: no --architecture"
        )
    return tuple(None if spec.text == "paper" else spec for spec in specs)


def _against(config: pytest.Config) -> Spec | None:
    text = _value(config, "gb-time-against")
    if text and "paper" in {text, *(config.getoption("--optimizer") or ())}:
        raise pytest.UsageError("--gb-time-against: paper is another optimizer in every case")
    try:
        return parse(text) if text else None
    except SpecError as error:
        raise pytest.UsageError(f"--gb-time-against: {error}") from None


def _baseline(config: pytest.Config) -> Path | None:
    name = _value(config, "gb-baseline")
    if not name and config.getoption("--gb-update-baseline"):
        raise pytest.UsageError("--gb-update-baseline: say which with --gb-baseline=FILE")
    if not name and _value(config, "gb-gate") == "baseline":
        raise pytest.UsageError("--gb-gate=baseline: say which with --gb-baseline=FILE")
    return config.invocation_params.dir / Path(name).expanduser() if name else None


def _optimizers(texts: "Sequence[str]") -> tuple[Spec, ...]:
    return tuple(parse(text) for text in dict.fromkeys(text.strip() for text in texts))


def _value(config: pytest.Config, name: str) -> str:
    if config.getoption(f"--{name}") == "":
        raise pytest.UsageError(f"--{name}=: give a value, or leave the option out")
    given = config.getoption(f"--{name}") or config.getini(name.replace("-", "_"))
    return str(given or _SINGLE[name][1])


def _choice(config: pytest.Config, name: str, allowed: tuple[str, ...]) -> str:
    value = _value(config, name)
    if value not in allowed:
        raise pytest.UsageError(f"--{name}={value}: choose from {', '.join(allowed)}")
    return value


def _stack(config: pytest.Config) -> str:
    """Return the way of stacks; `compile`, which there was before protocol 4, is auto."""
    gone = _value(config, "gb-stack") == "compile"
    return "auto" if gone else _choice(config, "gb-stack", STACK)


def _engine(config: pytest.Config) -> str:
    value = _value(config, "gb-engine")
    ours = value.partition(":")[0] in {"auto", "inline", "processes", "dask", "slurm"}
    if not re.fullmatch(ENGINES if ours else FACTORY, value):
        raise pytest.UsageError(
            f"--gb-engine={value}: choose from auto, inline, processes, processes:N, "
            "dask:ADDRESS, dask:local:N, slurm:key=value,... and module:Factory"
        )
    return value


def _timeout(config: pytest.Config) -> float | None:
    value = _value(config, "gb-timeout")
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise pytest.UsageError(f"--gb-timeout={value}: give a number of seconds above 0")
    return seconds


def _resume(config: pytest.Config, reports: Path) -> Path | None:
    name = config.getoption("--gb-resume")
    if name is None:
        return None
    places = (config.invocation_params.dir / Path(name).expanduser(), reports / name)
    found = next((place for place in places if (place / "run.json").is_file()), None)
    if found is None:
        raise pytest.UsageError(
            f"--gb-resume={name}: there is no such run, nor {reports / name}; "
            "write --gb-resume=RUN, or --gb-resume as the last word for the last run"
        )
    return found.resolve()


def _count(config: pytest.Config, name: str, *, at_least: int) -> int:
    value = _value(config, name)
    if not value.isdecimal() or int(value) < at_least:
        raise pytest.UsageError(f"--{name}={value}: give a whole number from {at_least} on")
    return int(value)
