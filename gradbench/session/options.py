"""The command line's options and their ini twins, read and checked without torch."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gradbench.session.declared_options import DTYPES, GATES, PRESETS, PROBES, SINGLE, STACK
from gradbench.spec import Spec, SpecError, labels, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

ENGINES = r"auto|inline|processes(:[1-9]\d{0,3})?|dask:.+|slurm(:.+)?"
FACTORY = r"(.+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*(:.+)?"


@dataclass(frozen=True)
class Entry:
    """An optimizer and, unless it is each case's own, an architecture, as specs."""

    optimizer: str
    architecture: str | None

    @property
    def name(self) -> str:
        """Name in comparisons: the optimizer, with its architecture where one is named."""
        on = self.architecture
        return self.optimizer if on is None else f"{self.optimizer} on {on}"


@dataclass(frozen=True)
class Options:
    """The values of gradbench's options, checked."""

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
    def entries(self) -> dict[str, Entry]:
        """Every optimizer on every architecture, by its label in test ids and folder names."""
        named = labels([spec for spec in self.architectures if spec is not None])
        networks: dict[str, str | None] = {"": None} if None in self.architectures else {}
        specs = [spec.text for spec in self.architectures if spec is not None]
        networks |= {f"-{label}": text for label, text in zip(named, specs, strict=True)}
        optimizers = zip(labels(list(self.optimizers)), self.optimizers, strict=True)
        found: dict[str, Entry] = {}
        for label, spec in optimizers:
            for network, text in networks.items():
                name, number = label + network, 2
                while name in found:
                    name, number = f"{label}{network}-{number}", number + 1
                found[name] = Entry(spec.text, text)
        return found


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
    gate = _value(config, "gb-gate")
    if not name and gate in {"baseline", "changed"}:
        raise pytest.UsageError(f"--gb-gate={gate}: say which with --gb-baseline=FILE")
    return config.invocation_params.dir / Path(name).expanduser() if name else None


def _optimizers(texts: "Sequence[str]") -> tuple[Spec, ...]:
    return tuple(parse(text) for text in dict.fromkeys(text.strip() for text in texts))


def _value(config: pytest.Config, name: str) -> str:
    if config.getoption(f"--{name}") == "":
        raise pytest.UsageError(f"--{name}=: give a value, or leave the option out")
    given = config.getoption(f"--{name}") or config.getini(name.replace("-", "_"))
    return str(given or SINGLE[name][1])


def _choice(config: pytest.Config, name: str, allowed: tuple[str, ...]) -> str:
    value = _value(config, name)
    if value not in allowed:
        raise pytest.UsageError(f"--{name}={value}: choose from {', '.join(allowed)}")
    return value


def _stack(config: pytest.Config) -> str:
    """Return the value of --gb-stack; the former values `compile` and `graph` mean `auto`."""
    gone = _value(config, "gb-stack") in {"compile", "graph"}
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
