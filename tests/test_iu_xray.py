from __future__ import annotations

import csv
import io
import json
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from PIL import Image

from mrg_r1.data import iu_xray
from mrg_r1.data.iu_sources import image_key, read_reports, walk
from mrg_r1.data.study import Position, Studies
from mrg_r1.errors import DataError

REPORT_COLUMNS = ("uid", "MeSH", "indication", "findings", "impression")
QUOTED = 'Lungs are clear, XXXX "clear".\nNo effusion.'


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), 128).save(path, "PNG")
    return path


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def write_csvs(
    root: Path, reports: Sequence[Sequence[str]], projections: Sequence[Sequence[str]]
) -> None:
    write_csv(root / "indiana_reports.csv", REPORT_COLUMNS, reports)
    write_csv(root / "indiana_projections.csv", ("uid", "filename", "projection"), projections)


def xml(uid: str, findings: str, impression: str = "", images: Sequence[str] = ()) -> str:
    parents = "".join(f'<parentImage id="{name}"/>' for name in images)
    return (
        f'<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="CXR{uid}"/><Abstract>'
        f'<AbstractText Label="INDICATION">cough &amp; fever</AbstractText>'
        f'<AbstractText Label="FINDINGS">{findings}</AbstractText>'
        f'<AbstractText Label="IMPRESSION">{impression}</AbstractText></Abstract>'
        f"{parents}</eCitation>"
    )


def write_annotation(root: Path, **splits: Sequence[Mapping[str, object]]) -> None:
    document = {split: list(splits.get(split, ())) for split in ("train", "val", "test")}
    (root / "annotation.json").write_text(json.dumps(document), encoding="utf-8")


def entry(
    name: str, report: str = "Clear.", images: Sequence[str] | None = None
) -> dict[str, object]:
    paths = [f"{name}/0.png", f"{name}/1.png"] if images is None else list(images)
    return {"id": name, "report": report, "image_path": paths}


def reasons(loaded: Studies) -> dict[str, tuple[str, ...]]:
    return {left.reason: left.ids for left in loaded.left_out}


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


def test_reads_the_two_csv_files(tmp_path: Path):
    write_csvs(
        tmp_path,
        [("1", "normal", "Pain", QUOTED, "Normal."), ("2", "", "", "", "No change.")],
        [
            ("1", "1_IM-0001-4001.dcm.png", "Frontal"),
            ("1", "1_IM-0001-3001.dcm.png", "Lateral"),
            ("2", "2_IM-0652-1001.dcm.png", "Frontal"),
        ],
    )
    lateral = image(tmp_path / "a" / "1_IM-0001-3001.dcm.jpg")
    frontal = image(tmp_path / "b" / "c" / "1_IM-0001-4001.dcm.jpg")
    image(tmp_path / "2_IM-0652-1001.dcm.png")
    first, second = iu_xray.load(tmp_path).studies
    assert (first.id, first.patient) == ("CXR1", "1")
    assert (first.findings, first.impression, first.indication) == (QUOTED, "Normal.", "Pain")
    assert [(view.path, view.position) for view in first.views] == [
        (frontal, Position.FRONTAL),
        (lateral, Position.LATERAL),
    ]
    assert (second.findings, second.impression) == ("", "No change.")


def test_reads_a_csv_that_begins_with_a_byte_order_mark(tmp_path: Path):
    write_csvs(tmp_path, [("1", "", "", "Clear.", "")], [("1", "1_IM-1-1.png", "Frontal")])
    path = tmp_path / "indiana_reports.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    image(tmp_path / "1_IM-1-1.png")
    assert iu_xray.load(tmp_path).studies[0].findings == "Clear."


@pytest.mark.parametrize("packed", [False, True])
def test_reads_the_open_i_archive(tmp_path: Path, packed: bool):
    documents = {
        "1.xml": xml("1", "Heart &lt; half. XXXX.", "Normal.", ["CXR1_1_IM-0001-3001"]),
        "10.xml": xml("10", "Clear.", images=["CXR10_IM-0002-1001"]),
        "2.xml": xml("2", "Clear."),
    }
    image(tmp_path / "png" / "CXR1_1_IM-0001-3001.png")
    image(tmp_path / "png" / "CXR10_IM-0002-1001.png")
    if packed:
        with tarfile.open(tmp_path / "NLMCXR_reports.tgz", "w:gz") as tar:
            for name, document in documents.items():
                member = tarfile.TarInfo(f"ecgen-radiology/{name}")
                member.size = len(document.encode())
                tar.addfile(member, io.BytesIO(document.encode()))
    else:
        (tmp_path / "ecgen-radiology").mkdir()
        for name, document in documents.items():
            (tmp_path / "ecgen-radiology" / name).write_text(document, encoding="utf-8")
    loaded = iu_xray.load(tmp_path)
    first, tenth = loaded.studies
    assert (first.id, first.findings, first.impression, first.indication) == (
        "CXR1",
        "Heart < half. XXXX.",
        "Normal.",
        "cough & fever",
    )
    assert [view.position for view in first.views] == [Position.UNKNOWN]
    assert tenth.id == "CXR10"
    assert reasons(loaded) == {iu_xray.NO_IMAGE: ("CXR2",)}


