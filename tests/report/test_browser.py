"""report.html in a real browser: `make browser`."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from gradbench.report import html

pytestmark = pytest.mark.browser


def run(record, optimizers, cases):
    """Records of a run as large as asked, with curves, sweeps and readings."""
    made = []
    for case in range(cases):
        for index in range(optimizers):
            times = tuple(10 + seed if (case + index) % 3 else None for seed in range(5))
            one = record(f"case-{case}", times=times, optimizer=f"optimizer{index}")
            one.family = ("uninformative", "flatness")[case % 2]
            one.outcome = "news" if case == 0 and index == 0 else "passed"
            one.verification = {"verified": one.outcome == "news"}
            one.ladder, one.setting = ["n"], {"n": case}
            evaluation_steps = [round(1.26**i) for i in range(28)]
            for trial in one.trials:
                trial["gradient_evaluations"] = 600
                trial["curve"] = [
                    [x, 1 - math.exp(-x / (50 + case)), 0.5] for x in evaluation_steps
                ]
            one.tuning = [
                {"lr": 10.0**-i, "seed": -1, "score": i / 5, "status": "solved"} for i in range(5)
            ]
            one.informativeness = [
                {"probe": "gain", "evaluations": x, "value": 0.1, "error": 0.01, "resolved": True}
                for x in evaluation_steps[::7]
            ]
            made.append(one)
    return made


@pytest.fixture
def opened(browser, tmp_path, about):
    """Open a report; what the page complained of and asked for is in `.said` and `.asked`."""
    pages = []

    def show(records, width=1280, height=900):
        path = html.write(tmp_path, [about], records)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("#matrix tbody tr")
        pages.append(page)
        return page

    yield show
    for page in pages:
        page.close()


ODD = Path(__file__).parents[1] / "odd_optimizers.py"
CASES = "parity-d5 or conditioned-text or glmtron or steps-direct or sigmoid-depth4 or zipf"


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The folder of a real run: a sweep, probes, a learner, and trials of every status."""
    reports = tmp_path_factory.mktemp("real")
    odd = [f"--optimizer={ODD}:{name}" for name in ("Raises", "Poison", "Vectors")]
    command = [sys.executable, "-m", "pytest", "suites", "-q", "-k", CASES, *odd]
    command += ["--optimizer=adam", "--optimizer=sgd:lr=0.1", f"--gb-report-dir={reports}"]
    command += ["-p", "no:cacheprovider"]
    ran = subprocess.run(command, cwd=ODD.parents[1], capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stdout  # it has crashes
    (folder,) = [path for path in reports.iterdir() if not path.is_symlink()]
    return folder


def test_every_control_of_a_real_runs_page_works_without_a_word(browser, use_every_control, real):
    lines = (real / "records.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    statuses = {trial["status"] for record in records for trial in record["trials"]}
    assert statuses == {"solved", "unsolved", "diverged", "crashed", "unsupported"}
    assert any(record["tuning"] for record in records)
    assert any(record["expectation"] == "learner" for record in records)
    assert 'class="law"' in (real / "report.html").read_text()
    use_every_control(browser, real)


def wait_for_figure(page):
    page.locator(".card .figure").first.scroll_into_view_if_needed()
    page.wait_for_selector(".card .figure .scatterlayer .trace")


def test_it_draws_without_a_word_and_asks_for_nothing_beyond_its_folder(opened, record, tmp_path):
    page = opened(run(record, 3, 6))
    wait_for_figure(page)
    for button in page.locator(".card >> nth=0 >> .tabs button").all():
        button.click()
    assert page.said == []
    assert page.asked == [(tmp_path / n).as_uri() for n in ("report.html", "plotly.min.js")]


def test_the_matrix_has_every_case_and_sorts(opened, record):
    page = opened(run(record, 3, 6))
    rows = page.locator("#matrix tbody tr[data-case]")
    names = [row.get_attribute("data-case") for row in rows.all()]
    assert names == [f"case-{i}" for i in (0, 2, 4, 1, 3, 5)]  # a family's stand together
    assert page.locator("#matrix td.cell").count() == 18
    assert page.locator("#matrix td.news-cell").inner_text() == "0/5 NEWS"
    page.get_by_role("button", name="optimizer0").last.click()
    shares = [row.locator("td.cell").first.inner_text() for row in rows.all()]
    assert shares == ["5/5 in 12"] * 4 + ["0/5 NEWS", "0/5"]
    assert page.locator("th[aria-sort=descending]").count() == 1


def shown(page):
    return page.evaluate(
        "document.querySelector('.card .figure').data.filter(t => t.visible !== false).length"
    )


def test_the_legend_hides_and_isolates(opened, record):
    page = opened(run(record, 3, 6))
    wait_for_figure(page)
    assert shown(page) == 6  # a line and a band each
    button = page.locator("#legend button").first
    button.click()
    assert shown(page) == 4
    assert button.get_attribute("aria-pressed") == "false"
    assert page.locator("#matrix td.cell:visible").count() == 12
    page.locator("#legend button").nth(1).click(modifiers=["Shift"])
    assert shown(page) == 2
    page.locator("#all").click()
    assert shown(page) == 6


def test_hovering_shows_numbers(opened, record):
    page = opened(run(record, 2, 2))
    wait_for_figure(page)
    page.wait_for_timeout(300)
    box = page.locator(".card .figure .nsewdrag").first.bounding_box()
    for share in (0.3, 0.5, 0.7, 0.9):
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] * 0.06)
        page.wait_for_timeout(150)
        if page.locator(".hoverlayer .hovertext").count():
            break
    assert page.locator(".hoverlayer .hovertext").count() >= 1
    assert "Wilson" in page.content()
    assert "95 %" in page.locator("#matrix td.cell").first.get_attribute("title")


