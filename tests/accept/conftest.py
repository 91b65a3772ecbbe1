"""What a release must live through, in environments of their own: `make accept`.

Every `console` block of README and docs is run as its page has it. Nothing of this environment is
used but the browser's driver.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PUBLISHED = re.compile(r"^\| `([\w-]+)` \| `(\w+:\w+)` \|$", re.MULTILINE)
"""Rows of docs/optimizers.md: a package of the registry, and the spec of an optimizer in it."""

RUNS = {
    "tuned": "-k parity-d5 --gb-seeds=2 --gb-tune=3",
    "together": "-k dying-bias0 --gb-seeds=2 --gb-tune=0 --gb-engine=inline",
    "alone": "-k dying-bias0 --gb-seeds=2 --gb-tune=0 --gb-engine=inline --gb-stack=off",
}
"""Runs of the published optimizers: tuned, as by default; and untuned, by the default path and one
trial after another."""

BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"^```python\n(# (\S+\.py)\n.*?)^```", re.DOTALL | re.MULTILINE)


def pages() -> Iterator[Path]:
    yield from (ROOT / "README.md", ROOT / "CONTRIBUTING.md")
    yield from sorted((ROOT / "docs").glob("*.md"))


def commands(page: Path) -> list[str]:
    """Return the commands of a page's `console` blocks, in order."""
    found: list[str] = []
    for block in BLOCK.findall(page.read_text()):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(line[2:])
            else:
                found[-1] += f"\n{line}"
    return found


def files(page: Path) -> dict[str, str]:
    """Return the files that a page shows, by the name in their first line."""
    return {name: text for text, name in FILE.findall(page.read_text())}


def run(lines: list[str], folder: Path, *, binaries: Path | None = None, **environment: str) -> str:
    """Run commands in one shell, as somebody who types them; return what they print.

    Fails the test at the first that exits with anything but 0. `binaries` is a folder that an
    activated environment would have put on the path.
    """
    own = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON", "VIRTUAL"))}
    before = [binaries, Path(sys.base_prefix) / "bin"]
    own["PATH"] = os.pathsep.join([*map(str, filter(None, before)), own["PATH"]])
    own |= {"PIP_CONSTRAINT": str(ROOT / "constraints.txt"), "BROWSER": "true"} | environment
    own["PIP_RETRIES"] = "0"  # not every network has every index that a page names
    shown = [f"printf '%s\\n' {shlex.quote('$ ' + line)}\n{line}" for line in lines]
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", "\n".join(shown)],
        cwd=folder,
        env=own,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{folder}: exit code {done.returncode}\n{said}"
    return said


@pytest.fixture(scope="session", name="commands")
def commands_fixture() -> Callable[[Path], list[str]]:
    return commands


@pytest.fixture(scope="session", name="run")
def run_fixture() -> Callable[..., str]:
    return run


@pytest.fixture(scope="session", name="pages")
def pages_fixture() -> list[Path]:
    return list(pages())


@pytest.fixture(scope="session", name="files")
def files_fixture() -> Callable[[Path], dict[str, str]]:
    return files


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which docs/start.md was followed to the letter, and what its commands said.

    The wheel is built from what the repository holds; the page says how.
    """
    made = tmp_path_factory.mktemp("wheel")
    checkout = made / "checkout"
    run([f"git clone -q {ROOT} {checkout}"], made)
    page = ROOT / "docs" / "start.md"
    (build,) = re.findall(r"`(pip wheel [^`]*)`", page.read_text().replace("\n", " "))
    run(["python3 -m venv own", "own/bin/" + build.replace(" .", f" {checkout}")], made)
    folder = tmp_path_factory.mktemp("start")
    for name, text in files(page).items():
        (folder / name).write_text(text)
    lines = [line.replace("/path/to", str(made / "dist")) for line in commands(page)]
    return folder, run(lines, folder)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean clone in which README's first command, the default run, has run."""
    folder = tmp_path_factory.mktemp("clone") / "gradbench"
    run([f"git clone -q {ROOT} {folder}"], folder.parent)
    (bench,) = [line for line in commands(ROOT / "README.md") if line.startswith("make bench")]
    run([bench], folder)
    return folder


@pytest.fixture(scope="session")
def published(
    start: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future]:
    """The folder of the runs of published optimizers, and their specs, as a future.

    The runs begin when this is first requested; they and the tests of pages share the cores.
    """
    folder = tmp_path_factory.mktemp("published")
    binaries = start[0] / ".venv" / "bin"
    rows = PUBLISHED.findall((ROOT / "docs" / "optimizers.md").read_text())
    run([f"pip install -q {' '.join(name for name, _ in rows)}"], folder, binaries=binaries)
    specs = [spec for _, spec in rows]
    named = " ".join(f"--optimizer={spec}" for spec in specs)

    def runs() -> tuple[Path, list[str]]:
        for name, options in RUNS.items():
            line = f"gradbench run {named} {options} --gb-probes=none --gb-gate=record"
            run([f"{line} --gb-report-dir={name}"], folder, binaries=binaries)
        return folder, specs

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(runs)
