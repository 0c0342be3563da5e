"""How far two labelers agree on the same reports. Neither of them is the reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mrg_r1.findings import DISEASES, FINDINGS, FIVE, Labels, Status
from mrg_r1.metrics.arrays import classes_of

Counts: TypeAlias = NDArray[np.int64]

STATED: dict[str, tuple[Status, ...]] = {
    "positive": (Status.POSITIVE,),
    "negative": (Status.NEGATIVE,),
    "uncertain": (Status.UNCERTAIN,),
    "positive or uncertain": (Status.POSITIVE, Status.UNCERTAIN),
}
"""What F1 is computed of."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Figures of one finding or of several; None where a figure is 0/0 and so not known.

    Attributes:
        over: the finding, or 'macro-N' or 'micro-N' of N findings.
        cells: pairs of statuses that were compared.
        differ: those that are not equal.
        agreement: share of equal statuses, four classes.
        kappa: Cohen's kappa over four classes, in [-1, 1]; None where both labelers gave all
            reports the same single status.
        f1: in [0, 1], by the keys of `STATED`; None where neither labeler said so.
        counts: cells in which the first said so, the second, and both, by the same keys.
        confusion: cells by the first's class (rows) and the second's, in CheXbert's classes;
            empty for macro lines.
    """

    over: str
    cells: int
    differ: int
    agreement: float
    kappa: float | None
    f1: dict[str, float | None]
    counts: dict[str, tuple[int, int, int]]
    confusion: tuple[tuple[int, ...], ...]


def confusion(ours: Sequence[Labels], theirs: Sequence[Labels]) -> Counts:
    """Reports by our class and their class, for each finding in head order: (14, 4, 4).

    Raises:
        ValueError: the sequences are empty or differ in length.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} labels but {len(theirs)} to compare them with")
    if not ours:
        raise ValueError("no labels to compare")
    classes = len(Status)
    cells = classes * classes_of(ours) + classes_of(theirs)  # (n, 14)
    counts = [np.bincount(column, minlength=classes**2) for column in cells.T]
    return np.stack(counts).reshape(-1, classes, classes)


def agreements(cells: Counts) -> tuple[Agreement, ...]:
    """The figures of each finding, then macro over 14, 13 and 5 findings, then micro over 14.

    A macro line averages each figure over the findings for which it is known.

    Args:
        cells: what `confusion` counted, (14, 4, 4).
    """
    each = {f: _figures(f.value, table) for f, table in zip(FINDINGS, cells, strict=True)}
    macro = (_macro([each[f] for f in findings]) for findings in (FINDINGS, DISEASES, FIVE))
    return (*each.values(), *macro, _figures(f"micro-{len(FINDINGS)}", cells.sum(axis=0)))


def _figures(over: str, table: Counts) -> Agreement:
    """The figures of one table, (4, 4)."""
    total, same = int(table.sum()), int(np.trace(table))
    counts = {name: _counts(table, statuses) for name, statuses in STATED.items()}
    return Agreement(
        over=over,
        cells=total,
        differ=total - same,
        agreement=same / total,
        kappa=_kappa(table),
        f1={name: _f1(*count) for name, count in counts.items()},
        counts=counts,
        confusion=tuple(tuple(map(int, row)) for row in table),
    )


def _counts(table: Counts, statuses: Sequence[Status]) -> tuple[int, int, int]:
    """Cells in which the first gave one of these statuses, the second, and both."""
    chosen = list(statuses)
    both = table[np.ix_(chosen, chosen)].sum()
    return int(table[chosen].sum()), int(table[:, chosen].sum()), int(both)


def _f1(ours: int, theirs: int, both: int) -> float | None:
    return 2 * both / (ours + theirs) if ours + theirs else None


def _kappa(table: Counts) -> float | None:
    """Cohen (1960); in whole numbers until the last division, so that 0/0 is found exactly."""
    total = int(table.sum())
    chance = sum(int(a) * int(b) for a, b in zip(table.sum(axis=1), table.sum(axis=0), strict=True))
    if chance == total**2:
        return None
    return (int(np.trace(table)) * total - chance) / (total**2 - chance)


def _macro(parts: Sequence[Agreement]) -> Agreement:
    cells, differ = sum(part.cells for part in parts), sum(part.differ for part in parts)
    return Agreement(
        over=f"macro-{len(parts)}",
        cells=cells,
        differ=differ,
        agreement=1 - differ / cells,
        kappa=_mean(part.kappa for part in parts),
        f1={name: _mean(part.f1[name] for part in parts) for name in STATED},
        counts={name: _sums(part.counts[name] for part in parts) for name in STATED},
        confusion=(),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _sums(counts: Iterable[tuple[int, int, int]]) -> tuple[int, int, int]:
    ours, theirs, both = map(sum, zip(*counts, strict=True))
    return ours, theirs, both
