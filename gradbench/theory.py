"""Exact results of the paper's section 4 on gradient descent: `python -m gradbench.theory`.

Curves f = W p with E[p p^T] = lambda I, which the text's data has with lambda = 1/n. The linear
layer minimises E || U f - p ||^2 / 2 over U; its curvature is lambda W W^T for every row. All in
float64.
"""

import math
from collections.abc import Sequence

import torch
from tabulate import tabulate
from torch import Tensor

from gradbench.probes.curvature import condition_number
from gradbench.scenarios.curves import inverse, slopes_to_values

SIZES = (10, 15, 20, 30, 50, 100)


def singular_values(n: int) -> Tensor:
    """Return the singular values of W, shape `(n,)`, largest first.

    Computed as the inverses of the singular values of U = W^-1, which has exact entries.
    """
    values: Tensor = 1 / torch.linalg.svdvals(inverse(n)).flip(0)
    return values


def curve_condition_number(n: int) -> float:
    """Return kappa of W W^T, (S_1 / S_n)^2, which theorem 3 states to be Omega(n^3.5)."""
    s = singular_values(n)
    return ((s[0] / s[-1]) ** 2).item()


def exact_second_moment(n: int) -> Tensor:
    """Return C, the exact second moment of three neighbouring values of a curve, shape `(3, 3)`.

    For the text's curves: the mean over positions t >= 2 of E f f^T = W W^T / n
    (`curves.second_moment` estimates it).
    """
    w = slopes_to_values(n)
    values = w @ w.T / n
    return sum((values[t - 2 : t + 1, t - 2 : t + 1] for t in range(2, n)), torch.zeros(3, 3)) / (
        n - 2
    )


def expected_iterate(n: int, steps: int, rate: float) -> Tensor:
    """Return lemma 2's mean of U after `steps` of gradient descent from 0, shape `(n, n)`.

    E U_t = eta lambda W^T sum_(i < t) (I - eta lambda W W^T)^i with lambda = 1/n, summed in W's
    singular vectors: along each it is (1 - (1 - eta lambda s^2)^t) / s.
    """
    left, s, right = torch.linalg.svd(slopes_to_values(n))
    reached = (1 - (1 - rate / n * s.square()) ** steps) / s
    iterate: Tensor = right.T @ (reached[:, None] * left.T)
    return iterate


def distance(n: int, steps: float, rate: float | None = None) -> float:
    """Return || E U_t - U ||_2 after `steps`: the largest of (1 - eta lambda s^2)^t / s.

    By default at the rate 1 / (lambda s_1^2), the largest that theorem 3 allows. (Gradient descent
    diverges only beyond twice that.)
    """
    s = singular_values(n)
    share = (s / s[0]).square() if rate is None else rate / n * s.square()
    return ((1 - share).abs() ** steps / s).max().item()


def bound(n: int) -> float:
    """Return theorem 3's least iterations to a distance below 1/2: S_1^2 / (2 S_n^2)."""
    return curve_condition_number(n) / 2


def steps_to(n: int, wanted: float = 0.5) -> int:
    """Return the first t at which `distance(n, t)` is below `wanted`, at the largest rate."""
    low, high = 0, 1
    while distance(n, high) >= wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if distance(n, middle) >= wanted else (low, middle)
    return high


def rows(sizes: Sequence[int] = SIZES) -> list[list[float]]:
    """Return n, kappa(W W^T), theorem 3's bound, the steps to 1/2, and kappa of C, a row per n."""
    return [
        [
            n,
            curve_condition_number(n),
            bound(n),
            steps_to(n),
            condition_number(exact_second_moment(n)),
        ]
        for n in sizes
    ]


def growth(column: int, low: int, high: int) -> float:
    """Return the exponent with which a column of `rows` grows between two sizes."""
    first, last = rows((low, high))
    return math.log(last[column] / first[column]) / math.log(high / low)


def main() -> None:
    """Print the table."""
    headers = ("n", "kappa(W W^T)", "theorem 3's bound", "steps to 1/2", "kappa(C), three taps")
    print(tabulate(rows(), headers, floatfmt=".4g"))  # noqa: T201


if __name__ == "__main__":
    main()
