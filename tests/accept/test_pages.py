"""Each command that README and docs show, run as its page has it; or left out for a reason."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.accept

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"

LEFT_OUT = {
    "make test": "CI runs it before this",
    "pytest suites --optimizer=paper --gb-preset=paper": "half a day",
    "pytest suites -m claim": "20 minutes; benchmarks/paper.md has what came",
}
"""Commands that are not run here, and why."""

CASES = "parity-d5 or conditioned-text or step_cost or zipf-d100"
SMALL = f"-k '{CASES}' --gb-seeds=2 --gb-tune=1 --gb-gate=record"
"""What makes a command short where it does not say otherwise, and has it fail by mistakes alone,
not by what an optimizer cannot solve. docs/start.md and `make bench` run in whole, as they are."""


def plain(line):
    return line.partition("  #")[0].strip()


def statuses(reports):
    """Return how the trials of all runs under a folder ended."""
    lines = [line for f in reports.glob("2*/records.jsonl") for line in f.read_text().splitlines()]
    return {trial["status"] for line in lines for trial in json.loads(line)["trials"]}


def test_a_new_user_follows_the_first_page_to_the_letter(start):
    folder, said = start
    assert said.count("report: ") == 2
    assert "0 failed" not in said
    assert (folder / "reports" / "latest" / "report.html").is_file()


@pytest.mark.usefixtures("published")  # whose runs go on meanwhile
def test_the_page_of_that_run_works(start, browser, use_every_control):
    folder, _ = start
    use_every_control(browser, folder / "reports" / "latest")


def test_the_page_of_the_default_run_works(checkout, browser, use_every_control):
    use_every_control(browser, checkout / "reports" / "latest")


def test_the_commands_of_the_readme(checkout, commands, files, run):
    lines = [line for line in commands(README) if not line.startswith("make ")]
    lines = [line for line in lines if plain(line) not in LEFT_OUT]
    mine = files(DOCS / "start.md")["my_opt.py"]
    package = checkout / "my_package"
    package.mkdir()
    for path in (checkout / "my_opt.py", checkout / "opt.py", package / "optim.py"):
        path.write_text(mine)
    binaries = checkout / ".venv" / "bin"
    for name in ("RUN1", "RUN2", "reports/RUN"):
        both = "pytest suites --optimizer=adam --optimizer=sgd"
        run([both], checkout, binaries=binaries, PYTEST_ADDOPTS=SMALL)
        (checkout / name).symlink_to((checkout / "reports" / "latest").resolve())
    run(lines, checkout, binaries=binaries, PYTEST_ADDOPTS=SMALL)
    assert statuses(checkout / "reports") <= {"solved", "unsolved", "diverged", "unsupported"}


def commit_a_slower_one(folder, run):
    """Make a repository in which the optimizers step half as far since the release v1.2."""
    who = "git -c user.name=me -c user.email=me@here"
    run([f"git init -q -b main; git add .; {who} commit -qm release; git tag v1.2"], folder)
    for path in (folder / "my_opt.py", folder / "my_package" / "optimizer.py"):
        text = path.read_text()
        assert 'alpha=group["lr"])' in text
        path.write_text(text.replace('alpha=group["lr"])', 'alpha=0.5 * group["lr"])'))
    run([f"{who} commit -qam slower; {who} commit -q --allow-empty -m later"], folder)


@pytest.mark.parametrize("name", ["architectures.md", "ci.md", "suites.md"])
def test_the_commands_of_a_page(name, start, commands, files, checkout, run, tmp_path):
    """In the environment of the wheel; `suites` is the checkout's folder."""
    page = DOCS / name
    mine = files(DOCS / "start.md")["my_opt.py"]
    shown = files(page) | {"my_opt.py": mine}
    shown["my_package/optimizer.py"] = mine.replace("MyOpt", "MyOptimizer")
    for path, text in shown.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "suites").symlink_to(checkout / "suites")
    (tmp_path / "benchmarks").mkdir()
    lines = [line for line in commands(page) if plain(line) not in LEFT_OUT]
    assert lines
    if name == "ci.md":
        commit_a_slower_one(tmp_path, run)
    own = "" if name == "suites.md" else SMALL
    run(lines, tmp_path, binaries=start[0] / ".venv" / "bin", PYTEST_ADDOPTS=own)
    assert statuses(tmp_path / "reports") <= {"solved", "unsolved", "unsupported"}


def test_every_page_is_one_of_these(pages, commands):
    """A page with commands that no test above runs would be trusted unread."""
    with_commands = {page.name for page in pages if commands(page)}
    assert with_commands == {"README.md", "start.md", "architectures.md", "ci.md", "suites.md"}


def test_what_is_left_out_stands_on_a_page(pages, commands):
    shown = {plain(line) for page in pages for line in commands(page)}
    assert set(LEFT_OUT) <= shown
