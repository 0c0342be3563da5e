"""Which of several reports of one study the others agree with most; no reference is needed.

Reports that a policy samples of one image differ by chance. The one whose labels have the highest
mean MCCS with the others' is the best guess at what the policy knows (choosing by least expected
loss, with the paper's reward as the gain), and the share of reports that say the same of a finding
is how sure it is of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mrg_r1.findings import FINDINGS, Finding, Labels, Status
from mrg_r1.labelers import Labeler
from mrg_r1.metrics.arrays import Floats, classes_of
from mrg_r1.metrics.clinical import MARGIN
from mrg_r1.metrics.cosine import ccs, mccs, signed


@dataclass(frozen=True, slots=True)
class Consensus:
    """The chosen one of N reports, and how far they agree.

    Attributes:
        chosen: the index of the chosen report.
        expected: mean MCCS of each report with the others', in [0, 1]; 0 for a completion without
            a report, and for a report that is alone.
        shares: by finding (14, in CheXbert's order) and status (`Status`), the share of the N
            reports that say so, in [0, 1]; a completion without a report says nothing: blank.
    """

    chosen: int
    expected: tuple[float, ...]
    shares: tuple[tuple[float, ...], ...]

    def confidence(self, finding: Finding, status: Status) -> float:
        """The share of the reports that give this finding this status, in [0, 1]."""
        return self.shares[FINDINGS.index(finding)][status]


def consensus(labels: Sequence[Labels | None], *, margin: float = MARGIN) -> Consensus:
    """Chooses among N reports by their labels.

    Two reports that say nothing of the 13 findings agree fully (the paper's cosine would be 0), or
    a policy that is sure of a bare 'normal chest' could never say so. Where the margin makes all
    scores equal the cosine decides, then the order.

    Args:
        labels: of each report; None for a completion without a report, which is chosen only where
            no other is there.
        margin: of MCCS (eq. 6).

    Raises:
        ValueError: no reports.
    """
    if not labels:
        raise ValueError("consensus: no reports to choose from")
    written = np.array([row is not None for row in labels])  # (N,)
    rows = [Labels.of({}) if row is None else row for row in labels]
    cosines = _cosines(rows)  # (N, N)
    others = written[None, :] & ~np.eye(len(rows), dtype=bool)
    count = np.maximum(others.sum(axis=1), 1)
    gain: Floats = np.where(others, mccs(cosines, margin), 0).sum(axis=1) / count
    tie: Floats = np.where(others, cosines, 0).sum(axis=1) / count
    # Sums in another order differ in the last digits; that must not choose.
    keys: Floats = np.stack([-np.round(tie, 9), -np.round(gain, 9), ~written])  # (3, N)
    order = np.lexsort(keys)  # by the last row first; stable
    statuses = np.arange(len(Status))
    shares = (classes_of(rows)[:, :, None] == statuses).mean(axis=0)  # (14, 4)
    return Consensus(
        chosen=int(order[0]),
        expected=tuple(map(float, np.where(written, gain, 0))),
        shares=tuple(tuple(map(float, row)) for row in shares),
    )


def labels_of(reports: Sequence[str], labeler: Labeler) -> list[Labels | None]:
    """Labels of each report, None for an empty one, of which a labeler would say No Finding."""
    written = [report for report in reports if report]
    found = iter(labeler.label(written) if written else ())
    return [next(found) if report else None for report in reports]


def _cosines(labels: Sequence[Labels]) -> Floats:
    """CCS of every pair, (N, N); 1 where both are silent."""
    vectors = signed(labels)  # (N, 13)
    silent = np.abs(vectors).sum(axis=1) == 0  # (N,)
    cosines = ccs(vectors[:, None], vectors[None, :])
    return np.where(silent[:, None] & silent[None, :], 1.0, cosines)
