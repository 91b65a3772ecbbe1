"""Evolution strategies as a torch optimizer: forward evaluations replace gradients.

A difference of two losses may be informative where the gradient is not (a flat activation). Where
no local information exists (a parity of many bits), it is not either. Named `es` in specs.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer


class EvolutionStrategies(Optimizer):
    """Descends an estimate of the gradient that is computed from losses only.

    g = 1 / (2 n sigma) sum_i (F(w + sigma e_i) - F(w - sigma e_i)) e_i, with e_i standard normal:
    the gradient of F smoothed by a normal of deviation sigma, without bias. Then w <- w - lr g.
    A step calls its closure 2 n times (n is `pairs`), with gradients switched off.

    Source: T. Salimans et al., arXiv:1703.03864, with mirrored sampling and without the ranking of
    losses. Raises ValueError where an argument is not positive.
    """

    gradbench_needs: ClassVar[dict[str, bool]] = {"closure": True}

    def __init__(
        self, params: Iterable[Any], lr: float = 0.01, sigma: float = 0.05, pairs: int = 8
    ) -> None:
        if lr <= 0 or sigma <= 0 or pairs < 1:
            raise ValueError(f"need lr, sigma > 0 and pairs >= 1: {lr}, {sigma}, {pairs}")
        super().__init__(params, {"lr": lr, "sigma": sigma, "pairs": pairs})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> None:  # type: ignore[override]
        """Take one step; `closure` returns the loss at the present parameters."""
        sigma, pairs = self.defaults["sigma"], self.defaults["pairs"]
        params = [p for group in self.param_groups for p in group["params"]]
        start = [p.clone() for p in params]
        estimate = [torch.zeros_like(p) for p in params]

        def loss_at(scale: float, noise: list[Tensor]) -> Tensor:
            for p, origin, e in zip(params, start, noise, strict=True):
                torch.add(origin, e, alpha=scale, out=p)
            return closure()

        for _ in range(pairs):
            noise = [torch.randn_like(p) for p in params]
            difference = loss_at(sigma, noise) - loss_at(-sigma, noise)
            for total, e in zip(estimate, noise, strict=True):
                total.add_(e * (difference / (2 * pairs * sigma)))
        shifts = iter(zip(params, start, estimate, strict=True))
        for group in self.param_groups:
            for _ in group["params"]:
                p, origin, g = next(shifts)
                torch.sub(origin, g, alpha=group["lr"], out=p)
