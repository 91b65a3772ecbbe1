"""`gradbench check`: what works holds every check, and each check fails on what breaks it."""

import pytest

from gradbench.checks import optimizer
from gradbench.checks.errors import NotCheckedError
from gradbench.checks.optimizer import CHECKS, parametrize_with_checks, run_checks
from gradbench.cli import main
from gradbench.training.loop import Training

BROKEN = """
import torch

class Still(torch.optim.SGD):
    def step(self, closure=None):
        return None

class Climbs(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data.add_(p.grad, alpha=0.1)

class Refuses(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
        if sum(p.numel() for g in self.param_groups for p in g["params"]) > 100:
            raise ValueError("too large for me")

class Restless(torch.optim.SGD):
    calls = 0
    def step(self, closure=None):
        Restless.calls += 1
        for group in self.param_groups:
            for p in group["params"]:
                p.grad.add_(1e-4 * Restless.calls)
        return super().step()

class Forgets(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
        self.count = 0
    def step(self, closure=None):
        self.count += 1
        for group in self.param_groups:
            for p in group["params"]:
                p.data.add_(p.grad, alpha=-0.1 / self.count)

class Leaves(torch.optim.SGD):
    def step(self, closure=None):
        torch.set_num_threads(3)
        return super().step()

class Raises(torch.optim.SGD):
    def step(self, closure=None):
        raise RuntimeError("no way")
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("lab") / "broken.py"
    path.write_text(BROKEN)
    return path


def failed(spec):
    return {name: said for name, holds, said in run_checks(spec) if holds is False}


def one(name, spec):
    """Return what one check says of a spec: whether it holds, and its finding."""
    (check,) = (each for each in CHECKS if each.__name__.replace("_", " ") == name)
    try:
        return True, check(spec)
    except NotCheckedError as error:
        return None, str(error)
    except Exception as error:  # noqa: BLE001  # as `run_checks` does
        return False, str(error)


@pytest.mark.parametrize(
    "spec",
    [
        "adam",
        pytest.param("sgd:momentum=0.9", marks=pytest.mark.proof),
        pytest.param("lbfgs", marks=pytest.mark.proof),
        pytest.param("es:lr=0.1", marks=pytest.mark.proof),
        pytest.param("adamp", marks=pytest.mark.proof),
        pytest.param("sgd+linear", marks=pytest.mark.proof),
        pytest.param("sgd+OneCycleLR:max_lr=0.1,total_steps=900", marks=pytest.mark.proof),
    ],
)
def test_what_works_holds_every_check(spec):
    assert failed(spec) == {}


@pytest.mark.parametrize(
    ("name", "check", "says"),
    [
        ("Still", "moves parameters", "where they were"),
        ("Climbs:lr=0.1", "lowers a loss", "was never lower"),
        ("Refuses", "supports a network", "too large for me"),
        ("Restless", "repeats", "two runs of one trial differ"),
        ("Forgets", "resumes", "state_dict is not whole"),
        ("Leaves", "leaves nothing behind", "left behind: threads"),
        ("Raises", "supports a network", "no way"),
    ],
)
def test_each_check_fails_on_what_breaks_it(file, name, check, says):
    holds, said = one(check, f"{file}:{name}")
    assert holds is False
    assert says in said


def test_options_without_effect_and_methods_that_nobody_calls_are_named(tmp_path):
    (tmp_path / "odd.py").write_text(
        """if True:
        import torch

        class Odd(torch.optim.SGD):
            def __init__(self, params, lr=0.1, momentum=0.0, dampening=0.0, caution=0.5, flag=True):
                super().__init__(params, lr=lr, momentum=momentum, dampening=dampening)

            def update_hessian(self):
                pass

            def helper(self):
                pass

            def step(self, closure=None):
                self.helper()
                return super().step(closure)
        """
    )
    holds, said = one("options matter", f"{tmp_path}/odd.py:Odd")
    assert holds is None
    assert said.startswith("without effect in 60 steps: caution, flag;")
    assert "dampening only with momentum=0.3" in said
    holds, said = one("has nothing left to call", f"{tmp_path}/odd.py:Odd")
    assert holds is None
    assert "never called: update_hessian();" in said


def test_a_stack_that_changes_an_outcome_is_found(tmp_path):
    (tmp_path / "liar.py").write_text(
        """if True:
        import torch

        class Liar(torch.optim.SGD):
            gradbench_needs = {"elementwise": True}
            def step(self, closure=None):
                for group in self.param_groups:
                    for p in group["params"]:
                        p.data.sub_(p.grad / (1 + p.grad.norm()), alpha=group["lr"])
        """
    )
    holds, said = one("trains alike beside others", f"{tmp_path}/liar.py:Liar:lr=0.1")
    assert (holds, "in a stack at" in said) == (False, True)


def test_passes_that_are_not_counted_are_found(monkeypatch):
    prepare = Training._prepare

    def twice(self, *, recorded):
        step = prepare(self, recorded=recorded)

        def hidden(inputs, labels):
            self.network(inputs)
            step(inputs, labels)

        return hidden

    monkeypatch.setattr(Training, "_prepare", twice)
    assert one("counts evaluations", "adam") == (
        False,
        "10 passes through the network, 5 counted",
    )


def test_the_command_prints_a_line_per_check_and_its_exit_code(file, capsys, monkeypatch):
    monkeypatch.setattr(optimizer, "CHECKS", CHECKS[:6])
    assert main(["check", "adam"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "adam"
    assert len(lines) == 1 + 6
    assert main(["check", "adam", f"{file}:Raises"]) == 1
    said = capsys.readouterr().out
    assert "FAIL" in said
    assert "supports a network, without gradbench:\n    import sys; sys.path.insert(0, " in said
    assert main(["check", "adamm"]) == 4
    assert "did you mean" in capsys.readouterr().err


@parametrize_with_checks(["sgd:lr=0.1"])
def test_the_same_checks_in_a_suite_of_ones_own(spec, check):
    check(spec)
