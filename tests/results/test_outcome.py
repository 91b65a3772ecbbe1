import pytest

from gradbench.results.outcome import outcome
from gradbench.results.record import Expectation, Outcome, Status
from gradbench.session.verdict import fails

S, U, D, C, N = Status.SOLVED, Status.UNSOLVED, Status.DIVERGED, Status.CRASHED, Status.UNSUPPORTED


@pytest.mark.parametrize(
    ("expectation", "statuses", "expected"),
    [
        ("must", [S] * 5, "passed"),
        ("must", [S] * 4 + [U], "failed"),
        ("must", [S] * 4 + [D], "failed"),
        ("may", [S] * 3 + [U] * 2, "passed"),
        ("may", [S] * 2 + [U] * 2, "passed"),
        ("may", [S] * 2 + [U] * 3, "xfailed"),
        ("never", [U] * 5, "xfailed"),
        ("never", [D] * 5, "xfailed"),
        ("never", [U] * 4 + [S], "news"),
        ("must", [S] * 4 + [C], "failed"),
        ("may", [S] * 4 + [C], "failed"),
        ("never", [S] * 4 + [C], "failed"),
        ("must", [N] * 5, "skipped"),
    ],
)
def test_the_table_of_outcomes(expectation, statuses, expected):
    assert outcome(expectation, statuses) == expected


def test_no_trials_have_no_outcome():
    with pytest.raises(ValueError, match="no outcome"):
        outcome("must", [])


@pytest.mark.parametrize(
    ("gate", "failing"),
    [("record", set()), ("expect", {"failed"}), ("strict", {"failed", "news"})],
)
def test_what_each_gate_lets_through(gate, failing):
    assert {str(o) for o in Outcome if fails(o, gate)} == failing


def test_every_word_is_a_sentence_to_its_reader():
    for kind in (Status, Expectation, Outcome):
        assert all(len(member.sentence.split()) > 3 for member in kind)
