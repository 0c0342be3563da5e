"""Linear layers whose weights a CPU reads in the order it likes.

For each product PyTorch puts a float32 weight into that order again; on a report of 50 tokens this
costs about as much as the product. oneDNN does it once, through the operators that PyTorch's own
compiler calls. They are no public interface: where they are missing, layers stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def pack(module: nn.Module) -> None:
    """Packs, in place, every linear layer of a module that will only be read, on a CPU."""
    if not _available():
        return
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                setattr(parent, name, _Packed(child.weight.detach(), child.bias.detach()))


class _Packed(nn.Module):
    """A linear layer for inference; the same numbers but for the order of sums."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        self.bias = bias

    def forward(self, rows: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")

    def __reduce__(self) -> tuple[type[_Packed], tuple[Tensor, Tensor]]:
        return _Packed, (self.weight.to_dense(), self.bias)  # a packed tensor has no storage


def _available() -> bool:
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    )
