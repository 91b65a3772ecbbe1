"""Conditioning (section 4): the Gauss-Newton spectrum, weighted by the gradient's energy.

Lanczos, started at the gradient, gives nodes theta_i (eigenvalues; the outer ones converge first)
and weights tau_i (the gradient's energy at the nodes, summing to 1). If the loss is a quadratic
with this curvature, gradient descent at rate 1 / theta_max has after t steps an excess loss of

    ||g||^2 / 2 sum_i tau_i / theta_i (1 - theta_i / theta_max)^(2 t)

which for a quadratic is exact once there is a node for each distinct eigenvalue to which g has a
component.

One file: the spectrum, its error and the steps that follow from it are one derivation.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from gradbench.probes.gradients import Loss, NetworkCopy, derivatives, float64_copy, joined
from gradbench.probes.reading import Z95, Reading, nothing, positive, student
from gradbench.scenarios.base import Batch

NAME = "effective condition number"
FRACTION = 0.01
"""Target of the count of steps: excess loss as a share of the excess at the start."""

LIMIT = 10**15
NEGATIVE = 0.01
"""Share of the gradient's energy in negative curvature above which no spectrum is returned."""

GROUPS = 16
"""Groups of examples, left out one after another in the jackknife for the error."""

SYMMETRIC = 1e-5
"""Largest asymmetry, relative to the largest entry, that is accepted as float32 rounding."""

ROUNDING = 1e-12
"""Nodes below this share of the largest node are rounding errors and are dropped."""


@dataclass(frozen=True)
class Spectrum:
    """Nodes and weights of the gradient's energy over the curvature, largest node first.

    `products` is the number of products with the matrix. `rounded` is true where Lanczos converged
    to rounding: the nodes are then all eigenvalues to which the gradient has a component.
    """

    nodes: tuple[float, ...]
    weights: tuple[float, ...]
    products: int
    rounded: bool

    @property
    def condition_number(self) -> float:
        """Largest node over the smallest; equal to kappa once every eigenvalue is a node."""
        return self.nodes[0] / self.nodes[-1]

    def excess(self, steps: float) -> float:
        """Return the predicted excess loss after steps of gradient descent; it starts at 1."""
        theta, tau = np.array(self.nodes), np.array(self.weights)
        shrink = np.log1p(-np.minimum(theta / theta[0], 1 - 1e-16))
        energy = tau / theta
        return float((energy * np.exp(2 * steps * shrink)).sum() / energy.sum())

    def steps_to(self, fraction: float = FRACTION) -> float:
        """Return the number of steps of gradient descent until this fraction of the excess is left.

        The rate is 1 / largest node. It predicts plain gradient descent on a loss of constant
        curvature. It does not predict adaptive or momentum methods, the noise of batches, later
        learning once a network's features change, or directions in which the gradient has no
        component now.

        Raises ValueError for a fraction outside (0, 1).
        """
        if not 0 < fraction < 1:
            raise ValueError(f"a fraction lies between 0 and 1: {fraction}")
        low, high = 0.0, 1.0
        while self.excess(high) > fraction and high < LIMIT:
            low, high = high, 2 * high
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.excess(middle) > fraction else (low, middle)
        return high

    @property
    def effective(self) -> float:
        """Condition number of a problem of two eigenvalues that takes as many steps; at least 1.

        A component with theta_max / theta = kappa keeps (1 - 1/kappa)^(2t) of its excess.
        """
        rate = -math.expm1(math.log(FRACTION) / (2 * max(self.steps_to(FRACTION), 1e-9)))
        return 1 / rate


def spectrum(network: nn.Module, loss: Loss, batch: Batch, *, products: int = 40) -> Spectrum:
    """Return the gradient's energy over the Gauss-Newton spectrum of the mean loss on a batch.

    Computed in float64 with full reorthogonalisation. At most `products` products with the
    Gauss-Newton matrix are taken, each at the cost of about three gradients; they use reverse mode
    only, which any network supports.

    Raises ValueError where the gradient or the curvature is zero (a hinge loss has no curvature),
    and where too much of the gradient lies in negative curvature.
    """
    return GaussNewton(float64_copy(network, loss), batch).spectrum(products)


