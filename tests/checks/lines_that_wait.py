"""Lines of Python that make the host wait for a device, and lines that do not."""

import math

import torch

LINES = {
    True: """
        x.add_(x, alpha=s)
        torch.sub(x, x, alpha=-s)
        x.addcdiv_(x, x, value=s)
        torch.addmm(q, q, q, beta=s)
        torch._foreach_add_([x], [x], alpha=s)
        torch._foreach_lerp_([x], [x], s)
        torch._foreach_pow([x], s)
        torch.full((3,), s)
        x.new_full((3,), s)
        torch.tensor([s])
        x.new_tensor([1.0, s])
        torch.zeros(i)
        torch.linspace(0, s, 3)
        x[i]
        x[i] = 0.0
        x[:i]
        x[None, i]
        x.narrow(0, i, 1)
        x[m]
        x.masked_select(m)
        torch.where(m)
        x.nonzero()
        torch.equal(x, x)
        torch.allclose(x, x)
        torch.isclose(x, x).all().item()
        bool(m.any())
        max(s, s)
        s and 1
        math.sqrt(s)
        range(i)
        [1, 2][i]
        f"{s}"
        repr(x)
        x.tolist()
        x.to("cpu")
        x.to(h)
        torch.empty_like(x, device="cpu").copy_(x)
        h.copy_(x)
        torch.nn.functional.dropout(x, s)
        torch.nn.utils.clip_grad_norm_([x], 1.0, error_if_nonfinite=True)
        torch.linalg.inv(q)
        torch.linalg.pinv(q)
        torch.linalg.matrix_norm(q, 2)
        torch.linalg.eigh(q)
    """,
    False: """
        x.add_(x, alpha=0.5)
        x.mul_(s)
        x.lerp_(x, s)
        x.clamp_(s, s)
        s**2 + 2**s
        x.fill_(s)
        x.masked_fill_(m, s)
        torch._foreach_mul_([x], s)
        torch._foreach_mul_([x], [2.0])
        torch.full((3,), 1.0)
        torch.as_tensor(s)
        torch.tensor([1.0], device=x.device)
        x.new_tensor([1.0])
        torch.stack([s, s])
        x[j]
        x[m] = 0.0
        torch.where(m, x, s)
        s > 0
        m.any()
        h0 * x
        h.to(x.device) + x
        x.copy_(h)
        h0.item()
        h[h > 0]
        x.to(torch.float64)
        x.sort()
        x.norm()
        torch.linalg.matrix_norm(q)
        torch.linalg.qr(q)
        torch.nn.utils.clip_grad_norm_([x], 1.0)
        len(x)
        x.data_ptr()
    """,
}
"""Lines that wait and lines that do not, of `tensors`."""


def tensors(device):
    """Return what the lines name: on the device, and on the host."""
    there = {
        "x": torch.tensor([1.0, 2.0, 3.0, 4.0]),
        "s": torch.tensor(0.5),
        "i": torch.tensor(1),
        "j": torch.tensor([0, 2]),
        "m": torch.tensor([True, False, True, False]),
        "q": 2 * torch.eye(4),
    }
    there = {name: tensor.to(device) for name, tensor in there.items()}
    there["x"].grad = torch.ones(4).to(device)
    return there, {"h": torch.ones(4), "h0": torch.tensor(2.0), "torch": torch, "math": math}
