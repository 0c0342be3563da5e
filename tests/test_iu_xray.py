from __future__ import annotations

import io
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from iu_files import QUOTED, entry, image, reasons, write_annotation, write_csvs, xml
from mrg_r1.data import iu_xray
from mrg_r1.data.study import Position
from mrg_r1.errors import DataError


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
