"""Paths that are computed once are those that would be computed again."""

from dataclasses import replace

import torch

from gradbench.checks.conform.problems import problems
from gradbench.checks.conform.runs import Run, Way, path, plain_paths_once
from gradbench.optimizers.factory import resolve

STEPS = 12


def _runs(monkeypatch):
    """Return a list that grows by one for each path that is computed."""
    computed = []
    build = Run.built

    def counted(run):
        computed.append(run)
        return build(run)

    monkeypatch.setattr(Run, "built", counted)
    return computed


def test_a_plain_path_is_computed_once_within_and_each_time_without(monkeypatch):
    computed, factory, problem = _runs(monkeypatch), resolve("adam"), problems()[0]
    with plain_paths_once():
        first, again = (path(factory, problem, Way(), STEPS) for _ in "ab")
    assert len(computed) == 1
    assert again is first
    after = path(factory, problem, Way(), STEPS)
    assert len(computed) == 2
    assert all(torch.equal(a[k], b[k]) for a, b in zip(first, after, strict=True) for k in a)


def test_what_may_change_a_path_is_computed_each_time(monkeypatch):
    computed, factory, problem = _runs(monkeypatch), resolve("adam"), problems()[2]
    turned = replace(problem, make=lambda dtype: dict(reversed(problem.make(dtype).items())))
    noted = Way(started=lambda _: None)
    rate = {"lr": torch.tensor(1e-3, dtype=torch.float64)}
    asked = (
        (problem, Way({"weight_decay": 1.0}), STEPS),
        (problem, Way({"weight_decay": 1}), STEPS),  # another type may take another branch
        (problem, Way(), STEPS),
        (problem, Way(), STEPS + 1),
        (turned, Way(), STEPS),
        (problem, Way(dtype=torch.float32), STEPS),
        *[(problem, noted, STEPS), (problem, Way(rate), STEPS)] * 2,
    )
    with plain_paths_once():
        for each in asked:
            path(factory, *each)
        assert len(computed) == len(asked)
        path(resolve("sgd"), problem, Way(), STEPS)
        assert len(computed) == len(asked) + 1
        for each in asked[:5]:
            path(factory, *each)
        assert len(computed) == len(asked) + 1
