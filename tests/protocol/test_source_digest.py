"""What decides an optimizer's numbers besides its settings: its source, and what that imports."""

import sys
import sysconfig

import pytest

from gradbench.protocol import source_digest
from gradbench.protocol.case import Case
from gradbench.protocol.item import Item
from gradbench.protocol.resume import forget, key
from gradbench.results.record import Expectation


@pytest.fixture(autouse=True)
def nothing_kept():
    forget()


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A package of an optimizer that imports its helpers in all ways."""
    package = tmp_path / "lab_of_mine"
    (package / "deep").mkdir(parents=True)
    for path, text in {
        "lab_of_mine/__init__.py": "",
        "lab_of_mine/opt.py": "import math\nfrom . import near\nfrom .deep.far import scale\n",
        "lab_of_mine/near.py": "def late():\n    import beside_of_mine.part as part\n",
        "lab_of_mine/deep/__init__.py": "import numpy\n",
        "lab_of_mine/deep/far.py": "scale = 1\n",
        "lab_of_mine/unused.py": "1\n",
        "beside_of_mine/__init__.py": "",
        "beside_of_mine/part.py": "from lab_of_mine.opt import scale\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def digest(*names):
    forget()
    return source_digest.digest(names)


@pytest.mark.parametrize(
    "path",
    ["opt.py", "near.py", "deep/far.py", "deep/__init__.py", "../beside_of_mine/part.py"],
)
def test_a_change_in_what_is_imported_shows(lab, path):
    before = digest("lab_of_mine.opt")
    file = lab / "lab_of_mine" / path
    file.write_text(file.read_text() + "# changed\n")
    assert digest("lab_of_mine.opt") != before


def test_a_change_elsewhere_does_not(lab):
    before = digest("lab_of_mine.opt")
    (lab / "lab_of_mine" / "unused.py").write_text("2\n")
    assert digest("lab_of_mine.opt") == before


def test_nothing_is_imported_to_be_looked_at(lab):
    digest("lab_of_mine.opt")
    assert not {"lab_of_mine", "lab_of_mine.opt", "beside_of_mine"} & set(sys.modules)


def test_what_is_installed_stands_for_itself():
    assert digest("numpy.linalg") == digest("numpy.linalg")
    assert digest("numpy.linalg") != digest("scipy.linalg")
    assert digest("torch.optim.adam") != digest("torch.optim.sgd")


def test_a_file_that_is_no_python_is_none_of_ours(lab):
    (lab / "lab_of_mine" / "near.py").write_text("def (")
    digest("lab_of_mine.opt")


MACHINE = {"versions": {"torch": "2"}, "cpu": "one"}


def item(**changes):
    case = Case(
        id="a",
        scenario="gradbench.scenarios.parity:Parity",
        setting={"d": 4, "weight": 2},
        budget=40,
        batch=16,
        expectation=Expectation.MAY,
    )
    return Item(case=case, optimizer="adam", **changes)


def test_a_key_tells_apart_what_decides_the_numbers():
    keys = [
        key(item(), MACHINE),
        key(item(seeds=3), MACHINE),
        key(item(tuning=0), MACHINE),
        key(item(dtype="float64"), MACHINE),
        key(item(), MACHINE | {"cpu": "another"}),
    ]
    assert len(set(keys)) == len(keys)
    assert key(item(), MACHINE) == keys[0]
    assert key(item(key="x"), MACHINE) == keys[0]


def test_a_compiled_extension_and_a_file_named_in_a_string_count(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    extension, weights = tmp_path / f"kern_of_mine{suffix}", tmp_path / "weights.bin"
    (tmp_path / "uses_kern.py").write_text(
        "from pathlib import Path\nWEIGHTS = Path(__file__).parent / 'weights.bin'\n"
        "def late():\n    import kern_of_mine\n"
    )
    seen = set()
    for changed, content in ((extension, b"one"), (weights, b"one"), (extension, b"two")):
        changed.write_bytes(content)
        forget()
        seen.add(source_digest.digest(["uses_kern"]))
    weights.write_bytes(b"two")
    seen.add(source_digest.digest(["uses_kern"]))
    assert len(seen) == 4


@pytest.mark.parametrize(
    "named", ["w.bin", "./w.bin", "../w.bin", "in/../w.bin", "{}/w.bin", "ŵ.bin"]
)
def test_a_file_counts_however_a_string_names_it(tmp_path, monkeypatch, named):
    folder = tmp_path / "deep"
    (folder / "in").mkdir(parents=True)
    monkeypatch.syspath_prepend(folder)
    (folder / "names_one.py").write_text(f"OF = {named.format(folder)!r}\n")
    file = folder / named.format(folder)
    before = digest("names_one")
    file.write_bytes(b"one")
    first = digest("names_one")
    file.write_bytes(b"two")
    assert len({before, first, digest("names_one")}) == 3