def test_annotation_decides_split_and_findings_and_is_completed(tmp_path: Path):
    write_annotation(
        tmp_path, train=[entry("CXR1_IM-0001", "R2Gen's text.")], test=[entry("CXR2_IM-0652")]
    )
    write_csvs(
        tmp_path,
        [
            ("1", "", "Pain", "CSV text.", ""),
            ("2", "", "", "", "Stable."),
            ("3", "", "", "Clear.", ""),
        ],
        [("1", "1_IM-0001-4001.dcm.png", "Frontal"), ("2", "2_IM-0652-1001.dcm.png", "Lateral")],
    )
    (tmp_path / "1.xml").write_text(xml("1", "XML text.", "XML impression."), encoding="utf-8")
    image(tmp_path / "1_IM-0001-4001.dcm.png")
    image(tmp_path / "2_IM-0652-1001.dcm.png")
    loaded = iu_xray.load(tmp_path)
    first, second = loaded.studies
    assert (first.id, first.split, first.patient) == ("CXR1_IM-0001", "train", "1")
    assert (first.findings, first.impression) == ("R2Gen's text.", "XML impression.")
    assert first.indication == "Pain"
    assert first.views[0].position is Position.FRONTAL
    assert (second.id, second.split, second.impression) == ("CXR2_IM-0652", "test", "Stable.")
    assert reasons(loaded) == {iu_xray.NOT_ANNOTATED: ("CXR3",)}


def test_reads_annotation_alone_with_numbered_images(tmp_path: Path):
    write_annotation(tmp_path, val=[entry("CXR1_1_IM-0001"), entry("CXR2_IM-0652")])
    found = image(tmp_path / "images" / "CXR1_1_IM-0001" / "0.png")
    loaded = iu_xray.load(tmp_path)
    (study,) = loaded.studies
    assert (study.id, study.patient, study.split) == ("CXR1_1_IM-0001", "1", "val")
    assert [(view.path, view.position) for view in study.views] == [(found, Position.UNKNOWN)]
    assert reasons(loaded) == {
        iu_xray.IMAGE_MISSING: ("CXR1_1_IM-0001/1",),
        iu_xray.NO_IMAGE: ("CXR2_IM-0652",),
    }


def test_images_by_their_own_names_win_over_numbered_copies(tmp_path: Path):
    write_annotation(tmp_path, train=[entry("CXR1_IM-0001")])
    image(tmp_path / "CXR1_IM-0001" / "0.png")
    own = image(tmp_path / "1_IM-0001-4001.png")
    (study,) = iu_xray.load(tmp_path).studies
    assert [view.path for view in study.views] == [own]


def test_names_everything_left_out(tmp_path: Path):
    write_csvs(
        tmp_path,
        [
            ("1", "", "", "Clear.", ""),
            ("2", "", "", " ", ""),
            ("3", "", "", "Clear.", ""),
        ],
        [
            ("1", "1_IM-1-1.png", "Frontal"),
            ("1", "1_IM-1-2.png", "Lateral"),
            ("2", "2_IM-1-1.png", "Frontal"),
            ("3", "3_IM-1-1.png", "Frontal"),
        ],
    )
    image(tmp_path / "1_IM-1-1.png")
    image(tmp_path / "again" / "1_IM-1-1.jpg")
    image(tmp_path / "2_IM-1-1.png")
    image(tmp_path / "9_IM-1-1.png")
    image(tmp_path / "logo.png")
    image(tmp_path / "c" / "CXR1_IM-1" / "0.png")
    image(tmp_path / "d" / "CXR1_IM-1" / "0.png")
    image(tmp_path / "__MACOSX" / "3_IM-1-1.png")
    image(tmp_path / "._3_IM-1-1.png")
    loaded = iu_xray.load(tmp_path)
    assert [study.id for study in loaded.studies] == ["CXR1"]
    assert reasons(loaded) == {
        iu_xray.NO_TEXT: ("CXR2",),
        iu_xray.NO_IMAGE: ("CXR3",),
        iu_xray.IMAGE_MISSING: ("1_IM-1-2",),
        iu_xray.IMAGE_REPEATED: ("d/CXR1_IM-1/0.png", "again/1_IM-1-1.jpg"),
        iu_xray.IMAGE_UNKNOWN: ("9_IM-1-1",),
    }


