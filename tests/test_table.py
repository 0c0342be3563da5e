from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrg_r1.data import table
from mrg_r1.data.study import Position, Prior, View
from mrg_r1.data.table import Columns
from mrg_r1.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png", "images/c.dcm"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def write(folder: Path, text: str, name: str = "studies.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_a_csv(folder: Path):
    path = write(
        folder,
        "id,image,report,split,impression,indication,view,patient,age\n"
        '1,a.png;images/c.dcm,"Clear, XXXX ""lungs"".\nNo effusion.",train,I.,Pain,PA;LL,p1,40\n'
        "2, b.png ,Effusion.,validation,,,,p2,41\n",
    )
    loaded = table.load(path)
    first, second = loaded.studies
    assert (first.id, first.split, first.patient) == ("1", "train", "p1")
    assert first.findings == 'Clear, XXXX "lungs".\nNo effusion.'
    assert (first.impression, first.indication) == ("I.", "Pain")
    assert [(view.path, view.position) for view in first.views] == [
        (folder / "a.png", Position.FRONTAL),
        (folder / "images/c.dcm", Position.LATERAL),
    ]
    assert (second.id, second.split) == ("2", "val")
    assert [(view.path, view.position) for view in second.views] == [
        (folder / "b.png", Position.UNKNOWN)
    ]
    assert loaded.left_out == ()


def test_reads_json_lines(folder: Path):
    rows = [
        {"id": 1, "image": ["a.png", "b.png"], "report": "Clear.", "view": ["AP", ""]},
        {"id": 2, "image": "a.png;b.png", "report": "Clear.", "impression": "I."},
    ]
    text = "\n\n".join(map(json.dumps, rows))
    first, second = table.load(write(folder, text, "studies.jsonl")).studies
    assert (first.id, first.split) == ("1", "train")
    assert [view.position for view in first.views] == [Position.FRONTAL, Position.UNKNOWN]
    assert (second.impression, len(second.views)) == ("I.", 2)


@pytest.mark.parametrize("name", ["studies.csv.gz", "studies.jsonl.gz"])
def test_reads_packed_files(folder: Path, name: str):
    text = "id,image,report\n1,a.png,Clear.\n"
    if "jsonl" in name:
        text = '{"id": "1", "image": "a.png", "report": "Clear."}'
    (folder / name).write_bytes(gzip.compress(text.encode()))
    assert table.load(folder / name).studies[0].findings == "Clear."


def test_byte_order_mark_and_windows_line_ends(folder: Path):
    path = folder / "studies.csv"
    path.write_bytes(b"\xef\xbb\xbfid,image,report\r\n1,a.png,Clear.\r\n")
    assert table.load(path).studies[0].id == "1"


def test_other_column_names(folder: Path):
    path = write(folder, "case,picture,text,fold\n1,a.png,Clear.,test\n")
    columns = Columns(id="case", image="picture", report="text", split="fold")
    loaded = table.load(path, columns=columns)
    assert loaded.studies[0].split == "test"


def test_indication_and_prior_are_read(folder: Path):
    path = write(
        folder,
        "id,image,report,indication,prior_report,prior_image\n"
        "1,a.png,Clear.,nan,Effusion.,b.png;images/c.dcm\n"
        "2,a.png,Clear.,Cough.,nan,b.png\n3,a.png,Clear.,,,\n",
    )
    first, second, third = table.load(path).studies
    views = (View(folder / "b.png"), View(folder / "images/c.dcm"))
    assert (first.indication, first.prior) == ("", Prior(findings="Effusion.", views=views))
    assert (second.indication, second.prior) == ("Cough.", Prior(views=views[:1]))
    assert (third.indication, third.prior) == ("", None)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(prior_report="report"), "'report' is both report and prior_report"),
        (Columns(indication="report"), "'report' is both report and indication"),
        (Columns(impression="prior_report"), "'prior_report' is both impression and prior_report"),
    ],
)
def test_what_is_to_be_written_cannot_be_in_the_prompt(
    folder: Path, columns: Columns, message: str
):
    path = write(folder, "id,image,report,prior_report\n1,a.png,Clear.,Effusion.\n")
    with pytest.raises(DataError, match=message):
        table.load(path, columns=columns)