def effective_condition_number(
    network: nn.Module, loss: Loss, batch: Batch, *, products: int = 40
) -> Reading:
    """Return `Spectrum.effective`, with the corresponding number of steps in the note.

    The error is that over batches of this size; it does not hold for other sizes, since few
    examples lack the smallest eigenvalues. With too few products the value is too small.

    The reading is not resolved in two cases. Where the interval holds 1, the smallest possible
    value, it is an upper bound. Where the batch has fewer outputs than the network has parameters,
    it cannot show all eigenvalues: the value may be about thirty times too small, and the interval
    has no upper end.
    """
    curvature = GaussNewton(float64_copy(network, loss), batch)
    try:
        found = curvature.spectrum(products)
        off = curvature.relative_error()
    except ValueError as error:
        return nothing(NAME, str(error))
    value, up = found.effective, math.exp(min(Z95 * off, 700.0))
    note = f"{found.steps_to():.3g} steps of gradient descent to {FRACTION:.0%} of the excess loss"
    note += f" of {len(batch[0])} examples"
    if not found.rounded:
        note += f"; at least, from {found.products} products"
    cost = (3 * found.products + 1) * len(batch[0])
    limits = (max(1.0, value / up), value * up)
    few = curvature.outputs.numel() < sum(p.numel() for p in curvature.of.tensors)
    if few:
        limits, note = (1.0, math.inf), f"{note}; fewer outputs than parameters"
    reading = positive(NAME, value, value * off, limits, note=note, cost=cost, path="lanczos")
    return replace(reading, resolved=not few and limits[0] > 1)


class GaussNewton:
    """Gauss-Newton matrix J^T H J of a batch's mean loss.

    J is the Jacobian of the outputs, H the loss's second derivative by the outputs.
    """

    def __init__(self, of: NetworkCopy, batch: Batch) -> None:
        self.of = of
        inputs, labels = of.place(batch)
        self.outputs = of.network(inputs)
        self.forward = of.jacobian(self.outputs)
        self.leaf = self.outputs.detach().requires_grad_()
        losses = of.loss(self.leaf, labels)
        self.slope = derivatives([losses.sum()], [self.leaf], create=True)
        self.seen: list[tuple[Tensor, Tensor]] = []

    def product(self, v: Tensor) -> Tensor:
        """Return J^T H J v, shape `(P,)`; each example's terms are stored for `relative_error`."""
        forward = self.forward(v)
        bent = derivatives(self.slope, [self.leaf], [forward], retain=True)
        self.seen.append((forward.flatten(1), bent[0].flatten(1)))
        back = derivatives([self.outputs], self.of.tensors, bent, retain=True)
        return joined(back) / len(forward)

    def spectrum(self, products: int) -> Spectrum:
        """Return the spectrum weighted by the energy of the batch's gradient.

        Raises ValueError where there is none: see the function `spectrum`.
        """
        slope = self.slope[0].detach() / len(self.outputs)
        gradient = joined(derivatives([self.outputs], self.of.tensors, [slope], retain=True))
        return lanczos(self.product, gradient, products)

    def relative_error(self) -> float:
        """Return the standard error of log `Spectrum.effective` over batches of this size.

        It comes from a jackknife over sixteen groups of examples, with curvature and gradient
        projected onto the space that Lanczos has spanned. The projection is enough: a small change
        of either affects g^T f(G) g, for any polynomial f of the degrees that Lanczos reproduces,
        only through it. The result is at least half of (2 / n)^0.5, the error of one eigenvalue of
        n normal examples, because the jackknife alone is too small where the value is nearly 1.
        """
        forward, bent = (torch.stack(parts, dim=1) for parts in zip(*self.seen, strict=True))
        slope = self.slope[0].detach().flatten(1)
        matrices = (forward @ bent.transpose(1, 2)).cpu().numpy()
        vectors = (forward @ slope[:, :, None])[:, :, 0].cpu().numpy()
        group = np.arange(len(vectors)) % GROUPS
        logs = []
        for i in range(min(GROUPS, len(vectors))):
            rest = group != i
            nodes, weights = ritz(matrices[rest].sum(axis=0), vectors[rest].sum(axis=0))
            logs.append(math.log(Spectrum(nodes, weights, 0, rounded=True).effective))
        count = len(logs)
        spread = (count - 1) / math.sqrt(count) * float(np.std(logs, ddof=1))
        return max(student(count) * spread, 1 / math.sqrt(2 * len(vectors)))


