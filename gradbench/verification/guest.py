"""A process in which an optimizer trains on values and gradients alone, without network or data.

The process that holds network, target and data is `gradbench.verification.witness`. It sends
pickles, and takes JSON and bare numbers: nothing that comes from an optimizer's process is ever
unpickled.
"""

import json
import pickle
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor, nn

from gradbench.optimizers.factory import UnsupportedError, resolve
from gradbench.optimizers.stepping import call_step, set_mode
from gradbench.torch_state import seed_globals

UNFIT = {
    "create_graph": "it differentiates gradients",
    "forward_closure": "it runs the backward pass itself",
    "fused": "it runs the backward pass itself",
    "model": "it is built from the network",
}
"""Requirements that values and gradients alone cannot meet, with the reason."""


def shell(named: Sequence[tuple[str, Tensor]]) -> nn.Module:
    """Return a module with parameters of these names and values, and nothing else in it."""
    root = nn.Module()
    for name, value in named:
        *path, last = name.split(".")
        holder = root
        for part in path:
            if part not in dict(holder.named_children()):
                holder.add_module(part, nn.Module())
            holder = holder.get_submodule(part)
        holder.register_parameter(last, nn.Parameter(value.clone()))
    return root


def to_bytes(values: Sequence[Tensor]) -> bytes:
    """Return the numbers of some tensors, one after another."""
    return b"".join(
        v.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes() for v in values
    )


def from_bytes(data: bytes, like: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors of these shapes and types, from their numbers.

    Raises ValueError where the number of bytes does not match.
    """
    sizes = [each.numel() * each.element_size() for each in like]
    if len(data) != sum(sizes):
        raise ValueError(f"{sum(sizes)} bytes of numbers are due, not {len(data)}")
    found, at = [], 0
    for each, size in zip(like, sizes, strict=True):
        part = torch.frombuffer(bytearray(data[at : at + size]) or bytearray(1), dtype=torch.uint8)
        part = part[:size].view(each.dtype)
        found.append(part.reshape(each.shape).to(each.device))
        at += size
    return found


class Guest:
    """The optimizer's side of a training: steps on gradients computed in the other process."""

    def __init__(self, connection: Connection, asked: dict[str, Any]) -> None:
        self.connection = connection
        torch.set_num_threads(1)
        torch.set_default_dtype(getattr(torch, asked["dtype"]))
        seed_globals(asked["seed"])
        factory = resolve(asked["optimizer"])
        self.requirements = factory.requirements
        unfit = [why for name, why in UNFIT.items() if getattr(self.requirements, name)]
        if unfit:
            raise UnsupportedError(unfit[0])
        network = shell(asked["parameters"])
        self.parameters = list(network.parameters())
        self.spent = self.calls = 0
        self.optimizer = factory.build(
            network,
            factory.chosen(asked["hyperparameters"]),
            steps=asked["budget"],
            examples=asked["budget"] * asked["batch"],
        )
        self.schedules = (
            factory.schedules.put(self.optimizer, lambda: self.spent, asked["budget"])
            if factory.schedules
            else []
        )

    def tell(self, kind: str, **more: object) -> None:
        """Send a message of this kind, then the parameters' values."""
        self.connection.send_bytes(json.dumps({"kind": kind, **more}).encode())
        self.connection.send_bytes(to_bytes(self.parameters))

    def closure(self) -> Tensor:
        """Request the loss from the other process, and its gradients if wanted."""
        gradients = torch.is_grad_enabled()
        self.calls += 1
        if gradients:
            self.optimizer.zero_grad()
        self.tell("evaluate", gradients=gradients)
        loss, given = pickle.loads(self.connection.recv_bytes())  # noqa: S301  # from the witness
        for parameter, grad in zip(self.parameters, given, strict=gradients):
            if parameter.requires_grad and grad is not None:
                before = parameter.grad
                parameter.grad = grad if before is None else before.add_(grad)
        return torch.tensor(loss, requires_grad=gradients)

    def step(self) -> None:
        """Take one step, as the trial's own loop does."""
        before = self.calls
        if self.requirements.gradients_first or not self.requirements.closure:
            self.closure()
        call_step(self.optimizer, self.requirements, self.closure)
        self.spent += max(1, self.calls - before)
        for schedule in self.schedules:
            schedule.step()

    def serve(self) -> None:
        """Run requested steps and switches of mode, until EOFError at the end of the connection."""
        while True:
            asked = pickle.loads(self.connection.recv_bytes())  # noqa: S301  # from the witness
            if asked == "step":
                self.step()
            else:
                set_mode(self.optimizer, self.requirements, asked)
            self.tell("done")


def main(pipe: int) -> None:
    """Run the optimizer's process on the socket of this file descriptor."""
    connection = Connection(pipe)
    asked = pickle.loads(connection.recv_bytes())  # noqa: S301  # from the witness
    sys.path[:] = asked["path"]
    try:
        guest = Guest(connection, asked)
        requirements = {"closure": guest.requirements.closure, "modes": guest.requirements.modes}
        connection.send_bytes(json.dumps({"kind": "ready", "needs": requirements}).encode())
        guest.serve()
    except EOFError:  # the connection was closed
        pass
    except BaseException as error:  # noqa: BLE001  # whatever it is, the other process records it
        kind = "unfit" if isinstance(error, UnsupportedError) else "raised"
        why = f"{type(error).__name__}: {error}" if kind == "raised" else str(error)
        connection.send_bytes(json.dumps({"kind": kind, "why": why}).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]))
