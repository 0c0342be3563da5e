from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import classification_report, f1_score

from mrg_r1.errors import ConfigError
from mrg_r1.findings import FINDINGS, FIVE, Finding, Labels, Status
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.metrics.clinical import clinical_measures
from mrg_r1.metrics.presets import PRESETS, preset
from mrg_r1.metrics.score import score
from mrg_r1.records import Score

F, S = Finding, Status

# Reference and report of three studies, so chosen that no two conventions give one F1.
REFERENCE = [
    Labels.of({F.EDEMA: S.POSITIVE, F.FRACTURE: S.UNCERTAIN}),
    Labels.of({F.ATELECTASIS: S.UNCERTAIN, F.FRACTURE: S.POSITIVE}),
    Labels.of({F.NO_FINDING: S.POSITIVE}),
]
REPORT = [
    Labels.of({F.EDEMA: S.POSITIVE, F.CONSOLIDATION: S.UNCERTAIN}),
    Labels.of({F.ATELECTASIS: S.POSITIVE}),
    Labels.of({F.NO_FINDING: S.POSITIVE}),
]


def reported(name: str) -> dict[tuple[str, str], float]:
    """F1 by averaging and number of labels, as the preset orders it."""
    scores = score(clinical_measures(REPORT, REFERENCE, "golden@1"), list("abc"), resamples=2)
    return {key(s): s.value for s in preset(name).scores(scores) if s.metric == "ce_f1"}


def key(score: Score) -> tuple[str, str]:
    parts = dict(part.split(":", 1) for part in score.signature.split("|"))
    return parts["avg"], parts["labels"]


# Uncertain as positive, 14: tp Edema, Atelectasis, No Finding; fp Consolidation; fn 2 Fracture.
# Positive alone: tp Edema, No Finding; fp Atelectasis; fn Fracture.
EXPECTED = {
    "f1chexbert": {
        ("micro", "14"): 6 / 9,
        ("macro", "14"): 3 / 14,
        ("micro", "5"): 4 / 5,
        ("macro", "5"): 2 / 5,
        # by support: Edema 1, Atelectasis 1, Fracture 2 (not found), No Finding 1
        ("weighted", "14"): 3 / 5,
        ("weighted", "5"): 1.0,
    },
    "r2gen": {("macro", "14"): 2 / 14, ("micro", "14"): 4 / 6},
    # by report: 1, 0 and 1
    "cxrmate": {("macro", "14"): 2 / 14, ("micro", "14"): 4 / 6, ("example", "14"): 2 / 3},
    "promptmrg": {("example", "14"): 2 / 3},
    "ifcc": {("micro", "5"): 4 / 5},
    # by report: 2/4, 2/3 and 1
    "mrg-r1": {
        ("micro", "14"): 6 / 9,
        ("macro", "14"): 3 / 14,
        ("example", "14"): (1 / 2 + 2 / 3 + 1) / 3,
    },
}


@pytest.mark.parametrize("name", PRESETS)
def test_each_convention_gives_its_own_scores(name: str) -> None:
    found = reported(name)
    assert found == pytest.approx(EXPECTED[name])
    assert list(found) == list(EXPECTED[name])  # the headline comes first


CLASSES = {S.BLANK: 0, S.POSITIVE: 1, S.NEGATIVE: 2, S.UNCERTAIN: 3}


def drawn(seed: int) -> tuple[list[Labels], list[Labels]]:
    """Labels of 50 reports and references, some without any positive."""
    classes = np.random.default_rng(seed).choice(4, size=(2, 50, 14), p=[0.55, 0.2, 0.15, 0.1])
    classes[..., -1] %= 2
    classes[:, :5, :] = 0
    report, reference = ([Labels.from_classes(row) for row in side] for side in classes.tolist())
    return report, reference


