"""report.html: one or several runs as one page with one script file; it needs no network."""

from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradbench.analysis.alike import unlike
from gradbench.report import laws, tally
from gradbench.report.frontier import ladders
from gradbench.report.markdown import ran_on
from gradbench.report.rows import claims, news
from gradbench.report.view import view
from gradbench.results.record import Record, to_json
from gradbench.text import write_whole

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE, SCRIPT = "report.html", "plotly.min.js"
MODULES = ("base", "figures", "tabs", "legend", "wanted", "matrix", "cards", "theory", "filters")
"""The page's own scripts, in the order in which they run."""

HINT = "for report.html, with figures: pip install 'pytest-gradbench[report]'"


def available() -> bool:
    """Return whether plotly's script, which draws the plots, is here (the extra `report`)."""
    return _script() is not None


def _script() -> Path | None:
    """Return the script's path; plotly itself is not imported, which takes time and may fail."""
    spec = find_spec("plotly")
    folders = (spec.submodule_search_locations if spec is not None else None) or []
    found = [Path(folder) / "package_data" / SCRIPT for folder in folders]
    return next((path for path in found if path.is_file()), None)


def write(  # noqa: PLR0913  # what a page is made of
    folder: Path,
    runs: Sequence[dict[str, Any]],
    records: Sequence[Record],
    damaged: Sequence[str] = (),
    held: Sequence[str] = (),
    *,
    single_file: bool = False,
) -> Path:
    """Write the page and its script into a folder and return the page's path.

    With `single_file` the page contains the script. Raises FileNotFoundError where plotly's is not
    `available`.
    """
    script, there = _script(), folder / SCRIPT
    if script is None:
        raise FileNotFoundError(HINT)
    if single_file:
        plotly = script.read_text(encoding="utf-8")
        write_whole(folder / PAGE, page(runs, records, damaged, held, plotly))
        return folder / PAGE
    if not there.is_file() or there.stat().st_size != script.stat().st_size:
        write_whole(there, script.read_bytes())
    write_whole(folder / PAGE, page(runs, records, damaged, held))
    return folder / PAGE


def page(
    runs: Sequence[dict[str, Any]],
    records: Sequence[Record],
    damaged: Sequence[str] = (),
    held: Sequence[str] = (),
    plotly: str = "",
) -> str:
    """Return the page; text from records is escaped.

    `damaged` lists the records that could not be read, `held` the results of comparisons with a
    baseline or an older version. `plotly` is the script that draws, where the page contains it.
    """
    seen = view(list(records))
    names = [optimizer["name"] for optimizer in seen["optimizers"]]
    return (
        environment()
        .get_template("report.html")
        .render(
            title=f"gradbench: {', '.join(names[:6])}" + (" and others" if len(names) > 6 else ""),
            about=[*map(ran_on, runs), *unlike(runs)],
            verdicts=tally.verdicts(list(records)),
            linked=not seen["brief"],
            plotly=plotly,
            damaged=damaged,
            held=held,
            news=news(list(records)),
            claims=claims(list(records)),
            ladders=ladders(records),
            laws=list(zip(seen["laws"], laws.rows(seen["laws"]), strict=True)),
            said_of_laws=laws.SAID,
            optimizers=seen["optimizers"],
            families=[family["name"] for family in seen["families"]],
            brief=len(records) if seen["brief"] else 0,
            data=seen | {"preset": str(runs[0].get("preset", ""))},
            css=style(),
            script="\n".join(map(script, MODULES)),
        )
    )


def environment() -> "Environment":
    """Return the jinja2 environment of the report's templates, with automatic escaping."""
    from jinja2 import Environment, PackageLoader

    made = Environment(loader=PackageLoader("gradbench.report"), autoescape=True, trim_blocks=True)
    made.policies["json.dumps_function"] = to_json
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return made


def style() -> str:
    """Return the pages' style sheet."""
    return _template("report.css")


def script(name: str) -> str:
    """Return one of the pages' own scripts."""
    return _template(f"script/{name}.js")


def _template(name: str) -> str:
    return (files("gradbench.report") / "templates" / name).read_text(encoding="utf-8")
