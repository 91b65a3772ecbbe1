"""The `gradbench` command and its subcommands.

One file: a subcommand is its options and the call of the function that does its work.
"""

import argparse
import gc
import io
import math
import sys
import textwrap
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from tabulate import tabulate

from gradbench._version import __version__
from gradbench.analysis.alike import comparable
from gradbench.analysis.comparison import compare
from gradbench.analysis.history import histories, runs
from gradbench.protocol.case import Case
from gradbench.protocol.discovery import cases, suites
from gradbench.report import html
from gradbench.report.comparison import markdown, text
from gradbench.report.history import page as history_page
from gradbench.report.history import text as history_text
from gradbench.report.markdown import page, ran_on
from gradbench.report.terminal import shorten, width
from gradbench.results import frames, trackers
from gradbench.results.record import Expectation, to_json
from gradbench.results.runs import VERIFIED, Run, choose, joined, load
from gradbench.session.declared_options import PRESETS, SINGLE
from gradbench.text import ESCAPED, printable, write_whole

INI_FILES = ("pytest.ini", "pyproject.toml", "tox.ini")
"""Where the options' ini twins may stand in the folder that `gradbench run` is called from."""

FORMATS = ("text", "markdown", "json")
SHORT = ("text", "json")
FIGURES = ("pdf", "png", "svg")

OTHER_COLUMNS = 46  # width of the list's columns other than case and setting


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # a terminal's encoding may lack characters
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)
    if words[:1] == ["run"]:  # everything after it is pytest's
        if words[1:] in (["--help"], ["-h"]):
            print(_run_help())
            return 0
        return _run_pytest(words[1:])
    end = words.index("--") if words[:1] == ["bisect"] and "--" in words else len(words)
    own = argparse.Namespace(options=words[end + 1 :])  # for gradbench run
    chosen = _parser().parse_args(words[:end], own)
    try:
        with _without_collection():
            code = chosen.act(chosen)
            return 0 if code is None else int(code)
    except (OSError, ImportError, ValueError, SyntaxError) as error:
        print(f"gradbench {chosen.command}: {printable(str(error))}", file=sys.stderr)
        return int(pytest.ExitCode.USAGE_ERROR)


def _run_help() -> str:
    """Return the options of `run` on one screen; those of pytest are its own to say."""
    rows = [
        (
            "--optimizer=SPEC",
            "adam, sgd:lr=0.1,momentum=0.9, package.module:Class, ./file.py:Class",
        ),
        ("--architecture=SPEC", "a network that replaces the case's own where the case allows it"),
        *((f"--{name}={metavar}", _short(text)) for name, (metavar, _, text) in SINGLE.items()),
        ("--gb-update-baseline", "write this run into the file of --gb-baseline"),
        ("--gb-resume[=RUN]", "go on with an interrupted run, by default the last one"),
        ("--gb-time", "time every case's step again at the end, alone"),
        ("--gb-dry-run", "what would be run, and about how long it takes"),
    ]
    text = tabulate(rows, tablefmt="plain", disable_numparse=True)
    return (
        "usage: gradbench run [OPTIONS] [SUITES or NODE IDS] [pytest's options, e.g. -k parity]\n\n"
        f"{text}\n\nIn full: gradbench run --help --verbose. What SPEC may be: docs/optimizers.md"
    )


def _short(text: str) -> str:
    """Return an option's help in one line: of choices that are explained, only the names."""
    head, mark, rest = text.partition(": ")
    if "; " in rest:
        text = head + mark + ", ".join(choice.partition(":")[0] for choice in rest.split("; "))
    return textwrap.shorten(text, 74, placeholder="...")


def _run_pytest(words: Sequence[str]) -> int:
    """Run pytest on what the words name, on the suites that come with gradbench for nothing."""
    settings = [f"-c{name}" for name in INI_FILES if Path(name).is_file()][:1]
    here = [f"--rootdir={Path.cwd()}", *settings]
    here += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # for this import of gradbench
    return int(pytest.main([*here, *map(_in_suites, words)], plugins=[_BuiltIn()]))


