"""What is made of files, folders, patterns and lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileMetaDataset

from mrg_r1.data.inputs import find_inputs
from mrg_r1.errors import DataError


def png(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path, format="PNG")
    return path


def dicom(path: Path, study: str = "1.2.3", *, pixels: bool = True) -> Path:
    """A small DICOM file, or one like the reports and directories beside images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = f"{study}.{abs(hash(path)) % 10**9}"
    dataset.StudyInstanceUID = study
    if pixels:
        dataset.Rows = dataset.Columns = 4
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 7, 0, 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.PixelData = bytes(16)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two studies in DICOM, some pictures, and what else lies in such folders."""
    dicom(tmp_path / "ct" / "IM0001", "1.2.1")
    dicom(tmp_path / "ct" / "IM0002", "1.2.1")
    dicom(tmp_path / "ct" / "other" / "IM0001", "1.2.2")
    dicom(tmp_path / "ct" / "DICOMDIR", pixels=False)
    png(tmp_path / "png" / "b.png")
    png(tmp_path / "png" / "a.jpg")  # content decides
    (tmp_path / "png" / "notes.txt").write_text("not an image")
    (tmp_path / "png" / "empty.png").touch()
    return tmp_path


def found(*named: Path, together: str = "each") -> dict[str, list[str]]:
    """The names of the images of each sample, by its id."""
    samples = find_inputs(named, together).samples  # type: ignore[arg-type]
    return {sample.id: [path.name for path in sample.images] for sample in samples}


def test_files_are_samples_named_by_their_stems_where_these_differ(folder: Path) -> None:
    one, other = folder / "png" / "a.jpg", png(folder / "more" / "a.png")
    third = folder / "nowhere.png"  # whether it is there shows later
    assert found(one, third) == {"a": ["a.jpg"], "nowhere": ["nowhere.png"]}
    assert found(one, other) == {str(one): ["a.jpg"], str(other): ["a.png"]}
    assert found(one, one) == {"a": ["a.jpg"]}


def test_a_folder_gives_its_images_by_content_and_tells_the_rest(folder: Path) -> None:
    inputs = find_inputs([folder / "png"])
    assert [sample.id for sample in inputs.samples] == ["a", "b"]
    (left,) = inputs.left_out
    assert left.reason == "files in folders that are no image"
    assert [Path(path).name for path in left.ids] == ["empty.png", "notes.txt"]
    inputs = find_inputs([folder])
    assert len(inputs.samples) == 5
    assert {left.reason: len(left.ids) for left in inputs.left_out} == {
        "files in folders that are no image": 2,
        "DICOM files in folders that hold no image": 1,
    }


def test_series_lie_together_on_demand(folder: Path) -> None:
    assert found(folder, together="study") == {
        "ct": ["IM0001", "IM0002"],
        "IM0001": ["IM0001"],
        "png": ["a.jpg", "b.png"],
    }


def test_two_studies_in_one_folder_are_named_by_their_first_images(tmp_path: Path) -> None:
    for number, study in enumerate(("1", "1", "2", "2")):
        dicom(tmp_path / "mixed" / f"IM{number}", study)
    assert found(tmp_path, together="study") == {"IM0": ["IM0", "IM1"], "IM2": ["IM2", "IM3"]}


def test_a_damaged_dicom_file_stands_by_itself(folder: Path) -> None:
    whole = (folder / "ct" / "IM0002").read_bytes()
    (folder / "ct" / "IM0003").write_bytes(whole[:140] + b"\xff" * 60)
    together = list(found(folder / "ct", together="study").values())
    assert together == [["IM0001", "IM0002"], ["IM0003"], ["IM0001"]]


def test_patterns_are_matched_here_where_no_shell_does(folder: Path) -> None:
    assert found(folder / "png" / "*.jpg") == {"a": ["a.jpg"]}
    assert list(found(folder / "ct" / "**" / "IM*").values()) == [
        ["IM0001"],
        ["IM0002"],
        ["IM0001"],
    ]
    odd = png(folder / "odd [1].png")
    assert found(odd) == {"odd [1]": ["odd [1].png"]}


def test_a_list_says_what_goes_together(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text(
        "id,image,study_id,reference\none,png/a.jpg;png/b.png,s1,No edema.\n,png/b.png,,\n"
    )
    one, two = find_inputs([table]).samples
    assert (one.id, one.study_id, one.reference) == ("one", "s1", "No edema.")
    assert one.images == (folder / "png" / "a.jpg", folder / "png" / "b.png")
    assert (two.id, two.study_id, two.reference) == ("b", "b", "")
    lines = folder / "list.jsonl"
    lines.write_text(json.dumps({"images": ["png/a.jpg"]}) + "\n")
    assert found(lines, folder / "png" / "b.png") == {"b": ["b.png"], "a": ["a.jpg"]}


def test_a_list_gives_context(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text(
        "id,image,indication,prior_report,prior_image\n"
        "one,png/a.jpg,___ with  cough,Old.,png/b.png\ntwo,png/a.jpg,XXXX,,\n"
    )
    one, two = find_inputs([table]).samples
    assert one.images == (folder / "png" / "a.jpg", folder / "png" / "b.png")
    assert one.context == {
        "indication": "___ with cough",
        "prior-report": "Old.",
        "prior-images": "1",
    }
    assert (two.images, two.context) == ((folder / "png" / "a.jpg",), {})


def write(text: str) -> Callable[[Path], Path]:
    def into(folder: Path) -> Path:
        path = folder / "list.csv"
        path.write_text(text)
        return path

    return into


def empty(folder: Path) -> Path:
    path = folder / "empty"
    path.mkdir()
    return path


MISTAKES = {
    "no match": (lambda folder: folder / "*.tif", r"\*.tif: no file matches this pattern"),
    "no image in it": (empty, "empty: no PNG, JPEG or DICOM image in this folder"),
    "no list": (lambda folder: folder / "no.csv", "no.csv: no such file"),
    "no column": (write("path\na.png\n"), "list.csv line 2: no column 'image'"),
    "no image": (write("id,image\n1,\n"), "list.csv line 2: no image; write its path"),
    "an id twice": (write("id,image\n1,a.png\n1,b.png\n"), "id 1 occurs 2 times"),
}


@pytest.mark.parametrize(("make", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_inputs([make(tmp_path)])
