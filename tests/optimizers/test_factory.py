import subprocess
import sys

import pytest
import torch

from gradbench.optimizers.factory import UnsupportedError, names, resolve
from gradbench.optimizers.names import is_optimizer
from gradbench.spec import SpecError


def small():
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))


@pytest.mark.parametrize(
    ("text", "cls", "rate", "tunable"),
    [
        ("adam", torch.optim.Adam, 1e-3, True),
        ("ADAMW", torch.optim.AdamW, 1e-3, True),
        ("torch.optim:AdamW", torch.optim.AdamW, 1e-3, True),
        ("sgd:lr=0.1,momentum=0.9", torch.optim.SGD, 0.1, False),
        ("sgd:momentum=0.9", torch.optim.SGD, 1e-3, True),
        ("lbfgs", torch.optim.LBFGS, 1.0, True),
        ("rprop", torch.optim.Rprop, 1e-2, True),
    ],
)
def test_what_a_spec_resolves_to(text, cls, rate, tunable):
    factory = resolve(text)
    assert factory.cls is cls
    assert (factory.rate, factory.tunable) == (rate, tunable)
    assert factory.requirements.closure == (cls is torch.optim.LBFGS)


def test_arguments_reach_the_optimizer_and_overrides_win():
    built = resolve("sgd:lr=0.1,momentum=0.9").build(small(), {"lr": 0.5})
    assert (built.defaults["lr"], built.defaults["momentum"]) == (0.5, 0.9)


def test_a_file_is_imported_and_sees_its_neighbours(tmp_path):
    (tmp_path / "helper_of_mine.py").write_text("RATE = 0.25\n")
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom helper_of_mine import RATE\n"
        "class Mine(torch.optim.SGD):\n"
        "    def __init__(self, params, lr=RATE):\n        super().__init__(params, lr=lr)\n"
    )
    assert resolve(f"{tmp_path}/mine.py:Mine").rate == 0.25


def test_two_versions_have_each_the_helper_beside_it(tmp_path, monkeypatch):
    """Of the same file and the same names, in two folders: the helper alone differs."""
    monkeypatch.setattr("sys.path", [*sys.path])
    for version, rate in (("old", 0.25), ("new", 0.5), ("newer", 0.125)):
        folder = tmp_path / version
        (folder / "helpers").mkdir(parents=True)
        (folder / "helpers" / "__init__.py").write_text("from helpers.rates import RATE\n")
        (folder / "helpers" / "rates.py").write_text(f"RATE = {rate}\n")
        (folder / "mine.py").write_text(
            "import torch\nfrom helpers import RATE\n"
            "class Mine(torch.optim.SGD):\n"
            "    def __init__(self, params, lr=RATE):\n        super().__init__(params, lr=lr)\n"
        )
    for version, rate in (("old", 0.25), ("new", 0.5), ("old", 0.25), ("newer", 0.125)):
        resolve.cache_clear()
        assert resolve(f"{tmp_path}/{version}/mine.py:Mine").rate == rate
        assert rate == sys.modules["helpers.rates"].RATE or version == "old"


def test_a_files_helper_is_the_one_beside_it_whatever_the_path_has_before(tmp_path):
    """A worker starts with the path of the process that resolved all optimizers."""
    for version, rate in (("a", 0.1), ("b", 0.2)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "helper_beside.py").write_text(f"RATE = {rate}\n")
    (tmp_path / "a" / "mine.py").write_text(
        "import torch\nfrom helper_beside import RATE\n"
        "class Mine(torch.optim.SGD):\n"
        "    def __init__(self, params, lr=RATE):\n        super().__init__(params, lr=lr)\n"
    )
    path = [str(tmp_path / "b"), str(tmp_path / "a")]
    program = (
        f"import sys; sys.path[:0] = {path}; from gradbench.optimizers.factory import resolve; "
        f"print(resolve({str(tmp_path / 'a' / 'mine.py:Mine')!r}).rate)"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, text=True) == "0.1\n"


