"""The scores of one system: clinical efficacy, word overlap, and its form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mrg_r1.completion import parse
from mrg_r1.evaluate.baselines import CONSTANT_NORMAL, Row
from mrg_r1.evaluate.systems import Known, Predictions, check_system, groups, read_once, texts
from mrg_r1.findings import Labels
from mrg_r1.labelers import Labeler
from mrg_r1.metrics.clinical import clinical_measures, finding_scores
from mrg_r1.metrics.meteor import meteor_measure
from mrg_r1.metrics.overlap import References, overlap_measures
from mrg_r1.metrics.radeval import Pair, PairScores
from mrg_r1.metrics.score import RESAMPLES, Estimates, Measure, Signature, estimate, mean
from mrg_r1.metrics.text import TextPreparation
from mrg_r1.records import Score, SystemScores


@dataclass(frozen=True, slots=True)
class Reference:
    """What systems are scored against, read once for all of them."""

    labels: Sequence[Labels]
    written: Sequence[str]
    known: Known
    texts: References
    preparation: TextPreparation
    unit: str
    groups: Sequence[str]
    meteor: bool = False
    judged: PairScores | None = None

    @classmethod
    def of(
        cls,
        samples: Predictions,
        known: Known,
        preparation: TextPreparation,
        *,
        meteor: bool = False,
        judged: PairScores | None = None,
    ) -> Reference:
        """The references of these samples, which `known` has read."""
        written = [p.reference for p in samples]
        prepared = References.of([preparation.reference(text) for text in written])
        unit, of = groups(samples)
        labels = known.label(written)
        return cls(labels, written, known, prepared, preparation, unit, of, meteor, judged)


def pairs(rows: Sequence[Row], samples: Predictions) -> Iterator[Pair]:
    """Each report of the rows that have texts, with its reference."""
    for row in rows:
        if row.labels is None:
            yield from zip(row.reports, (p.reference for p in samples), strict=True)


def system_scores(
    rows: Sequence[Row], reference: Reference, *, resamples: int, seed: int
) -> list[SystemScores]:
    """Scores of all rows; those after the first with their differences to the first."""
    first: Estimates | None = None
    found: list[SystemScores] = []
    for row in rows:
        labels = _labels(row, reference)
        measures = _measures(row, labels, reference)
        made = estimate(measures, reference.groups, resamples=resamples, seed=seed)
        found.append(
            SystemScores(
                name=row.name,
                n=len(labels),
                scores=(*made.scores(), _distinct(row, len(labels))),
                findings=finding_scores(labels, reference.labels),
                differences=() if first is None else made.minus(first, rows[0].name),
                bootstrap=f"{reference.unit}:{len(set(reference.groups))}"
                f"|resamples:{resamples}|seed:{seed}",
            )
        )
        first = first or made
    return found


def score_system(
    name: str,
    predictions: Predictions,
    labeler: Labeler,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> SystemScores:
    """Scores of one system on raw texts, among them those of its form: `format` and `distinct`.

    `format` is the share of completions without a violation; a system that hands over reports
    only has none. `distinct` is the share of distinct report texts, a count without interval.

    Raises:
        DataError: there is nothing to score, an id occurs twice, or a reference is empty.
        ConfigError: fewer than one resample.
    """
    check_system(name, predictions)
    row = Row(name, [p.report for p in predictions], predictions)
    known = read_once(labeler, texts({name: predictions}))
    return _alone(row, predictions, known, resamples, seed)


def constant_normal(
    predictions: Predictions, labeler: Labeler, *, resamples: int = RESAMPLES, seed: int = 0
) -> SystemScores:
    """Scores of the system that writes `CONSTANT_NORMAL` for every sample."""
    check_system("constant-normal", predictions)
    row = Row("constant-normal", [CONSTANT_NORMAL] * len(predictions))
    known = read_once(labeler, [CONSTANT_NORMAL, *(p.reference for p in predictions)])
    return _alone(row, predictions, known, resamples, seed)


def _alone(row: Row, samples: Predictions, known: Known, resamples: int, seed: int) -> SystemScores:
    reference = Reference.of(samples, known, TextPreparation.of("raw"))
    (scores,) = system_scores([row], reference, resamples=resamples, seed=seed)
    return scores


def _labels(row: Row, reference: Reference) -> Sequence[Labels]:
    if row.labels is not None:
        return [row.labels] * len(reference.labels)
    return reference.known.label(row.reports)


def _measures(row: Row, labels: Sequence[Labels], reference: Reference) -> list[Measure]:
    measures = list(clinical_measures(labels, reference.labels, reference.known.identity))
    if row.labels is None:
        prepared = [reference.preparation.prediction(text) for text in row.reports]
        name = reference.preparation.name
        measures += overlap_measures(prepared, reference.texts, name)
        if reference.meteor:
            measures.append(meteor_measure(prepared, reference.texts.texts, name))
        if reference.judged is not None:
            measures += reference.judged.measures(row.reports, reference.written)
    return measures + _form(row.predictions)


def _form(predictions: Predictions) -> list[Measure]:
    """The share of fully compliant completions, where there are completions."""
    if not predictions or any(p.report and not p.completion for p in predictions):
        return []
    compliant = np.array([not parse(p.completion).violations for p in predictions], dtype=float)
    return [mean("format", Signature(n=len(predictions)), compliant)]


def _distinct(row: Row, n: int) -> Score:
    share = len(set(row.reports)) / n if row.labels is None else 1 / n
    return Score("distinct", share, low=share, high=share, signature=str(Signature(n=n)))
