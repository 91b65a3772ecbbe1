"""The laws beyond the paper, measured over ten seeds: `pytest suites/test_laws.py -m claim`.

An exponent is within 0.1 of the proven one, a threshold within 2 %. What does not hold at these
sizes is a strict xfail with its measured values.
"""

import math
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gradbench.results.record import TrialResult
    from gradbench.scenarios.base import Scenario

pytestmark = [pytest.mark.claim, pytest.mark.beyond]

SEEDS = range(10)
SIGNS = "adam:betas=(0.0,0.0),eps=1e-20"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread of a CPU, as cases do."""
    from gradbench.torch_state import one_thread

    with one_thread():
        yield


def trained(  # noqa: PLR0913, PLR0917  # what a trial takes
    scenario: "Scenario",
    optimizer: str,
    lr: float | list[float],
    budget: int,
    target: float = 0.9,
    batch: int = 1,
) -> "list[TrialResult]":
    """Return one result per seed, at one rate or a rate for each."""
    from gradbench.training.runner import run
    from gradbench.training.trial import Trial

    return run(
        [
            Trial(
                scenario=scenario,
                optimizer=optimizer,
                hyperparameters={"lr": rate},
                seed=seed,
                budget=budget,
                batch=batch,
                target_score=target,
            )
            for seed, rate in zip(
                SEEDS, lr if isinstance(lr, list) else [lr] * len(SEEDS), strict=True
            )
        ]
    )


def fitted(results: "dict[float, list[TrialResult]]") -> float:
    """Return the power with which the evaluations to the target grow along an axis."""
    from gradbench.analysis.exponents import exponent

    times = {at: [r.evaluations_to_target for r in found] for at, found in results.items()}
    assert all(median(t or math.inf for t in found) < math.inf for found in times.values())
    found = exponent(times)
    assert found is not None
    return found.value


def test_zipf_gradient_descents_exponent_is_that_of_the_closed_form() -> None:
    """Measured over 100, 1,000 and 10,000 words: 0.84, the closed form 0.840; signs 0.00."""
    from gradbench.scenarios.zipf import Zipf, descent_steps

    sizes = (100, 1000, 10_000)
    first = {d: sum(1 / k for k in range(1, d + 1)) for d in sizes}
    descent = {float(d): trained(Zipf(d=d), "sgd", 1.9 * first[d], 1200) for d in sizes}
    law = math.log10(descent_steps(10_000, rate=1.9) / descent_steps(100, rate=1.9)) / 2
    assert fitted(descent) == pytest.approx(law, abs=0.1)
    signs = {float(d): trained(Zipf(d=d), SIGNS, 0.1, 60) for d in sizes}
    assert fitted(signs) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("approach", ["blocks", "rotated"])
def test_curvature_gradient_descents_evaluations_grow_with_the_condition(approach: str) -> None:
    """The exponent over conditions of 50, 200 and 500, at the best rate for each seed's matrix."""
    import torch

    from gradbench.scenarios.blocks import Blocks, descent_steps
    from gradbench.training.random_streams import draws
    from gradbench.training.trial import Trial

    def best_rate(scenario: Blocks, seed: int) -> float:
        trial = Trial(scenario=scenario, optimizer="sgd", seed=seed)
        target = scenario.draw_target(draws(trial, "target"))
        values = torch.linalg.eigvalsh(target["curvature"].double())
        return 2 / float(values[0] + values[-1])

    found = {}
    for condition in (50.0, 200.0, 500.0):
        scenario = Blocks(approach, condition=condition)
        rates = [best_rate(scenario, seed) for seed in SEEDS]
        found[condition] = trained(scenario, "sgd", rates, 8000, target=1.0)
    first, last = (descent_steps(Blocks(condition=c).curvatures) for c in (50, 500))
    assert fitted(found) == pytest.approx(math.log10(last / first), abs=0.1)


