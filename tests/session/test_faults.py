"""What goes wrong around a run: a full disk, an engine's example that is pasted, hostile files."""

import json
import resource
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradbench.cli import main
from gradbench.protocol.case import Case
from gradbench.protocol.item import Item
from gradbench.protocol.run_item import run_item
from gradbench.results.record import Expectation, line_of, parse
from gradbench.results.summaries import in_brief
from gradbench.results.summaries_msgspec import glance

DOCS = Path(__file__).parents[2] / "docs"


def pytest_in(folder, *options, **more):
    command = [sys.executable, "-m", "pytest", "test_own.py", "--optimizer=adam", "--gb-seeds=2"]
    command += ["-p", "no:cacheprovider", "--gb-report-dir=out", *options]
    return subprocess.run(
        command, check=False, cwd=folder, capture_output=True, text=True, timeout=180, **more
    )


@pytest.mark.proof
def test_a_full_disk_is_one_line_and_the_table_still_comes(pytester, own_suite):
    def little():  # as a disk: a file can grow so far
        resource.setrlimit(resource.RLIMIT_FSIZE, (4500, 4500))

    done = pytest_in(pytester.path, "--gb-engine=inline", preexec_fn=little)
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert [line for line in lines if line.startswith("own-d5  adam        2/2")]
    (said,) = [line for line in lines if "cannot write" in line]
    assert "File too large; " in said
    assert "records are not on the disk" in said
    assert "Traceback" not in done.stdout + done.stderr
    text = Path(pytester.path, "out", "latest", "records.jsonl").read_text()
    assert all(parse(line) for line in text.splitlines())  # none is cut
    assert not text or text.endswith("\n")


@pytest.mark.proof
def test_the_example_of_an_engine_runs_as_it_stands(pytester, own_suite, stored, monkeypatch):
    example = (DOCS / "engines.md").read_text().split("```python\n")[1].split("```")[0]
    assert len([line for line in example.splitlines() if line.strip()]) < 30
    Path(pytester.path, "ssh_engine.py").write_text(example)
    ssh = Path(pytester.path, "bin", "ssh")  # a shell on this machine, whatever the host
    ssh.parent.mkdir()
    ssh.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{Path(sys.executable).parent}", prepend=":")
    engine = f"./ssh_engine.py:Ssh:hosts=('a','b'),python={sys.executable!r}"
    done = pytest_in(pytester.path, f"--gb-engine={engine}")
    assert done.returncode == 0, done.stdout + done.stderr
    records = stored(Path(pytester.path, "out"))
    assert [record["outcome"] for record in records] == 3 * ["passed"]


@cache
def real():
    """A record of a real run, of two trials, as plain data; of long lists the ends."""
    case = Case(
        id="a-d5",
        scenario="gradbench.scenarios.parity:Parity",
        setting={"d": 5, "weight": 2},
        budget=60,
        batch=16,
        expectation=Expectation.MAY,
    )
    item = Item(case=case, optimizer="adam", seeds=2, tuning=2, key="k", probes="default")
    record = json.loads(line_of(run_item(item)[0]))
    for trial in record["trials"]:
        trial["curve"] = trial["curve"][:1] + trial["curve"][-1:]
    for name in ("tuning", "informativeness"):
        record[name] = record[name][:1]
    return record


HOSTILE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.integers(-3, 3)
    | st.floats(allow_nan=True)
    | st.text()
    | st.sampled_from(
        ["<script>alert(1)</script>", "\x1b[2J", "../../x", "\u2028", "\ud800", "solved"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def places(data, before=()):
    """Yield the way to every entry of nested data."""
    for name, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*before, name)
        if isinstance(value, dict | list):
            yield from places(value, (*before, name))


@st.composite
def damaged(draw):
    """A record in which some entries are something else, or are gone."""
    record = json.loads(json.dumps(real()))
    for place in draw(st.lists(st.sampled_from(list(places(real()))), min_size=1, max_size=3)):
        entry = record
        try:
            for name in place[:-1]:
                entry = entry[name]
            if draw(st.integers(0, 4)) == 0:
                del entry[place[-1]]
            else:
                entry[place[-1]] = draw(HOSTILE)
        except (KeyError, IndexError, TypeError):  # an earlier change took it away
            continue
    return record


FILES = given(st.lists(damaged(), min_size=1, max_size=3), st.booleans())
HOW = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}


@pytest.mark.filterwarnings("default")  # of numbers that no run has
@settings(max_examples=5, **HOW)
@FILES
def test_a_hostile_file_is_read_or_refused(tmp_path, capsys, records, cut):
    read_or_refused(tmp_path, capsys, records, cut)


