from __future__ import annotations

from pathlib import Path

import pytest

from mimic_folder import REPORT, ROWS, write
from mrg_r1.data import mimic_cxr
from mrg_r1.data.mimic_sections import Sections, sections
from mrg_r1.data.study import LeftOut, Position
from mrg_r1.errors import DataError


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (
            REPORT,
            (
                "The lungs are clear. RIGHT LUNG: no effusion at 1.5 cm.",
                "No acute process.",
                "___F with cough // eval for infection",
            ),
        ),
        ("FINDINGS: A.\nFINDINGS: B.\nIMPRESSION: C.", ("A. B.", "C.", "")),
        ("Findings: A.\nImpression: B.\n", ("A.", "B.", "")),
        ("FINDINGS AND IMPRESSION: A.", ("A.", "", "")),
        ("FINDINGS/IMPRESSION: A.", ("A.", "", "")),
        ("FINDING(S): A.\nCONCLUSION: B.", ("A.", "B.", "")),
        ("REASON FOR EXAMINATION: A.\nHISTORY: B.\nFINDINGS: C.", ("C.", "", "A. B.")),
        ("REASON FOR THIS EXAMINATION:\n A.\nFINDINGS: C.", ("C.", "", "A.")),
        (
            "HISTORY: A\n wraps.\n\nThe lungs are clear.\n\nIMPRESSION: B.",
            ("", "B.", "A wraps."),
        ),
        ("IMPRESSION: A.\nRECOMMENDATION(S): CT.\nNOTIFICATION: phoned.", ("", "A.", "")),
        ("WET READ: x\nIMPRESSION: wet.\n  FINAL REPORT\nIMPRESSION: dry.", ("", "dry.", "")),
        ("FINDINGS: see\n no findings: none\nIMPRESSION: A.", ("see no findings: none", "A.", "")),
        ("FINDINGS: A.\nfindings: B.", ("A. findings: B.", "", "")),
        ("FINDINGS : A.\n" + "_" * 60 + "\nB ___ C.", ("A. B ___ C.", "", "")),
        ("FINDINGS:\nIMPRESSION:\n", ("", "", "")),
        ("The lungs are clear.", ("", "", "")),
        ("", ("", "", "")),
    ],
)
def test_sections(report: str, expected: tuple[str, str, str]):
    assert sections(report) == Sections(*expected)
    assert sections(report.replace("\n", "\r\n")) == Sections(*expected)


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize("packed_tables", [False, True])
def test_reads_the_official_layout(tmp_path: Path, archive: bool, packed_tables: bool):
    write(tmp_path, archive=archive, packed_tables=packed_tables)
    loaded = mimic_cxr.load(tmp_path)
    assert [(study.id, study.patient, study.split) for study in loaded.studies] == [
        ("s50000001", "p10000001", "train"),
        ("s50000002", "p10000001", "val"),
        ("s50000003", "p11000002", "test"),
    ]
    first = loaded.studies[0]
    assert [(view.path.name, view.position) for view in first.views] == [
        ("aa.jpg", Position.FRONTAL),
        ("ab.jpg", Position.LATERAL),
        ("ac.jpg", Position.UNKNOWN),
    ]
    assert first.findings.startswith("The lungs are clear.")
    assert (first.impression, first.indication) == (
        "No acute process.",
        "___F with cough // eval for infection",
    )
    assert [view.position for view in loaded.studies[2].views] == [Position.UNKNOWN]
    assert loaded.left_out == ()


def test_images_and_reports_may_stand_in_folders_of_their_own(tmp_path: Path):
    write(tmp_path / "mimic-cxr-jpg")
    reports = tmp_path / "mimic-cxr-reports"
    for path in list((tmp_path / "mimic-cxr-jpg").rglob("*.txt")):
        target = reports / path.relative_to(tmp_path / "mimic-cxr-jpg")
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    loaded = mimic_cxr.load(tmp_path)
    assert len(loaded.studies) == 3
    assert loaded.left_out == ()


def test_names_everything_left_out(tmp_path: Path):
    rows = [
        *ROWS,
        ("da", "50000004", "11000002", "test", "PA"),
        ("ea", "50000005", "11000002", "test", "PA"),
    ]
    write(
        tmp_path,
        rows,
        reports={"50000003": "", "50000004": "The lungs are clear."},
        without=["ab", "ba"],
    )
    loaded = mimic_cxr.load(tmp_path)
    assert [study.id for study in loaded.studies] == ["s50000001", "s50000005"]
    assert set(loaded.left_out) == {
        LeftOut(mimic_cxr.IMAGE_MISSING, ("ab",)),
        LeftOut(mimic_cxr.NO_IMAGE, ("s50000002",)),
        LeftOut(mimic_cxr.NO_REPORT, ("s50000003",)),
        LeftOut(mimic_cxr.NO_TEXT, ("s50000004",)),
    }


