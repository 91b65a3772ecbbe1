"""A code of 2k numbers for piecewise-linear curves: a solution for the auto-encoder (4.1.4)."""

import torch
from torch import Tensor, nn

KNOTS = 3

BEND = 2e-4
"""Second differences up to this size are rounding errors: curves in float32 reach 100."""


class KnotCode(nn.Module):
    """Exact encoder and decoder of curves with real knots: 2k numbers, k knots and k sizes.

    A knot theta in [m, m + 1) of size a gives the curve the second difference a (m + 1 - theta) at
    t = m + 1 and a (theta - m) at m + 2. The encoder reads second differences from the left: each
    starts a knot, which includes the next one if it has the same sign. Where knots are close
    together, the knots found may differ from the true ones. There are never more of them, and they
    give the same values on the grid.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def encode(self, f: Tensor) -> tuple[Tensor, Tensor]:
        """Return the knots and the sizes of curves `(m, n)`, shape `(m, k)` each, in float64."""
        bends = nn.functional.pad(f.double(), (2, 0)).diff(n=2, dim=1)
        bends = torch.where(bends.abs() > BEND, bends, 0.0)
        knots, sizes = torch.zeros_like(bends), torch.zeros_like(bends)
        taken = torch.zeros_like(bends[:, 0])
        for t in range(self.n):
            near = bends[:, t] - taken
            after = bends[:, t + 1] if t + 1 < self.n else torch.zeros_like(near)
            taken = torch.where(near * after > 0, after, 0.0)
            sizes[:, t] = near + taken
            knots[:, t] = t - 1 + taken / torch.where(near == 0, 1.0, near + taken)
        largest = sizes.abs().topk(KNOTS).indices
        return knots.gather(1, largest), sizes.gather(1, largest)

    def forward(self, f: Tensor) -> Tensor:
        """Return the curves decoded from their knots and sizes, shape `(m, n)`."""
        knots, sizes = self.encode(f)
        grid = torch.arange(self.n, device=f.device)
        curves = (sizes[..., None] * (grid - knots[..., None]).clamp(min=0)).sum(dim=1)
        return curves.to(f)
