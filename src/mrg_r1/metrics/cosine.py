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
    return vectors(labels, entries(uncertain=uncertain, negative_weight=negative_weight))


def entries(*, uncertain: float = 1.0, negative_weight: float = 1.0) -> Floats:
    """The entry of a label vector for each finding and status, (13, 4); the defaults are eq. 3."""
    values = np.zeros(len(Status))
    values[Status.POSITIVE] = 1.0
    values[Status.NEGATIVE] = -negative_weight
    values[Status.UNCERTAIN] = uncertain
    return np.tile(values, (len(DISEASES), 1))


def vectors(labels: Sequence[Labels], entry: Floats) -> Floats:
    """Label vectors (n, 13) by a table of entries (13, 4)."""
    return entry[np.arange(len(DISEASES)), classes_of(labels)[:, : len(DISEASES)]]


def expected_ccs(probabilities: Floats, entry: Floats, reference: Floats) -> Floats:
    """Eq. 5 where the generated labels are probabilities: values in [-1, 1].

    Above the line stands the expected product, below it the root of the expected squared norm.
    Probabilities of 0 and 1 give eq. 5 itself, and a report whose findings are all probably
    blank stays near 0: dividing by the norm of the mean would blow its noise up to a full
    opinion.

    Args:
        probabilities: (n, 13, 4), summing to 1 over the statuses.
        entry: (13, 4), of `entries`.
        reference: (n, 13), of `vectors`.
    """
    products = np.einsum("nfs,fs,nf->n", probabilities, entry, reference)
    norms = np.sqrt(np.einsum("nfs,fs->n", probabilities, entry**2)) + EPSILON
    return products / (norms * (np.linalg.norm(reference, axis=-1) + EPSILON))


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
