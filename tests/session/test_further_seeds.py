"""Which further seeds are trained, by the items that are asked for."""

from gradbench.protocol.case import Case
from gradbench.protocol.item import Item
from gradbench.results.record import Expectation
from gradbench.session.further_seeds import FurtherSeeds


def asked(new, old):
    """Return the seeds that are asked for, by case: the first, and how many."""
    found = {}

    def run(items):
        found.update({i.case.id: (i.first_seed, i.seeds) for i in items.values()})
        return {}

    items = [
        Item(
            case=Case(
                id=record.case,
                scenario="gradbench.scenarios.parity:Parity",
                setting={"d": 4, "weight": 2},
                budget=40,
                expectation=Expectation.MAY,
            ),
            optimizer="adam",
        )
        for record in new
    ]
    further = FurtherSeeds()
    further.start(items, run)
    assert further.train(new, old) is bool(found)
    return found


def test_half_as_many_more_up_to_the_baselines_number(record):
    old = [record("a", times=[10] * 9, optimizer="adam")]
    for have, more in ((2, (2, 1)), (3, (3, 2)), (8, (8, 1)), (9, None)):
        new = [record("a", times=[20] * have, optimizer="adam")]
        assert asked(new, old).get("a") == more


def test_a_case_that_neither_side_solves_is_given_none(record):
    unsolved, solved = [None] * 3, [20, None, None]
    for ours, theirs, more in (
        (unsolved, unsolved * 3, False),
        (solved, unsolved * 3, True),
        (unsolved, solved * 3, True),
    ):
        new = [record("a", times=ours, optimizer="adam")]
        assert bool(asked(new, [record("a", times=theirs, optimizer="adam")])) is more
