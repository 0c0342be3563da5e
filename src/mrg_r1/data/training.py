"""Training references: what baselines are chosen from, and words are counted in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mrg_r1.data.predictions import images, read_rows
from mrg_r1.data.rows import missing_column
from mrg_r1.errors import DataError
from mrg_r1.records import read_json

TEXT_COLUMNS = ("reference", "report", "findings")


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """A training reference and the paths of its images, as the file writes them."""

    text: str
    images: tuple[str, ...] = ()


def read_training(path: Path, column: str | None = None) -> list[TrainingReport]:
    """The training references of a file.

    CSV, JSON lines, or JSON: a list of objects, an object of texts by id, or an object of lists
    of objects by split, as R2Gen's annotation.json. Where rows or lists have a split, those of
    'train' are taken.

    Args:
        path: the file.
        column: else the first there is of `reference`, `report` and `findings`.

    Raises:
        DataError: no such file or column, nothing of 'train', or a text that is none or empty.
    """
    rows = _train_rows(path)
    if column is None:
        column = next((name for name in TEXT_COLUMNS if name in rows[0][1]), "reference")
    found: list[TrainingReport] = []
    for where, row in rows:
        if column not in row:
            raise DataError(f"{where}: {missing_column(column, list(row))}")
        text: Any = row[column]
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{where}: no text under '{column}'; leave out studies without one")
        found.append(TrainingReport(text, images(row)))
    return found


def _train_rows(path: Path) -> Sequence[tuple[str, Mapping[str, Any]]]:
    by_split: Any = read_json(path) if path.suffix.lower() == ".json" else None
    if isinstance(by_split, dict) and isinstance(
        cast("dict[str, Any]", by_split).get("train"), list
    ):
        items = cast("list[Any]", by_split["train"])
        rows = [(f"{path} train {n}", item) for n, item in enumerate(items, 1)]
        for where, item in rows:
            if not isinstance(item, dict):
                raise DataError(f"{where}: not an object of columns")
    else:
        rows = [
            (where, row)
            for where, row in read_rows(path, "id", "reference")
            if str(row.get("split") or "train").strip().lower() == "train"
        ]
    if not rows:
        raise DataError(f"{path}: no rows of the split 'train'; pass the file that holds them")
    return rows
