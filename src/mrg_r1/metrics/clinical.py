"""Clinical efficacy (CE): precision, recall and F1 of the findings reports claim, and CCS.

The literature averages CE in many ways and seldom says which; here every variant is computed and
named. Conventions are f1chexbert's and scikit-learn's with `zero_division=0`: 0/0 counts as 0,
so a finding absent from predictions and references lowers a macro average.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mrg_r1.findings import DISEASES, FINDINGS, FIVE, Labels, Status
from mrg_r1.metrics.arrays import Floats, classes_of
from mrg_r1.metrics.cosine import ccs, mccs, signed
from mrg_r1.metrics.score import Measure, Signature, mean
from mrg_r1.records import FindingScore

Uncertain = Literal["positive", "negative"]

MARGIN = 0.3
"""Margin of the `mccs` score; the paper does not state its own."""

CE = ("ce_precision", "ce_recall", "ce_f1")
AVERAGES = ("micro", "macro", "weighted", "example")
LABEL_SETS = (FINDINGS, DISEASES, FIVE)
MAPPINGS: tuple[Uncertain, ...] = ("positive", "negative")

_COLUMNS = tuple([FINDINGS.index(finding) for finding in findings] for findings in LABEL_SETS)


def clinical_measures(
    generated: Sequence[Labels], reference: Sequence[Labels], labeler: str, margin: float = MARGIN
) -> tuple[Measure, ...]:
    """CE in every variant, CCS and MCCS, and findings claimed or wrong in each report on average.

    A polarity error is a finding that one report affirms and the other denies, an omission one
    that the reference affirms and the report leaves out, an invention the reverse. All are counted
    over 13 findings; where either side is uncertain it is none of them.

    Args:
        generated: labels of the n reports.
        reference: labels of their references.
        labeler: identity of the labeler of both, for the signatures.
        margin: of the `mccs` score.
    """
    n = len(generated)
    cosine = ccs(signed(generated), signed(reference))
    rate = positives(generated, "positive")[:, : len(DISEASES)].sum(axis=1, dtype=np.float64)
    thirteen = Signature(labeler=labeler, uncertain="positive", labels=len(DISEASES), n=n)
    certain = Signature(labeler=labeler, labels=len(DISEASES), n=n)
    shaped = Signature(
        labeler=labeler, uncertain="positive", labels=len(DISEASES), margin=margin, n=n
    )
    return (
        *(_efficacy(generated, reference, uncertain, labeler) for uncertain in MAPPINGS),
        mean("ccs", thirteen, cosine),
        mean("mccs", shaped, mccs(cosine, margin)),
        mean("positive_rate", thirteen, rate),
        *(mean(name, certain, wrong) for name, wrong in errors(generated, reference).items()),
    )


def errors(generated: Sequence[Labels], reference: Sequence[Labels]) -> dict[str, Floats]:
    """Numbers of polarity errors, omissions and inventions of each of n reports, (n,) each."""
    found = _errors(generated, reference)
    return {
        name: cells[:, : len(DISEASES)].sum(axis=1).astype(np.float64)
        for name, cells in found.items()
    }


def _errors(
    generated: Sequence[Labels], reference: Sequence[Labels]
) -> dict[str, NDArray[np.bool_]]:
    """Which findings are wrong in which way, (n, 14) each."""
    ours, theirs = classes_of(generated), classes_of(reference)
    affirmed, denied = theirs == Status.POSITIVE, theirs == Status.NEGATIVE
    flipped = affirmed & (ours == Status.NEGATIVE) | denied & (ours == Status.POSITIVE)
    return {
        "polarity_errors": flipped,
        "omissions": affirmed & (ours == Status.BLANK),
        "inventions": (theirs == Status.BLANK) & (ours == Status.POSITIVE),
    }


def finding_scores(
    generated: Sequence[Labels], reference: Sequence[Labels], uncertain: Uncertain = "positive"
) -> tuple[FindingScore, ...]:
    """Counts and rates of each of the 14 findings."""
    counts = _counts(positives(generated, uncertain), positives(reference, uncertain)).sum(axis=1)
    wrong = np.stack([cells.sum(axis=0) for cells in _errors(generated, reference).values()])
    rows = zip(FINDINGS, counts.T, rates(*counts).T, wrong.T, strict=True)
    return tuple(
        FindingScore(finding.value, *map(int, cells), *map(float, ratios), *map(int, wrongs))
        for finding, cells, ratios, wrongs in rows
    )


def positives(labels: Sequence[Labels], uncertain: Uncertain) -> NDArray[np.bool_]:
    """Which findings count as positive: (n, 14)."""
    classes = classes_of(labels)
    claimed = classes == Status.POSITIVE
    return claimed | (classes == Status.UNCERTAIN) if uncertain == "positive" else claimed


def rates(tp: Floats, fp: Floats, fn: Floats) -> Floats:
    """Precision, recall and F1 of counts of any shape (...), as (3, ...); 0/0 is 0."""
    return np.stack([_ratio(tp, tp + fp), _ratio(tp, tp + fn), _ratio(2 * tp, 2 * tp + fp + fn)])


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _counts(predicted: NDArray[np.bool_], actual: NDArray[np.bool_]) -> Floats:
    """True positives, false positives and false negatives, each 0 or 1: (3, n, 14)."""
    cells = [predicted & actual, predicted & ~actual, ~predicted & actual]
    return np.stack(cells).astype(np.float64)


def _efficacy(
    generated: Sequence[Labels], reference: Sequence[Labels], uncertain: Uncertain, labeler: str
) -> Measure:
    """CE in all averages over 14, 13 and 5 findings, under one mapping of uncertain."""
    counts = _counts(positives(generated, uncertain), positives(reference, uncertain))
    per_report = [rates(*counts[..., columns].sum(axis=-1)) for columns in _COLUMNS]  # (3, n) each
    terms = np.concatenate([*counts, *(r.T for r in per_report), np.ones((len(generated), 1))], 1)
    names = tuple(
        (
            metric,
            Signature(
                labeler=labeler,
                uncertain=uncertain,
                labels=len(findings),
                avg=average,
                absent=None if average == "micro" else 0,
                n=len(generated),
            ),
        )
        for findings in LABEL_SETS
        for average in AVERAGES
        for metric in CE
    )
    return Measure(names, terms, _combine)


def _combine(sums: Floats) -> Floats:
    """Sums (..., 52) of `_efficacy`'s terms to CE (..., 36), by label set, average and metric."""
    width = len(FINDINGS)
    counts = np.moveaxis(sums[..., : 3 * width].reshape(*sums.shape[:-1], 3, width), -2, 0)
    scores: list[Floats] = []
    for index, columns in enumerate(_COLUMNS):
        tp, fp, fn = counts[..., columns]  # (..., labels) each
        each = rates(tp, fp, fn)  # (3, ..., labels)
        support = tp + fn
        example = sums[..., 3 * width + 3 * index :][..., :3] / sums[..., -1:]
        scores += [
            *rates(tp.sum(axis=-1), fp.sum(axis=-1), fn.sum(axis=-1)),
            *each.mean(axis=-1),
            *(_ratio((rate * support).sum(axis=-1), support.sum(axis=-1)) for rate in each),
            *np.moveaxis(example, -1, 0),
        ]
    return np.stack(scores, axis=-1)
