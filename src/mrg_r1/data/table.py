"""Your own studies: a CSV or JSON lines file with one row per image or per study.

id,image,report,split
p1,images/p1.png,"Heart size is normal. Lungs are clear.",train
p2,images/p2_pa.dcm;images/p2_lateral.dcm,"Small left effusion.",test
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from mrg_r1.data.positions import POSITIONS
from mrg_r1.data.rows import missing_column, read_csv, read_jsonl
from mrg_r1.data.study import Position, Prior, Studies, Study, View
from mrg_r1.errors import DataError

_SPLITS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
_NOTHING = {"", "nan", "none", "null"}


@dataclass(frozen=True, slots=True)
class Columns:
    """The name of each column in the file; one that is not of its default name must be there."""

    image: str = "image"
    report: str = "report"
    id: str = "id"
    split: str = "split"
    study: str = "study_id"
    impression: str = "impression"
    indication: str = "indication"
    prior_report: str = "prior_report"
    prior_image: str = "prior_image"
    view: str = "view"
    patient: str = "patient"


_DEFAULTS = Columns()


def load(path: Path, *, columns: Columns = _DEFAULTS) -> Studies:
    """Reads studies from a CSV file, or from JSON lines where its name ends in .jsonl or .ndjson.

    Image and report columns must be there, and the id or the study column. Rows of one study id
    are one study; they may differ in image and view only. The other columns may be missing:
    without a split column every study is of the 'train' split.

    - image: paths relative to the file, several separated by ';' (in JSON lines, a list);
    - report: the reference, kept as the study's findings;
    - split: train, val (also valid, validate, validation, dev) or test;
    - view: frontal, PA, AP, lateral, LL or nothing, one for each image, separated likewise;
    - prior_report, prior_image: of the previous study of the patient; which one that is, and that
      it is not a later one, only you can know.

    Nothing is left out: a row that cannot be used is an error.

    Raises:
        DataError: with the file and the line, for a missing column, an empty report, an id that
            occurs twice, an image that is not there, a split or view of another name, rows of
            one study that disagree, a report or an image of the study that is given as the
            previous study's, or a line that cannot be decoded.
    """
    if path.is_dir():
        raise DataError(f"{path}: a folder; pass the CSV or JSON lines file in it")
    jsonl = path.name.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson"))
    rows = list(read_jsonl(path) if jsonl else read_csv(path))
    present = list(dict.fromkeys(name for _, row in rows for name in row))
    if not rows:
        raise DataError(f"{path}: no rows; write one per image or study")
    _check_columns(path, columns, present)
    _check_prompt(path, columns)
    nothing = dict.fromkeys(present)
    studies: dict[str, Study] = {}
    first_line: dict[str, int] = {}
    for line, row in rows:
        where = f"{path} line {line}"
        study, row_id = _study(where, nothing | row, columns, path.parent)
        if row_id in first_line:
            raise DataError(
                f"{where}: {columns.id} {row_id} is on line {first_line[row_id]} too; give each "
                f"row its own, and rows of one study one {columns.study}"
            )
        if row_id:
            first_line[row_id] = line
        known = studies.get(study.id)
        studies[study.id] = _joined(where, known, study) if known else study
        _check_views(where, studies[study.id])
    return Studies(tuple(studies.values()))


def _check_columns(path: Path, columns: Columns, present: Sequence[str]) -> None:
    """Refuses a column that is missing, and an optional one that was asked for or is misspelt."""
    required = {"image", "report"} if columns.study in present else {"image", "report", "id"}
    folded = {name.casefold(): name for name in present}
    for column in fields(columns):
        name: str = getattr(columns, column.name)
        near = folded.get(name.casefold())
        asked = column.name in required or name != column.default
        if name not in present and (asked or near):
            raise DataError(
                f"{path}: {missing_column(name, present)}; rename it or set "
                f"data.columns.{column.name}"
            )


def _check_prompt(path: Path, columns: Columns) -> None:
    """Refuses to put into prompts what is to be written."""
    for given in ("indication", "prior_report"):
        for answer in ("report", "impression"):
            name = getattr(columns, given)
            if name == getattr(columns, answer):
                raise DataError(
                    f"{path}: column '{name}' is both {answer} and {given}; what is to be written "
                    f"cannot be in the prompt, set data.columns.{given} to another"
                )


def _study(where: str, row: Mapping[str, Any], columns: Columns, folder: Path) -> tuple[Study, str]:
    """The study one row makes on its own, and the row's id ('' without an id column)."""

    def text(column: str) -> str:
        value = row.get(column)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is not None and not isinstance(value, str):
            raise DataError(f"{where}: {column} is {value!r}; write a text")
        return (value or "").strip()

    row_id = text(columns.id)
    report, impression = text(columns.report), text(columns.impression)
    if report.casefold() in _NOTHING and not impression:
        raise DataError(f"{where}: empty {columns.report}; write the report or remove the row")
    study_id = text(columns.study) or row_id
    if not study_id or (columns.id in row and not row_id):
        raise DataError(f"{where}: empty {columns.id}; give each row an id")
    split = _SPLITS.get(text(columns.split).casefold()) if columns.split in row else "train"
    if split is None:
        raise DataError(f"{where}: {columns.split} '{text(columns.split)}'; use train, val or test")
    study = Study(
        id=study_id,
        views=_views(where, row, columns, folder),
        split=split,
        findings="" if report.casefold() in _NOTHING else report,
        impression=impression,
        indication=_something(text(columns.indication)),
        patient=text(columns.patient),
        prior=_prior(where, row, columns, folder, _something(text(columns.prior_report))),
    )
    return study, row_id


