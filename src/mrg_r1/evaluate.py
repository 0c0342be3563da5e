"""Scores systems side by side, always beside reports that never look at the image.

The paper gives CE over 14 observations without its averaging; every variant is given here. A
report that is empty has blank labels, whatever the labeler makes of no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Literal

import numpy as np

from mrg_r1.completion import parse, render
from mrg_r1.data.predictions import read_predictions
from mrg_r1.errors import DataError
from mrg_r1.findings import Labels
from mrg_r1.labelers import Labeler
from mrg_r1.metrics.clinical import CE, clinical_measures, finding_scores
from mrg_r1.metrics.constant import best_for_ccs, best_for_f1
from mrg_r1.metrics.cosine import ccs, signed
from mrg_r1.metrics.score import RESAMPLES, Measure, Signature, mean, score
from mrg_r1.records import Evaluation, Prediction, Reading, Score, SystemScores
from mrg_r1.rewards import CLINICAL_WEIGHT, FORMAT_WEIGHT, Reward
from mrg_r1.rewards.format import FormatReward
from mrg_r1.rewards.mccs import MccsReward

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "CONSTANT_NORMAL",
    "best_constant",
    "constant_normal",
    "evaluate",
    "read_predictions",
    "readings",
    "score_system",
    "table",
]

CONSTANT_NORMAL = (
    "Heart size is normal. The mediastinal contours are normal. The lungs are clear, without "
    "focal opacity. No pneumothorax or pleural effusion. No acute bony abnormality."
)
"""The report of a system that calls every study normal."""

_HEADLINES = (("micro", 13), ("macro", 13), ("micro", 14), ("macro", 14))
_WHOLE = ("ccs", "format", "distinct")

Predictions = Sequence[Prediction]
Systems = Mapping[str, Predictions]


def evaluate(
    systems: Systems,
    labeler: Labeler,
    *,
    train_references: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Scores of each system, then of the constant reports.

    Each distinct text is labelled once. Studies are resampled alike for all systems.

    Args:
        systems: predictions by name, all with the same ids and references.
        labeler: reads reports and references alike.
        train_references: on which the best constant labels are chosen. Without them they are
            chosen on the evaluated references and carry the suffix '-oracle'.
        resamples: bootstrap resamples of the intervals.
        seed: of the bootstrap.

    Raises:
        DataError: there is nothing to score, a reference is empty, a name is taken by a baseline,
            an id occurs twice, or systems differ in ids, references or studies.
        ConfigError: fewer than one resample.
    """
    systems = _checked(systems)
    first = next(iter(systems.values()))
    suffix = "-oracle" if train_references is None else ""
    basis = [p.reference for p in first] if train_references is None else train_references
    if not basis or not all(map(str.strip, basis)):
        raise DataError("evaluate: training references are missing or empty; leave those out")
    known = _read_once(labeler, chain([CONSTANT_NORMAL], basis, _texts(systems)))
    scored = partial(score_system, resamples=resamples, seed=seed)
    scores = [scored(name, predictions, known) for name, predictions in systems.items()]
    scores.append(constant_normal(first, known, resamples=resamples, seed=seed))
    for metric in ("f1", "ccs"):
        name = f"constant-best-{metric}{suffix}"
        labels = best_constant(known.label(basis), metric)
        # The labels are chosen, not read: the row's report is a name that stands for them.
        naming = _Known(known.identity, {**known.labels, name: labels})
        scores.append(scored(name, _constant(first, name), naming))
    return Evaluation(tuple(scores))