def test_it_is_usable_at_400_pixels(opened, record):
    page = opened(run(record, 3, 4), width=400, height=700)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    wait_for_figure(page)
    box = page.locator(".card .figure").first.bounding_box()
    assert 250 < box["width"] <= 400
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_it_is_usable_by_keyboard(opened, record):
    page = opened(run(record, 2, 2))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.locator("#legend button").first.get_attribute("aria-pressed") == "false"
    page.keyboard.press("Space")
    page.locator("#matrix thead button").nth(1).focus()
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=descending]").count() == 1
    assert page.evaluate("document.querySelectorAll('#matrix td[tabindex]').length") == 4


def test_it_prints_with_every_figure(opened, record):
    page = opened(run(record, 2, 4))
    page.wait_for_function("typeof Plotly !== 'undefined'")  # loaded when the table stands
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    figures = page.locator(".figure").count()
    assert page.evaluate("document.querySelectorAll('.figure.js-plotly-plot').length") == figures
    assert len(page.pdf()) > 20_000
    assert page.said == []


def test_names_are_text_and_never_markup(opened, record):
    evil = "<img src=x onerror=\"document.title='owned'\">"
    page = opened([record(evil, optimizer=evil, notes=[evil], family=evil)])
    page.wait_for_timeout(300)
    assert page.locator("img").count() == 0
    assert page.title() != "owned"


def test_thirty_optimizers_on_all_cases_stay_small_and_load(opened, record, tmp_path):
    page = opened(run(record, 30, 47))
    assert page.locator("#matrix td.cell").count() == 30 * 47
    size = sum((tmp_path / name).stat().st_size for name in ("report.html", "plotly.min.js"))
    assert size < 10 * 10**6
    wait_for_figure(page)
    assert page.said == []


def cases_shown(page):
    rows = page.locator("#matrix tbody tr[data-case]")
    return [row.get_attribute("data-case") for row in rows.all()]


def with_a_failure(record):
    records = run(record, 2, 6)
    failed = next(r for r in records if r.case == "case-3" and r.optimizer == "optimizer0")
    failed.outcome, failed.expectation = "failed", "must"
    return records


