import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mrg_r1.data.predictions import read_predictions
from mrg_r1.errors import DataError
from mrg_r1.records import Prediction, write_jsonl

COMPLETION = "<think>seen</think><report>Clear.</report>"


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def text(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8", newline="")
    return path


def test_a_csv_of_any_system(tmp_path: Path) -> None:
    path = text(tmp_path / "a.csv", 'id,report,reference\n1,"Clear,\nas before.",Clear.\n2,,Ill.\n')
    assert read_predictions(path) == [
        Prediction("1", "1", "", "", "Clear,\nas before.", "Clear."),
        Prediction("2", "2", "", "", "", "Ill."),
    ]


def test_our_own_predictions_come_back(tmp_path: Path) -> None:
    ours = [
        Prediction("1/a", "1", COMPLETION, "seen", "Clear.", "Ill."),
        Prediction("1/b", "1", "no tags", "", "", "Ill."),
    ]
    write_jsonl(tmp_path / "predictions.jsonl", ours)
    assert read_predictions(tmp_path / "predictions.jsonl") == ours


@pytest.mark.parametrize("column", ["completion", "prediction", "report", "output"])
def test_tagged_text_is_a_completion_under_any_name(tmp_path: Path, column: str) -> None:
    path = lines(tmp_path / "a.jsonl", {"id": 7, column: COMPLETION, "reference": "Ill."})
    (found,) = read_predictions(path, prediction_column=column)
    assert found == Prediction("7", "7", COMPLETION, "seen", "Clear.", "Ill.")


def test_a_completion_without_tags_has_no_report(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"id": "7", "completion": "Clear.", "reference": "Ill."})
    (found,) = read_predictions(path)
    assert (found.completion, found.report) == ("Clear.", "")


UNTAGGED = [
    ("Clear.", "Clear."),
    (" Clear.\n", "Clear."),
    ("", ""),
    (COMPLETION, "Clear."),
    ("<think>seen</think> Clear.", ""),  # half of the form is not the other half
    ("Clear.</report>", ""),
    ("<report></report>", ""),
]


@pytest.mark.parametrize(("completion", "report"), UNTAGGED)
def test_a_completion_without_tags_is_a_report_where_that_is_wished(
    tmp_path: Path, completion: str, report: str
) -> None:
    row = {"id": "7", "completion": completion, "report": "", "reference": "Ill."}
    path = lines(tmp_path / "a.jsonl", row)
    for column in (None, "completion"):
        (found,) = read_predictions(path, prediction_column=column, untagged=True)
        assert found.completion == completion
        assert found.report == (report if column or completion != COMPLETION else "")


def test_patients_and_images_come_along(tmp_path: Path) -> None:
    row = {"id": "1", "report": "A.", "reference": "B.", "subject_id": 7, "image": "a.png;b.png"}
    (found,) = read_predictions(lines(tmp_path / "a.jsonl", row))
    assert (found.patient_id, found.images) == ("7", ("a.png", "b.png"))
    references = lines(tmp_path / "r.jsonl", {"id": "1", "report": "B.", "image_path": ["c.png"]})
    bare = text(tmp_path / "a.csv", "id,report,patient\n1,A.,\n")
    (found,) = read_predictions(bare, references=references)
    assert (found.patient_id, found.images) == ("", ("c.png",))


def test_columns_by_option_and_study(tmp_path: Path) -> None:
    path = text(tmp_path / "a.csv", "uid,study_id,hyp,gt\nx,s,Clear.,Ill.\n")
    found = read_predictions(path, prediction_column="hyp", reference_column="gt", id_column="uid")
    assert found == [Prediction("x", "s", "", "", "Clear.", "Ill.")]


