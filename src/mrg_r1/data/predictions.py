"""Any system's reports beside their references, from CSV, JSON or JSON lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from mrg_r1.completion import parse
from mrg_r1.data.rows import missing_column, read_csv, read_jsonl
from mrg_r1.errors import DataError
from mrg_r1.records import Prediction, read_json

Rows = Sequence[tuple[str, Mapping[str, Any]]]
"""(where the row is, its cells by column); 'where' names the file and the line or item."""

IMAGE_COLUMNS = ("images", "image", "image_path")
PRIOR_IMAGE_COLUMNS = ("prior_images", "prior_image")
PATIENT_COLUMNS = ("patient_id", "patient", "subject_id")
PREDICTION_COLUMNS = ("report", "prediction", "completion")
REFERENCE_COLUMNS = ("reference", "report")
TAGS = ("<think>", "</think>", "<report>", "</report>")


def read_predictions(
    path: Path,
    *,
    prediction_column: str | None = None,
    reference_column: str | None = None,
    id_column: str = "id",
    references: Path | None = None,
    untagged: bool = False,
) -> list[Prediction]:
    """The predictions of one system, in the order of the file.

    A text with a `<report>` tag, and any text of a column named `completion`, is a raw
    completion and is parsed; any other text is the report itself, and may be empty. Samples are
    their own study unless a column `study_id` says otherwise; `patient_id`, `patient` or
    `subject_id` names the patient, and `images`, `image` or `image_path` the images (a list, or
    paths parted by ';'). JSON is a list of objects, or an object of texts by id.

    Args:
        path: a `.csv`, `.json` or `.jsonl` file; `.csv` and `.jsonl` may be gzip (`.gz`).
        prediction_column: else the first there is of `report`, `prediction` and `completion`.
        reference_column: else `reference`; in a file of references, also `report`.
        id_column: what names a sample, once.
        references: a file to take references from, which must have the very same ids.
        untagged: takes a completion without any tag as the report, of a model that was not asked
            for tags. Else it has no report.

    Raises:
        DataError: a file or column is not there; an id is empty or occurs twice; a text is not
            text; a reference is empty; the ids of the two files differ. Names file and line.
    """
    rows = read_rows(path, id_column, "report", [id_column])
    ids = _ids(rows, id_column)
    column = _column(path, rows, prediction_column, PREDICTION_COLUMNS, "--prediction-column")
    if references is None:
        wanted = _column(path, rows, reference_column, REFERENCE_COLUMNS[:1], "--reference-column")
        sources = rows
    else:
        sources, wanted = _matching(references, path, ids, id_column, reference_column)
    found = [
        _prediction(id_, row, column, source, wanted)
        for id_, row, source in zip(ids, rows, sources, strict=True)
    ]
    return list(map(_whole, found)) if untagged else found


def _whole(prediction: Prediction) -> Prediction:
    """The prediction, whose completion is its report if it has no tag."""
    if prediction.report or any(tag in prediction.completion for tag in TAGS):
        return prediction
    return replace(prediction, report=prediction.completion.strip())


def _prediction(
    id_: str,
    row: tuple[str, Mapping[str, Any]],
    column: str,
    source: tuple[str, Mapping[str, Any]],
    reference_column: str,
) -> Prediction:
    text, reference = _text(*row, column), _text(*source, reference_column)
    if not reference.strip():
        raise DataError(f"{source[0]}: empty reference; leave out studies without a report")
    if column == "completion" or "<report>" in text:
        parsed = parse(text)
        completion, think, report = text, parsed.think, parsed.report
    else:
        completion, think, report = _optional(row, "completion"), _optional(row, "think"), text
    study = _optional(row, "study_id") or _optional(source, "study_id") or id_
    patient = next(
        (found for at in (row, source) for c in PATIENT_COLUMNS if (found := _optional(at, c))), ""
    )
    pictures = images(row[1]) or images(source[1])
    return Prediction(
        *(id_, study, completion, think, report, reference, pictures, patient), _context(row[1])
    )


def _context(row: Mapping[str, Any]) -> dict[str, str]:
    """What a prompt of ours said beside its instruction."""
    context: Any = row.get("context")
    if not isinstance(context, dict):
        return {}
    return {str(kind): str(text) for kind, text in cast("dict[Any, Any]", context).items()}


def images(row: Mapping[str, Any], columns: Sequence[str] = IMAGE_COLUMNS) -> tuple[str, ...]:
    """The image paths of a row as they are written there; none without a column of images."""
    for column in columns:
        value: Any = row.get(column)
        if isinstance(value, list):
            return tuple(str(path) for path in cast("list[Any]", value))
        if value:
            return tuple(str(value).split(";"))
    return ()


def _matching(
    references: Path, path: Path, ids: Sequence[str], id_column: str, column: str | None
) -> tuple[Rows, str]:
    """The rows of the references in the order of the predictions, and the column to read."""
    rows = read_rows(references, id_column, "reference", [id_column])
    found = dict(zip(_ids(rows, id_column), rows, strict=True))
    missing = [id_ for id_ in ids if id_ not in found]
    extra = list(found.keys() - set(ids))
    if missing or extra:
        raise DataError(
            f"{path}: {len(missing)} ids have no reference in {references}, and {len(extra)} "
            f"references no prediction, such as '{min(missing + extra)}'; both must name the same"
        )
    wanted = _column(references, rows, column, REFERENCE_COLUMNS, "--reference-column")
    return [found[id_] for id_ in ids], wanted


def read_rows(path: Path, id_column: str, text_column: str, required: Sequence[str] = ()) -> Rows:
    """The rows of a CSV, JSON or JSON lines file; at least one.

    Raises:
        DataError: the file is not there, of another kind, damaged, or without rows.
    """
    kind = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if kind == "csv":
        rows = _numbered(path, read_csv(path, required))
    elif kind == "jsonl":
        rows = _numbered(path, read_jsonl(path))
    elif kind == "json":
        rows = _document(path, read_json(path), id_column, text_column)
    else:
        raise DataError(f"{path}: neither .csv, .json nor .jsonl; rename or convert it")
    found = list(rows)
    if not found:
        raise DataError(f"{path}: no predictions in it; write one row a sample")
    return found


def _numbered(
    path: Path, rows: Iterable[tuple[int, Mapping[str, Any]]]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((f"{path} line {line}", row) for line, row in rows)


def _document(
    path: Path, document: Any, id_column: str, text_column: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of a JSON list of objects, or of an object of texts (or lists of one) by id."""
    if isinstance(document, dict):
        for id_, value in cast("dict[str, Any]", document).items():
            text: Any = value
            if isinstance(value, list) and len(cast("list[Any]", value)) == 1:
                text = cast("list[Any]", value)[0]
            yield f"{path} under '{id_}'", {id_column: id_, text_column: text}
    elif isinstance(document, list):
        for number, row in enumerate(cast("list[Any]", document), start=1):
            if not isinstance(row, dict):
                raise DataError(f"{path} item {number}: not an object of columns")
            yield f"{path} item {number}", cast("dict[str, Any]", row)
    else:
        raise DataError(f"{path}: neither a list of objects nor an object of texts by id")


