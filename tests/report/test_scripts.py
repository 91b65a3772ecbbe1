"""The pages' scripts under eslint, each page's as one script, as the browser gets it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from gradbench.report.html import MODULES, script

CONFIG = Path(__file__).parent / "eslint.config.mjs"
PACKAGES = {"eslint": "9.39.5", "@eslint/js": "9.39.5", "globals": "16.5.0"}

pytestmark = [
    pytest.mark.accept,
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed"),
]


@pytest.fixture(scope="module")
def lint(tmp_path_factory):
    """Install eslint into a folder of its own; return a function that lints a script there."""
    folder = tmp_path_factory.mktemp("lint")
    wanted = {"private": True, "type": "module", "devDependencies": PACKAGES}
    (folder / "package.json").write_text(json.dumps(wanted))
    shutil.copy(CONFIG, folder)
    install = ["npm", "install", "--no-fund", "--no-audit", "--silent"]
    subprocess.run(install, cwd=folder, check=True, timeout=300)

    def run(text):
        (folder / "page.js").write_text(text)
        command = ["npx", "eslint", "--max-warnings=0", "page.js"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("modules", [MODULES, ("board",)], ids=["report", "board"])
def test_a_pages_script_has_no_finding(lint, modules):
    done = lint("\n".join(map(script, modules)))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_linter_finds_what_is_wrong(lint):
    done = lint(script("board") + "\nvar unused = undefinedName == 1;\n")
    assert done.returncode == 1
    for rule in ("no-var", "no-undef", "eqeqeq", "no-unused-vars"):
        assert rule in done.stdout
