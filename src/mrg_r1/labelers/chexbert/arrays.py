"""What the networks of CheXbert exchange."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

DIGITS = 12
"""Digits of a digest in an identity."""


class Network(Protocol):
    """What turns token ids into logits.

    `identity` holds its name and digest, `pieces` the size of its vocabulary, `budget` the padded
    tokens of a batch that suit it.
    """

    @property
    def identity(self) -> str: ...  # noqa: D102

    @property
    def pieces(self) -> int: ...  # noqa: D102

    @property
    def budget(self) -> int: ...  # noqa: D102

    def logits(self, ids: Ints, mask: Ints) -> Floats:
        """Logits, (B, 14, 4), of token ids and their mask, both (B, T)."""
        ...