def _something(text: str) -> str:
    return "" if text.casefold() in _NOTHING else text


def _prior(
    where: str, row: Mapping[str, Any], columns: Columns, folder: Path, report: str
) -> Prior | None:
    images = _cells(where, row, columns.prior_image)
    views = tuple(View(_image(where, folder, image)) for image in images if _something(image))
    return Prior(findings=report, views=views) if report or views else None


def _image(where: str, folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise DataError(
            f"{where}: no image {path}; write its path relative to the folder of the table"
        )
    return path


def _views(where: str, row: Mapping[str, Any], columns: Columns, folder: Path) -> tuple[View, ...]:
    images = _cells(where, row, columns.image)
    if not all(images):
        raise DataError(f"{where}: empty {columns.image}; write the path of an image")
    names = _cells(where, row, columns.view)
    if names == [""]:
        names *= len(images)
    if len(names) != len(images):
        raise DataError(
            f"{where}: {len(images)} images and {len(names)} views; write a {columns.view} for each"
        )
    return tuple(
        View(_image(where, folder, image), _position(where, name))
        for image, name in zip(images, names, strict=True)
    )


def _cells(where: str, row: Mapping[str, Any], column: str) -> list[str]:
    """The entries of a cell: separated by ';', or the items of a JSON list."""
    value = row.get(column)
    entries = cast("list[Any]", value) if isinstance(value, list) else str(value or "").split(";")
    if not all(isinstance(entry, str) for entry in entries):
        raise DataError(f"{where}: {column} is {value!r}; write a text or a list of texts")
    return [entry.strip() for entry in entries] or [""]


def _position(where: str, name: str) -> Position:
    if name.upper() not in POSITIONS:
        raise DataError(f"{where}: view '{name}'; use frontal, PA, AP, lateral, LL or nothing")
    return POSITIONS[name.upper()]


def _joined(where: str, study: Study, other: Study) -> Study:
    """A study with the views of another row of it."""
    for name in ("split", "findings", "impression", "indication", "patient", "prior"):
        if getattr(study, name) != getattr(other, name):
            raise DataError(
                f"{where}: {name} differs from an earlier row of study {study.id}; make them alike"
            )
    return replace(study, views=study.views + other.views)


def _check_views(where: str, study: Study) -> None:
    paths = [view.path for view in study.views]
    for path in paths:
        if paths.count(path) > 1:
            raise DataError(f"{where}: image {path} occurs twice in study {study.id}; remove one")
    for view in study.prior.views if study.prior else ():
        if view.path in paths:
            raise DataError(
                f"{where}: image {view.path} is of study {study.id} and of its previous study; "
                "remove one"
            )