def test_an_image_of_the_study_is_none_of_the_one_before(folder: Path):
    rows = "s,a.png,C.,\n", "s,b.png,C.,a.png\n"
    path = write(folder, "study_id,image,report,prior_image\n" + rows[1].replace("a.png", "b.png"))
    with pytest.raises(
        DataError, match=r"line 2: image .*b\.png is of study s and of its previous"
    ):
        table.load(path)
    path = write(folder, "study_id,image,report,prior_image\n" + "".join(rows))
    with pytest.raises(DataError, match="line 3: prior differs from an earlier row of study s"):
        table.load(path)


def test_rows_of_one_study_are_grouped(folder: Path):
    path = write(
        folder,
        "id,study_id,image,report,view\n"
        "i1,s1,a.png,Clear.,PA\ni2,s2,b.png,Effusion.,\ni3,s1,images/c.dcm,Clear.,lateral\n",
    )
    first, second = table.load(path).studies
    assert (first.id, [view.path.name for view in first.views]) == ("s1", ["a.png", "c.dcm"])
    assert (second.id, second.findings) == ("s2", "Effusion.")


def test_study_column_alone_identifies_rows(folder: Path):
    path = write(folder, "study_id,image,report\ns1,a.png,Clear.\ns1,b.png,Clear.\n")
    (study,) = table.load(path).studies
    assert len(study.views) == 2


def test_impression_may_stand_without_a_report(folder: Path):
    path = write(folder, "id,image,report,impression\n1,a.png,,Normal.\n")
    assert (table.load(path).studies[0].findings, table.load(path).studies[0].impression) == (
        "",
        "Normal.",
    )


HEAD = "id,image,report\n"
BAD_CSV = [
    ("", "empty; its first line must name the columns"),
    (HEAD, "no rows"),
    ("id,image,text\n1,a.png,C.\n", "no column 'report'; there are: id, image, text"),
    (
        "id,image,reports\n1,a.png,C.\n",
        "did you mean 'reports'?; rename it or set data.columns.report",
    ),
    ("image,report\na.png,C.\n", "no column 'id'"),
    ("id,image,report,Split\n1,a.png,C.,test\n", "no column 'split'; did you mean 'Split'?"),
    (HEAD + "1,a.png,\n", "line 2: empty report; write the report or remove the row"),
    (HEAD + '1,a.png,"\n "\n2,a.png, \n', "line 2: empty report"),
    (HEAD + '1,a.png,"C.\n\n"\n2,a.png, \n', "line 5: empty report"),
    (HEAD + "1,a.png,nan\n", "line 2: empty report"),
    (HEAD + ",a.png,C.\n", "line 2: empty id"),
    (HEAD + "1,a.png,C.\n1,b.png,C.\n", "line 3: id 1 is on line 2 too"),
    (HEAD + "1,,C.\n", "line 2: empty image"),
    (HEAD + "1,a.png;,C.\n", "line 2: empty image"),
    (HEAD + "1,none.png,C.\n", "none.png; write its path relative to the folder of the table"),
    (HEAD + "1,images,C.\n", "line 2: no image"),
    (HEAD + "1,a.png,C.,x\n", "line 2: 4 cells under 3 columns"),
    (HEAD + "1,a.png\n", "line 2: 2 cells under 3 columns"),
    (HEAD + '1,a.png,"C.\n2,b.png,C.\n', "line 2: unexpected end of data; close the quotes"),
    ("id,image,report,split\n1,a.png,C.,\n", "line 2: split ''; use train, val or test"),
    ("id,image,report,split\n1,a.png,C.,fold1\n", "line 2: split 'fold1'; use"),
    ("id,image,report,view\n1,a.png,C.,oblique\n", "line 2: view 'oblique'; use frontal"),
    ("id,image,report,view\n1,a.png,C.,PA;LL\n", "line 2: 1 images and 2 views"),
    (
        "id,study_id,image,report\n1,s,a.png,C.\n2,s,b.png,D.\n",
        "line 3: findings differs from an earlier row of study s",
    ),
    ("study_id,image,report\ns,a.png,C.\ns,a.png,C.\n", "a.png occurs twice in study s"),
    (HEAD + "1,a.png;b.png;a.png,C.\n", "a.png occurs twice in study 1"),
    ("id,image,image,report\n1,a.png,a.png,C.\n", "column 'image' occurs twice"),
]