def test_the_first_screen_says_what_failed_and_leads_there(opened, record):
    page = opened(with_a_failure(record))
    said = page.locator(".verdict").all_inner_texts()
    assert said[0].startswith("optimizer0, 6 cases: ")
    assert said[0].endswith("failed: case-3")
    assert "0 failed" in said[1]
    assert page.locator("#matrix td.failed-cell").count() == 1
    page.locator("#next-failed").focus()
    page.keyboard.press("Enter")
    told = page.locator("#told").inner_text()
    assert told.startswith("case-3, optimizer0")


def test_filters_choose_rows_and_cards_and_the_address_keeps_the_view(browser, opened, record):
    page = opened(with_a_failure(record))
    everything = cases_shown(page)
    assert len(everything) == 6
    page.locator("#filters input[type=search]").fill("case-3")
    assert cases_shown(page) == ["case-3"]
    assert page.locator(".card:visible").count() == 1
    page.locator("#filters input[type=search]").fill("")
    page.get_by_label("every family").select_option("flatness")
    assert cases_shown(page) == ["case-1", "case-3", "case-5"]
    page.get_by_label("every result").select_option("failed")
    assert cases_shown(page) == ["case-3"]
    page.get_by_label("every result").select_option("")
    page.locator("#differs").check()
    assert set(cases_shown(page)) < {"case-1", "case-3", "case-5"}
    page.locator("#differs").uncheck()
    page.locator("#legend button").first.click()
    address = page.url
    again = browser.new_page()
    again.goto(address)
    assert cases_shown(again) == ["case-1", "case-3", "case-5"]
    assert again.locator("#legend button").first.get_attribute("aria-pressed") == "false"
    assert again.locator("#shown").inner_text() == "3 of 6 cases"
    again.close()
    assert page.said == []


def test_a_family_is_folded_and_unfolded_by_keyboard(opened, record):
    page = opened(run(record, 2, 6))
    group = page.locator(".group button").first
    group.focus()
    page.keyboard.press("Enter")
    assert len(cases_shown(page)) == 3
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false"
    page.keyboard.press("Enter")
    assert len(cases_shown(page)) == 6


def test_the_axis_of_evaluations_is_logarithmic_on_demand(opened, record):
    page = opened(run(record, 1, 1))
    wait_for_figure(page)
    kind = "document.querySelector('.card .figure').layout.xaxis.type"
    assert page.evaluate(kind) != "log"
    page.locator("#log").click()
    assert page.evaluate(kind) == "log"


def test_a_card_has_the_command_that_runs_it_again_and_its_numbers_as_files(opened, record):
    page = opened(run(record, 1, 2))
    page.locator(".card summary").first.click()
    command = page.locator(".card pre").first.inner_text()
    assert command == "pytest suites -k 'case-0' --gb-preset=quick '--optimizer=optimizer0'"
    with page.expect_download() as download:
        page.locator(".card a[download$='.csv']").first.click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith('"case","optimizer","solved"')
    assert lines[1].startswith('"case-0","optimizer0"')


def test_a_single_file_needs_no_other(browser, tmp_path, about, record):
    path = html.write(tmp_path, [about], run(record, 2, 2), single_file=True)
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    page = browser.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(path.as_uri())
    wait_for_figure(page)
    assert asked == [path.as_uri()]
    assert said == []
    page.close()


def test_colours_follow_the_system_and_text_stays_readable(browser, tmp_path, about, record):
    path = html.write(tmp_path, [about], run(record, 2, 2))
    for scheme, light in (("light", True), ("dark", False)):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(path.as_uri())
        wait_for_figure(page)
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        ink = page.evaluate("getComputedStyle(document.body).color")
        axis = page.evaluate("getComputedStyle(document.querySelector('.xtick text')).fill")
        means = [sum(map(int, text[4:-1].split(","))) / 3 for text in (back, ink, axis)]
        assert (means[0] > 200) is light
        assert all(abs(means[0] - each) > 120 for each in means[1:])
        context.close()
