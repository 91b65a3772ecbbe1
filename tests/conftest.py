import copy
import json
import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gradbench.results.record import Record

HERE = Path(__file__).parent

APART = ("proof", "browser", "accept")
"""What `make proof`, `make browser` and `make accept` run."""

CHROMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


# Under pytest-xdist: the runs that tests start are nobody's workers, and time what they train.
for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
    os.environ.pop(name, None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Make warnings errors in these tests only: a plug-in may deprecate what it likes.

    The proofs at larger sizes and what needs a browser wait for their own commands.
    """
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.filterwarnings("error"), append=False)
    if not config.option.markexpr:
        items[:] = [item for item in items if not any(map(item.get_closest_marker, APART))]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test whose check has no result unless it lacks an accelerator: it would be skipped."""
    report = yield
    where, _, why = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, "")
    raised = Path(where).name == "unittest.py" and item.path.is_relative_to(HERE)
    if raised and "no accelerator here" not in why:
        report.outcome, report.longrepr = "failed", f"a check has no result: {why}"
    return report


@pytest.fixture
def odd() -> str:
    """The file with the optimizers that misbehave, as a spec names it."""
    return str(HERE / "odd_optimizers.py")


@pytest.fixture(autouse=True, scope="session")
def whole_torch():
    """Import all that a first step imports: torch cannot be imported twice, and pytester forgets
    what was imported within it."""
    import torch

    from gradbench.optimizers import third_party  # noqa: F401
    from gradbench.protocol import source_digest  # noqa: F401

    # Of the package what keeps nothing of its user's between two sessions in one process.

    parameter = torch.nn.Parameter(torch.ones(1))
    parameter.sum().backward()
    torch.optim.Adam([parameter]).step()


@pytest.fixture(autouse=True)
def one_thread():
    from gradbench.torch_state import one_thread

    with one_thread():
        yield


@pytest.fixture
def own_suite(pytester: pytest.Pytester) -> None:
    """Put a suite of three small cases, one of them a learner, into the test's folder."""
    pytester.makepyfile(test_own=(HERE / "own_suite.py").read_text())


@pytest.fixture
def stored() -> Callable[[Path], list[dict[str, Any]]]:
    """Read what the last run under a folder has recorded."""

    def read(reports: Path) -> list[dict[str, Any]]:
        text = (reports / "latest" / "records.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    return read


@pytest.fixture
def untimed() -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Leave of records what does not hang on how long anything took."""

    def strip(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for record in records:
            del record["timing"]
            record["tuning_cost"].pop("seconds", None)
            for trial in record["trials"]:
                del trial["seconds"], trial["seconds_to_target"]
        return records

    return strip


@pytest.fixture(scope="session")
def real_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small real run: a sweep, a learner, and optimizers that misbehave or diverge.

    Made once per test session; nobody writes into it.
    """
    folder = tmp_path_factory.mktemp("real-run")
    (folder / "test_own.py").write_text((HERE / "own_suite.py").read_text())
    odd = [f"--optimizer={HERE / 'odd_optimizers.py'}:{name}" for name in ("Raises", "Vectors")]
    named = [f"--optimizer={spec}" for spec in ("sgd:momentum=0.9", "adam:lr=1e-5", "sgd:lr=1e25")]
    words = ["test_own.py", *odd, *named]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])
        ended = pytest.main([*words, "-p", "no:cacheprovider", "--gb-engine=inline"])
    assert ended == pytest.ExitCode.TESTS_FAILED  # it has crashes
    del sys.modules["test_own"]  # a test's own one has another path
    return (folder / "reports" / "latest").resolve()


@pytest.fixture(scope="session")
def real_records(real_run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (real_run / "records.jsonl").read_text().splitlines()]


@pytest.fixture
def about(real_run: Path) -> dict[str, Any]:
    """What run.json says of a run."""
    return json.loads((real_run / "run.json").read_text()) | {"optimizers": ["a"]}


