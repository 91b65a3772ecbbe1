"""The `gradbench` command: run and list."""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest
from tabulate import tabulate

from gradbench import __version__
from gradbench.case import PRESETS
from gradbench.discover import cases, suites
from gradbench.report.terminal import WIDTH, shorten

INI_FILES = ("pytest.ini", "pyproject.toml", "tox.ini")
"""Where the options' ini twins may stand in the folder that `gradbench run` is called from."""

OTHER_COLUMNS = 46  # what the list's columns but for the case and its setting take


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["run"]:  # everything after it is pytest's, also --help
        settings = [f"-c{name}" for name in INI_FILES if Path(name).is_file()][:1]
        here = [f"--rootdir={Path.cwd()}", *settings]
        here += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # for this import of gradbench
        return int(pytest.main([str(suites()), *here, *words[1:]]))
    parser = argparse.ArgumentParser(
        prog="gradbench", description="The failures of gradient-based deep learning, as cases."
    )
    parser.add_argument("--version", action="version", version=f"gradbench {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("run", help="pytest on the suites that come with gradbench", add_help=False)
    listing = commands.add_parser("list", help="the cases, and the optimizers that can be named")
    listing.add_argument("paths", nargs="*", type=Path, help="suites; by default the built-in ones")
    listing.add_argument("--preset", choices=PRESETS, default="quick")
    chosen = parser.parse_args(words)
    try:
        show(chosen.paths or [suites()], chosen.preset)
    except (FileNotFoundError, ImportError, ValueError, SyntaxError) as error:
        print(f"gradbench list: {error}", file=sys.stderr)
        return int(pytest.ExitCode.USAGE_ERROR)
    return 0


def show(paths: Sequence[Path], preset: str) -> None:
    """Print the cases of these suites in a preset, and the optimizers that can be named."""
    found = list(cases(paths, preset))
    room = WIDTH - OTHER_COLUMNS - max((len(case.id) for case in found), default=0)
    rows = []
    for case in found:
        scenario = case.build()
        setting = ", ".join(f"{name}={value}" for name, value in case.setting.items())
        row = [case.id, shorten(setting, room), case.budget, case.target_score]
        rows.append([*row, case.expectation.value, scenario.section])
    headers = ("case", "setting", "budget", "target", "expected", "section")
    print(tabulate(rows, headers, disable_numparse=True))
    from gradbench.optimizers import names

    print("\noptimizers that can be named:")
    print(
        textwrap.fill(
            ", ".join(["paper", *names()]), 96, initial_indent="  ", subsequent_indent="  "
        )
    )
    print("or package.module:Class, or ./file.py:Class; with :key=value,... behind any of them")