def _ids(rows: Rows, column: str) -> list[str]:
    """The id of each row, each once."""
    first: dict[str, str] = {}
    for where, row in rows:
        value = row.get(column)
        if value is None and column not in row:
            raise DataError(f"{where}: {missing_column(column, list(row))}")
        id_ = str(value).strip() if isinstance(value, str | int) else ""
        if not id_:
            raise DataError(f"{where}: empty '{column}'; give each sample its own")
        if id_ in first:
            raise DataError(f"{where}: '{id_}' is there already ({first[id_]}); keep one of them")
        first[id_] = where
    return list(first)


def _column(path: Path, rows: Rows, wished: str | None, usual: Sequence[str], option: str) -> str:
    """The wished column, else the first usual one that the first row has."""
    present = rows[0][1]
    if wished is not None:
        if wished not in present:
            raise DataError(f"{path}: {missing_column(wished, list(present))}")
        return wished
    for column in usual:
        if column in present:
            return column
    raise DataError(f"{path}: no column {' or '.join(map(repr, usual))}; name yours with {option}")


def _text(where: str, row: Mapping[str, Any], column: str) -> str:
    if column not in row:
        raise DataError(f"{where}: {missing_column(column, list(row))}")
    if not isinstance(row[column], str):
        raise DataError(f"{where}: '{column}' is not text; write \"\" for an empty report")
    return row[column]


def _optional(row: tuple[str, Mapping[str, Any]], column: str) -> str:
    value = row[1].get(column)
    return "" if value is None else str(value)
