import json
from pathlib import Path

import pytest
from PIL import Image

from mrg_r1.data.nearest import nearest
from mrg_r1.data.training import TrainingReport, read_training
from mrg_r1.errors import DataError


def write(path: Path, document: object) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


FILES = {
    "csv": ("a.csv", "id,report\n1,Clear.\n2,Ill.\n"),
    "csv without ids": ("a.csv", "report\nClear.\nIll.\n"),
    "rows of several splits": ("a.csv", "report,split\nNo.,test\nClear.,train\nIll.,Train\n"),
    "texts by id": ("a.json", {"1": "Clear.", "2": ["Ill."]}),
    "list": ("a.json", [{"findings": "Clear."}, {"findings": "Ill."}]),
    "annotation": (
        "a.json",
        {"train": [{"report": "Clear."}, {"report": "Ill."}], "test": [{"report": "No."}]},
    ),
    "lines": ("a.jsonl", '{"reference": "Clear."}\n{"reference": "Ill."}\n'),
}


@pytest.mark.parametrize(("name", "document"), FILES.values(), ids=FILES.keys())
def test_files_of_training_references(tmp_path: Path, name: str, document: object) -> None:
    path = write(tmp_path / name, document)
    assert [report.text for report in read_training(path)] == ["Clear.", "Ill."]


def test_images_come_along(tmp_path: Path) -> None:
    rows = {"train": [{"report": "A.", "image_path": ["x/0.png", "x/1.png"]}, {"report": "B."}]}
    assert read_training(write(tmp_path / "a.json", rows)) == [
        TrainingReport("A.", ("x/0.png", "x/1.png")),
        TrainingReport("B."),
    ]


BAD = {
    "no file": ("", None, "no such file"),
    "no column": ("report,x\nA.,1\n", "reports", "no column 'reports'; did you mean 'report'"),
    "no usual column": ("text\nA.\n", None, "no column 'reference'"),
    "empty text": ('report\nA.\n" "\n', None, "line 3: no text under 'report'"),
    "no training row": ("report,split\nA.,test\n", None, "no rows of the split 'train'"),
}


@pytest.mark.parametrize(("document", "column", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_no_training_reference(
    tmp_path: Path, document: str, column: str | None, message: str
) -> None:
    path = tmp_path / "a.csv"
    if document:
        write(path, document)
    with pytest.raises(DataError, match=message):
        read_training(path, column)


def picture(path: Path, values: list[int], side: int) -> Path:
    image = Image.new("L", (2, 2))
    image.putdata(values)
    image.resize((side, side), Image.Resampling.NEAREST).save(path)
    return path


def test_the_nearest_image_is_found_whatever_its_size_and_brightness(tmp_path: Path) -> None:
    left = picture(tmp_path / "left.png", [200, 0, 200, 0], 64)
    top = picture(tmp_path / "top.png", [200, 200, 0, 0], 64)
    empty = picture(tmp_path / "empty.png", [9, 9, 9, 9], 64)
    darker = picture(tmp_path / "darker.png", [90, 10, 90, 20], 200)
    assert nearest([darker, top, left], [empty, top, left]).tolist() == [2, 1, 2]
    assert nearest([empty], [top, left]).tolist() == [0]
    assert nearest([], [top]).tolist() == []