@pytest.fixture
def record(real_records: list[dict[str, Any]]) -> Callable[..., Record]:
    """Make a record: evaluations to the target per seed, None where it was not reached.

    All else is as in a record of a real run: a tuned optimizer's, or a learner's for "none".
    """
    tuned = next(one for one in real_records if one["outcome"] == "passed" and one["tuning"])
    learner = next(one for one in real_records if one["optimizer"] == "none")
    lost = next(one for one in real_records if one["outcome"] == "xfailed" and one["trials"])

    def trial(like, seed, evaluations):
        data = copy.deepcopy((lost if evaluations is None else like)["trials"][0])
        spent = 100 if evaluations is None else evaluations
        curve = [look for look in data["curve"] if look[0] <= spent]
        return data | {
            "seed": seed,
            "evaluations_to_target": evaluations,
            "gradient_evaluations": spent,
            "curve": curve,
        }

    def made(case="case", times=(10, 20, 30, 40, 50), optimizer="a", **changes):
        like = learner if optimizer == "none" else tuned
        solved = sum(t is not None for t in times)
        given = {
            "outcome": "passed" if 2 * solved >= len(times) else "xfailed",
            "solved": solved,
            "seeds": len(times),
            "family": "flatness",
            "scenario": "steps",
            "section": "5",
            "setting": {"case": case},
            "approach": "",
            "budget": 100,
            "trials": [trial(like, seed, t) for seed, t in enumerate(times)],
            "timing": like["timing"] | {"contended": False},  # whatever ran beside it
        }
        own = {"case": case, "optimizer": optimizer}
        return Record.from_plain(copy.deepcopy(like) | given | own | changes)

    return made


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    found = os.environ.get("BROWSER") or next(filter(None, map(shutil.which, CHROMES)), None)
    if found is None:
        pytest.fail(f"no browser: install one of {', '.join(CHROMES)} or set BROWSER to its path")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of a hundred columns, whatever the one that the tests run in."""
    monkeypatch.setenv("COLUMNS", "100")


BUTTONS = ("#filters", ".tabs", "#legend", ".group", "#matrix thead")
"""Where the page has buttons, besides those of plotly; sorting takes the families' rows away."""


def _click_every_button(page: Any) -> None:
    for where in BUTTONS:  # a click finds its button again where the page has made it anew
        for button in page.locator(f"{where} button:visible").all():
            button.click()
            if where == ".group":  # unfolded again
                button.click()
    beyond = "".join(f":not({where} button)" for where in (".figure", *BUTTONS))
    assert page.locator(f"button{beyond}").count() == 0


@pytest.fixture(scope="session")
def use_every_control() -> Callable[[Any, Path], None]:
    """Open the page in a run's folder and use all that can be clicked or chosen."""

    def use(browser: Any, folder: Path) -> None:
        cases = {
            json.loads(line)["case"] for line in (folder / "records.jsonl").read_text().splitlines()
        }
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((folder / "report.html").resolve().as_uri())
        page.wait_for_selector("#matrix tbody tr")
        assert {card.get_attribute("id") for card in page.locator(".card").all()} == cases
        for link in page.locator("#matrix a").all():
            target = link.get_attribute("href").removeprefix("#")
            assert page.locator(f"[id='{target}']").count() == 1
        for summary in page.locator("summary").all():
            summary.click()
        for choice in page.locator("select").all():
            for value in choice.locator("option").all_inner_texts():
                choice.select_option(value)
            choice.select_option(index=0)  # a filter hides what it leaves out
        _click_every_button(page)
        shown = page.locator("#all")
        for button in shown.all() or page.locator("#legend button").all():  # a lone one: once more
            button.click()
        for box in page.locator(".figure").all():
            box.scroll_into_view_if_needed()
            page.wait_for_timeout(50)
        assert page.locator(".figure.js-plotly-plot").count() == page.locator(".figure").count()
        assert said == []
        page.close()

    return use