def test_images_may_stand_behind_links_even_circular_ones(tmp_path: Path):
    root, store = tmp_path / "root", tmp_path / "store"
    root.mkdir()
    write_csvs(root, [("1", "", "", "Clear.", "")], [("1", "1_IM-1-1.png", "Frontal")])
    image(store / "1_IM-1-1.png")
    (root / "images").symlink_to(store)
    (store / "back").symlink_to(root)
    loaded = iu_xray.load(root)
    assert len(loaded.studies[0].views) == 1
    assert not loaded.left_out


def test_reports_alone_are_read_when_no_images_are_needed(tmp_path: Path):
    write_csvs(tmp_path, [("1", "", "", "Clear.", "")], [("1", "1_IM-1-1.png", "Frontal")])
    loaded = iu_xray.load(tmp_path, images_needed=False)
    assert [(study.id, study.views) for study in loaded.studies] == [("CXR1", ())]
    assert not loaded.left_out


def test_split_by_hash_depends_on_uid_and_seed_alone(tmp_path: Path):
    def splits(root: Path, uids: range, seed: int = 0) -> dict[str, str]:
        root.mkdir()
        write_csvs(root, [(str(uid), "", "", "Clear.", "") for uid in uids], [])
        loaded = iu_xray.load(root, images_needed=False, split_seed=seed)
        return {study.id: study.split for study in loaded.studies}

    whole = splits(tmp_path / "a", range(1, 3001))
    part = splits(tmp_path / "b", range(2000, 2100))
    assert part.items() <= whole.items()
    assert whole != splits(tmp_path / "c", range(1, 3001), seed=1)
    counts = Counter(whole.values())
    assert counts["train"] / 3000 == pytest.approx(0.7, abs=0.03)
    assert counts["val"] / 3000 == pytest.approx(0.1, abs=0.02)
    assert counts["test"] / 3000 == pytest.approx(0.2, abs=0.03)
    # Frozen: a change here moves studies between train and test of everyone's runs.
    assert [whole[f"CXR{uid}"] for uid in range(1, 9)] == SPLITS_OF_1_TO_8


SPLITS_OF_1_TO_8 = ["val", "test", "train", "test", "train", "train", "train", "train"]


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


def test_reports_without_any_image_are_refused(tmp_path: Path):
    write_csvs(tmp_path, [("1", "", "", "Clear.", "")], [("1", "1_IM-1-1.png", "Frontal")])
    with pytest.raises(DataError, match=r"1 reports but not one of their images .*NLMCXR_png"):
        iu_xray.load(tmp_path)


def test_counts_of_the_real_studies(iu_xray_root: Path):
    loaded = iu_xray.load(iu_xray_root)
    assert Counter(study.split for study in loaded.studies) == {"train": 2069, "val": 296}
    assert sum(len(study.views) for study in loaded.studies) == 4864
    assert all(study.findings and study.patient for study in loaded.studies)
    frontal = Counter(
        study.split
        for study in loaded.studies
        if any(view.position is Position.FRONTAL for view in study.views)
    )
    assert frontal == {"train": 2063, "val": 294}
    left = {reason: len(ids) for reason, ids in reasons(loaded).items()}
    # The folder holds no images of the test split; the CSV files lack 4 of the XML's images.
    assert left == {
        iu_xray.NO_IMAGE: 590,
        iu_xray.IMAGE_MISSING: 4,
        iu_xray.NOT_ANNOTATED: 3955 - 2955,
    }


def test_real_reports_are_all_read_without_images(iu_xray_root: Path):
    loaded = iu_xray.load(iu_xray_root, images_needed=False)
    assert Counter(study.split for study in loaded.studies) == {
        "train": 2069,
        "val": 296,
        "test": 590,
    }
    assert all(study.findings for study in loaded.studies)


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
