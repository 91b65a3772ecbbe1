"""GLMtron and Isotron: perceptron-like learners of a monotone unit y = u(<w, x>) (section 5.5).

Sources: A. Kalai and R. Sastry, COLT 2009 (Isotron); S. Kakade, A. Kalai, V. Kanade, O. Shamir,
NIPS 2011 (GLMtron). Both step by the mean of (y - p) x, without any derivative of u. Their theorems
require |x| <= 1; a rate of 1 / max |x|^2 over the batch is equivalent to this. The papers repeat
passes over one fixed sample; here every step has a fresh batch.
"""

from collections.abc import Callable

import scipy
import torch
from torch import Tensor, nn

WINDOW = 2048
"""Number of latest examples for Isotron's fit: one batch has too few near each step of u."""


class GLMtron(nn.Module):
    """Learner of w for a given u: w <- w + mean (y - u(<w, x>)) x / max |x|^2, from w = 0.

    The output is <w, x>, without u.
    """

    weights: Tensor

    def __init__(self, n: int, link: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.link = link
        self.register_buffer("weights", torch.zeros(n))

    def learn(self, inputs: Tensor, labels: Tensor) -> None:
        """Take one step on a batch, `(m, n)` and `(m,)`."""
        step(self.weights, inputs, labels - self.link(inputs @ self.weights))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return <w, x>, shape `(m, 1)`."""
        return (inputs @ self.weights)[:, None]


class Isotron(nn.Module):
    """Learner of w and u: fits the best monotone function of <w, x>, and steps by its residual.

    The output is the fitted value at the largest <w, x> of the fit that is not above the input's,
    or at the smallest one where all are above it.
    """

    weights: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.zeros(n))
        self.inputs, self.labels = torch.empty(0, n), torch.empty(0)
        self.sums, self.values = torch.zeros(1), torch.zeros(1)

    def learn(self, inputs: Tensor, labels: Tensor) -> None:
        """Take one step on a batch, `(m, n)` and `(m,)`, then fit at the new weights."""
        self.inputs = torch.cat((self.inputs.to(inputs), inputs))[-WINDOW:]
        self.labels = torch.cat((self.labels.to(labels), labels))[-WINDOW:]
        step(self.weights, inputs, labels - self.forward(inputs)[:, 0])
        self.sums, order = (self.inputs @ self.weights).sort()
        fit = scipy.optimize.isotonic_regression(self.labels[order].double().cpu().numpy()).x
        self.values = torch.as_tensor(fit).to(labels)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the fitted values, shape `(m, 1)`."""
        sums, values = self.sums.to(inputs), self.values.to(inputs)
        place = torch.bucketize(inputs @ self.weights, sums, right=True) - 1
        return values[place.clamp(min=0)][:, None]


def step(weights: Tensor, inputs: Tensor, residual: Tensor) -> None:
    """Add the batch's mean of residual * x, over max |x|^2, to the weights, shape `(n,)`."""
    move = (residual[:, None] * inputs).mean(dim=0)
    weights.add_(move / inputs.square().sum(dim=1).max())