@pytest.mark.proof
@pytest.mark.filterwarnings("default")
@settings(max_examples=150, **HOW)
@FILES
def test_a_hundred_hostile_files_are_read_or_refused(tmp_path, capsys, records, cut):
    read_or_refused(tmp_path, capsys, records, cut)


def read_or_refused(tmp_path, capsys, records, cut):
    run = tmp_path / "run"
    run.mkdir(exist_ok=True)
    about = {"protocol": 2, "preset": "quick", "tuning": 5, "seeds": 1, "optimizers": ["adam"]}
    (run / "run.json").write_text(json.dumps(about))
    text = "\n".join(json.dumps(record) for record in [real(), *records])
    (run / "records.jsonl").write_text(text[:-7] if cut else text)
    commands = (
        ["report", str(run)],
        ["compare", f"{run}:adam", f"{run}:adam"],
        ["history", str(tmp_path)],
        ["figures", f"{run}:adam", "--output", str(run / "figures")],
    )
    for words in commands:
        code = main(words)
        said = capsys.readouterr()
        assert code in {0, 4}
        for line in said.err.splitlines():
            assert line.startswith("gradbench")
    page = (run / "report.html").read_text()
    assert "<script>alert(1)" not in page
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


GONE = object()
FEW = [GONE]
OTHERS = [3, -1, 1e300, 0.5, True, None, "x", "\ud800", "\u2028<b>", [], [1], {}, {"a": 1}, GONE]


@pytest.mark.filterwarnings("default")  # of numbers that no run has
@pytest.mark.parametrize(
    "value",
    [pytest.param(v, marks=() if v in FEW else pytest.mark.proof) for v in OTHERS],
    ids=lambda value: "gone" if value is GONE else None,
)
def test_an_entry_of_another_kind_is_read_or_refused(tmp_path, capsys, value):
    """Each entry of a real record in its turn, through every command that reads records."""
    lines = []
    for number, place in enumerate(places(real())):
        record = json.loads(json.dumps(real())) | {"case": f"a{number}"}
        entry = record
        for name in place[:-1]:
            entry = entry[name]
        if value is GONE:
            del entry[place[-1]]
        else:
            entry[place[-1]] = value
        lines.append(json.dumps(record))
    about = {"protocol": 4, "preset": "quick", "tuning": 5, "seeds": 2, "optimizers": ["adam"]}
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        about["started"] = f"2026-11-27T00:00:0{len(folder.name)}"
        (folder / "run.json").write_text(json.dumps(about))
        (folder / "records.jsonl").write_text("\n".join(lines))
    for words in (
        ["report", str(one)],
        ["report", str(one), str(two), "--output", str(tmp_path / "both")],
        ["compare", f"{one}:adam", f"{two}:adam"],
        ["compare", f"{one}:adam", f"{two}:adam", "--format=markdown"],
        ["history", str(tmp_path), "--page", str(tmp_path / "history.html")],
        ["figures", f"{one}:adam", "--output", str(tmp_path / "figures"), "--format=svg"],
    ):
        assert main(words) in {0, 1, 4}, words
        said = capsys.readouterr()
        assert all(line.startswith("gradbench") for line in said.err.splitlines())
        (said.out + said.err).encode()


@pytest.mark.proof
@given(damaged())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_at_a_glance_a_record_is_what_parsing_makes_of_it_or_takes_a_closer_look(record):
    line = json.dumps(record)
    seen = glance(line)
    try:
        parse(line)
    except ValueError:
        return
    if seen is not None:
        with pytest.MonkeyPatch.context() as without:
            without.setattr("gradbench.results.summaries._glance", lambda: lambda _: None)
            assert json.loads(line_of(seen)) == json.loads(line_of(in_brief(line)))


@pytest.mark.parametrize(
    "line",
    ["[" * 100_000, "{" + '"a":{' * 50_000, "9" * 100_000, '"' + "x" * 10**6 + '"', "\x00", "NaN"],
    ids=["deep list", "deep object", "long number", "long text", "zero", "nan"],
)
def test_a_line_that_is_no_record_is_named_and_passed_over(tmp_path, capsys, line):
    (tmp_path / "run.json").write_text(json.dumps({"protocol": 2, "preset": "quick"}))
    (tmp_path / "records.jsonl").write_text(f"{json.dumps(real())}\n{line}\n")
    assert main(["report", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert "records.jsonl, line 2: skipped, not a record" in said
    assert len(said.splitlines()) == 1
    assert len(said) < 1000
    assert glance(line) is None
