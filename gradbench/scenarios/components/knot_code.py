"""A code of 2k numbers for piecewise-linear curves: what an auto-encoder could find (4.1.4)."""

import torch
from torch import Tensor, nn

KNOTS = 3

BEND = 2e-4
"""Second differences below it are rounding: curves reach 100 in float32."""


class KnotCode(nn.Module):
    """Squeezes curves with real knots through 2k numbers, knots and sizes, and back, exactly.

    A knot theta in [m, m + 1) of size a bends the curve at t = m + 1 by a (m + 1 - theta) and at
    m + 2 by a (theta - m): read from the left, a bend opens a knot, which takes what bends the same
    way next to it. Where knots are neighbours other knots than the true ones may be found, never
    more of them, and they give the same values on the grid.
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
        """Return the curves as their code has them, shape `(m, n)`."""
        knots, sizes = self.encode(f)
        grid = torch.arange(self.n, device=f.device)
        curves = (sizes[..., None] * (grid - knots[..., None]).clamp(min=0)).sum(dim=1)
        return curves.to(f)
