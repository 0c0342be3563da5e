"""Grey values before they are brought to 8 bits, with the window that does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Windowed:
    """Values (rows, columns) in the file's own units, shown black at `low` and white at `high`.

    `inverted` exchanges black and white (MONOCHROME1).
    """

    values: NDArray[Any]
    low: float
    high: float
    inverted: bool = False

    def eight_bits(self) -> NDArray[np.uint8]:
        """What a viewer shows, (rows, columns) in [0, 255]."""
        greys = np.clip((self.values - self.low) / ((self.high - self.low) or 1), 0, 1)
        if self.inverted:
            greys = 1 - greys
        return np.rint(greys * 255).astype(np.uint8)