@pytest.mark.parametrize(("text", "message"), BAD_CSV)
def test_bad_csv_is_named(folder: Path, text: str, message: str):
    path = write(folder, text)
    with pytest.raises(DataError) as caught:
        table.load(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_json_row_without_the_split_others_have_is_no_training_row(folder: Path):
    rows = [{**GOOD, "split": "test"}, {**GOOD, "id": "2"}]
    path = write(folder, "\n".join(map(json.dumps, rows)), "studies.jsonl")
    with pytest.raises(DataError, match="line 2: split ''"):
        table.load(path)


GOOD: dict[str, Any] = {"id": "1", "image": "a.png", "report": "C."}
BAD_JSON = [
    ("{", "line 2: not JSON"),
    ("[" * 100_000, "line 2: not JSON"),
    ("[1]", "line 2: write one object a line"),
    (json.dumps({"id": "2", "image": "a.png"}), "line 2: empty report"),
    (json.dumps({**GOOD, "id": "2", "report": None}), "line 2: empty report"),
    (json.dumps({**GOOD, "id": "2", "report": ["C."]}), "line 2: report is ['C.']; write a text"),
    ('{"id": "2", "image": "a.png", "report": NaN}', "line 2: report is nan; write a text"),
    (json.dumps({**GOOD, "id": True}), "line 2: id is True"),
    (json.dumps({**GOOD, "id": "2", "image": []}), "line 2: empty image"),
    (json.dumps({**GOOD, "id": "2", "image": [1]}), "line 2: image is [1]"),
    (json.dumps({**GOOD, "id": "2", "image": 5}), "line 2: no image"),
    (json.dumps({**GOOD, "id": "2", "image": "a\x00.png"}), "line 2: no image"),
]


@pytest.mark.parametrize(("line", "message"), BAD_JSON, ids=[message for _, message in BAD_JSON])
def test_bad_json_lines_are_named(folder: Path, line: str, message: str):
    path = write(folder, json.dumps(GOOD) + "\n" + line + "\n", "studies.jsonl")
    with pytest.raises(DataError) as caught:
        table.load(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_bytes_that_are_not_utf8_are_named(folder: Path):
    path = folder / "studies.csv"
    path.write_bytes(HEAD.encode() + b"1,a.png,C.\n2,b.png,caf\xe9\n")
    with pytest.raises(DataError, match=r"studies\.csv line 3: not UTF-8"):
        table.load(path)
    path.write_bytes(gzip.compress(path.read_bytes())[:-12])
    with pytest.raises(DataError, match=r"studies\.csv"):
        table.load(path)


def test_missing_file_folder_and_columns_that_were_asked_for(folder: Path):
    with pytest.raises(DataError, match="no such file"):
        table.load(folder / "none.csv")
    with pytest.raises(DataError, match="a folder; pass the CSV"):
        table.load(folder)
    path = write(folder, HEAD + "1,a.png,C.\n")
    with pytest.raises(DataError, match=r"no column 'fold'.*set data\.columns\.split"):
        table.load(path, columns=Columns(split="fold"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.text(), st.text(alphabet='id,mager"pot\n;1a.n')))
def test_any_text_is_studies_or_a_data_error(folder: Path, content: str):
    for name in ("studies.csv", "studies.jsonl"):
        path = folder / name
        path.write_bytes((HEAD + content).encode("utf-8", "surrogatepass"))
        try:
            loaded = table.load(path)
        except DataError:
            continue
        assert all(study.views and study.findings for study in loaded.studies)
