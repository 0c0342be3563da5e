import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from literal_labeler import LiteralLabeler, write
from mrg_r1.completion import render
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.evaluate import (
    CONSTANT_NORMAL,
    best_constant,
    constant_normal,
    evaluate,
    readings,
    score_system,
)
from mrg_r1.findings import Finding, Labels, Status
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.metrics.text import TextPreparation
from mrg_r1.records import Evaluation, Prediction, SystemScores
from mrg_r1.rewards.format import FormatReward
from mrg_r1.rewards.mccs import MccsReward

REFERENCES = ("Edema+, Pneumonia-", "Edema+, Fracture-", "Edema-, Fracture-", "Edema?")


def predictions(
    reports: Sequence[str], references: Sequence[str] = REFERENCES, *, tagged: bool = True
) -> list[Prediction]:
    """Two samples a study."""
    return [
        Prediction(
            id=f"{i // 2}/{i % 2}",
            study_id=str(i // 2),
            completion=render("seen", report) if tagged else "",
            think="seen" if tagged else "",
            report=report,
            reference=reference,
        )
        for i, (report, reference) in enumerate(zip(reports, references, strict=True))
    ]


GOOD = predictions(REFERENCES)
POOR = predictions(["Edema-", "Edema-", "", "Edema-"])


def value(system: SystemScores, metric: str, *parts: str) -> float:
    (found,) = [
        s for s in system.scores if s.metric == metric and {*parts} <= {*s.signature.split("|")}
    ]
    return found.value


def by_name(evaluation: Evaluation) -> Mapping[str, SystemScores]:
    return {system.name: system for system in evaluation.systems}


MICRO = ("uncertain:positive", "labels:13", "avg:micro")


def test_systems_then_constant_rows() -> None:
    found = by_name(evaluate({"good": GOOD, "poor": POOR}, LiteralLabeler(), resamples=10))
    assert list(found) == [
        "good",
        "poor",
        "constant-normal",
        "constant-best-f1-oracle",
        "constant-best-ccs-oracle",
    ]
    assert all(system.n == 4 and len(system.findings) == 14 for system in found.values())
    assert value(found["good"], "ce_f1", *MICRO) == 1.0
    assert value(found["good"], "ccs") == pytest.approx(1.0, abs=1e-7)
    assert value(found["poor"], "ce_f1", *MICRO) == 0.0
    # Edema in three of four, claimed of all: precision 3/4, recall 1.
    assert value(found["constant-best-f1-oracle"], "ce_f1", *MICRO) == pytest.approx(6 / 7)


def test_best_constants_are_chosen_on_training_references() -> None:
    train = ["Fracture+", "Fracture+", "Edema-"]
    found = by_name(
        evaluate({"good": GOOD}, LiteralLabeler(), train_references=train, resamples=10)
    )
    assert list(found)[1:] == [
        *("constant-normal", "constant-best-f1", "constant-best-ccs", "random-train")
    ]
    best = {f.finding: f for f in found["constant-best-f1"].findings}
    assert (best["Fracture"].fp, best["Edema"].fn) == (4, 3)


def test_random_and_nearest_reports_come_from_training() -> None:
    train = ["Fracture+"]
    nearest = {p.id: p.reference for p in GOOD}
    found = by_name(
        evaluate(
            {"poor": POOR}, LiteralLabeler(), train_references=train, nearest=nearest, resamples=5
        )
    )
    # Two of the four references deny the fracture, two do not mention it.
    assert value(found["random-train"], "inventions") == 0.5
    assert value(found["random-train"], "polarity_errors") == 0.5
    assert value(found["nearest-train"], "ce_f1", *MICRO) == 1.0
    assert value(found["nearest-train"], "bleu-1") == pytest.approx(1.0)


def test_random_reports_are_one_a_study_and_the_same_for_the_same_seed() -> None:
    train = [f"word{i} Edema+" for i in range(100)]

    def drawn(seed: int, samples: Sequence[Prediction] = GOOD) -> list[str]:
        labeler = LiteralLabeler()
        rows = evaluate(
            {"a": samples}, labeler, train_references=train, resamples=2, seed=seed
        ).systems
        (system,) = [row for row in rows if row.name == "random-train"]
        return [repr(s) for s in system.scores if s.metric in ("distinct", "bleu-1")]

    assert drawn(0) == drawn(0) == drawn(0, GOOD[::-1])
    assert "value=0.5," in drawn(0)[-1]  # two studies of two samples


def test_all_rows_are_compared_with_the_first_system_or_the_one_that_is_named() -> None:
    systems = {"good": GOOD, "poor": POOR}
    found = by_name(evaluate(systems, LiteralLabeler(), resamples=50))
    assert list(found)[:2] == ["good", "poor"]
    assert found["good"].differences == ()
    (f1,) = [
        d
        for d in found["poor"].differences
        if d.metric == "ce_f1" and {*MICRO} <= {*d.signature.split("|")}
    ]
    assert (f1.baseline, f1.value) == ("good", -1.0)
    assert f1.low <= f1.value <= f1.high
    named = by_name(evaluate(systems, LiteralLabeler(), baseline="constant-normal", resamples=50))
    assert list(named) == list(found)
    assert named["constant-normal"].differences == ()
    assert {d.baseline for d in named["good"].differences} == {"constant-normal"}
    assert [s.scores for s in named.values()] == [s.scores for s in found.values()]


def test_a_baseline_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"no system 'x'; there are a, constant-normal, "):
        evaluate({"a": GOOD}, LiteralLabeler(), baseline="x", resamples=2)


