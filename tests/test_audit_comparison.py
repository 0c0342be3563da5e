"""The page of systems that `mrg-r1 evaluate --audit` compared, and which images it holds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

import audit_run
from mrg_r1.audit import write_audit
from mrg_r1.audit.comparison import compared_findings, judge_comparison
from mrg_r1.audit.load import Run, load_run
from mrg_r1.audit.pictures import Images, withheld
from mrg_r1.errors import DataError
from mrg_r1.evaluate import evaluate
from mrg_r1.evaluate.kept import keep
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.records import (
    Difference,
    Evaluation,
    Prediction,
    Reading,
    Score,
    SystemScores,
    read_json,
    read_jsonl,
    write_json,
)

SIGNATURE = "labeler:rules@0.2|uncertain:positive|labels:13|avg:micro|n:9"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return audit_run.write_comparison(tmp_path_factory.mktemp("compared") / "folder", studies=6)


# --- what is kept


def test_systems_and_baselines_that_are_texts_are_kept(compared: Path) -> None:
    files = read_json(compared / "comparison.json")["systems"]
    assert list(files) == [*audit_run.SYSTEMS, "constant-normal", "random-train"]
    for file in files.values():
        assert len(read_jsonl(compared / file, Prediction)) == 6
    readings = read_jsonl(compared / "readings.jsonl", Reading)
    assert {reading.system for reading in readings} == {"reference", *files}
    scored = {system.name for system in Evaluation.read(compared / "evaluation.json").systems}
    assert scored == {*files, "constant-best-f1", "constant-best-ccs"}


def test_random_reports_kept_are_those_that_were_scored(compared: Path) -> None:
    """The counts of the kept texts, read again, are the counts of the evaluation."""
    file = read_json(compared / "comparison.json")["systems"]["random-train"]
    again = evaluate(
        {"again": read_jsonl(compared / file, Prediction)}, RulesLabeler(), resamples=1
    ).systems[0]
    systems = Evaluation.read(compared / "evaluation.json").systems
    assert again.findings == next(s for s in systems if s.name == "random-train").findings


def test_run_is_not_overwritten_by_a_comparison(tmp_path: Path) -> None:
    run = audit_run.write_run(tmp_path, studies=2, steps=3)
    predictions = read_jsonl(run / "predictions.jsonl", Prediction)
    before = sorted(run.iterdir())
    with pytest.raises(DataError, match="is a run; name another folder"):
        keep(run, {"a": predictions}, Evaluation(), RulesLabeler())
    assert sorted(run.iterdir()) == before


def test_images_are_found_wherever_a_system_names_them(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"")
    bare = Prediction("1", "1", "", "", "Edema.", "Edema.")
    named = dataclasses.replace(bare, images=("x.png", "gone.png", "nul\0"))
    systems = {"one": [bare], "two": [named]}
    evaluation = evaluate(systems, RulesLabeler(), resamples=1)
    keep(tmp_path / "c", systems, evaluation, RulesLabeler(), image_folders=[tmp_path / "a"])
    for file in read_json(tmp_path / "c" / "comparison.json")["systems"].values():
        (prediction,) = read_jsonl(tmp_path / "c" / file, Prediction)
        place = str((tmp_path / "a" / "x.png").resolve())
        assert prediction.images == (place, "gone.png", "nul\0")


# --- the page


def test_page_has_a_column_a_system_and_nothing_of_a_run(compared: Path, tmp_path: Path) -> None:
    page = write_audit(compared, tmp_path / "page.html").read_text("utf-8")
    assert page.count('<section class="report reference">') == 6
    for index in range(5):
        assert page.count(f'data-column="{index}" data-codes=') == 6
    assert "<h4>&lt;b&gt;third&lt;/b&gt;" in page
    assert "<b>third</b>" not in page
    assert page.count("<img ") == 6
    for absent in (
        "Learning curves",
        "sampled in training",
        "Recipe",
        "before and after",
        "Before",
    ):
        assert absent not in page


def test_verdict_names_systems_differences_and_the_best_baseline() -> None:
    def system(name: str, value: float, *differences: Difference) -> SystemScores:
        score = Score("ce_f1", value, value - 0.03, value + 0.03, SIGNATURE)
        return SystemScores(name, 9, (score,), differences=differences)

    sure = Difference("ce_f1", "ours", -0.1, -0.15, -0.05, 0.002, SIGNATURE)
    systems = (
        system("ours", 0.5),
        system("theirs", 0.4, sure),
        system("others", 0.49, dataclasses.replace(sure, value=-0.01, high=0.03, p=0.4)),
        system("constant-best-f1", 0.45, sure),
        system("nearest-train", 0.3, sure),
    )
    run = Run(Path("c"), {}, {}, (), (), {}, {}, Evaluation(systems), (), trained=False)
    verdict = judge_comparison(run)
    assert verdict.headline == (
        "Micro-F1 over 13 findings: ours .50 [.47, .53], theirs .40 [.37, .43], "
        "others .49 [.46, .52]."
    )
    assert verdict.sentences == (
        "theirs differs from ours: \u2212.10 [\u2212.15, \u2212.05], p .002, on the same samples.",
        "others is not told apart from ours: \u2212.01 [\u2212.15, +.03], p .400, "
        "on the same samples.",
        "The best of the baselines, constant-best-f1, scores .45 [.42, .48]; theirs no more.",
    )
    assert verdict.signature == SIGNATURE
    nothing = dataclasses.replace(run, evaluation=Evaluation())
    assert judge_comparison(nothing).headline == "There are no CE scores to compare."


def test_findings_of_all_systems_are_those_of_the_evaluation(compared: Path) -> None:
    rows = compared_findings(load_run(compared))
    evaluation = Evaluation.read(compared / "evaluation.json")
    assert len(rows) == 14
    assert all(len(row.scores) == len(evaluation.systems) for row in rows)
    first = evaluation.systems[0].findings[0]
    assert rows[0].scores[0] == first
    assert rows[0].in_references == first.tp + first.fn


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "names no systems; write it again with `mrg-r1 evaluate FILE --audit"),
        ({"systems": {"a": "gone.jsonl"}}, "no gone.jsonl; write it again"),
        ([], "not a JSON object"),
    ],
)
def test_damaged_comparison_is_named(document: object, message: str, tmp_path: Path) -> None:
    write_json(tmp_path / "comparison.json", document)
    with pytest.raises(DataError, match=message):
        load_run(tmp_path)


# --- restricted images


@pytest.mark.parametrize(
    ("source", "path", "images", "left_out"),
    [
        ("phantom", "a.png", "auto", False),
        ("iu-xray", "p1/s1.png", "auto", False),
        (None, "a.png", "auto", False),
        ("mimic-cxr", "a.png", "auto", True),
        ("mimic-cxr", "a.png", "mimic-cxr", False),
        (None, "files/p10/p10000032/s50414267/a.jpg", "auto", True),
        (None, "D:\\p10\\p10000032\\s50414267\\a.jpg", "auto", True),
        (None, "files/p10/p10000032/s50414267/a.jpg", "mimic-cxr", False),
        ("phantom", "a.png", "none", True),
        ("mimic-cxr", "a.png", "none", True),
    ],
)
def test_which_images_are_left_out(
    source: str | None, path: str, images: Images, left_out: bool
) -> None:
    assert bool(withheld(source, path, images)) == left_out


def test_restricted_images_are_embedded_only_if_asked_for_by_name(tmp_path: Path) -> None:
    run = audit_run.write_run(tmp_path, studies=2, steps=3)
    recipe = json.loads((run / "recipe.json").read_text("utf-8"))
    recipe["data"]["source"] = "mimic-cxr"
    write_json(run / "recipe.json", recipe)
    page = write_audit(run).read_text("utf-8")
    assert "<img " not in page
    assert page.count("MIMIC-CXR is restricted; add --images mimic-cxr") == 2
    assert write_audit(run, images="mimic-cxr").read_text("utf-8").count("<img ") == 2
    assert "<img " not in write_audit(run, images="none").read_text("utf-8")


def test_comparison_of_mimic_files_leaves_its_images_out(tmp_path: Path) -> None:
    folder = tmp_path / "files" / "p10" / "p10000032" / "s50414267"
    image = folder / "a.png"
    audit_run.draw_chest(image, audit_run.NORMAL, audit_run.random.Random(1))
    predictions = [Prediction("1", "1", "", "", "Edema.", "Edema.", (str(image),))]
    evaluation = evaluate({"a": predictions}, RulesLabeler(), resamples=1)
    keep(tmp_path / "c", {"a": predictions}, evaluation, RulesLabeler())
    assert "<img " not in write_audit(tmp_path / "c").read_text("utf-8")
    assert "<img " in write_audit(tmp_path / "c", images="mimic-cxr").read_text("utf-8")


def test_chexbert_scores_say_that_the_marks_are_not_its_evidence(tmp_path: Path) -> None:
    predictions = [Prediction("1", "1", "", "", "Edema.", "Edema.")]
    score = Score("ce_f1", 0.5, 0.5, 0.5, SIGNATURE.replace("rules@0.2", "chexbert@1"))
    evaluation = Evaluation((SystemScores("a", 1, (score,)),))
    keep(tmp_path, {"a": predictions}, evaluation, RulesLabeler())
    page = write_audit(tmp_path).read_text("utf-8")
    assert "The predictions name no images." in page
    assert "those of chexbert@1, which does not tell what decided" in page
    same = dataclasses.replace(score, signature=SIGNATURE)
    write_json(
        tmp_path / "evaluation.json",
        dataclasses.asdict(Evaluation((SystemScores("a", 1, (same,)),))),
    )
    assert "does not tell what decided" not in write_audit(tmp_path).read_text("utf-8")


def test_hostile_names_and_texts_change_no_tag(tmp_path: Path) -> None:
    from test_audit import HOSTILE, Skeleton

    def page(name: str, text: str) -> Skeleton:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        predictions = [Prediction("1", "1", text, "", text, text)]
        evaluation = evaluate({name: predictions}, RulesLabeler(), resamples=1)
        keep(folder, {name: predictions}, evaluation, RulesLabeler())
        return Skeleton.of(write_audit(folder).read_text("utf-8"))

    for text in (t for t in HOSTILE if t.isprintable()):
        plain, hostile = page("x", "b" * len(text)), page(text, text)
        assert [t for t in hostile.tags if t[0] != "p"] == [t for t in plain.tags if t[0] != "p"]
        assert hostile.inline == plain.inline
