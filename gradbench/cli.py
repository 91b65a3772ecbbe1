"""The `gradbench` command: run and list."""

import argparse
import contextlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tabulate import tabulate

from gradbench import __version__
from gradbench.case import PRESETS, Case


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["run"]:  # everything after it is pytest's, also --help
        return int(pytest.main([str(suites()), f"--rootdir={Path.cwd()}", *words[1:]]))
    parser = argparse.ArgumentParser(
        prog="gradbench", description="The failures of gradient-based deep learning, as cases."
    )
    parser.add_argument("--version", action="version", version=f"gradbench {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("run", help="pytest on the suites that come with gradbench", add_help=False)
    listing = commands.add_parser("list", help="the cases, and the optimizers that can be named")
    listing.add_argument("paths", nargs="*", help="suites to list; the built-in ones by default")
    listing.add_argument("--preset", choices=PRESETS, default="quick")
    chosen = parser.parse_args(words)
    return show(chosen.paths or [str(suites())], chosen.preset)


def suites() -> Path:
    """Return the folder of the suites: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "suites"
    return inside if inside.is_dir() else package.parent / "suites"


def show(paths: Sequence[str], preset: str) -> int:
    """Print the cases of these suites in a preset, and the optimizers that can be named."""
    cases = collect(paths, preset)
    if cases is None:
        return int(pytest.ExitCode.USAGE_ERROR)
    rows = []
    for case in cases:
        scenario = case.build()
        setting = ", ".join(f"{name}={value}" for name, value in case.setting.items())
        row = [case.id, setting, case.budget, case.target_score, case.expectation.value]
        rows.append([*row, scenario.family, scenario.section])
    headers = ("case", "setting", "budget", "target", "expected", "family", "section")
    print(tabulate(rows, headers, disable_numparse=True))
    from gradbench.optimizers import names

    print("\noptimizers that can be named: paper,", ", ".join(names()))
    print("or package.module:Class, or ./file.py:Class, with :key=value,... behind any of them")
    return 0


def collect(paths: Sequence[str], preset: str) -> list[Case] | None:
    """Return the cases that pytest collects from these paths; None, said on stderr, on an error."""
    from gradbench.session import Asked

    class Collector:
        cases: list[Case]

        def pytest_collection_finish(self, session: pytest.Session) -> None:
            found = [item.stash.get(Asked.KEY, None) for item in session.items]
            self.cases = [asked.case for asked in found if asked is not None]

    collector, output = Collector(), io.StringIO()
    with contextlib.redirect_stdout(output):
        options = ["--collect-only", "-q", "-p", "no:cacheprovider", f"--gb-preset={preset}"]
        code = pytest.main([*paths, *options, f"--rootdir={Path.cwd()}"], plugins=[collector])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        print(output.getvalue(), file=sys.stderr)
        return None
    return list({case.id: case for case in collector.cases}.values())
