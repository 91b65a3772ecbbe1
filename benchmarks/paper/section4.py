"""Section 4: architecture and conditioning."""

import torch
from common import Figure, Found, Row, curves, last, spread, trained, verdict

from gradbench import theory
from gradbench.probes import condition_number
from gradbench.scenarios.curves import Curves, inverse, second_moment, slopes_to_values


def lemma_1() -> Found:
    """U W = I in whole numbers."""
    exact = all(
        torch.equal(inverse(n).long() @ slopes_to_values(n).long(), torch.eye(n).long())
        for n in range(3, 101)
    )
    return Found(verdict(exact), "U W = I in whole numbers for n = 3 to 100")


def lemma_2() -> Found:
    """Hold the expected iterate against population gradient descent step by step."""
    worst = 0.0
    for n in (10, 20):
        rate = n / theory.singular_values(n)[0].item() ** 2
        w, u = slopes_to_values(n), torch.zeros(n, n, dtype=torch.float64)
        for _ in range(1000):
            u = u - rate * (u @ w - torch.eye(n, dtype=torch.float64)) @ w.T / n
        gap = (theory.expected_iterate(n, 1000, rate) - u).norm() / u.norm()
        worst = max(worst, gap.item())
    return Found(verdict(worst < 1e-9), f"relative error {worst:.0e} after 1,000 steps, n = 10, 20")


def theorem_3() -> Found:
    """Compute the bound, the steps, and the exponent."""
    shown = [f"n = {n}: {b:.3g}, {s:.3g}" for n, _, b, s, _ in theory.rows((10, 30, 100))]
    exponent = theory.growth(1, 50, 100)
    holds = [steps >= bound for _, _, bound, steps, _ in theory.rows()]
    return Found(
        verdict(*holds, exponent >= 3.5),
        f"bound and first step below 1/2: {'; '.join(shown)}; S_1^2 / S_n^2 grows as "
        f"n^{exponent:.2f}",
        "gradient descent diverges only at twice the rate that is stated",
        Figure(
            "n",
            "steps",
            [
                ("bound", [(float(n), bound) for n, _, bound, _, _ in theory.rows()]),
                (
                    "first step below 1/2",
                    [(float(n), steps) for n, _, _, steps, _ in theory.rows()],
                ),
            ],
            "xy",
        ),
    )


def fully_connected() -> Found:
    """4.1.1 after 50,000 iterations."""
    found = {
        data: trained(Curves(approach="linear", data=data, n=100), 50_000, 100, seeds=2)
        for data in ("text", "script")
    }
    return Found(
        verdict(*(max(last(v)) < 0.6 for v in found.values())),
        "of the way to U (text), of the error (script): "
        + ", ".join(f"{data} {spread(last(v))}" for data, v in found.items()),
        figure=curves(found),
    )


def three_taps() -> Found:
    """4.1.2: the condition number's growth, and the filter after 50,000 iterations."""
    exponent = theory.growth(4, 50, 100)
    found = {
        data: trained(Curves(approach="convolution", data=data, n=100), 50_000, 100, seeds=2)
        for data in ("script", "text")
    }
    kappas = {data: condition_number(second_moment(data, 100)) for data in found}
    return Found(
        verdict(2.8 < exponent < 3.2, *(min(last(v)) > 0.95 for v in found.values())),
        f"kappa grows as n^{exponent:.2f}; of the way to the filter: "
        + ", ".join(f"{d} {spread(last(v))} (kappa {kappas[d]:.2g})" for d, v in found.items()),
        "the text's data is ten times worse conditioned than the script's",
        curves(found),
    )


def conditioned() -> Found:
    """4.1.3, along the number of curves that C is estimated from."""
    found = {
        f"m = {m}": trained(Curves(approach="conditioned", n=100, m=m), 500, 10)
        for m in (10, 100, 10_000)
    }
    return Found(
        verdict(min(last(found["m = 10000"])) > 0.98),
        "of the way to the filter after 500 iterations of 10, C from m curves: "
        + ", ".join(f"{m} {spread(last(v))}" for m, v in found.items()),
        "the text prints rows [f(t-1), f(t), f(t+1)]; only causal ones give p with its own W",
        curves(found),
    )


def autoencoder() -> Found:
    """4.1.4 after the script's 10,000 iterations."""
    results = trained(Curves(approach="autoencoder", data="real", n=100), 10_000, 100, seeds=2)
    drawn = [torch.tensor(r.details["curve"]) for r in results]
    shares = [((b - a).square().sum() / (a - a.mean()).square().sum()).item() for a, b in drawn]
    first = [list(enumerate(line.tolist())) for line in drawn[0]]
    return Found(
        verdict(max(last(results)) < 0.5),
        f"1 - error of second differences over their square: {spread(last(results))}; of one "
        f"curve's variance {spread(shares)} is missed",
        "the curve itself looks like success",
        Figure("t", "f(t)", [("the curve", first[0]), ("the auto-encoder's", first[1])]),
    )


ROWS = (
    Row("lemma-1", "4.1", "U = W^-1 has 1, -2, 1 on and below its diagonal", lemma_1),
    Row("lemma-2", "4.1.1", "E U_t = eta lambda W^T sum (I - eta lambda W W^T)^i", lemma_2),
    Row(
        "theorem-3",
        "4.1.1",
        "at least S_1^2 / (2 S_n^2) iterations, at least of order n^3.5",
        theorem_3,
    ),
    Row(
        "figure-6-linear",
        "4.1.1",
        "the linear layer misses the kinks after 50,000",
        fully_connected,
    ),
    Row(
        "figure-6-filter", "4.1.2", "kappa of order n^3; the filter is good at the end", three_taps
    ),
    Row("figure-6-conditioned", "4.1.3", "with conditioning near exact at once", conditioned),
    Row("figure-6-autoencoder", "4.1.4", "the auto-encoder misses the fine details", autoencoder),
)
