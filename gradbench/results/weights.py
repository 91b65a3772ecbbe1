"""Final weights as text that travels in a record, and as a file that any numpy can read."""

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def to_text(values: "Sequence[Tensor]") -> str:
    """Return the numbers of some tensors, as an .npz file in base64.

    Those of bfloat16, which numpy lacks, are in float32.
    """
    import numpy as np
    import torch

    packed = io.BytesIO()
    plain = [v.float() if v.dtype is torch.bfloat16 else v for v in values]
    arrays = {f"parameter{index:04}": value.numpy() for index, value in enumerate(plain)}
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    return base64.b64encode(packed.getvalue()).decode()


def to_file(text: str) -> bytes:
    """Return the bytes of the .npz file that `to_text` has encoded."""
    return base64.b64decode(text)


_NAME = re.compile(r"weights/[\w-]+\.npz")


def carried(trial: dict[str, Any], folder: Path) -> None:
    """Replace the name of a recorded trial's weights file by the file's content, in base64.

    The name is removed where the run's folder has no such file.
    """
    name = trial.pop("weights", None)
    if isinstance(name, str) and _NAME.fullmatch(name) and (folder / name).is_file():
        trial["weights"] = base64.b64encode((folder / name).read_bytes()).decode()


def load(path: str) -> "list[Tensor]":
    """Return the tensors of a weights file, in the order of the parameters."""
    import numpy as np
    import torch

    with np.load(path, allow_pickle=False) as stored:
        return [torch.from_numpy(stored[name]) for name in sorted(stored.files)]