def score_system(
    name: str,
    predictions: Predictions,
    labeler: Labeler,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> SystemScores:
    """Clinical scores of one system, and of its form: `format` and `distinct`.

    `format` is the share of completions without a violation; a system that hands over reports
    only has none. `distinct` is the share of distinct report texts, a count without interval.

    Raises:
        DataError: there is nothing to score, an id occurs twice, or a reference is empty.
        ConfigError: fewer than one resample.
    """
    _check_system(name, predictions)
    known = _read_once(labeler, _texts({name: predictions}))
    reports = [p.report for p in predictions]
    generated = known.label(reports)
    reference = known.label([p.reference for p in predictions])
    measures = (*clinical_measures(generated, reference, known.identity), *_form(predictions))
    studies = [p.study_id for p in predictions]
    scores = score(measures, studies, resamples=resamples, seed=seed)
    n = len(predictions)
    share = len(set(reports)) / n
    distinct = Score("distinct", share, low=share, high=share, signature=str(Signature(n=n)))
    return SystemScores(name, n, (*scores, distinct), finding_scores(generated, reference))


def _form(predictions: Predictions) -> tuple[Measure, ...]:
    """The share of fully compliant completions, where there are completions."""
    if any(p.report and not p.completion for p in predictions):
        return ()
    compliant = np.array([not parse(p.completion).violations for p in predictions], dtype=float)
    return (mean("format", Signature(n=len(predictions)), compliant),)


def constant_normal(
    predictions: Predictions, labeler: Labeler, *, resamples: int = RESAMPLES, seed: int = 0
) -> SystemScores:
    """Scores of the system that writes `CONSTANT_NORMAL` for every sample."""
    normal = _constant(predictions, CONSTANT_NORMAL)
    return score_system("constant-normal", normal, labeler, resamples=resamples, seed=seed)


def _constant(predictions: Predictions, report: str) -> Predictions:
    return [replace(p, completion="", think="", report=report) for p in predictions]


def best_constant(references: Sequence[Labels], metric: Literal["f1", "ccs"]) -> Labels:
    """The constant labels that score best on these references, exactly.

    Args:
        references: at least one; labels of training references, unless an oracle is wanted.
        metric: 'f1' (micro over 13 findings, uncertain as positive) or 'ccs' (mean of eq. 5).
    """
    return best_for_f1(references) if metric == "f1" else best_for_ccs(references)


def readings(
    systems: Systems,
    labeler: Labeler,
    *,
    rewards: Sequence[tuple[Reward, float]] | None = None,
) -> list[Reading]:
    """What the labeler read in the references and in each system's reports, with CCS and reward.

    Args:
        systems: predictions by name, all with the same ids and references.
        labeler: reads reports and references alike.
        rewards: the run's rewards with their weights; else the paper's (section IV-B). A system
            that hands over reports only is rewarded as if it had tagged them.

    Raises:
        DataError: as for `evaluate`.
    """
    systems = _checked(systems)
    known = _read_once(labeler, _texts(systems))
    if rewards is None:
        rewards = ((MccsReward(known), CLINICAL_WEIGHT), (FormatReward(), FORMAT_WEIGHT))
    first = next(iter(systems.values()))
    expected = known.label([p.reference for p in first])
    found = [
        Reading(p.id, "reference", labels.statuses, ccs=1.0, reward=1.0)
        for p, labels in zip(first, expected, strict=True)
    ]
    for name, predictions in systems.items():
        found += _system_readings(name, predictions, known, rewards)
    return found


def _system_readings(
    name: str,
    predictions: Predictions,
    labeler: Labeler,
    rewards: Sequence[tuple[Reward, float]],
) -> list[Reading]:
    references = [p.reference for p in predictions]
    generated = labeler.label([p.report for p in predictions])
    cosine = ccs(signed(generated), signed(labeler.label(references)))
    completions = [p.completion or (p.report and render(p.think, p.report)) for p in predictions]
    total = np.zeros(len(predictions))
    for reward, weight in rewards:
        total += weight * np.array(reward(completions, reference=references))
    return [
        Reading(p.id, name, labels.statuses, ccs=float(c), reward=float(r))
        for p, labels, c, r in zip(predictions, generated, cosine, total, strict=True)
    ]


def table(evaluation: Evaluation) -> Table:
    """The headline scores for a terminal of 80 columns: systems beside constant reports.

    Each score stands above its 95 % interval. Uncertain counts as positive; every other variant
    is in the evaluation itself.
    """
    from rich.box import SIMPLE
    from rich.table import Column, Table
    from rich.text import Text

    rates = [Column(name, no_wrap=True) for name in ("over", "precision", "recall", "F1", *_WHOLE)]
    shown = Table(
        Column("system", overflow="fold"), *rates, box=SIMPLE, collapse_padding=True, pad_edge=False
    )
    for system in evaluation.systems:
        whole = [_find(system, metric) for metric in _WHOLE]
        for row, (average, labels) in enumerate(_HEADLINES):
            parts = (f"avg:{average}", f"labels:{labels}", "uncertain:positive")
            cells = [_cell(_find(system, metric, *parts)) for metric in CE]
            cells += [_cell(score) for score in whole] if row == 0 else []
            cells = [system.name if row == 0 else "", f"{average}-{labels}", *cells]
            shown.add_row(*map(Text, cells), end_section=row + 1 == len(_HEADLINES))
    return shown


def _find(system: SystemScores, metric: str, *parts: str) -> Score | None:
    """The score of a metric whose signature has all these parts."""
    for found in system.scores:
        if found.metric == metric and set(parts) <= set(found.signature.split("|")):
            return found
    return None


def _cell(found: Score | None) -> str:
    if found is None:
        return ""
    if found.low == found.high:
        return f"{found.value:.3f}"
    low, high = (f"{bound:.3f}".replace("0.", ".", 1) for bound in (found.low, found.high))
    return f"{found.value:.3f}\n{low} {high}"


@dataclass(frozen=True, slots=True)
class _Known:
    """A labeler of texts that were labelled before."""

    identity: str
    labels: Mapping[str, Labels]

    def label(self, reports: Sequence[str]) -> list[Labels]:
        return [self.labels[report] for report in reports]


def _read_once(labeler: Labeler, texts: Iterable[str]) -> _Known:
    """Labels each distinct text once; texts without a word are blank and not read at all."""
    distinct = dict.fromkeys(texts)
    written = [text for text in distinct if text.strip()]
    read = dict(zip(written, labeler.label(written), strict=True))
    return _Known(labeler.identity, dict.fromkeys(distinct, Labels.of({})) | read)


def _texts(systems: Systems) -> Iterable[str]:
    for predictions in systems.values():
        yield from (p.reference for p in predictions)
        yield from (p.report for p in predictions)


def _checked(systems: Systems) -> Systems:
    """The systems, each sample with the study that any of them names."""
    if not systems:
        raise DataError("evaluate: nothing to score; pass at least one file of predictions")
    (first, expected), *others = systems.items()
    for name, predictions in systems.items():
        _check_system(name, predictions)
        if name == "reference" or name.startswith("constant-"):
            raise DataError(f"evaluate: '{name}' is the name of a baseline; rename the system")
    for name, predictions in others:
        _check_same(first, expected, name, predictions)
    return _with_studies(systems)


def _check_system(name: str, predictions: Predictions) -> None:
    if not predictions:
        raise DataError(f"evaluate: '{name}' has no predictions; generate some first")
    seen: set[str] = set()
    for p in predictions:
        if p.id in seen:
            raise DataError(f"evaluate: id '{p.id}' occurs twice in '{name}'; keep one of them")
        if not p.reference.strip():
            raise DataError(f"evaluate: '{p.id}' in '{name}' has an empty reference; leave it out")
        seen.add(p.id)


def _check_same(first: str, expected: Predictions, name: str, predictions: Predictions) -> None:
    """Raises unless both systems were asked for the same reports."""
    ours = {p.id: p.reference for p in expected}
    theirs = {p.id: p.reference for p in predictions}
    only_ours = [id_ for id_ in ours if id_ not in theirs]
    only_theirs = [id_ for id_ in theirs if id_ not in ours]
    other = [id_ for id_, text in theirs.items() if ours.get(id_, text) != text]
    if only_ours or only_theirs or other:
        raise DataError(
            f"evaluate: '{first}' and '{name}' were not given the same samples: {len(only_ours)} "
            f"ids only in '{first}', {len(only_theirs)} only in '{name}', {len(other)} with "
            f"another reference, such as '{(only_ours + only_theirs + other)[0]}'; "
            "score them on the same samples"
        )


def _with_studies(systems: Systems) -> Systems:
    """Files without a study column make each sample its own study; others know better."""
    studies: dict[str, str] = {}
    for name, predictions in systems.items():
        for p in predictions:
            if p.study_id != p.id and studies.setdefault(p.id, p.study_id) != p.study_id:
                raise DataError(
                    f"evaluate: '{p.id}' is of study '{p.study_id}' in '{name}' but "
                    f"'{studies[p.id]}' in another system; name its study alike"
                )
    return {
        name: [replace(p, study_id=studies.get(p.id, p.id)) for p in predictions]
        for name, predictions in systems.items()
    }
