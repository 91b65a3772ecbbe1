"""Adam and RMSprop by their formulas, with each place where ports are known to differ."""

from collections.abc import Iterable
from typing import Any

import torch
from torch.optim import Optimizer

EPS = {
    "outside": lambda v, fix, eps: v.sqrt() / fix**0.5 + eps,
    "inside the root": lambda v, fix, eps: (v / fix + eps).sqrt(),
    "squared inside the root": lambda v, fix, eps: (v / fix + eps**2).sqrt(),
    "added before the bias correction": lambda v, fix, eps: (v.sqrt() + eps) / fix**0.5,
    "a lower bound of the root": lambda v, fix, eps: (v / fix).sqrt().clamp(min=eps),
}
"""Denominators from the second moment v, its bias correction and eps, by where eps stands."""


class Reference(Optimizer):
    """Adam (D. Kingma and J. Ba, arXiv:1412.6980), with `beta1` None RMSprop without momentum.

    `correct` says which moments' bias is corrected, `ahead` how many steps the correction counts
    ahead, `eps_place` is one of `EPS`. There is no weight decay.
    """

    def __init__(  # noqa: PLR0913  # each is a place where ports differ
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        beta1: float | None = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        *,
        correct: tuple[bool, bool] = (True, True),
        ahead: int = 0,
        eps_place: str = "outside",
    ) -> None:
        super().__init__(params, {"lr": lr})
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.correct, self.ahead, self.denominator = correct, ahead, EPS[eps_place]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ANN401, ARG002
        """Take one step on the gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state.update(step=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
                state["step"] += 1
                t = max(state["step"] + self.ahead, 1)
                m, v = state["m"], state["v"]
                v.mul_(self.beta2).add_((1 - self.beta2) * p.grad.square())
                fix2 = 1 - self.beta2**t if self.correct[1] else 1.0
                if self.beta1 is None:
                    p.sub_(group["lr"] * p.grad / self.denominator(v, fix2, self.eps))
                    continue
                m.mul_(self.beta1).add_((1 - self.beta1) * p.grad)
                fix1 = 1 - self.beta1**t if self.correct[0] else 1.0
                p.sub_(group["lr"] * (m / fix1) / self.denominator(v, fix2, self.eps))