def as_they_count(name: str, report: Sequence[Labels], reference: Sequence[Labels]) -> list[float]:
    """F1 as a code base computes it from CheXbert's classes, in the preset's order."""
    ours, theirs = (
        np.array([[CLASSES[status] for status in row.statuses] for row in rows])
        for rows in (report, reference)
    )
    five = [FINDINGS.index(finding) for finding in FIVE]
    if name == "f1chexbert":  # classification_report of [1 if class is 1 or 3]
        tables = {
            n: classification_report(
                *(np.isin(side[:, columns], (1, 3)).astype(int) for side in (theirs, ours)),
                output_dict=True,
                zero_division=0,
            )
            for n, columns in ((14, slice(None)), (5, five))
        }
        order = [(a, n) for a, n in PRESETS[name].variants]
        return [tables[n][f"{average} avg"]["f1-score"] for average, n in order]
    if name == "r2gen":  # CSV values: -1 and empty become 0, then scikit-learn's f1_score
        sides = [(side == 1).astype(int) for side in (theirs, ours)]
        return [f1_score(*sides, average=a, zero_division=0) for a in ("macro", "micro")]
    if name == "ifcc":  # 3 becomes 1 and 2 becomes 0, five findings in one list, average "binary"
        sides = [np.isin(side[:, five], (1, 3)).astype(int).T.ravel() for side in (theirs, ours)]
        return [f1_score(*sides, average="binary", zero_division=0)]
    tp, fp, fn = (
        cells.astype(float)
        for cells in (
            (ours == 1) & (theirs == 1),
            (ours == 1) & (theirs != 1),
            (ours != 1) & (theirs == 1),
        )
    )

    def f1(axis: int | None) -> Any:
        t, p, n = (np.asarray(cells.sum(axis=axis)) for cells in (tp, fp, fn))
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(t / (t + 0.5 * (p + n))).mean()

    by_name = {"promptmrg": [f1(1)], "cxrmate": [f1(0), f1(None), f1(1)]}
    return by_name[name]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["f1chexbert", "r2gen", "cxrmate", "promptmrg", "ifcc"])
def test_scores_are_those_of_the_code_bases(name: str, seed: int) -> None:
    report, reference = drawn(seed)
    ids = [str(i) for i in range(len(report))]
    scores = score(clinical_measures(report, reference, "golden@1"), ids, resamples=2)
    found = [s.value for s in preset(name).scores(scores) if s.metric == "ce_f1"]
    assert found == pytest.approx(as_they_count(name, report, reference), abs=1e-12)


@pytest.mark.parametrize("name", PRESETS)
def test_each_convention_reports_precision_recall_and_f1(name: str) -> None:
    scores = score(clinical_measures(REPORT, REFERENCE, "golden@1"), list("abc"), resamples=2)
    assert [s.metric for s in preset(name).scores(scores)] == [
        *("ce_precision", "ce_recall", "ce_f1")
    ] * len(PRESETS[name].variants)


def test_one_set_of_reports_has_as_many_headlines_as_conventions() -> None:
    """What a reader of tables compares: the first F1 of each."""
    headlines = {name: next(iter(reported(name).values())) for name in PRESETS}
    assert headlines["r2gen"] < 0.15 < 0.6 < headlines["promptmrg"] < headlines["ifcc"]


def headline(name: str, reports: Sequence[str], references: Sequence[str]) -> float:
    labeler = RulesLabeler(preset(name).conventions)
    measures = clinical_measures(labeler.label(reports), labeler.label(references), "x")
    scores = score(measures, [str(i) for i in range(len(reports))], resamples=2)
    return next(s.value for s in preset(name).scores(scores) if s.metric == "ce_f1")


def test_r2gen_reads_reports_as_the_older_labeler_does() -> None:
    """R2Gen and CXRMate average alike; the labeler is what sets them apart."""
    reports = references = ["Scarring or atelectasis."]
    assert headline("cxrmate", reports, references) == pytest.approx(1 / 14)  # an opacity
    assert headline("r2gen", reports, references) == 0.0  # perhaps one


def test_uncertain_tells_ifcc_from_those_that_count_positives_alone() -> None:
    reports, references = ["Possible edema."], ["Pulmonary edema."]
    assert headline("ifcc", reports, references) == 1.0
    assert headline("promptmrg", reports, references) == 0.0


def test_a_report_of_negatives_alone_counts_zero_for_promptmrg() -> None:
    """0/0 is 0 there: the reference has no positive finding that a report could find."""
    blank = Labels.of({F.EDEMA: S.NEGATIVE})
    scores = score(clinical_measures([blank], [blank], "x"), ["a"], resamples=2)
    assert [s.value for s in preset("promptmrg").scores(scores)] == [0.0, 0.0, 0.0]


def test_every_convention_has_a_source() -> None:
    assert all(len(each.source) > 40 for each in PRESETS.values())


def test_an_unknown_preset_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"preset 'r2d2'; use one of f1chexbert, r2gen, "):
        preset("r2d2")