@pytest.mark.parametrize("delay", [1, 4])
def test_delay_the_largest_stable_rate_is_the_laws_within_two_percent(delay: int) -> None:
    """Every seed's loss falls at 0.98 of the limit, and grows at 1.02."""
    from gradbench.scenarios.delay import CURVATURES, Delay, largest_rate

    limit = largest_rate(delay, max(CURVATURES))
    for share, grows in ((0.98, False), (1.02, True)):
        for result in trained(Delay(delay=delay), "sgd", share * limit, 1500, target=2.0):
            losses = [loss for spent, _, loss in result.curve if spent >= 100]
            assert (losses[-1] > losses[0]) is grows


@pytest.mark.parametrize("rate", [0.03, 0.1])
def test_rotation_the_distance_grows_as_the_law_says(rate: float) -> None:
    """The growth's logarithm over 100 steps, within 2 % on every seed."""
    from gradbench.scenarios.rotation import Rotation, growth

    for result in trained(Rotation(), "sgd", rate, 130):
        distances = {spent: 1 - score for spent, score, _ in result.curve}
        grown = math.log(distances[118] / distances[0]) / 118
        assert grown == pytest.approx(math.log(growth(rate)), rel=0.02)


@pytest.mark.parametrize(("period", "budget"), [(11, 5000), (31, 20_000)])
def test_counterexample_adam_turns_within_two_percent_of_the_threshold(
    period: int, budget: int
) -> None:
    """Of 1 - beta2, with beta1 = 0: every seed goes astray beyond it and to the optimum before.

    Near the threshold the drift is slow: at a period of 101, 2 % need some 100,000 steps.
    """
    from gradbench.scenarios.counterexample import Counterexample, beta2_threshold

    scenario = Counterexample(period=period)
    short = 1 - beta2_threshold(scenario, beta1=0.0)
    for share, sign in ((1.02, -1), (0.98, 1)):
        spec = f"adam:betas=(0.0,{1 - share * short})"
        for result in trained(scenario, spec, 1.0, budget, target=2.0):
            assert (result.final_score or 0.0) * sign > 0


def test_precision_no_stable_rate_moves_a_near_weight_in_bfloat16() -> None:
    """In bfloat16 at most 0.59 of the way is gone on any seed, in float32 at least 0.99."""
    from gradbench.scenarios.precision import Precision

    for rate in (0.005, 0.01, 0.019):
        kept = trained(Precision(kept="bfloat16"), "sgd", rate, 500, target=2.0)
        assert max(result.final_score or 0.0 for result in kept) < 0.9
    whole = trained(Precision(kept="float32"), "sgd", 0.015, 500, target=2.0)
    assert min(result.final_score or 0.0 for result in whole) > 0.99


def test_heavytails_without_a_mean_gradient_descent_fails_and_signs_do_not() -> None:
    """With one degree of freedom: no seed at any of three rates; signs on all."""
    from gradbench.scenarios.heavy_tails import HeavyTails

    for rate in (0.01, 0.1, 0.5):
        assert not any(r.status == "solved" for r in trained(HeavyTails(nu=1), "sgd", rate, 1000))
    assert all(r.status == "solved" for r in trained(HeavyTails(nu=1), SIGNS, 0.1, 500))


def leap_exponent(approach: str) -> float:
    """Return the power of the number of bits with which gradient descent's steps grow."""
    from gradbench.scenarios.leap import Leap

    scenarios = {float(d): Leap(approach=approach, d=d) for d in (15, 30, 60)}
    return fitted({d: trained(s, "sgd", 0.1, 12_000, batch=64) for d, s in scenarios.items()})


@pytest.mark.xfail(
    strict=True, reason="measured 0.32 and 1.29: 15 to 60 bits are not yet where the law holds"
)
def test_leap_gradient_descents_exponents_are_the_proven_ones() -> None:
    """Proven for the limit of many bits: 1 for the staircase, 2 for the leap."""
    powers = leap_exponent("staircase"), leap_exponent("leap")
    assert powers == pytest.approx((1, 2), abs=0.1)


def test_leap_the_separation_has_the_proven_exponent() -> None:
    """The leap takes d times as long as the staircase: measured 0.97."""
    assert leap_exponent("leap") - leap_exponent("staircase") == pytest.approx(1, abs=0.1)
