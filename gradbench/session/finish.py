"""The end of a session: repeated timing, the reports, and the printed summary."""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from gradbench.results.record import Outcome, to_json
from gradbench.results.run_folder import HELD, RunFolder

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from gradbench.protocol.item import Item


def time_again(folder: RunFolder, items: "Iterable[Item]", say: Callable[[str], None]) -> None:
    """Time the step of every finished case again, one after another, with nothing else running.

    After a KeyboardInterrupt the remaining records keep the times that they have.
    """
    from gradbench.protocol.run_item import retimed
    from gradbench.torch_state import one_thread

    named = {item.key: item for item in items}
    records = list(folder.whole)
    try:
        for index, record in enumerate(records):
            if record.key in named and record.outcome != Outcome.SKIPPED:
                say(f"timing {record.case}")
                with one_thread():
                    records[index] = retimed(named[record.key], record)
    except KeyboardInterrupt:
        pass
    folder.change(records)


def write_reports(folder: RunFolder, run: dict[str, Any], held: Sequence[str]) -> list[str]:
    """Write the reports of the records; return their paths, or how to install what one needs.

    Raises OSError where they cannot be written.
    """
    from gradbench.report import html
    from gradbench.report.markdown import page

    records = folder.records
    if held:
        folder.write(HELD, to_json(held) + "\n")
    folder.write("report.md", page([run], records, held))
    reports = [str(folder.path / "report.md")]
    if not html.available():
        reports.append(html.HINT)
    elif records:
        reports.append(str(html.write(folder.path, [run], records, held=held)))
    return reports


def _print_section(
    reporter: "TerminalReporter",
    title: str,
    lines: Sequence[str],
    **colour: Any,  # noqa: ANN401
) -> None:
    """Print lines under a heading; nothing where there are none."""
    if lines:
        reporter.section(title, **colour)
    for text in lines:
        reporter.write_line(text)


def print_summary(
    reporter: "TerminalReporter",
    folder: RunFolder,
    held: Sequence[str],
    lines: Sequence[str],
    reports: Sequence[str],
) -> None:
    """Print the table, the comparison with the baseline, the news, and the paths of the reports."""
    from gradbench.report.rows import claims, news
    from gradbench.report.terminal import table, width

    if records := folder.records:
        reporter.ensure_newline()
        reporter.section("gradbench")
        reporter.write_line(table(records, brief=reporter.verbosity < 0))
    for text in held:
        for part in textwrap.wrap(text, width() - 2, subsequent_indent="  "):
            reporter.write_line(part)
    for line in lines:
        reporter.write_line(line)
    _print_section(reporter, "NEWS", news(records), green=True)
    _print_section(reporter, "solved, not verified", claims(records), yellow=True)
    if folder.restored:
        reporter.write_line(f"gradbench: {folder.restored}")
    if folder.trouble:
        lost = f"{folder.unwritten} of {len(records)} records are not on the disk"
        reporter.write_line(f"gradbench: cannot write {folder.path}: {folder.trouble}; {lost}")
    if reports:
        reporter.write_line("report: " + "\n        ".join(reports))