def test_systems_are_paired_by_id_whatever_their_order() -> None:
    """A pair that is shuffled would widen the interval of a constant difference."""
    better = [replace(p, report="Edema+") for p in GOOD]
    found = by_name(evaluate({"a": GOOD, "b": better[::-1]}, LiteralLabeler(), resamples=50))
    again = by_name(evaluate({"a": GOOD, "b": better}, LiteralLabeler(), resamples=50))
    assert found["b"].differences == again["b"].differences


def test_patients_are_resampled_where_they_are_known() -> None:
    patients = [replace(p, patient_id="one") for p in GOOD]
    known = by_name(evaluate({"a": patients, "b": POOR}, LiteralLabeler(), resamples=20))
    assert known["b"].bootstrap == "patients:1|resamples:20|seed:0"
    assert all(s.low == s.high for s in known["b"].scores)  # the only patient, each time
    some = [patients[0], *GOOD[1:]]
    partly = by_name(evaluate({"a": some}, LiteralLabeler(), resamples=20))
    assert partly["a"].bootstrap == "studies:2|resamples:20|seed:0"


def test_word_overlap_of_prepared_texts() -> None:
    references = ["The heart is BIG.", "The heart is big."]
    systems = {"a": predictions(["the heart is big .", "?"], references)}
    raw = by_name(evaluate(systems, LiteralLabeler(), resamples=2))["a"]
    prepared = TextPreparation.of("r2gen-iu", references * 2)
    cleaned = by_name(evaluate(systems, LiteralLabeler(), text=prepared, resamples=2))["a"]
    assert value(raw, "bleu-1", "text:raw") < 0.5 < value(cleaned, "bleu-1", "text:r2gen-iu")
    assert "bleu-1" not in {
        s.metric
        for s in by_name(evaluate(systems, LiteralLabeler(), resamples=2))[
            "constant-best-f1-oracle"
        ].scores
    }  # labels without a text


def test_signatures_name_what_was_used() -> None:
    system = score_system("good", GOOD, LiteralLabeler(identity="mine@7"), resamples=10)
    (score,) = [s for s in system.scores if s.metric == "ccs"]
    assert score.signature.startswith("labeler:mine@7|uncertain:positive|labels:13|n:4|v:")
    (form,) = [s for s in system.scores if s.metric == "format"]
    assert form.signature.startswith("n:4|v:")


def test_form_and_distinct() -> None:
    mixed = [replace(GOOD[0], completion="x" + GOOD[0].completion), *GOOD[1:3], GOOD[3]]
    mixed[2] = replace(mixed[2], report=GOOD[1].report)
    system = score_system("mixed", mixed, LiteralLabeler(), resamples=10)
    assert value(system, "format") == 0.75
    (distinct,) = [s for s in system.scores if s.metric == "distinct"]
    assert distinct.low == distinct.value == distinct.high == 0.75


def test_reports_alone_have_no_format_but_empty_completions_have() -> None:
    alone = predictions(REFERENCES, tagged=False)
    assert "format" not in {s.metric for s in score_system("a", alone, LiteralLabeler()).scores}
    silent = [replace(p, completion="", think="", report="") for p in GOOD]
    assert value(score_system("a", silent, LiteralLabeler(), resamples=10), "format") == 0.0


class _SeesNormalEverywhere(LiteralLabeler):
    """As the published labelers do, reads No Finding where no finding is mentioned."""

    def label(self, reports: Sequence[str]) -> list[Labels]:
        normal = Labels.of({Finding.NO_FINDING: Status.POSITIVE})
        return [labels if any(labels.statuses) else normal for labels in super().label(reports)]


