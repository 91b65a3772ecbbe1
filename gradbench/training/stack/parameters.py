"""Stacked parameters and gradients of equal networks: two buffers with a row per trial."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

LANES = 32
"""Most elements that a kernel processes at once. Each trial's part of every tensor holds a multiple
of this number, because remainders and unaligned starts would use other code paths."""


class StackedParameters:
    """The parameters of equal networks as rows of one buffer, their gradients as rows of another.

    `attach` makes each network's parameters views of its row, so that the network stays usable. A
    weight of shape `(out, in)` with out >= in is stored transposed in its row: its gradient, a
    product of inputs and output gradients, is cheaper to compute in that layout.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = list(networks)
        first = list(networks[0].parameters())
        self.shapes = [p.shape for p in first]
        self.transposed = [_transposes(p) for p in first]
        self.starts = [0]
        for p in first:
            self.starts.append(self.starts[-1] + p.numel())
        width = -(-self.starts[-1] // LANES) * LANES
        self.values = first[0].new_zeros(len(self.networks), width, requires_grad=False)
        self.grads = torch.zeros_like(self.values)
        for row, network in enumerate(self.networks):
            for index, parameter in enumerate(network.parameters()):
                self.view(self.values, index)[row].copy_(parameter.detach())

    def attach(self) -> None:
        """Make every network's parameters views of its row."""
        views = [self.view(self.values, index) for index in range(len(self.shapes))]
        for row, network in enumerate(self.networks):
            for parameter, view in zip(network.parameters(), views, strict=True):
                parameter.data = view[row]

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows; removed networks get copies of their parameters."""
        left = [n for i, n in enumerate(self.networks) if i not in set(rows)]
        for network in left:
            for parameter in network.parameters():
                parameter.data, parameter.grad = parameter.detach().clone(), None
        self.networks = [self.networks[row] for row in rows]
        index = torch.tensor(rows, device=self.values.device)
        self.values, self.grads = self.values[index], self.grads[index]
        self.attach()

    def place(self, rows: slice) -> Callable[[Tensor], tuple[Tensor, Tensor, bool]]:
        """Return a function from a parameter of the first network to its values in these rows.

        It returns the values, their gradient buffer, and whether both are stored transposed.
        """
        places = {id(p): index for index, p in enumerate(self.networks[0].parameters())}

        def found(parameter: Tensor) -> tuple[Tensor, Tensor, bool]:
            index = places[id(parameter)]
            values = self.view(self.values, index, stored=True)[rows]
            grads = self.view(self.grads, index, stored=True)[rows]
            return values, grads, self.transposed[index]

        return found

    def flat(self, buffer: Tensor) -> Tensor:
        """Return the numbers in a buffer in the parameters' own order, `(rows, numbers)`."""
        every = [self.view(buffer, index).flatten(1) for index in range(len(self.shapes))]
        return torch.cat(every, dim=1)

    def view(self, buffer: Tensor, index: int, *, stored: bool = False) -> Tensor:
        """Return a parameter's numbers in a buffer, `(rows, *shape)`, or as they are stored."""
        shape, part = self.shapes[index], slice(self.starts[index], self.starts[index + 1])
        if not self.transposed[index]:
            return buffer[:, part].view(-1, *shape)
        transposed = buffer[:, part].view(-1, *shape[::-1])
        return transposed if stored else transposed.mT


def _transposes(parameter: Tensor) -> bool:
    return parameter.ndim == 2 and parameter.shape[0] >= parameter.shape[1]
