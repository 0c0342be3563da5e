"""The best report that never looks at the image: what a score must beat to mean anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrg_r1.findings import DISEASES, FINDINGS, Labels, Status
from mrg_r1.metrics.clinical import positives
from mrg_r1.metrics.cosine import EPSILON, signed


def best_for_f1(references: Sequence[Labels]) -> Labels:
    """The constant labels of highest micro-F1 over 13 findings, uncertain counted as positive.

    Exact: claiming k findings is best with the k most frequent, so only k is to be found.
    """
    frequency = positives(references, "positive")[:, : len(DISEASES)].mean(axis=0)  # (13,)
    order = np.argsort(-frequency, kind="stable")
    claimed = np.arange(1, len(DISEASES) + 1)
    f1 = 2 * np.cumsum(frequency[order]) / (claimed + frequency.sum())
    best = order[: f1.argmax() + 1]
    return Labels.of({FINDINGS[j]: Status.POSITIVE for j in best if frequency[j] > 0})


def best_for_ccs(references: Sequence[Labels]) -> Labels:
    """The constant labels of highest mean CCS (eq. 5).

    Exact: the mean cosine is the dot product of the constant's direction with the mean m of the
    references' directions, so with k findings stated it is highest for the k largest |m_j|,
    each with m_j's sign, and only k is to be found.
    """
    vectors = signed(references)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True) + EPSILON
    mean = (vectors / norms).mean(axis=0)  # (13,)
    order = np.argsort(-np.abs(mean), kind="stable")
    norm = np.sqrt(np.arange(1, len(DISEASES) + 1)) + EPSILON
    cosine = np.cumsum(np.abs(mean)[order]) / norm
    best = order[: cosine.argmax() + 1]
    sign = {1.0: Status.POSITIVE, -1.0: Status.NEGATIVE}
    return Labels.of({FINDINGS[j]: sign[float(np.sign(mean[j]))] for j in best if mean[j] != 0})