def test_an_empty_report_is_not_a_normal_report() -> None:
    references = ["fine", "fine", "fine", "Edema+"]
    systems = {
        "silent": predictions(["", " ", "\n", ""], references),
        "normal": predictions(["fine"] * 4, references),
    }
    found = by_name(evaluate(systems, _SeesNormalEverywhere(), resamples=10))
    over_14 = ("uncertain:positive", "labels:14", "avg:micro")
    assert value(found["silent"], "ce_f1", *over_14) == 0.0
    assert value(found["normal"], "ce_f1", *over_14) == 0.75
    assert value(found["constant-normal"], "ce_f1", *over_14) == 0.75


def test_each_distinct_text_is_labelled_once() -> None:
    labeler = LiteralLabeler()
    evaluate({"a": GOOD, "b": POOR}, labeler, train_references=["Edema-", REFERENCES[0]])
    asked = [text for batch in labeler.asked for text in batch]
    assert sorted(asked) == sorted({*REFERENCES, "Edema-", CONSTANT_NORMAL})


BAD = {
    "no systems": ({}, "nothing to score"),
    "no predictions": ({"a": []}, "'a' has no predictions"),
    "taken name": ({"constant-normal": GOOD}, "rename the system"),
    "name of a later baseline": ({"nearest-train": GOOD}, "rename the system"),
    "other patient": (
        {
            "a": [replace(p, patient_id="x") for p in GOOD],
            "b": [replace(POOR[0], patient_id="y"), *POOR[1:]],
        },
        "'0/0' is of patient 'y' in 'b' but 'x' in another system",
    ),
    "the references' name": ({"reference": GOOD}, "rename the system"),
    "id twice": ({"a": [*GOOD, GOOD[0]]}, "id '0/0' occurs twice in 'a'"),
    "empty reference": ({"a": [replace(GOOD[0], reference=" ")]}, "'0/0' in 'a' has an empty"),
    "one missing": ({"a": GOOD, "b": POOR[:3]}, "1 ids only in 'a', 0 only in 'b', 0 with"),
    "one more": ({"a": GOOD[:2], "b": POOR}, "0 ids only in 'a', 2 only in 'b', 0 with"),
    "other references": (
        {"a": GOOD, "b": [replace(POOR[0], reference="x"), *POOR[1:]]},
        "1 with another reference, such as '0/0'",
    ),
    "everything": (
        {"a": GOOD[:3], "b": [POOR[0], replace(POOR[1], reference="x"), POOR[3]]},
        "1 ids only in 'a', 1 only in 'b', 1 with another reference",
    ),
    "third system": ({"a": GOOD, "b": POOR, "c": POOR[1:]}, "'a' and 'c'"),
    "other study": (
        {"a": GOOD, "b": [replace(POOR[0], study_id="x"), *POOR[1:]]},
        "'0/0' is of study 'x' in 'b' but '0' in another system",
    ),
}


@pytest.mark.parametrize(("systems", "message"), BAD.values(), ids=BAD.keys())
def test_systems_that_cannot_be_compared(
    systems: Mapping[str, Sequence[Prediction]], message: str
) -> None:
    for verb in (evaluate, readings):
        with pytest.raises(DataError, match=message):
            verb(systems, LiteralLabeler())


@pytest.mark.parametrize("train", [[], ["Edema+", " "]])
def test_training_references_must_be_written(train: list[str]) -> None:
    with pytest.raises(DataError, match="training references"):
        evaluate({"a": GOOD}, LiteralLabeler(), train_references=train)


def test_systems_may_come_in_another_order() -> None:
    one, other = (
        by_name(evaluate({"a": GOOD, "b": order}, LiteralLabeler(), resamples=50))["b"]
        for order in (POOR, POOR[::-1])
    )
    assert one.findings == other.findings
    assert [s.value for s in one.scores] == pytest.approx([s.value for s in other.scores])
    assert [s.low for s in one.scores] == pytest.approx([s.low for s in other.scores])


def test_a_file_without_studies_learns_them_from_the_others() -> None:
    unaware = [replace(p, study_id=p.id) for p in POOR]
    found = by_name(evaluate({"a": POOR, "b": unaware}, LiteralLabeler(), resamples=50))
    assert found["a"].scores == found["b"].scores


def test_best_constant_takes_both_metrics() -> None:
    labels = LiteralLabeler().label(["Edema+, Fracture-", "Fracture-", "Fracture-"])
    assert write(best_constant(labels, "f1")) == "Edema+"
    assert write(best_constant(labels, "ccs")) == "Fracture-"