class _BuiltIn:
    """A plugin that has pytest run the built-in suites where its command line names nothing."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self, early_config: pytest.Config, args: list[str]) -> None:
        """Name the folder of the suites, before pytest loads the conftests of what is named.

        What a settings file adds to every command line names nothing.
        """
        known = early_config.known_args_namespace
        if not set(known.file_or_dir) & set(map(str, early_config.invocation_params.args)):
            known.file_or_dir = [*known.file_or_dir, str(suites())]
            args.append(str(suites()))


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all commands but `run`."""
    parser = argparse.ArgumentParser(
        prog="gradbench", description="The failures of gradient-based deep learning, as cases."
    )
    parser.add_argument("--version", action="version", version=f"gradbench {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    commands.add_parser("run", help="pytest on the suites that come with gradbench", add_help=False)
    listing = commands.add_parser("list", help="the cases, and the optimizers that can be named")
    listing.add_argument("paths", nargs="*", type=Path, help="suites; by default the built-in ones")
    listing.add_argument("--preset", choices=PRESETS, default="quick")
    listing.add_argument("--format", choices=SHORT, default="text")
    listing.set_defaults(act=lambda chosen: show(chosen.paths or [suites()], chosen))
    _add_reports(commands)
    checking = commands.add_parser("check", help="does this optimizer work here, in seconds")
    checking.add_argument("specs", nargs="+", metavar="SPEC", help="as for --optimizer")
    checking.add_argument("--format", choices=SHORT, default="text")
    checking.set_defaults(act=lambda chosen: check(chosen.specs, chosen.format))
    conforming = commands.add_parser("conform", help="are two optimizers the same algorithm")
    conforming.add_argument("a", metavar="A", help="an optimizer's spec, as for --optimizer")
    conforming.add_argument("b", metavar="B", nargs="?", help="another one")
    conforming.add_argument(
        "--against", metavar="FORM,...", default="", help="instead of B: A in other forms"
    )
    conforming.add_argument("--steps", type=int, default=100)
    conforming.add_argument("--tolerance", type=float, default=1e-10)
    conforming.add_argument("--format", choices=FORMATS, default="text")
    conforming.set_defaults(act=conform)
    describing = commands.add_parser("describe", help="what an optimizer's steps depend on")
    describing.add_argument("specs", nargs="+", metavar="SPEC", help="side by side")
    describing.add_argument("--format", choices=FORMATS, default="text")
    describing.set_defaults(act=lambda chosen: describe(chosen.specs, chosen.format))
    return parser


def _add_reports(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands that read runs."""
    comparing = commands.add_parser("compare", help="two optimizers, paired by case and seed")
    for side in ("a", "b"):
        comparing.add_argument(side, metavar=side.upper(), help="a run's folder, or RUN:optimizer")
    comparing.add_argument("--format", choices=FORMATS, default="text")
    comparing.set_defaults(act=lambda chosen: show_comparison(chosen.a, chosen.b, chosen.format))
    reporting = commands.add_parser("report", help="write the reports again, from the records")
    reporting.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder")
    reporting.add_argument(
        "--output", type=Path, metavar="DIR", help="one report over all the runs, in this folder"
    )
    reporting.add_argument(
        "--single-file", action="store_true", help="report.html needs no other file (5 MB)"
    )
    reporting.add_argument("--open", action="store_true", help="show it in the browser")
    reporting.add_argument("--format", choices=SHORT, default="text")
    reporting.set_defaults(act=report)
    drawing = commands.add_parser("figures", help="the paper's figures from a run's records")
    drawing.add_argument("run", metavar="RUN", help="a run's folder, or RUN:optimizer")
    drawing.add_argument(
        "--format",
        choices=(*FIGURES, "json"),
        default="pdf",
        help="json: PDFs, their paths as JSON",
    )
    drawing.add_argument("--output", type=Path, default=Path(), metavar="DIR")
    drawing.set_defaults(act=lambda chosen: draw(chosen.run, chosen.format, chosen.output))
    _add_exports(commands)


def _add_exports(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands that give runs to other programs, and many runs over time."""
    exporting = commands.add_parser("export", help="a run as a table, or for a tracker")
    exporting.add_argument("run", type=Path, metavar="RUN", help="a run's folder, or a baseline")
    exporting.add_argument("--to", choices=(*frames.FORMATS, *trackers.TRACKERS), default="csv")
    exporting.add_argument(
        "--level",
        choices=frames.LEVELS,
        default="case",
        help="a row per case and optimizer, or trial",
    )
    exporting.add_argument(
        "--output", type=Path, metavar="FILE", help="cases.csv here; of a tracker, a folder"
    )
    exporting.add_argument("--format", choices=SHORT, default="text")
    exporting.set_defaults(act=export)
    verifying = commands.add_parser("verify", help="trains trials of a run again")
    verifying.add_argument("run", type=Path, metavar="RUN", help="a run's folder, or a baseline")
    verifying.add_argument(
        "suites",
        nargs="*",
        type=Path,
        metavar="SUITE",
        help="of its cases; by default the built-in",
    )
    verifying.add_argument("--sample", type=int, default=20, metavar="N", help="trials (20)")
    verifying.add_argument("--format", choices=SHORT, default="text")
    verifying.set_defaults(act=verify)
    _add_board(commands)
    _add_bisect(commands)
    history = commands.add_parser("history", help="many runs: where the numbers changed")
    history.add_argument(
        "folders", nargs="*", type=Path, metavar="DIR", help="of runs, or a baseline file"
    )
    history.add_argument("--page", type=Path, metavar="FILE", help="write it as an HTML page")
    history.add_argument("--format", choices=SHORT, default="text")
    history.set_defaults(act=show_history)


def _add_board(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    boarding = commands.add_parser("board", help="static pages over many verified runs")
    boarding.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder")
    boarding.add_argument("--out", type=Path, default=Path("site"), metavar="DIR", help="(site)")
    boarding.add_argument(
        "--unverified", action="store_true", help="also runs that gradbench verify did not confirm"
    )
    boarding.add_argument("--format", choices=SHORT, default="text")
    boarding.set_defaults(act=board)


def _add_bisect(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    bisecting = commands.add_parser(
        "bisect",
        help="the commit at which an optimizer's numbers changed",
        description="Runs an optimizer at commits of the git repository in this folder, and finds "
        "the last one that changed its numbers. Options after -- are those of gradbench run, e.g. "
        "-- -k parity --gb-seeds=3; without any: --gb-tune=0.",
    )
    bisecting.add_argument("spec", metavar="SPEC", help="as for --optimizer, of this repository")
    bisecting.add_argument("--good", required=True, metavar="COMMIT", help="before the change")
    bisecting.add_argument("--bad", default="HEAD", metavar="COMMIT", help="after it (HEAD)")
    bisecting.add_argument(
        "--slower", action="store_true", help="find what cost it its pace, whatever else changed"
    )
    bisecting.add_argument("--format", choices=SHORT, default="text")
    bisecting.set_defaults(act=bisect)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Disable the garbage collector, which finds no garbage among a run's many records."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _import_torch() -> None:
    """Import torch, and what it imports when it builds its first optimizer.

    The garbage collector would spend a sixth of the time on looking at what is made, all of which
    stays; later it does not look at that again.
    """
    with _without_collection():
        import torch

        torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    gc.freeze()


def show_comparison(a: str, b: str, style: str) -> None:
    """Print the comparison of optimizer A with B."""
    (run_a, spec_a, ours), (run_b, spec_b, theirs) = choose(a, alone=True), choose(b, alone=True)
    warn(run_a.damaged + (run_b.damaged if run_b.path != run_a.path else []))
    comparable(run_a.about, run_b.about)
    alike = spec_a == spec_b
    names = tuple(
        f"{spec} ({run.path.name})" if alike else spec
        for run, spec in ((run_a, spec_a), (run_b, spec_b))
    )
    timed = all(
        run_a.about.get(name) == run_b.about.get(name) for name in ("versions", "device", "cpu")
    )
    found = compare(ours, theirs, names=(names[0], names[1]), timed=timed)
    if style == "json":
        print(to_json(found.plain(), indent=2))
    else:
        print(markdown(found) if style == "markdown" else text(found))


def report(chosen: argparse.Namespace) -> None:
    """Write each run's report again from its records, or one over all of them into a folder."""
    found = [load(path) for path in chosen.runs]
    output = chosen.output
    for run in found:
        warn(run.damaged)
    _must_have_records(found)
    if output is None:
        pages = [(r.path, [r.about], r.records, r.damaged, r.held) for r in found]
    else:
        abouts, records = joined(found)
        output.mkdir(parents=True, exist_ok=True)
        damaged = [line for run in found for line in run.damaged]
        pages = [(output, abouts, records, damaged, tuple(h for run in found for h in run.held))]
    written: list[Path] = []
    for folder, abouts, records, damaged, held in pages:
        written.append(folder / "report.md")
        shown = page(abouts, records, held)
        written[-1].write_text(shown, encoding="utf-8", errors=ESCAPED)
        if html.available():
            shown_page = (folder, abouts, records, damaged, held)
            written.append(html.write(*shown_page, single_file=chosen.single_file))
        if chosen.open:
            webbrowser.open(written[-1].resolve().as_uri())
    _print_files(written, chosen.format)
    if not html.available():
        print(html.HINT, file=sys.stderr if chosen.format == "json" else sys.stdout)


def _must_have_records(runs: Sequence[Run]) -> None:
    """Raise ValueError where no run has records: a page of nothing looks like an answer.

    Of several runs, those without records are named.
    """
    empty = [run for run in runs if not run.records]
    if len(empty) == len(runs):
        raise ValueError(f"{', '.join(str(run.path) for run in empty)} has no records")
    warn([f"{run.path} has no records" for run in empty])


def _print_files(files: Sequence[Path], style: str) -> None:
    """Print paths, one a line or as JSON."""
    names = list(map(str, files))
    print(to_json({"files": names}, indent=2) if style == "json" else "\n".join(names))


def check(specs: Sequence[str], style: str) -> int:
    """Print the result of each check for each optimizer; return 1 where one fails, else 0."""
    _import_torch()
    from gradbench.checks.optimizer import run_checks
    from gradbench.checks.reproduce import reproduction
    from gradbench.optimizers.factory import resolve
    from gradbench.torch_state import one_thread

    results: list[dict[str, Any]] = []
    for spec in specs:
        with one_thread():
            found = run_checks(spec, _show_progress)
        _show_progress("")
        shown = {
            name: lines
            for name, holds, _ in found
            if holds is False and (lines := reproduction(resolve(spec), name.replace(" ", "_")))
        }
        results.append({"spec": spec, "checks": _plain_checks(found, shown)})
        if style == "text":
            _print_checks(spec, found, shown)
    if style == "json":
        print(to_json(results, indent=2))
    return int(any(each["holds"] is False for one in results for each in one["checks"]))


def _show_progress(line: str) -> None:
    """Write a line to a terminal in place of the last one; nothing where stderr is a file."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{printable(line[: width()])}", end="", file=sys.stderr, flush=True)


Checked = Sequence[tuple[str, bool | None, str]]


def _plain_checks(found: Checked, shown: dict[str, list[str]]) -> list[dict[str, Any]]:
    return [
        {"check": name, "holds": holds, "said": said, "reproduce": shown.get(name)}
        for name, holds, said in found
    ]


def _print_checks(spec: str, found: Checked, shown: dict[str, list[str]]) -> None:
    words = {True: "ok", False: "FAIL", None: "-"}
    print(spec)
    rows = [[words[holds], name, said] for name, holds, said in found]
    print(tabulate(rows, tablefmt="plain", disable_numparse=True))
    for name, lines in shown.items():
        print(f"\n{name}, without gradbench:")
        print(textwrap.indent("\n".join(lines), "    "))


def conform(chosen: argparse.Namespace) -> int:
    """Print whether A is B, or A in each of the forms; return 1 where something differs, else 0."""
    forms = [form for form in chosen.against.split(",") if form]
    if (chosen.b is None) == (not forms):
        raise ValueError("give a second optimizer, or --against=FORM,... without one")
    if chosen.steps < 1:
        raise ValueError(f"--steps: at least 1, not {chosen.steps}")
    if not 0 <= chosen.tolerance < math.inf:
        raise ValueError(f"--tolerance: a number from 0 on, not {chosen.tolerance}")
    _import_torch()
    from gradbench.checks.conform import command
    from gradbench.torch_state import one_thread

    other = chosen.b or ", ".join(forms)
    _show_progress(f"{chosen.a} and {other}: {chosen.steps} steps on each problem")
    with one_thread():
        found = command.run(chosen.a, chosen.b, forms, chosen.steps, chosen.tolerance)
    _show_progress("")
    print(command.shown(found, chosen.format))
    return int(not all(each.same for each in found))


def describe(specs: Sequence[str], style: str) -> None:
    """Print the measured properties of optimizers, side by side."""
    _import_torch()
    from gradbench.checks.describe.card import card, text
    from gradbench.torch_state import one_thread

    with one_thread():
        cards = [card(spec, progress=_show_progress) for spec in specs]
    _show_progress("")
    print(text(specs, cards, style))


def draw(text: str, kind: str, folder: Path) -> None:
    """Draw the paper's figures for one optimizer of a run, and the profile of all."""
    from gradbench.report.figures import write

    run, _, records = choose(text)
    warn(run.damaged)
    drawn = "pdf" if kind == "json" else kind
    _print_files(write(folder, records, run.records, drawn, ran_on(run.about)), kind)


def export(chosen: argparse.Namespace) -> None:
    """Write a run's records, or their trials, as one table, or for an experiment tracker."""
    run = load(chosen.run)
    warn(run.damaged)
    _must_have_records([run])
    if chosen.to in trackers.TRACKERS:
        file = chosen.output or Path(chosen.to)
        trackers.write(file, run.about, run.records, chosen.to)
    else:
        file = chosen.output or Path(f"{chosen.level}s.{chosen.to}")
        frames.write(file, run.records, chosen.level, chosen.to)
    _print_files([file], chosen.format)


def verify(chosen: argparse.Namespace) -> int:
    """Train trials of a run again; return 1 where one is not what its record says, else 0."""
    from gradbench.torch_state import one_thread
    from gradbench.verification.replay import replay, text

    if chosen.sample < 1:
        raise ValueError(f"--sample: at least 1, not {chosen.sample}")
    run = load(chosen.run)
    warn(run.damaged)
    named = list(cases(chosen.suites or [suites()], str(run.about.get("preset"))))
    with one_thread():
        found = replay(run, named, chosen.sample, progress=_show_progress)
    _show_progress("")
    said = text(found)
    if run.path.is_dir():  # the board shows it
        kept = found.plain() | {"said": said.split("\n")[0]}
        write_whole(run.path / VERIFIED, to_json(kept, indent=2) + "\n")
    print(to_json(found.plain(), indent=2) if chosen.format == "json" else said)
    return int(not found.holds)


def board(chosen: argparse.Namespace) -> None:
    """Write static pages over many runs."""
    from gradbench.report.board import write

    found = [load(path) for path in chosen.runs]
    for run in found:
        warn(run.damaged)
    _must_have_records(found)
    left = [run for run in found if not run.verified and not chosen.unverified]
    for run in left:
        warn([f"{run.path}: left out, not verified: gradbench verify {run.path}, or --unverified"])
    taken = [run for run in found if run not in left]
    if not taken:
        raise ValueError("no run is verified; --unverified takes them as they are")
    written = write(chosen.out, taken)
    _print_files(written[:1], chosen.format)


def bisect(chosen: argparse.Namespace) -> None:
    """Print the commit at which an optimizer's numbers changed."""
    from gradbench.analysis.bisect import changed, slower
    from gradbench.analysis.commits import Trials, commits_between, git

    here = Path()
    commits = commits_between(here, chosen.good, chosen.bad)
    run = Trials(here, chosen.spec, chosen.options or ["--gb-tune=0"], _show_progress)
    try:
        found = (slower if chosen.slower else changed)(commits, run)
    finally:
        _show_progress("")
    shown = [git(here, "log", "-1", "--format=%h %as %s", commit) for commit in found.suspects]
    if chosen.format == "json":
        plain = {"commits": shown, "runs": run.runs, "not_run": run.failed}
        print(to_json(found.plain() | plain, indent=2))
        return
    print("\n".join(map(printable, shown)))
    print("\n".join(f"  {printable(line)}" for line in found.moved))
    for commit, why in run.failed.items():
        print(f"  not run: {commit[:12]}: {printable(why)}")
    print(f"{run.runs} of {len(commits)} commits run")


def show_history(chosen: argparse.Namespace) -> None:
    """Print every optimizer's numbers from run to run; with `--page`, also write them as HTML."""
    found, unread = runs(*(chosen.folders or [Path("reports")]))
    warn(unread + [line for run in found for line in run.damaged])
    traced = histories(found)
    as_json = chosen.format == "json"
    print(to_json([each.plain() for each in traced], indent=2) if as_json else history_text(traced))
    if chosen.page is not None:
        chosen.page.write_text(history_page(traced), encoding="utf-8", errors=ESCAPED)
        print(f"\n{chosen.page}", file=sys.stderr if as_json else sys.stdout)


def warn(lines: Sequence[str]) -> None:
    """Write lines on unreadable files and records to stderr."""
    for line in lines:
        print(f"gradbench: {printable(line)}", file=sys.stderr)


def _in_suites(word: str) -> str:
    """Return a built-in suite's file or node id in the suites' folder; other words as is."""
    file, mark, name = word.partition("::")
    is_name = not word.startswith("-") and file.endswith(".py")
    ours = is_name and not Path(file).exists() and (suites() / Path(file).name).is_file()
    return f"{suites() / Path(file).name}{mark}{name}" if ours else word


def show(paths: Sequence[Path], chosen: argparse.Namespace) -> None:
    """Print the cases of these suites in a preset, and the optimizers that can be named."""
    from gradbench.architectures.factory import names as architectures
    from gradbench.optimizers import third_party
    from gradbench.optimizers.factory import names

    warn([third_party.trouble()] if third_party.trouble() else [])
    found = list(cases(paths, chosen.preset))
    if chosen.format == "json":
        named = {"optimizers": ["paper", *names()], "architectures": ["paper", *architectures()]}
        print(to_json({"cases": [_plain_case(case) for case in found]} | named, indent=2))
        return
    room = width() - OTHER_COLUMNS - max((len(case.id) for case in found), default=0)
    rows = []
    for case in found:
        scenario = case.build()
        setting = ", ".join(f"{name}={value}" for name, value in case.setting.items())
        row = [case.id, shorten(setting, room), case.budget, case.target_score]
        rows.append([*row, case.expectation.value, scenario.section])
    headers = ("case", "setting", "budget", "target", "expected", "section")
    print(tabulate(rows, headers, disable_numparse=True))
    print(_reasons(found))
    print("\noptimizers that can be named:")
    print(
        textwrap.fill(
            ", ".join(["paper", *names()]), 96, initial_indent="  ", subsequent_indent="  "
        )
    )
    print("or package.module:Class, or ./file.py:Class; with :key=value,... behind any of them")
    print(f"\narchitectures that can be named: {', '.join(['paper', *architectures()])}")
    print("or package.module:factory, or ./file.py:factory")


def _plain_case(case: Case) -> dict[str, Any]:
    scenario = case.build()
    return {
        "case": case.id,
        "family": scenario.family,
        "section": scenario.section,
        "scenario": case.scenario,
        "setting": dict(case.setting),
        "budget": case.budget,
        "batch": case.batch,
        "target_score": case.target_score,
        "expectation": case.expectation.value,
        "why": case.why,
        "takes_optimizer": case.takes_optimizer,
    }


def _reasons(found: Sequence[Case]) -> str:
    """Return the known reasons why optimizers fail, each with its cases, as text."""
    about: dict[str, list[str]] = {}
    for case in found:
        if case.why != "open" and case.expectation in {Expectation.MAY, Expectation.NEVER}:
            about.setdefault(case.why, []).append(case.id)
    lines = [f"{why}: {', '.join(ids)}" for why, ids in sorted(about.items(), reverse=True)]
    wrapped = (textwrap.wrap(x, 96, initial_indent="  ", subsequent_indent="    ") for x in lines)
    head = ["\nwhat makes optimizers fail, where it is known:"] if lines else []
    return "\n".join([*head, *chain(*wrapped)])
