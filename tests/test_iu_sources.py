"""What IU X-Ray's files say, and what is wrong with them."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from iu_files import QUOTED, write_annotation, write_csvs, xml
from mrg_r1.data import iu_xray
from mrg_r1.data.iu_sources import image_key, read_reports, walk
from mrg_r1.errors import DataError


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("1_IM-0001-4001.dcm.png", ("1", "1_IM-0001-4001")),
        ("1_IM-0001-4001.dcm.jpg", ("1", "1_IM-0001-4001")),
        ("1_IM-0001-4001.dcm", ("1", "1_IM-0001-4001")),
        ("CXR1_1_IM-0001-4001.png", ("1", "1_IM-0001-4001")),
        ("CXR1_1_IM-0001-4001", ("1", "1_IM-0001-4001")),
        ("CXR2_IM-0652-1001", ("2", "2_IM-0652-1001")),
        ("2084_IM-0715-1001-0002.png", ("2084", "2084_IM-0715-1001-0002")),
        ("0.png", None),
        ("1_IM-0001-4001 (1).png", None),
        ("1_2_IM-0001-4001.png", None),
        ("", None),
    ],
)
def test_names_of_one_image_have_one_key(name: str, key: tuple[str, str] | None):
    assert image_key(name) == key


def test_csv_without_commas_quoted_names_the_line(tmp_path: Path):
    write_csvs(tmp_path, [("1", "", "", QUOTED, "")], [])
    with open(tmp_path / "indiana_reports.csv", "a", encoding="utf-8") as file:
        file.write("2,normal,,Clear, really,\n")
    with pytest.raises(DataError, match=r"indiana_reports.csv line 4: 6 cells under 5 columns"):
        iu_xray.load(tmp_path)


HEADER = "uid,findings,impression,indication\n"
VIEWS = "uid,filename,projection\n"
CSV_ERRORS = [
    ("indiana_reports.csv", "", "empty; its first line must name the columns"),
    ("indiana_reports.csv", "uid,finding,impression,indication\n", "did you mean 'finding'"),
    ("indiana_reports.csv", "uid,uid,findings\n", "line 1: column 'uid' occurs twice"),
    ("indiana_reports.csv", HEADER + "1,a,b,c\n1,a,b,c\n", "line 3: uid 1 occurs twice"),
    ("indiana_reports.csv", HEADER + "x,a,b,c\n", "line 2: uid 'x'"),
    ("indiana_reports.csv", HEADER + "²,a,b,c\n", "line 2: uid '²'"),
    ("indiana_reports.csv", HEADER + '1,"a\n\n,b,c\n', "line 2: unexpected end of data"),
    ("indiana_reports.csv", HEADER + '1,"a"b,b,c\n', "line 2: ',' expected"),
    ("indiana_projections.csv", VIEWS + "1,2_IM-1-1.png,Frontal\n", "no image of uid 1"),
    ("indiana_projections.csv", VIEWS + "1,x.png,Frontal\n", "'x.png' is no image of uid 1"),
    ("indiana_projections.csv", VIEWS + "1,1_IM-1-1.png,Oblique\n", "projection 'Oblique'; use"),
    (
        "indiana_projections.csv",
        VIEWS + "1,1_IM-1-1.png,Frontal\n1,1_IM-1-1.dcm.png,Lateral\n",
        "line 3: image 1_IM-1-1.dcm.png occurs twice",
    ),
]


@pytest.mark.parametrize(("name", "content", "message"), CSV_ERRORS)
def test_bad_csv_is_named(tmp_path: Path, name: str, content: str, message: str):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        iu_xray.load(tmp_path)
    assert str(tmp_path / name) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_csv_in_another_encoding_names_the_line(tmp_path: Path):
    (tmp_path / "indiana_reports.csv").write_bytes(HEADER.encode() + b"1,a,b,c\n2,\xe9,b,c\n")
    with pytest.raises(DataError, match=r"indiana_reports.csv line 3: not UTF-8"):
        iu_xray.load(tmp_path)


ANNOTATION_ERRORS = [
    ("[]", "no list 'train'"),
    ("{", "not JSON"),
    ('{"train": [], "val": {}, "test": []}', "no list 'val'"),
    ('{"train": [7], "val": [], "test": []}', "train entry 1"),
    ('{"train": [{"id": "CXR1"}], "val": [], "test": []}', "train entry 1: KeyError('report')"),
    ('{"train": [{"id": "CXRx_IM", "report": "", "image_path": []}]}', "uid 'x'"),
    (
        '{"train": [{"id": "CXR1_IM-1", "report": null, "image_path": []}]}',
        "train entry 1",
    ),
    (
        '{"train": [{"id": "CXR1_IM-1", "report": "a", "image_path": []}],'
        ' "val": [{"id": "CXR1_IM-1", "report": "b", "image_path": []}], "test": []}',
        "val entry 1: CXR1_IM-1 has the uid of CXR1_IM-1",
    ),
]


@pytest.mark.parametrize(("content", "message"), ANNOTATION_ERRORS)
def test_bad_annotation_is_named(tmp_path: Path, content: str, message: str):
    (tmp_path / "annotation.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        iu_xray.load(tmp_path)
    assert str(tmp_path / "annotation.json") in str(caught.value)
    assert message in str(caught.value)


def test_bad_archives_are_named(tmp_path: Path):
    (tmp_path / "1.xml").write_text("<eCitation>", encoding="utf-8")
    with pytest.raises(DataError, match=r"1\.xml: not XML"):
        iu_xray.load(tmp_path)
    (tmp_path / "1.xml").write_text("<settings/>", encoding="utf-8")
    with pytest.raises(DataError, match=r"1\.xml: no uId"):
        iu_xray.load(tmp_path)
    (tmp_path / "1.xml").write_text(xml("1", "Clear."), encoding="utf-8")
    (tmp_path / "2.xml").write_text(xml("1", "Clear."), encoding="utf-8")
    with pytest.raises(DataError, match=r"2\.xml: uid 1 is in .*1\.xml too"):
        iu_xray.load(tmp_path)


def test_cut_archive_is_refused_or_whole(tmp_path: Path):
    archive = tmp_path / "NLMCXR_reports.tgz"
    with tarfile.open(archive, mode="w:gz") as tar:
        for uid in range(50):
            document = xml(str(uid), f"Clear {uid}.").encode()
            member = tarfile.TarInfo(f"{uid}.xml")
            member.size = len(document)
            tar.addfile(member, io.BytesIO(document))
    whole = archive.read_bytes()

    def outcome(size: int) -> str:
        archive.write_bytes(whole[:size])
        try:
            return f"{len(iu_xray.load(tmp_path, images_needed=False).studies)} studies"
        except DataError as error:
            return str(error).removeprefix(f"{archive}: ").partition("(")[0]

    outcomes = Counter(map(outcome, range(0, len(whole), 40)))
    assert set(outcomes) <= {"50 studies", "cannot be unpacked "}
    assert outcomes["cannot be unpacked "] > 0.9 * outcomes.total()


def test_unknown_folder_says_what_was_looked_for(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        iu_xray.load(tmp_path)
    for part in ("annotation.json", "indiana_reports.csv", "NLMCXR_reports.tgz", "--root"):
        assert part in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(DataError, match="no folder"):
        iu_xray.load(tmp_path / "nowhere")


def test_two_files_of_one_source_are_refused(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_annotation(tmp_path / folder)
    with pytest.raises(DataError, match=r"both .*a/annotation\.json and .*b/annotation\.json"):
        iu_xray.load(tmp_path)


def test_real_csv_and_xml_texts_agree(iu_xray_root: Path, tmp_path: Path):
    csvs, xmls = tmp_path / "csv", tmp_path / "xml"
    for folder, names in (
        (csvs, ("indiana_reports.csv", "indiana_projections.csv")),
        (xmls, ("NLMCXR_reports.tgz",)),
    ):
        folder.mkdir()
        for name in names:
            (folder / name).symlink_to(iu_xray_root / name)
    from_csv, from_xml = read_reports(walk(csvs)), read_reports(walk(xmls))
    assert (len(from_csv), len(from_xml)) == (3851, 3955)
    for uid, report in from_csv.items():
        other = from_xml[uid]
        assert (report.findings, report.impression) == (other.findings, other.impression)
        assert report.indication == other.indication
        assert report.images.keys() <= other.images.keys()
    assert sum(len(report.images) for report in from_csv.values()) == 7466
    assert sum(len(report.images) for report in from_xml.values()) == 7470