def test_readings() -> None:
    found = readings({"good": GOOD, "poor": POOR}, LiteralLabeler())
    assert [r.system for r in found] == ["reference"] * 4 + ["good"] * 4 + ["poor"] * 4
    references, good, poor = found[:4], found[4:8], found[8:]
    assert [r.statuses for r in references] == [r.statuses for r in good]
    assert [(r.ccs, r.reward) for r in references] == [(1.0, 1.0)] * 4
    assert [r.reward for r in good] == pytest.approx([1.0] * 4, abs=1e-6)
    root = 2**-0.5
    assert [r.ccs for r in poor] == pytest.approx([-root, -root, 0.0, -1.0], abs=1e-6)
    # Full format but a wrong report; the third has an empty report part.
    assert [r.reward for r in poor] == pytest.approx([0.25, 0.25, 0.0, 0.25])


def test_readings_with_the_runs_own_rewards() -> None:
    rewards = [(MccsReward(LiteralLabeler(), margin=0.0), 0.5), (FormatReward(), 0.5)]
    found = readings({"a": [replace(GOOD[0], completion="")]}, LiteralLabeler(), rewards=rewards)
    assert found[1].reward == pytest.approx(1.0, abs=1e-6)
    found = readings(
        {"a": predictions(["Edema+"], ["Edema+, Fracture-"])}, LiteralLabeler(), rewards=rewards
    )
    assert found[1].reward == pytest.approx(0.5 * 2**-0.5 + 0.5, abs=1e-6)


def test_an_evaluation_survives_its_file(tmp_path: Path) -> None:
    found = evaluate({"good": GOOD}, LiteralLabeler(), resamples=10)
    found.write(tmp_path / "evaluation.json")
    assert Evaluation.read(tmp_path / "evaluation.json") == found
    assert set(json.loads((tmp_path / "evaluation.json").read_text())) == {"systems"}


def test_an_evaluation_of_an_older_version_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    finding = {"finding": "Edema", "tp": 1, "fp": 0, "fn": 0, "precision": 1, "recall": 1, "f1": 1}
    system = {"name": "a", "n": 1, "scores": [], "findings": [finding]}
    path.write_text(json.dumps({"systems": [system]}))
    (found,) = Evaluation.read(path).systems
    assert (found.differences, found.bootstrap, found.findings[0].omissions) == ((), "", None)


def test_the_embedded_labeler_reads_the_constant_report_as_normal() -> None:
    (labels,) = RulesLabeler().label([CONSTANT_NORMAL])
    assert labels.having(Status.POSITIVE, Status.UNCERTAIN) == (Finding.NO_FINDING,)
    assert {Finding.PNEUMOTHORAX, Finding.PLEURAL_EFFUSION} <= {*labels.having(Status.NEGATIVE)}


def test_end_to_end_with_the_embedded_labeler() -> None:
    """The reward and the score of one pair of reports, read by rule."""
    reference = "There is a small left pleural effusion. No pneumothorax."
    reports = {
        reference: 1.0,
        "Small left effusion is present. There is no pneumothorax.": 1.0,
        "No pleural effusion. No pneumothorax.": 0.0,
        "Left pneumothorax. No effusion.": -1.0,
        "": 0.0,
        "Small left pleural effusion.": 2**-0.5,
    }
    samples = predictions(list(reports), [reference] * len(reports))
    found = readings({"a": samples}, RulesLabeler())[len(reports) :]
    assert [r.ccs for r in found] == pytest.approx(list(reports.values()), abs=1e-6)
    rewards = MccsReward.paper(RulesLabeler())([p.completion for p in samples], [reference] * 6)
    expected = [max((c - 0.3) / 0.7, 0) for c in reports.values()]
    assert rewards == pytest.approx(expected, abs=1e-6)


def test_constant_normal_on_real_reports(iu_xray_root: Path) -> None:
    """The test split of R2Gen: micro-14 about .5 and macro-14 about .05 for not looking at all."""
    rows = json.loads((iu_xray_root / "annotation.json").read_text(encoding="utf-8"))["test"]
    samples = [Prediction(r["id"], r["id"], "", "", "", r["report"]) for r in rows]
    system = constant_normal(samples, RulesLabeler(), resamples=10)
    over_14 = ("uncertain:positive", "labels:14")
    assert value(system, "ce_f1", *over_14, "avg:micro") == pytest.approx(0.54, abs=0.04)
    assert value(system, "ce_f1", *over_14, "avg:macro") == pytest.approx(0.05, abs=0.003)
    assert value(system, "ce_f1", "uncertain:positive", "labels:13", "avg:micro") == 0.0


@pytest.mark.slow
def test_ten_times_the_reports_take_about_ten_times_as_long() -> None:
    def seconds(n: int) -> float:
        samples = predictions([f"{i} Edema+" for i in range(n)], [f"{i} Edema-" for i in range(n)])
        start = time.perf_counter()
        evaluate({"a": samples}, LiteralLabeler(), resamples=10)
        return time.perf_counter() - start

    assert seconds(20_000) < 40 * seconds(2_000)
