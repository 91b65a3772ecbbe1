"""Section 5: flat activations."""

import itertools

import torch
from common import Found, Row, curves, last, spread, trained, verdict

from gradbench.checks.case import minimiser, parts
from gradbench.scenarios.components.staircase import LEVELS
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.steps import Steps


def direct() -> Found:
    """Take the plain gradient through u."""
    scenario = Steps(approach="direct")
    network, target = scenario.network(Draws(0)), scenario.draw_target(Draws(1))
    x, y = scenario.sample(target, 10_000, Draws(2))
    found = torch.autograd.grad(scenario.loss(network(x), y).sum(), list(network.parameters()))
    largest = max(g.abs().max().item() for g in found)
    return Found(verdict(largest == 0), f"largest entry {largest:g} on 10,000 examples")


def non_flat() -> Found:
    """5.2 from four starts, and the minimiser of its loss."""
    found = {
        start: trained(Steps(approach="non-flat", start=start), 10_000, 256, seeds=5)
        for start in (0.0, 0.5, 1.5, "script")
    }
    scenario, tops = Steps(approach="non-flat"), []
    for seed in range(5):
        target = scenario.draw_target(Draws(seed))
        best = minimiser(scenario, target, Draws(100 + seed))
        assert best is not None
        tops.append(scenario.evaluate(best, scenario.held_out(target, Draws(200 + seed)))[0])
    return Found(
        verdict(min(last(found[0.0])) > 0.5, max(last(found[1.5])) < 0.5),
        "score by the bias's distance at the start: "
        + ", ".join(f"{start} {spread(last(v))}" for start, v in found.items())
        + f"; the minimiser of its own loss scores {spread(tops)}",
        "the sigmoids are centred a twentieth of a step below the levels",
        curves({f"start {start}": results for start, results in found.items()}),
    )


def networks_for_steps() -> Found:
    """5.3 and 5.4 after 10,000 iterations: where the wrong answers lie."""
    shown, holds, found = [], [], {}
    for approach in ("end-to-end", "multi-class"):
        kept: list[torch.nn.Module] = []

        class Kept(Steps):
            def network(self, draws: Draws) -> torch.nn.Module:
                kept.append(super().network(draws))  # noqa: B023
                return kept[-1]  # noqa: B023

        scenario = Kept(approach=approach)
        results = found[approach] = trained(scenario, 10_000, 256)
        wrong, near = [], []
        for result, network in zip(results, kept, strict=True):
            target, (inputs, labels) = parts(scenario, "paper", result.seed)
            with torch.no_grad():
                errs = scenario.score(network(inputs), labels) == 0
            away = ((inputs @ target["weights"])[:, None] - torch.tensor(LEVELS)).abs().amin(dim=1)
            wrong.append(errs.float().mean().item())
            near.append((away[errs].median() / away.median()).item())
        holds += [min(wrong) > 0, max(near) < 0.5]
        shown.append(
            f"{approach} {spread([100 * w for w in wrong])} % wrong, at {spread(near)} of the "
            "median example's distance from a level"
        )
    return Found(verdict(*holds), "; ".join(shown), figure=curves(found))


def forward_only() -> Found:
    """5.5 after 5,000 iterations, from b* and from the paper's start with b* random."""
    near = trained(Steps(), 5_000, 256)
    script = trained(Steps(start="script"), 5_000, 256, seeds=10)
    ends = last(near), last(script)
    return Found(
        verdict(*(min(scores) > 0.9 for scores in ends)),
        f"score: from b* {spread(ends[0])}, b = 0 and b* normal {spread(ends[1])} (10 seeds)",
        figure=curves({"from b*": near, "b = 0 and b* normal": script}),
    )


def appendix_a7() -> Found:
    """Count steps of the forward-only rule to a mean squared error, for L-Lipschitz ramps."""
    x = torch.randn(20_000, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x /= x.norm(dim=1, keepdim=True)
    v = torch.nn.functional.one_hot(torch.tensor(0), 10).double()
    cells, scaled = [], []
    for slope, error in itertools.product((1.0, 2.0, 4.0), (0.1, 0.05, 0.025)):
        w, steps = torch.zeros(10, dtype=torch.float64), 0
        y = (slope * (x @ v)).clamp(-1, 1)
        while (gap := (slope * (x @ w)).clamp(-1, 1) - y).square().mean() >= error**2:
            w -= (gap[:, None] * x).mean(dim=0) / slope
            steps += 1
        scaled.append(steps * error**2 / slope**2)
        cells.append(f"L = {slope:g}, eps = {error:g}: {steps}")
    return Found(
        verdict(max(scaled) < 1),
        "; ".join(cells) + f"; steps eps^2 / L^2 at most {max(scaled):.2g}",
        "an upper bound: in 1/eps the steps grow far more slowly, in L about as its square",
    )


ROWS = (
    Row("direct", "5.1", "the gradient through u is zero almost everywhere", direct),
    Row("non-flat", "5.2", "the non-flat approximation is sensitive to the bias's start", non_flat),
    Row(
        "end-to-end",
        "5.3, 5.4",
        "networks blur the steps: what is wrong lies at their edges",
        networks_for_steps,
    ),
    Row("forward-only", "5.5", "the forward-only update learns it", forward_only),
    Row("appendix-a7", "A.7", "error eps in O(L^2 / eps^2) steps", appendix_a7),
)
