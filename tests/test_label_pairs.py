import gzip
from pathlib import Path

import pytest

from mrg_r1.data.label_pairs import Pair, Pairs, read_pairs
from mrg_r1.errors import DataError
from mrg_r1.findings import FINDINGS, Finding, Labels, Status

NAMES = [finding.value for finding in FINDINGS]


def labels_file(
    path: Path, rows: list[dict[str, str]], *, columns: list[str] | None = None, mark: str = ""
) -> Path:
    """A label file whose cells are blank where a row does not say; columns in the given order."""
    other = dict.fromkeys(name for row in rows for name in row if name not in NAMES)
    header = columns or [*other, *NAMES]
    lines = [",".join(header), *(",".join(row.get(name, "") for name in header) for row in rows)]
    text = (mark + "\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def pair(tmp_path: Path, a: list[dict[str, str]], b: list[dict[str, str]], **options: str) -> Pairs:
    return read_pairs(
        labels_file(tmp_path / "a.csv", a), labels_file(tmp_path / "b.csv", b), **options
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("1", Status.POSITIVE),
        ("1.0", Status.POSITIVE),
        ("0", Status.NEGATIVE),
        ("0.0", Status.NEGATIVE),
        ("-1", Status.UNCERTAIN),
        ("-1.0", Status.UNCERTAIN),
        (" -1.0 ", Status.UNCERTAIN),
        ("", Status.BLANK),
        (" ", Status.BLANK),
        ("nan", Status.BLANK),
    ],
)
def test_codes_of_published_files(tmp_path: Path, code: str, status: Status) -> None:
    (found,) = pair(tmp_path, [{"id": "x", "Edema": code}], [{"id": "x"}]).rows
    assert found.ours == Labels.of({Finding.EDEMA: status})
    assert found.theirs == Labels.of({})


def test_columns_are_read_by_name_wherever_they_stand(tmp_path: Path) -> None:
    mixed = ["Edema", "age", *[n for n in reversed(NAMES) if n != "Edema"], "ID", "note"]
    row = {"ID": "7", "Edema": "1", "Fracture": "-1", "age": "50", "note": "1"}
    a = labels_file(tmp_path / "a.csv.gz", [row], columns=mixed, mark="\ufeff")
    b = labels_file(tmp_path / "b.csv", [{"Id": "7", "Edema": "1.0", "Fracture": "-1.0"}])
    found = read_pairs(a, b)
    assert found.joined_by == "ID"
    assert found.rows[0].ours == found.rows[0].theirs
    assert found.rows[0].ours[Finding.FRACTURE] is Status.UNCERTAIN


def test_rows_join_by_id_in_the_order_of_the_first_file(tmp_path: Path) -> None:
    found = pair(
        tmp_path,
        [{"id": "x", "Edema": "1"}, {"id": " y ", "Edema": "0"}],
        [{"id": "y", "Edema": "-1"}, {"id": "x", "Edema": "1"}],
    )
    assert [(row.id, row.lines) for row in found.rows] == [("x", (2, 3)), ("y", (3, 2))]
    assert found.rows[1].theirs[Finding.EDEMA] is Status.UNCERTAIN


def test_the_id_column_can_be_named(tmp_path: Path) -> None:
    a = [{"id": "1", "study": "s"}, {"id": "2", "study": "t"}]
    b = [{"id": "8", "study": "t"}, {"id": "9", "study": "s"}]
    found = pair(tmp_path, a, b, id_column="study")
    assert found.joined_by == "study"
    assert [row.id for row in found.rows] == ["s", "t"]


def test_without_ids_rows_pair_by_order_if_their_reports_are_equal(tmp_path: Path) -> None:
    a = [{"Report Impression": "No  edema.", "Edema": "0"}, {"Report Impression": ""}]
    b = [{"id": "x", "Reports": "No edema. ", "Edema": "1"}, {"id": "y", "Reports": " "}]
    found = pair(tmp_path, a, b)
    assert (found.joined_by, found.with_reports, found.other_texts) == (None, True, 0)
    assert found.rows[0] == Pair(
        None,
        (2, 2),
        "No  edema.",
        Labels.of({Finding.EDEMA: Status.NEGATIVE}),
        Labels.of({Finding.EDEMA: Status.POSITIVE}),
    )


