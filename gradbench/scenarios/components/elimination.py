"""Elimination over GF(2): the learner without gradients to which section 2.1 compares them."""

import torch
from torch import Tensor, nn


class Elimination(nn.Module):
    """Learns a parity of d bits by solving for its support; answers 0 until that is known."""

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
        """Return the parity of each input, shape `(n, 1)`."""
        if self.support is None:
            return inputs.new_zeros(len(inputs), 1)
        return inputs[:, self.support].prod(dim=1, keepdim=True)


def eliminate(inputs: Tensor, labels: Tensor) -> list[int] | None:
    """Recover a parity's support from examples by elimination over GF(2): no gradients.

    `inputs` is `(n, d)` and `labels` `(n,)`, both in {-1, +1}. Returns the sorted positions, or
    None where the examples leave more than one parity possible. d + 20 random examples leave more
    than one with a probability below 2^-20. Raises ValueError where no parity fits.
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
