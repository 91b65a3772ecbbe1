"""Section 2: gradients that carry no information."""

import itertools
from statistics import median

import torch
from common import Figure, Found, Row, curves, spread, times, trained, verdict

from gradbench.probes import parity_profile, variance_over_targets
from gradbench.scenarios.components.elimination import eliminate
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.periodic import Periodic


def figure_1() -> Found:
    """Parities by the script's SGD, 50,000 iterations of 128."""
    easy = {d: trained(Parity(d=d, weight=d // 2), 50_000, 128, target_score=0.9) for d in (5, 10)}
    chance = trained(Parity(d=30, weight=15), 50_000, 128)
    hard = [max((score for _, score, _ in result.curve), key=abs) for result in chance]
    return Found(
        verdict(
            *(all(r.evaluations_to_target is not None for r in found) for found in easy.values()),
            max(map(abs, hard)) < 0.1,
        ),
        f"|v*| = d // 2; evaluations to 95 % accuracy: d = 5 {times(easy[5])}, d = 10 "
        f"{times(easy[10])}; d = 30 is at {spread([0.5 + s / 2 for s in hard])} accuracy where "
        "it is farthest from chance",
        figure=curves({"d = 5": easy[5], "d = 10": easy[10], "d = 30": chance}),
    )


def inputs_of_bits() -> Found:
    """Train on the text's inputs, {0, 1}, and on the script's, {-1, +1}."""
    found = {
        inputs: trained(Parity(d=5, weight=2, inputs=inputs), 50_000, 128, target_score=0.9)
        for inputs in ("signs", "bits")
    }
    both = [all(r.evaluations_to_target is not None for r in results) for results in found.values()]
    return Found(
        verdict(*both),
        "d = 5, evaluations to 95 %: " + ", ".join(f"{k} {times(v)}" for k, v in found.items()),
        "the text draws {0, 1}, the script feeds {-1, +1}",
    )


def lemma_3() -> Found:
    """Every parity of 6 bits on every input, and the lemma without its first triad."""
    right, printed, total = 0, 0, 0
    x = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=6)))
    for weight in range(1, 7):
        scenario = Parity(d=6, weight=weight)
        for chosen in itertools.combinations(range(6), weight):
            target = {"support": torch.tensor(chosen)}
            y, network = x[:, list(chosen)].prod(dim=1), scenario.solution(target)
            with torch.no_grad():
                right += int((network(x)[:, 0] == y).sum())
                network[2].weight[0, :3] = 0  # the triad at count 0
                printed += int((network(x)[:, 0] == y).sum())
            total += len(x)
    return Found(
        verdict(right == total),
        f"d = 6: all {total} answers right with the triad at count 0, {printed} without it; "
        "3 (|v*| // 2 + 1) units are used, 12 at most",
        "erratum: the lemma as printed leaves out the triad at 0, and is wrong where <x, v*> = 0",
    )


def without_gradients() -> Found:
    """Examples until elimination over GF(2) knows a parity of 30 bits."""
    needed = []
    for seed in range(50):
        scenario = Parity(d=30, weight=15)
        target = scenario.draw_target(Draws(seed))
        x, y = scenario.sample(target, 80, Draws(1000 + seed))
        count = next(n for n in range(25, 81) if eliminate(x[:n], y[:n]) is not None)
        assert eliminate(x[:count], y[:count]) == target["support"].tolist()
        needed.append(float(count))
    return Found(verdict(max(needed) < 50), f"d = 30: {spread(needed)} examples, 50 targets")


