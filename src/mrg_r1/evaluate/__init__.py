"""Scores systems side by side, always beside reports that never look at the image.

The paper gives CE over 14 observations without its averaging; every variant is given here. A
report that is empty has blank labels, whatever the labeler makes of no text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from mrg_r1.data.predictions import read_predictions
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.evaluate.baselines import CONSTANT_NORMAL, Row, baselines, best_constant
from mrg_r1.evaluate.readings import readings
from mrg_r1.evaluate.retrieval import nearest_reports
from mrg_r1.evaluate.scoring import (
    Reference,
    constant_normal,
    pairs,
    score_system,
    system_scores,
)
from mrg_r1.evaluate.systems import Systems, checked, read_once, texts
from mrg_r1.evaluate.tables import (
    PUBLISHED_REMARK,
    complete_table,
    difference_table,
    judged_table,
    overlap_table,
    table,
)
from mrg_r1.labelers import Labeler
from mrg_r1.metrics.radeval import RadEvalMetrics
from mrg_r1.metrics.score import RESAMPLES
from mrg_r1.metrics.text import TextPreparation
from mrg_r1.records import Evaluation

__all__ = [
    "CONSTANT_NORMAL",
    "PUBLISHED_REMARK",
    "best_constant",
    "complete_table",
    "constant_normal",
    "difference_table",
    "evaluate",
    "judged_table",
    "nearest_reports",
    "overlap_table",
    "read_predictions",
    "readings",
    "score_system",
    "table",
]


def evaluate(
    systems: Systems,
    labeler: Labeler,
    *,
    train_references: Sequence[str] | None = None,
    nearest: Mapping[str, str] | None = None,
    text: TextPreparation | None = None,
    meteor: bool = False,
    judges: RadEvalMetrics | None = None,
    baseline: str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Scores of each system, then of the baselines, and what each differs from one of them.

    Each distinct text is labelled once. Patients are resampled where each sample's is known, else
    studies, and alike for all systems.

    Args:
        systems: predictions by name, all with the same ids and references.
        labeler: reads reports and references alike.
        train_references: on which the best constant labels are chosen, and from which random
            reports are taken. Without them the best constants are chosen on the evaluated
            references and carry the suffix '-oracle', and there is no random report.
        nearest: the training report nearest to each sample by image, by sample id.
        text: how texts are prepared for BLEU, ROUGE-L and CIDEr; 'raw' if not given.
        meteor: whether to compute METEOR too, which starts java for each row.
        judges: metrics that other models compute, of every row that has texts.
        baseline: the system or baseline to which all others are compared; else the first system.
        resamples: bootstrap resamples of the intervals.
        seed: of the bootstrap, and of the random reports.

    Raises:
        DataError: there is nothing to score, a reference is empty, a name is taken by a baseline,
            an id occurs twice, or systems differ in ids, references, studies or patients.
        ConfigError: fewer than one resample, or no system of the baseline's name.
        MissingExtra: METEOR or a judge is asked for, and what it needs is not there.
    """
    systems = checked(systems)
    first = next(iter(systems.values()))
    oracle = train_references is None
    basis = [p.reference for p in first] if train_references is None else train_references
    if not basis or not all(map(str.strip, basis)):
        raise DataError("evaluate: training references are missing or empty; leave those out")
    retrieved = [] if nearest is None else list(nearest.values())
    known = read_once(labeler, chain([CONSTANT_NORMAL], basis, retrieved, texts(systems)))
    rows = [
        *(Row(name, [p.report for p in found], found) for name, found in systems.items()),
        *baselines(first, known, basis, oracle=oracle, nearest=nearest, seed=seed),
    ]
    against = baseline or rows[0].name
    # The one to compare with comes first, so that no more than two systems are held at a time.
    rows.sort(key=lambda row: row.name != against)
    if rows[0].name != against:
        names = ", ".join(row.name for row in rows)
        raise ConfigError(f"--baseline: no system '{against}'; there are {names}")
    reference = Reference.of(
        first,
        known,
        text or TextPreparation.of("raw"),
        meteor=meteor,
        judged=None if judges is None else judges.read(pairs(rows, first)),
    )
    scored = system_scores(rows, reference, resamples=resamples, seed=seed)
    order = [*systems, *(system.name for system in scored if system.name not in systems)]
    return Evaluation(tuple(sorted(scored, key=lambda system: order.index(system.name))))
