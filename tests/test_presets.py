from collections.abc import Sequence

import pytest

from mrg_r1.errors import ConfigError
from mrg_r1.findings import Finding, Labels, Status
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