def lanczos(product: Callable[[Tensor], Tensor], start: Tensor, products: int) -> Spectrum:
    """Return the spectrum of a symmetric positive matrix, weighted by a vector's energy.

    `product` multiplies by the matrix, `start` is the vector, `products` the most products.

    Raises ValueError where the vector is zero or not finite, where the matrix has no positive
    eigenvalue or too much negative curvature, and for fewer than one product.
    """
    if products < 1:
        raise ValueError(f"need at least one product: {products}")
    norm = start.norm()
    if not (norm > 0 and torch.isfinite(norm)):
        raise ValueError("the gradient is zero" if norm == 0 else "the gradient is not finite")
    basis, ended = [start / norm], False
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(products, len(start))):
        w = product(basis[-1])
        diagonal.append((w @ basis[-1]).item())
        frame = torch.stack(basis)
        for _twice in range(2):
            w = w - frame.T @ (frame @ w)
        size = w.norm().item()
        largest = max(map(abs, diagonal + beside))
        if size <= 1e-10 * largest or len(basis) == len(start):
            ended = True
            break
        beside.append(size)
        basis.append(w / size)
    count = len(diagonal)
    matrix = np.diag(diagonal) + np.diag(beside[: count - 1], 1) + np.diag(beside[: count - 1], -1)
    return Spectrum(*ritz(matrix, np.eye(count)[0]), count, ended)


Numbers = tuple[float, ...]


def ritz(matrix: np.ndarray, start: np.ndarray) -> tuple[Numbers, Numbers]:
    """Return a small matrix's eigenvalues, largest first, and a vector's energy at them.

    Raises ValueError where no eigenvalue is positive, or where more than 1 % of the energy belongs
    to negative eigenvalues.
    """
    values, vectors = np.linalg.eigh(matrix)
    top = values[-1]
    if not top > 0:
        raise ValueError("the loss has no curvature here")
    energy = (vectors.T @ start) ** 2
    energy /= energy.sum()
    kept = values > ROUNDING * top
    bent = energy[values < -ROUNDING * top].sum()
    if bent > NEGATIVE:
        raise ValueError(f"{bent:.0%} of the gradient lies in negative curvature")
    return tuple(values[kept][::-1].tolist()), tuple(energy[kept][::-1].tolist())


def condition_number(matrix: Tensor) -> float:
    """Return the condition number kappa of a symmetric positive definite matrix, in float64.

    It is the largest eigenvalue over the smallest, and infinite where the smallest is not positive.
    The conditioning of a linear model x -> M x under the square loss is the kappa of E[x x^T], for
    any M. Where a factor W of a matrix W W^T is known, compute kappa(W)^2 instead: it keeps twice
    as many digits.

    Raises ValueError if the matrix is not square, finite and symmetric.
    """
    m = matrix.double()
    if m.ndim != 2 or m.shape[0] != m.shape[1] or not bool(m.isfinite().all()):
        raise ValueError(f"a condition number is of a square, finite matrix: {tuple(m.shape)}")
    if not bool((m - m.T).abs().max() <= SYMMETRIC * m.abs().max()):
        raise ValueError("the matrix is not symmetric: take the root of kappa(M^T M) in its place")
    values = torch.linalg.eigvalsh(m)
    return (values[-1] / values[0]).item() if values[0] > 0 else math.inf