def theorem_1() -> Found:
    """Variance over all parities against G^2 / 2^d."""
    ratios = []
    for d, seed in itertools.product((4, 6, 8, 10, 12), range(3)):
        scenario = Parity(d=d, weight=d // 2)
        found = parity_profile(scenario.network(Draws(seed)), scenario.loss, d)
        ratios.append(found.variance / found.bound)
    return Found(
        verdict(max(ratios) <= 1),
        f"Var / (G^2 / 2^d) over d = 4 to 12, three networks each: {spread(ratios)}",
        "for all 2^d parities it is an identity, so that it says nothing of the network",
    )


def appendix_a1() -> Found:
    """Measure the part of the gradient that depends on h, by both pairs of coefficients."""
    d = 6
    x = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=d)), dtype=torch.float64)
    network = Parity(d=d, weight=3).network(Draws(1)).double()
    weights = list(network.parameters())

    def gradient(values: torch.Tensor) -> torch.Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(values.mean(), weights)])

    labels = [x[:, :3].prod(dim=1), x[:, 1:5].prod(dim=1)]
    softplus = torch.nn.functional.softplus
    apart = [gradient(softplus(-y * network(x)[:, 0])) for y in labels]
    p = network(x)[:, 0].detach()
    up, down = -torch.sigmoid(-p), -torch.sigmoid(p)  # r'(p) and r'(-p) of the logistic loss
    errors = []
    for g in ((up + down) / 2, (up - down) / 2):
        parts = [gradient(y * g * network(x)[:, 0]) for y in labels]
        errors.append(((parts[0] - parts[1]) - (apart[0] - apart[1])).norm().item())
    size = (apart[0] - apart[1]).norm().item()
    return Found(
        verdict(errors[1] < 1e-9 * size),
        f"difference of two targets' gradients: (r'(p) + r'(-p))/2 explains it to "
        f"{errors[0] / size:.0e}, (r'(p) - r'(-p))/2 leaves {errors[1] / size:.1f} of it",
        "erratum: A.1 drops a factor h, which swaps its two coefficients; theorem 1 survives",
    )


def theorem_2() -> Found:
    """Variance over waves along d and r."""
    found = {}
    for d, r in itertools.product((5, 10, 20), (1.0, 2.0, 4.0, 6.0)):
        scenario = Periodic(d=d, r=r)
        readings = [
            variance_over_targets(scenario, scenario.network(Draws(s)), examples=60_000, seed=s)
            for s in range(3)
        ]
        found[d, r] = median(reading.value or 0.0 for reading in readings)
    along_r = [found[20, r] for r in (2.0, 4.0, 6.0)]
    along_d = [found[d, 6.0] for d in (5, 10, 20)]
    shown = "; ".join(
        f"d = {d}: " + ", ".join(f"{found[d, r]:.1e}" for r in (1.0, 2.0, 4.0, 6.0))
        for d in (5, 10, 20)
    )
    return Found(
        verdict(
            along_r[0] > 100 * along_r[1] > 100**2 * along_r[2],
            along_d[0] > 3 * along_d[1] > 9 * along_d[2],
        ),
        f"Var / G^2 at r = 1, 2, 4, 6, median of three networks: {shown}",
        "from r = 1 to 2 it hardly changes, or grows; the fall with r is faster the larger d",
        Figure(
            "r",
            "Var / G^2",
            [(f"d = {d}", [(r, v) for (e, r), v in found.items() if e == d]) for d in (5, 10, 20)],
            "y",
        ),
    )


ROWS = (
    Row("figure-1", "2.1", "parities of 5 and 10 bits are learned, of 30 not", figure_1),
    Row("inputs", "2.1", "x uniform on {0, 1}^d", inputs_of_bits),
    Row(
        "lemma-3",
        "2.1",
        "triads of ReLUs at every even count realise every parity (width above 3d/2)",
        lemma_3,
    ),
    Row("elimination", "2.1", "d + O(1) examples and elimination recover v*", without_gradients),
    Row("theorem-1", "2.2", "Var(H, F, w) <= G(w)^2 / |H|", theorem_1),
    Row("appendix-a1", "A.1", "the coefficient of h in the gradient", appendix_a1),
    Row("theorem-2", "2.2", "for waves Var falls exponentially in d and r", theorem_2),
)
