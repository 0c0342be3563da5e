"""Labels of many reports as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mrg_r1.findings import FINDINGS, Labels

Floats: TypeAlias = NDArray[np.float64]


def classes_of(labels: Sequence[Labels]) -> NDArray[np.uint8]:
    """CheXbert classes of n reports in head order, (n, 14)."""
    # Through bytes: four times as fast as numpy reading tuples of enum members.
    packed = b"".join(bytes(row.statuses) for row in labels)
    return np.frombuffer(packed, dtype=np.uint8).reshape(-1, len(FINDINGS))