SERIES = [
    ("aa", "50000001", "10000001", "train", "PA"),
    ("ab", "50000001", "10000001", "train", "LATERAL"),
    ("ba", "50000002", "10000001", "train", "AP"),
    ("ca", "50000003", "10000001", "train", "AP"),
]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        # The first study is the last: ids tell nothing of the order.
        (
            {"aa": ("21800802", "0.0"), "ab": ("21800802", "0.0"), "ba": ("21800506", "213014.5")},
            {"s50000001": "s50000002", "s50000002": "s50000003"},
        ),
        # A quarter past eight stands as 81500.5 and is before noon, though not as a text.
        (
            {"ba": ("21800506", "81500.5"), "ca": ("21800506", "120000"), "aa": ("", "")},
            {"s50000003": "s50000002"},
        ),
        # One image of the first study was taken after the second study: neither is the other's.
        (
            {"aa": ("21800506", "1"), "ab": ("21800506", "5"), "ba": ("21800506", "3")},
            {"s50000001": "s50000003", "s50000002": "s50000003"},
        ),
        (dict.fromkeys(("aa", "ab", "ba", "ca"), ("21800506", "213014.531")), {}),
        ({"ca": ("2180", "noon"), "ba": ("21800101", "")}, {}),
    ],
)
def test_the_previous_study_is_told_by_date_and_time(
    tmp_path: Path, times: dict[str, tuple[str, str]], expected: dict[str, str]
):
    write(tmp_path, SERIES, times={"ca": ("21800505", "235959.999"), **times})
    loaded = mimic_cxr.load(tmp_path).studies
    assert {study.id: study.prior.study_id for study in loaded if study.prior} == expected


def test_a_previous_study_comes_with_its_report_and_views(tmp_path: Path):
    times = {"ca": ("21800507", "1")}
    write(tmp_path, SERIES, times=times, reports={"50000002": "FINDINGS: Old.\nIMPRESSION: Bad."})
    studies = {study.id: study for study in mimic_cxr.load(tmp_path).studies}
    prior = studies["s50000003"].prior
    assert prior is not None
    assert (prior.study_id, prior.findings, prior.impression) == ("s50000002", "Old.", "Bad.")
    assert [view.path.name for view in prior.views] == ["ba.jpg"]
    assert studies["s50000001"].prior is None


def test_a_study_that_was_left_out_is_nobodys_previous_one(tmp_path: Path):
    times = {"ca": ("21800507", "1"), "ba": ("21800506", "235959")}
    write(tmp_path, SERIES, times=times, reports={"50000002": "No sections."})
    (_, last) = mimic_cxr.load(tmp_path).studies
    assert (last.id, last.prior and last.prior.study_id) == ("s50000003", "s50000001")


def test_metadata_without_times_give_no_previous_studies(tmp_path: Path):
    write(tmp_path, SERIES, packed_tables=False)
    path = tmp_path / "mimic-cxr-2.0.0-metadata.csv"
    lines = [line.rsplit(",", 2)[0] for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines))
    assert all(study.prior is None for study in mimic_cxr.load(tmp_path).studies)


def test_reading_tells_how_far_it_is(tmp_path: Path):
    write(tmp_path)
    told: list[tuple[int, int]] = []
    mimic_cxr.load(tmp_path, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_folders_as_wget_leaves_them(tmp_path: Path):
    write(tmp_path / "physionet.org" / "files" / "mimic-cxr-jpg" / "2.1.0")
    assert len(mimic_cxr.load(tmp_path / "physionet.org").studies) == 3
    assert len(mimic_cxr.load(tmp_path / "physionet.org" / "files").studies) == 3
    with pytest.raises(DataError, match=r"no folder .*nowhere; pass the folder"):
        mimic_cxr.load(tmp_path / "nowhere")


def test_dicom_images_of_the_original_are_found(tmp_path: Path):
    write(tmp_path)
    for path in list(tmp_path.rglob("*.jpg")):
        path.rename(path.with_suffix(".dcm"))
    views = mimic_cxr.load(tmp_path).studies[0].views
    assert [view.path.name for view in views] == ["aa.dcm", "ab.dcm", "ac.dcm"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("aa", "50000001", "10000001", "train", "PA"), "line 7: image aa occurs twice"),
        (("xx", "50000001", "10000001", "test", "PA"), "line 7: study s50000001 is in another"),
        (("xx", "50000001", "10000009", "train", "PA"), "line 7: study s50000001 is in another"),
        (("xx", "50000009", "10000009", "dev", "PA"), "line 7: split 'dev'; use train, validate"),
    ],
)
def test_a_split_that_disagrees_with_itself_is_refused(
    tmp_path: Path, row: tuple[str, str, str, str, str], message: str
):
    write(tmp_path, [*ROWS, row])
    with pytest.raises(DataError, match=r"mimic-cxr-2\.0\.0-split\.csv\.gz") as caught:
        mimic_cxr.load(tmp_path)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["split", "metadata"])
def test_missing_tables_are_named(tmp_path: Path, name: str):
    write(tmp_path)
    (tmp_path / f"mimic-cxr-2.0.0-{name}.csv.gz").unlink()
    with pytest.raises(DataError, match=rf"no mimic-cxr-2\.0\.0-{name}\.csv\.gz in .*--root"):
        mimic_cxr.load(tmp_path)


def test_a_root_without_images_or_reports_is_refused(tmp_path: Path):
    write(tmp_path, without=["aa", "ab", "ac", "ba", "ca"])
    with pytest.raises(DataError, match=r"not one study below .*no image on disk; put files"):
        mimic_cxr.load(tmp_path)
    write(tmp_path)
    for path in tmp_path.rglob("*.txt"):
        path.unlink()
    with pytest.raises(DataError, match=r"not one study below .*no report; put files"):
        mimic_cxr.load(tmp_path)


def test_damaged_reports_are_named(tmp_path: Path):
    write(tmp_path)
    report = next(tmp_path.rglob("s50000001.txt"))
    report.write_bytes(b"FINDINGS: caf\xe9")
    with pytest.raises(DataError, match=r"s50000001\.txt: not UTF-8"):
        mimic_cxr.load(tmp_path)


def test_a_damaged_archive_is_named(tmp_path: Path):
    write(tmp_path, archive=True)
    path = tmp_path / "mimic-cxr-reports.zip"
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole.replace(b"clear", b"cloud")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"mimic-cxr-reports\.zip: cannot be unpacked"):
            mimic_cxr.load(tmp_path)