def test_references_of_another_file(tmp_path: Path) -> None:
    path = text(tmp_path / "a.json", '{"2": ["Clear."], "1": "Also clear."}')
    other = text(tmp_path / "r.csv", "id,study_id,report\n1,s,One.\n2,s,Two.\n")
    found = read_predictions(path, references=other)
    assert [(p.id, p.study_id, p.report, p.reference) for p in found] == [
        ("2", "s", "Clear.", "Two."),
        ("1", "s", "Also clear.", "One."),
    ]
    same = lines(tmp_path / "r.jsonl", *({"id": p.id, "reference": p.reference} for p in found))
    assert [p.reference for p in read_predictions(path, references=same)] == ["Two.", "One."]


def test_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"id,report,reference\n1,a,b\n"))
    assert read_predictions(path)[0].reference == "b"


BAD = {
    "no file": ("a.csv", None, "a.csv: no such file"),
    "no rows": ("a.csv", "id,report,reference\n", "no predictions in it"),
    "empty file": ("a.jsonl", "", "no predictions in it"),
    "another kind": ("a.xlsx", "x", "neither .csv, .json nor .jsonl"),
    "no id column": ("a.csv", "uid,report,reference\n1,a,b\n", "no column 'id'"),
    "no id": ("a.jsonl", '{"report": "a", "reference": "b"}', "line 1: no column 'id'"),
    "no report": ("a.csv", "id,text,reference\n1,a,b\n", "name yours with --prediction-column"),
    "no reference": ("a.csv", "id,report\n1,a\n", "name yours with --reference-column"),
    "id twice": ("a.csv", 'id,report,reference\n1,"a\nb",c\n1,a,b\n', r"line 4: '1'.*line 2"),
    "number and text": (
        "a.jsonl",
        '{"id": 1, "report": "a", "reference": "b"}\n{"id": "1", "report": "a", "reference": "b"}',
        "line 2: '1' is there already",
    ),
    "empty id": ("a.csv", "id,report,reference\n ,a,b\n", "line 2: empty 'id'"),
    "null id": ("a.jsonl", '{"id": null, "report": "a", "reference": "b"}', "line 1: empty 'id'"),
    "empty reference": ("a.csv", "id,report,reference\n1,a,b\n2,a, \n", "line 3: empty reference"),
    "null report": ("a.jsonl", '{"id": "1", "report": null, "reference": "b"}', "line 1: 'report'"),
    "texts by id alone": ("a.json", '{"1": "a"}', "name yours with --reference-column"),
    "later row short": (
        "a.jsonl",
        '{"id": "1", "report": "a", "reference": "b"}\n{"id": "2", "reference": "b"}',
        "line 2: no column 'report'",
    ),
    "cut line": ("a.jsonl", '{"id": "1", "rep', "line 1: not JSON"),
    "JSON of numbers": ("a.json", "[1]", "item 1: not an object"),
    "JSON text": ("a.json", '"a"', "neither a list of objects nor an object of texts"),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD.values(), ids=BAD.keys())
def test_bad_files_are_named_with_the_line(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        text(tmp_path / name, content)
    with pytest.raises(DataError, match=message) as caught:
        read_predictions(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wished_column_must_be_there(tmp_path: Path) -> None:
    path = text(tmp_path / "a.csv", "id,report,reference\n1,a,b\n")
    with pytest.raises(DataError, match="no column 'reports'; did you mean 'report'"):
        read_predictions(path, prediction_column="reports")
    with pytest.raises(DataError, match="no column 'refrence'; did you mean 'reference'"):
        read_predictions(path, reference_column="refrence")


def test_several_texts_for_one_id_are_refused(tmp_path: Path) -> None:
    path = text(tmp_path / "a.json", '{"1": ["a", "b"]}')
    references = text(tmp_path / "r.json", '{"1": "a"}')
    with pytest.raises(DataError, match="under '1': 'report' is not text"):
        read_predictions(path, references=references)


def test_files_of_other_ids_are_never_intersected(tmp_path: Path) -> None:
    path = text(tmp_path / "a.csv", "id,report\n1,a\n2,a\n")
    references = text(tmp_path / "r.csv", "id,reference\n2,a\n3,a\n4,a\n")
    with pytest.raises(DataError, match=r"1 ids have no reference .* 2 references no prediction"):
        read_predictions(path, references=references)
