"""Piecewise-linear curves: the effect of architecture on conditioning (section 4).

One file: the scenario uses the matrices of the paper's lemmas, which tests compare.
"""

import decimal
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Batch, Factory, Scenario, Target
from gradbench.scenarios.components.knot_code import KNOTS, KnotCode
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.networks import Constant, Parts, Weights, initialise, relu_network

APPROACHES = ("linear", "convolution", "conditioned", "autoencoder")
DATA = ("text", "script", "real")
SLOPES = ((1.0, -1.0, 1.0), (1.0, -2.0, 1.0), (-2.0, 1.0, -1.0), (1.0, -1.0, 2.0))
"""The script's slopes after each of its three knots; before the first, the curve is 0."""
CURVES = 10_000
"""Number of curves from which the conditioned approach estimates C, by default."""
HELD_OUT = 500
SECOND_DIFFERENCE = (1.0, -2.0, 1.0)


@dataclass(frozen=True)
class Curves(Scenario):
    """Find the changes of slope of a piecewise-linear curve on {0..n-1}, in four architectures.

    f = W p with W_ij = max(0, i - j + 1) (0 above the diagonal) and p holding three changes of
    slope, so that p = U f with U = W^-1: p_t = f_t - 2 f_(t-1) + f_(t-2) (lemma 1). `data="text"`
    places them uniformly without replacement on {0..n-1} with sizes uniform on [-1, 1];
    `"script"` in the interior 3..n-4, with slopes from four fixed sets; `"real"`, the
    auto-encoder's own, has f(t) = sum a_i max(0, t - theta_i) with real knots uniform on [0, n].

    `linear` (4.1.1) learns all n x n weights from zero; `convolution` (4.1.2) three of them;
    `conditioned` (4.1.3) three behind C^(-1/2), C the second moment of three neighbouring values,
    estimated from `m` curves; `autoencoder` (4.1.4) squeezes f through 2k numbers. The losses are
    the script's: the squared error summed over positions for `linear`, else averaged, without 1/2.

    Scores: the spectral distance to U over that of zero for `linear` on the text's data (on the
    script's, where six positions are never used and U is not identifiable, the squared error);
    the filter's distance to [1, -2, 1]; for the auto-encoder the squared error of the second
    differences, since that of f alone looks like success. The text prints the rows as
    [f_(t-1), f_t, f_(t+1)]; only the causal [f_(t-2), f_(t-1), f_t] give p_t with its own W.
    """

    approach: str = "linear"
    data: str = "text"
    n: int = 100
    m: int = CURVES

    name: ClassVar[str] = "curves"
    family: ClassVar[str] = "conditioning"
    section: ClassVar[str] = "4"
    ladder: ClassVar[tuple[str, ...]] = ("n",)
    claim: ClassVar[str] = (
        "the linear layer and the auto-encoder miss the kinks after 50,000 iterations, the "
        "convolution is good at the end, the conditioned one near exact at once"
    )
    chance: ClassVar[float] = 0.0
    best: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if self.approach not in APPROACHES:
            raise ValueError(f"approach {self.approach!r}: choose from {', '.join(APPROACHES)}")
        if self.data not in DATA or self.n < 10:
            raise ValueError(f"need n >= 10 and data one of {', '.join(DATA)}: {self}")
        if self.m < 3:
            raise ValueError(f"need m >= 3 curves to estimate C from: m={self.m}")
        if self.m != CURVES and self.approach != "conditioned":
            raise ValueError(f"m is of the conditioned approach, not of {self.approach}")
        if self.data == "real" and self.approach != "autoencoder":
            raise ValueError("real knots have no changes of slope on the grid: autoencoder only")

    @property
    def setting(self) -> dict[str, Any]:
        """The fields that determine the data; `m`, the number of curves for C, does not."""
        return {"data": self.data, "n": self.n}

    @property
    def published(self) -> str:
        """Adam at the script's rate for each architecture."""
        rates = {"linear": 1e-4, "convolution": 0.05, "conditioned": 0.99, "autoencoder": 1e-3}
        return f"adam:lr={rates[self.approach]}"

    def draw_target(self, draws: Draws) -> Target:  # noqa: ARG002
        """Return an empty target: U is the same for every curve."""
        return {}

    def sample(self, target: Target, n: int, draws: Draws) -> Batch:  # noqa: ARG002
        """Draw curves f, shape `(n, self.n)`, and their p; f again for the auto-encoder."""
        if self.data == "real":
            f = self._real(n, draws)
            return f, f
        p = self._script(n, draws) if self.data == "script" else self._text(n, draws)
        # W is the square of the matrix of running sums, which are exact in float64
        f = p.double().cumsum(dim=1).cumsum(dim=1).to(p)
        return f, f if self.approach == "autoencoder" else p

    def _text(self, n: int, draws: Draws) -> Tensor:
        sizes = 2 * draws.uniform(n, KNOTS) - 1
        return sizes.new_zeros(n, self.n).scatter_(1, _places(n, self.n, draws), sizes)

    def _script(self, n: int, draws: Draws) -> Tensor:
        places = _places(n, self.n - 6, draws).sort(dim=1).values + 3
        sets = torch.tensor(SLOPES, device=draws.device, dtype=draws.dtype)
        slopes = sets[draws.integers(len(SLOPES), n)]
        changes = slopes.diff(dim=1, prepend=slopes.new_zeros(n, 1))
        return slopes.new_zeros(n, self.n).scatter_(1, places, changes)

    def _real(self, n: int, draws: Draws) -> Tensor:
        knots = self.n * draws.uniform(n, KNOTS, 1).double()
        sizes = 2 * draws.uniform(n, KNOTS, 1) - 1
        rises = (torch.arange(self.n, device=draws.device) - knots).clamp_(min=0)
        return rises.mul_(sizes).sum(dim=1).to(sizes)

    def held_out(self, target: Target, draws: Draws) -> Batch:
        """Return 500 fixed curves."""
        return self.sample(target, HELD_OUT, draws)

    def network(self, draws: Draws) -> nn.Module:
        """Return the approach's network; the weights of linear ones are zero."""
        if self.approach == "autoencoder":
            encoder = relu_network(self.n, 500, 100, 2 * KNOTS)
            decoder = relu_network(2 * KNOTS, 100, 100, self.n)
            return initialise(nn.Sequential(encoder, nn.ReLU(), decoder), draws)
        return self._linear()

    def _linear(self) -> nn.Module:
        if self.approach == "linear":
            network = nn.Linear(self.n, self.n, bias=False)
            nn.init.zeros_(network.weight)
            return network
        return Filter(self._conditioner())

    def _conditioner(self) -> Tensor:
        if self.approach == "conditioned":
            root = inverse_root_of_moment(self.data, self.n, self.m)
            return root.to(torch.get_default_dtype())
        return torch.eye(3)

    def open_network(self, factory: Factory, draws: Draws) -> nn.Module | None:  # noqa: ARG002
        """Return a network from n values to n changes of slope, built by `factory`, for `linear`.

        None for the other approaches, and for `data="text"`, whose score is the distance of one
        matrix to the inverse.
        """
        if self.approach != "linear" or self.data == "text":
            return None
        return factory(input_shape=(self.n,), output_size=self.n)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return each curve's squared error: summed over positions for `linear`, else averaged."""
        squares = nn.functional.mse_loss(outputs, labels, reduction="none")
        return squares.sum(dim=1) if self.approach == "linear" else squares.mean(dim=1)

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return 1 minus the squared error in each curve's p over the mean square of p.

        For the auto-encoder p is the second differences of f. Approaches with a known optimum are
        scored in `weight_score`, by the distance to it.
        """
        if self.approach == "autoencoder":
            outputs, labels = outputs.diff(n=2, dim=1), labels.diff(n=2, dim=1)
        error = (outputs - labels).square().sum(dim=1)
        return 1 - error / labels.square().sum(dim=1).mean()

    @property
    def scores_apart(self) -> bool:
        """Whether only weights are scored: a score is relative to the mean square of all p."""
        return self.scores_weights

    @property
    def scores_weights(self) -> bool:
        """Whether the optimum is known: a filter's, and that of `linear` on the text's data."""
        return self.approach in {"convolution", "conditioned"} or (
            self.approach == "linear" and self.data == "text"
        )

    def weight_score(self, weights: Sequence[Tensor]) -> float:
        """Return 1 minus the distance to the optimum over that of zero; no weights count as zero.

        The distance is the filter's Euclidean one, for `linear` the spectral one. Weights that are
        not finite score NaN.
        """
        if not all(bool(weight.isfinite().all()) for weight in weights):
            return math.nan
        if self.approach == "linear":
            wanted = inverse(self.n)
            weight = weights[0].double() if weights else torch.zeros_like(wanted)
            gap = torch.linalg.matrix_norm(weight - wanted, 2)
            return 1 - float(gap / torch.linalg.matrix_norm(wanted, 2))
        (weight,) = weights
        taps = self._conditioner().to(weight) @ weight
        return 1 - float((taps - taps.new_tensor(SECOND_DIFFERENCE)).norm()) / math.sqrt(6)

    @torch.no_grad()
    def details(self, network: nn.Module, examples: Batch) -> dict[str, Any]:
        """Return `curve`: the labels and outputs of the first curve, to four significant digits."""
        inputs, labels = examples
        pair = torch.stack((labels[0], network(inputs[:1])[0]))
        return {"curve": [[float(f"{v:.4g}") for v in row] for row in pair.tolist()]}

    def solution(self, target: Target) -> nn.Module:  # noqa: ARG002
        """Return a network of U or of the filter [1, -2, 1]; for the auto-encoder a `KnotCode`.

        Weights of the auto-encoder that compute this code are not known.
        """
        if self.approach == "autoencoder":
            return KnotCode(self.n)
        network = self._linear()
        with torch.no_grad():
            if isinstance(network, Filter):
                optimum = torch.tensor(SECOND_DIFFERENCE, dtype=torch.float64)
                root = network.conditioner.double()
                network.weight.copy_(torch.linalg.solve(root, optimum))
            elif isinstance(network, nn.Linear):
                network.weight.copy_(inverse(self.n))
        return network

    def trivial(self, target: Target) -> nn.Module:  # noqa: ARG002
        """Return a network with the output zero: no change of slope."""
        if self.approach in {"convolution", "conditioned"}:
            return self._linear()
        return Constant(torch.zeros(self.n))


def _places(rows: int, n: int, draws: Draws) -> Tensor:
    """Draw places on {0..n-1} without replacement, shape `(rows, KNOTS)`, in random order."""
    places = draws.integers(n, rows, 1)
    for taken in range(1, KNOTS):
        place = draws.integers(n - taken, rows, 1)  # among those that are left
        for lower in places.sort(dim=1).values.split(1, dim=1):
            place = place + (place >= lower)
        places = torch.cat((places, place), dim=1)
    return places


class Filter(nn.Module):
    """A causal filter of three taps behind a fixed matrix; the first two outputs are zero."""

    def __init__(self, conditioner: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.conditioner: Tensor
        self.register_buffer("conditioner", conditioner)

    def filter(self) -> Tensor:
        """Return the taps that are applied to [f_(t-2), f_(t-1), f_t]: conditioner times weight."""
        return self.conditioner @ self.weight

    def forward(self, f: Tensor) -> Tensor:
        """Return the filtered curves, shape `(n, length)`."""
        rows = f.unfold(1, 3, 1) @ self.conditioner @ self.weight
        return nn.functional.pad(rows, (2, 0))

    def stacked(self, f: Tensor, weights: Weights, _: Parts) -> Tensor:
        """Return `forward` of stacked trials, for curves of shape `(trials, n, length)`."""
        trials, n, length = f.shape
        windows = torch.stack([f[..., k : length - 2 + k] for k in range(3)], dim=1).flatten(2)
        matrices = self.conditioner.mT.expand(trials, 3, 3)
        taps = torch.bmm(weights["weight"][:, None], matrices)  # first: no windows times a matrix
        rows = torch.bmm(taps, windows)
        return nn.functional.pad(rows.view(trials, n, length - 2), (2, 0))


def slopes_to_values(n: int) -> Tensor:
    """Return W in float64: W_ij = i - j + 1 on and below the diagonal, else 0; shape `(n, n)`."""
    i = torch.arange(n, dtype=torch.float64)
    return (i[:, None] - i + 1).clamp(min=0)


def inverse(n: int) -> Tensor:
    """Return U = W^-1 in float64: 1 on the diagonal, -2 and 1 on the two below it (lemma 1)."""
    one = torch.eye(n, dtype=torch.float64)
    return one - 2 * one.roll(1, 0).tril(-1) + one.roll(2, 0).tril(-1)


@functools.cache
def second_moment(data: str, n: int, m: int = CURVES) -> Tensor:
    """Return C, the mean second moment of [f_(t-2), f_(t-1), f_t] over positions t, shape `(3, 3)`.

    It is estimated from `m` fixed curves, in float64, since its condition number grows as n^3.
    Values are multiples of 2^-23, so that up to n = 100 the sums of products of their upper and
    lower halves are exact.
    """
    draws = Draws(0, dtype=torch.float64)
    f, _ = Curves(approach="convolution", data=data, n=n).sample({}, m, draws)
    rows = (f * 2.0**23).unfold(1, 3, 1).reshape(-1, 3)
    upper = (rows * 2.0**-16).floor()
    lower = rows - upper * 2.0**16
    mixed = upper.T @ lower
    parts = ((upper.T @ upper, 32), (mixed + mixed.T, 16), (lower.T @ lower, 0))

    def exact(i: int, j: int) -> float:
        return sum(int(part[i, j]) << at for part, at in parts) / (len(rows) << 46)

    return torch.tensor([[exact(i, j) for j in range(3)] for i in range(3)], dtype=torch.float64)


@functools.cache
def inverse_root_of_moment(data: str, n: int, m: int) -> Tensor:
    """Return C^(-1/2) of `second_moment` in float64, shape `(3, 3)`."""
    return inverse_root(second_moment(data, n, m))


def inverse_root(matrix: Tensor) -> Tensor:
    """Return the symmetric M^(-1/2) of a positive definite matrix, `(3, 3)`, in float64.

    By the iteration of E. Denman and A. Beavers (1976) in decimals of 60 digits: exact to the bit.
    """
    with decimal.localcontext(prec=60):
        root = [[decimal.Decimal(x) for x in row] for row in matrix.tolist()]
        found = [[decimal.Decimal(i == j) for j in range(3)] for i in range(3)]
        for _ in range(50):
            root, found = _mean(root, _inverted(found)), _mean(found, _inverted(root))
        return torch.tensor([[float(x) for x in row] for row in found], dtype=torch.float64)


Matrix = list[list[decimal.Decimal]]


def _mean(a: Matrix, b: Matrix) -> Matrix:
    return [[(x + y) / 2 for x, y in zip(*rows, strict=True)] for rows in zip(a, b, strict=True)]


def _inverted(a: Matrix) -> Matrix:
    """Return the inverse of a 3 x 3 matrix, by its cofactors."""

    def cofactor(i: int, j: int) -> decimal.Decimal:
        (b, c), (d, e) = ([a[(i + k) % 3][(j + m) % 3] for m in (1, 2)] for k in (1, 2))
        return b * e - c * d

    determinant = sum((a[0][j] * cofactor(0, j) for j in range(3)), decimal.Decimal(0))
    return [[cofactor(j, i) / determinant for j in range(3)] for i in range(3)]
