"""How far two figures order the same things alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations


def kendall(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Kendall's tau-b of paired figures, in [-1, 1]; None where either orders nothing.

    Raises:
        ValueError: the sequences differ in length.
    """
    _check(a, b)
    pairs = [(_sign(a[i] - a[j]), _sign(b[i] - b[j])) for i, j in combinations(range(len(a)), 2)]
    ordered = math.prod(sum(pair[side] != 0 for pair in pairs) for side in (0, 1))
    return sum(x * y for x, y in pairs) / math.sqrt(ordered) if ordered else None


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rho of paired figures, in [-1, 1]: the correlation of their mean ranks.

    None where either orders nothing.

    Raises:
        ValueError: the sequences differ in length.
    """
    _check(a, b)
    x, y = _centred_ranks(a), _centred_ranks(b)
    scale = math.sqrt(sum(r * r for r in x) * sum(r * r for r in y))
    return sum(r * s for r, s in zip(x, y, strict=True)) / scale if scale else None


def _check(a: Sequence[float], b: Sequence[float]) -> None:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} figures but {len(b)} to compare them with")


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _centred_ranks(values: Sequence[float]) -> list[float]:
    """Mean ranks minus their mean: half of (how many are lower - how many are higher)."""
    return [sum(_sign(value - other) for other in values) / 2 for value in values]
