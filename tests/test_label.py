import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mrg_r1.errors import ConfigError, DataError
from mrg_r1.findings import FINDINGS, Finding, Labels, Status
from mrg_r1.label import CHUNK, Labelled, label_file
from mrg_r1.labelers.rules import RulesLabeler

LABELER = RulesLabeler()
NAMES = [finding.value for finding in FINDINGS]
SICK = "There is a large right pleural effusion. No pneumothorax."


def label(source: Path, out: Path, **options: object) -> list[dict[str, str]]:
    label_file(source, out, LABELER, **options)  # type: ignore[arg-type]
    with open(out, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def csv_file(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def codes(row: dict[str, str]) -> dict[str, str]:
    return {name: row[name] for name in NAMES if row[name]}


def test_rows_keep_their_columns_and_gain_fourteen(tmp_path: Path) -> None:
    source = csv_file(tmp_path / "in.csv", f'id,report,age\n7,"{SICK}",61\n8,,\n')
    rows = label(source, tmp_path / "out.csv")
    assert list(rows[0]) == ["id", "report", "age", *NAMES]
    assert [(row["id"], row["report"], row["age"]) for row in rows] == [
        ("7", SICK, "61"),
        ("8", "", ""),
    ]
    assert codes(rows[0]) == {"Pleural Effusion": "1", "Pneumothorax": "0"}
    assert Labels.from_csv(rows[0]) == LABELER.label([SICK])[0]


def test_a_row_without_a_report_is_counted_and_not_called_normal(tmp_path: Path) -> None:
    source = csv_file(tmp_path / "in.csv", f'report\n"{SICK}"\n"  "\n')
    done = label_file(source, tmp_path / "out.csv", LABELER)
    assert done == Labelled(rows=2, empty=1)
    assert codes(label(source, tmp_path / "out.csv")[1]) == {}


# Files whose form must not matter: all hold the one report SICK.
FORMS = {
    "byte order mark": "report\n".encode("utf-8-sig") + SICK.encode() + b"\n",
    "no newline at the end": f"report\n{SICK}".encode(),
    "windows line breaks": f"report\r\n{SICK}\r\n".encode(),
    "quoted": f'"report"\n"{SICK}"\n'.encode(),
    "blank lines": f"report\n\n{SICK}\n\n".encode(),
    "spaces around the column": f" report \n{SICK}\n".encode(),
    "gzip": gzip.compress(f"report\n{SICK}\n".encode()),
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS.keys())
def test_forms_of_a_csv_file(tmp_path: Path, content: bytes) -> None:
    name = "in.csv.gz" if content[:2] == b"\x1f\x8b" else "IN.CSV"
    (row,) = label(csv_file(tmp_path / name, content), tmp_path / "out.csv")
    assert row["report"] == SICK
    assert codes(row) == {"Pleural Effusion": "1", "Pneumothorax": "0"}


def test_quoted_line_breaks_and_quotes_survive(tmp_path: Path) -> None:
    report = 'Line one.\nNo "acute"\r\nedema, none.'
    with open(tmp_path / "in.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["report"], [report]])
    (row,) = label(tmp_path / "in.csv", tmp_path / "out.csv")
    assert row["report"] == report
    assert codes(row)["Edema"] == "0"


def test_json_lines_may_differ_in_their_keys(tmp_path: Path) -> None:
    lines = [{"report": SICK, "id": 3}, {"report": None, "views": ["PA", "LL"]}, {"ok": True}]
    source = csv_file(tmp_path / "in.jsonl", "\n".join(map(json.dumps, lines)))
    rows = label(source, tmp_path / "out.csv")
    assert list(rows[0])[:4] == ["report", "id", "views", "ok"]
    assert [row["id"] for row in rows] == ["3", "", ""]
    assert (rows[1]["views"], rows[2]["ok"]) == ('["PA", "LL"]', "true")
    assert [bool(codes(row)) for row in rows] == [True, False, False]


def test_evidence_names_line_id_and_place(tmp_path: Path) -> None:
    source = csv_file(tmp_path / "in.csv", f'id,report\na,\nb,"{SICK}\nNo edema."\nc,No edema.\n')
    label(source, tmp_path / "out.csv", evidence=tmp_path / "e.jsonl")
    found = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert [(e["line"], e["id"], e["finding"]) for e in found] == [
        (3, "b", "Pleural Effusion"),
        (3, "b", "Pneumothorax"),
        (3, "b", "Edema"),
        (5, "c", "Edema"),
    ]
    report = f"{SICK}\nNo edema."
    assert all(report[e["start"] : e["end"]] == e["text"] for e in found[:3])
    assert {e["finding"]: e["status"] for e in found[:2]} == {
        "Pleural Effusion": "positive",
        "Pneumothorax": "negative",
    }
    assert found[1]["cue"].lower() == "no"


def test_rows_of_many_chunks_stay_in_order(tmp_path: Path) -> None:
    reports = [SICK if n % 3 else "No edema." for n in range(2 * CHUNK + 5)]
    text = "".join(f"{n},{report}\n" for n, report in enumerate(reports))
    source = csv_file(tmp_path / "in.csv", f"id,report\n{text}")
    sizes: list[int] = []
    rows = label(source, tmp_path / "out.csv", on_rows=sizes.append)
    assert [row["id"] for row in rows] == [str(n) for n in range(len(reports))]
    assert [row["Edema"] for row in rows] == ["" if n % 3 else "0" for n in range(len(reports))]
    assert sizes == [CHUNK, CHUNK, 5]


def test_the_preset_is_the_labelers(tmp_path: Path) -> None:
    report = "No acute bony abnormality."
    source = csv_file(tmp_path / "in.csv", f"report\n{report}\n")
    for preset in ("chexbert", "chexpert"):
        labeler = RulesLabeler(preset)
        label_file(source, tmp_path / f"{preset}.csv", labeler)
        with open(tmp_path / f"{preset}.csv", newline="") as file:
            (row,) = csv.DictReader(file)
        assert Labels.from_csv(row) == labeler.label([report])[0]


MISTAKES = {
    "missing": ("in.csv", None, {}, "no such file"),
    "no such column": ("in.csv", "id,Report\n1,x\n", {}, "did you mean 'Report'?; name it with"),
    "columns that are there": (
        "in.csv",
        "a,b\n1,x\n",
        {},
        "there are: a, b; name it with --column",
    ),
    "empty": ("in.csv", "", {}, "its first line must name the columns"),
    "header only": ("in.csv", "report\n", {}, "no rows to label"),
    "empty json lines": ("in.jsonl", "\n", {}, "no rows to label"),
    "row too long": ("in.csv", "report\nx\na,b\n", {}, "line 3: 2 cells under 1 columns"),
    "open quote": ("in.csv", 'report\n"x\n', {}, "close the quotes"),
    "latin-1": ("in.csv", b"report\nfine\ncaf\xe9\n", {}, "line 3: not UTF-8"),
    "not json": ("in.jsonl", '{"report": "x"}\n{', {}, "line 2: not JSON"),
    "not an object": ("in.jsonl", "[1]\n", {}, "line 1: write one object a line"),
    "report is a number": ("in.jsonl", '{"report": 3}\n', {}, "line 1: 'report' is not text"),
    "spreadsheet": ("in.xlsx", "report\nx\n", {}, "name it *.csv or *.jsonl"),
    "labels already": ("in.csv", "report,Edema\nx,1\n", {}, "has labels already (Edema); add --o"),
    "out is no table": ("in.csv", "report\nx\n", {"out": "out.json"}, "name the file out.csv"),
    "out is the source": ("in.csv", "report\nx\n", {"out": "in.csv"}, "a file each"),
    "evidence is out": ("in.csv", "report\nx\n", {"evidence": "out.csv"}, "a file each"),
}


@pytest.mark.parametrize(("name", "content", "options", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_leave_the_target_alone(
    tmp_path: Path, name: str, content: str | bytes | None, options: dict[str, str], message: str
) -> None:
    before = csv_file(tmp_path / "out.csv", "before")
    source = tmp_path / name
    if content is not None:
        csv_file(source, content)
    evidence = tmp_path / options["evidence"] if "evidence" in options else None
    with pytest.raises((DataError, ConfigError)) as caught:
        label_file(source, tmp_path / options.get("out", "out.csv"), LABELER, evidence=evidence)
    assert message in str(caught.value)
    assert before.read_text() == "before"
    assert not list(tmp_path.glob(".*"))


def test_labels_that_are_there_can_be_replaced_where_they_stand(tmp_path: Path) -> None:
    source = csv_file(tmp_path / "in.csv", f'Edema,report,Fracture\n1,"{SICK}",-1\n')
    (row,) = label(source, tmp_path / "out.csv", overwrite=True)
    assert list(row)[:3] == ["Edema", "report", "Fracture"]
    assert sorted(row) == sorted(["report", *NAMES])
    assert codes(row) == {"Pleural Effusion": "1", "Pneumothorax": "0"}


def test_codes_are_read_back_as_the_statuses_they_were(tmp_path: Path) -> None:
    reports = ["Possible pneumonia.", "Normal heart size. Clear lungs.", "Old rib fracture."]
    source = csv_file(tmp_path / "in.csv", "report\n" + "\n".join(reports))
    rows = label(source, tmp_path / "out.csv")
    assert [Labels.from_csv(row) for row in rows] == LABELER.label(reports)
    assert rows[0][Finding.PNEUMONIA.value] == "-1"
    assert Labels.from_csv(rows[0])[Finding.PNEUMONIA] is Status.UNCERTAIN


PEAK = """
import sys
from pathlib import Path
from mrg_r1.label import label_file
from mrg_r1.labelers.rules import RulesLabeler
source, out, evidence = map(Path, sys.argv[1:])
label_file(source, out, RulesLabeler(), evidence=evidence)
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def peak_megabytes(source: Path) -> float:
    """Peak memory of a process that labels a file, with evidence."""
    folder = source.parent
    words = [sys.executable, "-c", PEAK, source, folder / "out.csv", folder / "evidence.jsonl"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_more_rows_take_no_more_memory(tmp_path: Path, kind: str) -> None:
    def of_rows(count: int) -> float:
        reports = (f"No edema in study {n}." for n in range(count))
        lines = (
            [f"{n},{r}" for n, r in enumerate(reports)]
            if kind == "csv"
            else [json.dumps({"id": n, "report": r}) for n, r in enumerate(reports)]
        )
        header = ["id,report"] if kind == "csv" else []
        return peak_megabytes(csv_file(tmp_path / f"{count}.{kind}", "\n".join(header + lines)))

    # Rows kept in memory would add 20 MB.
    assert of_rows(40_000) - of_rows(2_000) < 4
