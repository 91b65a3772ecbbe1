"""The step's time against an older version's: its statistics on times that are known."""

import numpy as np
import pytest

from gradbench.protocol.discovery import cases, suites
from gradbench.timing import step_time as steptime
from gradbench.timing.step_time import step_time

QUICK = list(cases([suites()], "quick"))


def clockwork(ratio, seed=0, spread=0.05):
    """Stand in for the clock: the new one takes `ratio` times as long, the machine wanders."""
    stream, drift = np.random.default_rng(seed), iter(range(10**6))

    def seconds(case, spec, seed, settings):
        wander = 1 + 0.5 * np.sin(next(drift) / 40)  # far slower than a pair
        return wander * (ratio if spec == "new" else 1.0) * np.exp(spread * stream.normal())

    return seconds


@pytest.mark.parametrize(
    ("ratio", "slower", "seeds"),
    [
        (1.05, False, 25),
        (1.3, True, 25),
        *(
            pytest.param(ratio, slower, 100, marks=pytest.mark.proof)
            for ratio, slower in ((1.0, False), (1.05, False), (1.3, True))
        ),
    ],
)
def test_what_is_slower_than_the_limit_is_found_whatever_the_machine_does(
    monkeypatch, ratio, slower, seeds
):
    inside = 0
    for seed in range(seeds):
        monkeypatch.setattr(steptime, "_seconds", clockwork(ratio, seed))
        found = step_time(QUICK, "new", "old")
        assert found.slower == slower
        assert found.ratio == pytest.approx(ratio, rel=0.05)
        inside += found.interval[0] < ratio < found.interval[1]
    assert len(found.cases) == len({case.scenario for case in QUICK if case.takes_optimizer})
    assert inside >= 0.88 * seeds


@pytest.mark.proof
def test_no_false_alarm_at_the_limit_itself_but_for_the_level(monkeypatch):
    alarms = 0
    for seed in range(100):
        monkeypatch.setattr(steptime, "_seconds", clockwork(steptime.LIMIT, seed))
        alarms += step_time(QUICK, "new", "old").slower
    assert alarms <= 12


def test_what_runs_nowhere_says_so(monkeypatch):
    monkeypatch.setattr(steptime, "_seconds", lambda *_: None)
    with pytest.raises(ValueError, match="new and old can be timed on none of the cases"):
        step_time(QUICK, "new", "old")


@pytest.mark.proof
def test_a_real_step_is_timed_against_itself():
    case = next(case for case in QUICK if case.id == "parity-d5-weight2")
    found = step_time([case], "adam:lr=0.1", "adam:lr=0.1", preset="quick")
    assert 0.5 < found.cases[case.id] < 2
    slow = step_time([case], "adam:lr=0.1", "sgd", preset="quick")
    assert slow.cases[case.id] > 1
