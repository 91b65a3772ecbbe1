"""Elimination over GF(2): the gradient-free learner that section 2.1 uses for comparison."""

import torch
from torch import Tensor, nn


class Elimination(nn.Module):
    """Learner of a parity of d bits: solves for its support, and outputs 0 until it is known."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.support: list[int] | None = None
        self.examples = torch.empty(0, d + 1)

    def learn(self, inputs: Tensor, labels: Tensor) -> None:
        """Add a batch, `(n, d)` and `(n,)` in {-1, +1}, to the equations and try to solve them."""
        if self.support is None:
            batch = torch.cat((inputs, labels[:, None]), dim=1)
            self.examples = torch.cat((self.examples.to(batch), batch))
            self.support = eliminate(self.examples[:, :-1], self.examples[:, -1])

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the parity of each input, shape `(n, 1)`; 0 while the support is unknown."""
        if self.support is None:
            return inputs.new_zeros(len(inputs), 1)
        return inputs[:, self.support].prod(dim=1, keepdim=True)


def eliminate(inputs: Tensor, labels: Tensor) -> list[int] | None:
    """Return the sorted positions of a parity's support, by elimination over GF(2).

    `inputs` is `(n, d)` and `labels` `(n,)`, both in {-1, +1}. The result is None where more than
    one parity fits the examples; for d + 20 random examples the probability of this is below 2^-20.

    Raises ValueError where no parity fits.
    """
    d = inputs.shape[1]
    columns = [1 << i for i in range(d + 1)]  # bit d holds the label
    rows = torch.cat((inputs, labels[:, None]), dim=1) < 0
    pivots: dict[int, int] = {}
    for bits in rows.tolist():
        row = sum(column for column, bit in zip(columns, bits, strict=True) if bit)
        for position, pivot in pivots.items():
            if row >> position & 1:
                row ^= pivot
        unknowns = row & (columns[d] - 1)
        if unknowns:
            position = unknowns.bit_length() - 1
            for other, pivot in pivots.items():
                if pivot >> position & 1:
                    pivots[other] = pivot ^ row
            pivots[position] = row
        elif row:
            raise ValueError("no parity fits these examples")
    if len(pivots) < d:
        return None
    return sorted(position for position, row in pivots.items() if row >> d & 1)
