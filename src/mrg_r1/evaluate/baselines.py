"""Systems that never look at the image, or only look it up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mrg_r1.evaluate.systems import Known, Predictions
from mrg_r1.findings import Labels
from mrg_r1.metrics.constant import best_for_ccs, best_for_f1

CONSTANT_NORMAL = (
    "Heart size is normal. The mediastinal contours are normal. The lungs are clear, without "
    "focal opacity. No pneumothorax or pleural effusion. No acute bony abnormality."
)
"""The report of a system that calls every study normal."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the evaluation.

    Attributes:
        name: of the system or baseline.
        reports: its texts, one a sample; empty where it is labels without a text.
        predictions: the system's, in the order of the samples; empty for a baseline.
        labels: of every sample alike, where there is no text.
    """

    name: str
    reports: Sequence[str]
    predictions: Predictions = ()
    labels: Labels | None = None


def baselines(
    samples: Predictions,
    known: Known,
    basis: Sequence[str],
    *,
    oracle: bool,
    nearest: Mapping[str, str] | None,
    seed: int,
) -> Iterator[Row]:
    """The rows that stand beside every system.

    Args:
        samples: what is asked for.
        known: has read the basis.
        basis: references that the best constants are chosen on and random reports taken from.
        oracle: whether the basis is the evaluated references, from which no report is taken.
        nearest: the nearest training report by image, by sample id.
        seed: of the random reports.
    """
    normal, *taken = with_texts(samples, None if oracle else basis, nearest=nearest, seed=seed)
    yield normal
    for metric in ("f1", "ccs"):
        name = f"constant-best-{metric}{'-oracle' if oracle else ''}"
        yield Row(name, (), labels=best_constant(known.label(basis), metric))
    yield from taken


def with_texts(
    samples: Predictions,
    training: Sequence[str] | None,
    *,
    nearest: Mapping[str, str] | None,
    seed: int,
) -> Iterator[Row]:
    """The baselines that are texts: a normal report first, then training reports if there are any.

    Args:
        samples: what is asked for.
        training: references of the training studies.
        nearest: the nearest training report by image, by sample id.
        seed: of the random reports.
    """
    yield Row("constant-normal", [CONSTANT_NORMAL] * len(samples))
    if training is not None:
        yield Row("random-train", _random(samples, training, seed))
    if nearest is not None:
        yield Row("nearest-train", [nearest[p.id] for p in samples])


def best_constant(references: Sequence[Labels], metric: Literal["f1", "ccs"]) -> Labels:
    """The constant labels that score best on these references, exactly.

    Args:
        references: at least one; labels of training references, unless an oracle is wanted.
        metric: 'f1' (micro over 13 findings, uncertain as positive) or 'ccs' (mean of eq. 5).
    """
    return best_for_f1(references) if metric == "f1" else best_for_ccs(references)


def _random(samples: Predictions, basis: Sequence[str], seed: int) -> list[str]:
    """A training report for each study; by sorted ids, so the order of samples does not matter."""
    studies = sorted({p.study_id for p in samples})
    drawn = np.random.default_rng(seed).integers(len(basis), size=len(studies))
    report = {study: basis[int(i)] for study, i in zip(studies, drawn, strict=True)}
    return [report[p.study_id] for p in samples]