def test_a_class_of_ones_own_is_not_refused_for_the_name_of_one_of_torchs(tmp_path):
    """torch.optim.SparseAdam needs sparse gradients; what somebody calls so need not."""
    (tmp_path / "mine.py").write_text("import torch\nclass SparseAdam(torch.optim.SGD): pass\n")
    mine = resolve(f"{tmp_path}/mine.py:SparseAdam")
    assert not mine.may_refuse
    assert mine.build(small(), {"lr": 0.1}).param_groups[0]["lr"] == 0.1
    with pytest.raises(UnsupportedError, match="sparse gradients"):
        resolve("torch.optim:SparseAdam").build(small(), {})


def test_a_rate_without_a_default_is_centred_on_a_thousandth(odd):
    factory = resolve(f"{odd}:Demanding")
    assert (factory.rate, factory.tunable) == (1e-3, True)
    assert factory.build(small(), {}).defaults["lr"] == 1e-3


def test_an_optimizer_without_a_rate_is_not_tuned(odd):
    factory = resolve(f"{odd}:Rateless")
    assert (factory.rate, factory.tunable) == (None, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("adm", "did you mean adam"),
        ("nothinglikeit", "unknown optimizer"),
        ("no.such.module:Opt", "cannot import no.such.module"),
        ("./no_such_file.py:Opt", "there is no file ./no_such_file.py"),
        ("torch.optim:Adamm", "torch.optim has no Adamm"),
        ("torch.nn:Linear", "no torch.optim.Optimizer subclass"),
        ("torch.optim:Optimizer", "cannot construct"),
        ("adam:rate=0.1", "has no argument 'rate'; it takes lr, betas"),
        ("adam:lr=-1", "Invalid learning rate"),
    ],
)
def test_a_wrong_name_says_in_one_line_what_would_be_right(text, says):
    with pytest.raises(SpecError) as caught:
        resolve(text)
    assert says in str(caught.value)


def test_a_file_that_fails_to_import_is_a_wrong_spec(tmp_path, odd):
    (tmp_path / "broken.py").write_text("1/0\n")
    with pytest.raises(SpecError, match="ZeroDivisionError"):
        resolve(f"{tmp_path}/broken.py:Opt")
    with pytest.raises(SpecError, match="has no Nul; it has Null"):
        resolve(f"{odd}:Nul")
    with pytest.raises(SpecError, match=r"no torch\.optim\.Optimizer"):
        resolve(f"{odd}:NotAnOptimizer")


def test_a_rate_among_other_keywords_is_found(odd):
    factory = resolve(f"{odd}:PassesOn")
    assert (factory.rate, factory.tunable) == (1e-3, True)
    assert factory.hyperparameters == {"lr": 1e-3}


def test_a_script_that_exits_on_import_is_a_wrong_spec(tmp_path):
    (tmp_path / "script.py").write_text("import argparse\nargparse.ArgumentParser().exit(2)\n")
    with pytest.raises(SpecError, match=r"cannot import .*SystemExit: 2"):
        resolve(f"{tmp_path}/script.py:Opt")


def test_what_makes_no_optimizer_is_a_wrong_spec(odd):
    with pytest.raises(SpecError, match=r"it makes a dict, which is no torch\.optim\.Optimizer"):
        resolve(f"{odd}:MakesADictionary")


def test_an_unknown_need_is_a_wrong_spec(odd):
    with pytest.raises(SpecError, match="gradbench_needs of Declares may hold: closure"):
        resolve(f"{odd}:Declares")


def test_what_refuses_the_networks_parameters_is_unsupported(odd):
    with pytest.raises(UnsupportedError, match="matrices only"):
        resolve(f"{odd}:Vectors").build(small(), {})
    with pytest.raises(UnsupportedError, match="sparse"):
        resolve("sparseadam").build(small(), {})


def test_every_optimizer_of_torch_can_be_named():
    for name, cls in vars(torch.optim).items():
        if isinstance(cls, type) and cls is not torch.optim.Optimizer:
            assert resolve(name).cls is cls
            assert name.lower() in names()


def test_every_class_of_torch_is_known_as_torchs():
    """`Muon` names its package as its module, the others a module within it."""
    found = [name for name, value in vars(torch.optim).items() if is_optimizer(value)]
    assert {"Adam", "Muon"} <= set(found) or not hasattr(torch.optim, "Muon")
    for name in set(found) - {"SparseAdam"}:
        assert resolve(name.lower()).of_torch
    if hasattr(torch.optim, "Muon"):
        assert resolve("muon").may_refuse  # torch documents that it steps on matrices only
