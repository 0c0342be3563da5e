"""The CheXbert cosine similarity (CCS) and its margin (MCCS): eqs. 3 to 6, as array functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrg_r1.findings import DISEASES, Labels, Status
from mrg_r1.metrics.arrays import Floats, classes_of

EPSILON = 1e-8
"""Added to each norm (eq. 5), so that a report without labels has cosine 0."""


def signed(
    labels: Sequence[Labels], *, uncertain: float = 1.0, negative_weight: float = 1.0
) -> Floats:
    """Label vectors over the 13 findings without No Finding (eqs. 3 and 4).

    Args:
        labels: n labels.
        uncertain: value of an uncertain finding; 1 in the paper.
        negative_weight: a negative finding becomes minus this; 1 in the paper.

    Returns:
        Array (n, 13): positive 1, negative `-negative_weight`, blank 0.
    """
    values = np.zeros(len(Status))
    values[Status.POSITIVE] = 1.0
    values[Status.NEGATIVE] = -negative_weight
    values[Status.UNCERTAIN] = uncertain
    return values[classes_of(labels)[:, : len(DISEASES)]]


def ccs(generated: Floats, reference: Floats) -> Floats:
    """Cosine of each pair of rows, eq. 5: (n, 13) and (n, 13) to (n,), values in [-1, 1].

    Rows broadcast, so one vector can be compared with many. A zero row has cosine 0.
    """
    norms = np.linalg.norm(generated, axis=-1) + EPSILON
    reference_norms = np.linalg.norm(reference, axis=-1) + EPSILON
    return np.sum(generated * reference, axis=-1) / (norms * reference_norms)


def mccs(cosine: Floats, margin: float) -> Floats:
    """Margin-shaped cosine, eq. 6: [-1, 1] to [0, 1], 0 at or below the margin (in (-1, 1))."""
    return np.maximum((cosine - margin) / (1.0 - margin), 0.0)