@pytest.mark.parametrize("side", ["a", "b"])
def test_the_report_may_stand_in_either_file(tmp_path: Path, side: str) -> None:
    rows = {"a": [{"id": "x"}], "b": [{"id": "x"}]}
    rows[side][0]["text"] = "Edema."
    found = pair(tmp_path, rows["a"], rows["b"], column="text")
    assert (found.with_reports, found.rows[0].report) == (True, "Edema.")
    assert not pair(tmp_path, rows["a"], rows["b"]).with_reports


def test_reports_of_one_id_that_differ_are_counted(tmp_path: Path) -> None:
    a = [{"id": "x", "report": "Edema."}, {"id": "y", "report": "Clear."}]
    b = [{"id": "x", "report": "No edema."}, {"id": "y", "report": "Clear. "}]
    found = pair(tmp_path, a, b)
    assert found.other_texts == 1
    assert found.rows[0].report == "Edema."


def ids(*names: str) -> list[dict[str, str]]:
    return [{"id": name} for name in names]


def reports(*texts: str) -> list[dict[str, str]]:
    return [{"report": text} for text in texts]


# Two files that do not pair, and what the message must say of them.
MISTAKES = {
    "ids differ": (
        ids("x", "y", "z"),
        ids("x", "u"),
        ["2 ids only in", "('y', 'z')", "1 only in", "('u')", "the same reports"],
    ),
    "many ids differ": (
        ids(*"abcdefgh"),
        ids("a"),
        ["7 ids only in", "('b', 'c', 'd', ...)", "0 only in"],
    ),
    "duplicates": (
        ids("x", "y", "x", "x", "y"),
        ids("x", "y"),
        ["a.csv", "2 ids occur more than once", "('x', 'y')", "--id-column"],
    ),
    "empty ids": (ids("x", "", " "), ids("x"), ["a.csv", "2 rows without 'id'", "(lines 3, 4)"]),
    "other lengths": (
        reports("x", "y"),
        reports("x"),
        ["2 rows in", "1 in", "no column 'id' in both", "--id-column"],
    ),
    "other reports": (
        reports("x", "y", "z"),
        reports("x", "z", "y"),
        ["2 rows hold another report", "lines 3 and 3", "--id-column"],
    ),
    "no rows": ([], ids("x"), ["no column 'Enlarged Cardiomediastinum'"]),
    "bad code": (
        [*ids("x"), {"id": "y", "Edema": "2"}],
        ids("x"),
        ["a.csv line 3", "'2'", "Edema"],
    ),
    "uncertain no finding": ([{"id": "y", "No Finding": "-1"}], ids("x"), ["a.csv line 2", "-1"]),
}


@pytest.mark.parametrize(("a", "b", "parts"), MISTAKES.values(), ids=MISTAKES)
def test_files_that_do_not_pair(
    tmp_path: Path, a: list[dict[str, str]], b: list[dict[str, str]], parts: list[str]
) -> None:
    first = labels_file(tmp_path / "a.csv", a, columns=None if a else ["id"])
    with pytest.raises(DataError) as caught:
        read_pairs(first, labels_file(tmp_path / "b.csv", b))
    message = str(caught.value)
    assert [part for part in parts if part not in message] == []
    assert "\n" not in message


def test_a_file_with_a_header_only(tmp_path: Path) -> None:
    empty = labels_file(tmp_path / "a.csv", [], columns=["id", *NAMES])
    with pytest.raises(DataError, match=r"a\.csv: no rows"):
        read_pairs(empty, empty)


def test_a_finding_without_a_column(tmp_path: Path) -> None:
    fewer = labels_file(tmp_path / "b.csv", ids("x"), columns=["id", *NAMES[:4], *NAMES[5:]])
    with pytest.raises(DataError, match=r"b\.csv: no column 'Edema'"):
        read_pairs(labels_file(tmp_path / "a.csv", ids("x")), fewer)


def test_an_id_column_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b\.csv: no column 'study'; did you mean 'study_id'"):
        pair(tmp_path, [{"study": "x"}], [{"study_id": "x"}], id_column="study")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv: no such file"):
        read_pairs(tmp_path / "a.csv", tmp_path / "a.csv")
