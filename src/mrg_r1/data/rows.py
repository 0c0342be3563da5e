"""Rows of a CSV or JSON lines file, each with its line number, or an error that names the line."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any, cast

from mrg_r1.errors import DataError


def read_csv(path: Path, columns: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with a header, as (line on which the row starts, cells by column).

    The file is UTF-8, with or without a byte order mark, plain or gzip. Cells may hold line
    breaks. Blank lines are not rows.

    Args:
        path: the file.
        columns: columns that must be there; there may be more.

    Raises:
        DataError: the file or a column is not there, a column name occurs twice, a row has more
            or fewer cells than the header, a quote is left open, a line is not UTF-8.
    """
    with _opened(path) as file:
        reader = csv.reader(file, strict=True)
        line = 1
        try:
            header = [name.strip() for name in next(reader, ())]
            _check_header(path, header, columns)
            line = reader.line_num + 1
            for cells in reader:
                if cells and len(cells) != len(header):
                    raise DataError(
                        f"{path} line {line}: {len(cells)} cells under {len(header)} columns; "
                        "put cells that hold commas in double quotes"
                    )
                if cells:
                    yield line, dict(zip(header, cells, strict=True))
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{path} line {line}: {error}; close the quotes, and double those inside a cell"
            ) from None


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON lines file, as (line, object). Blank lines are not rows.

    Raises:
        DataError: the file is not there, or a line is not UTF-8 or not a JSON object.
    """
    with _opened(path) as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row: Any = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path} line {line}: not JSON ({error})") from None
            if not isinstance(row, dict):
                raise DataError(f'{path} line {line}: write one object a line, {{"column": ...}}')
            yield line, cast("dict[str, Any]", row)


def missing_column(column: str, present: Sequence[str]) -> str:
    """'no column X' with the nearest name there is, else with all of them."""
    near = get_close_matches(column, present, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(present)}"
    return f"no column '{column}'; {hint}"


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    if not header:
        raise DataError(f"{path}: empty; its first line must name the columns")
    for column in header:
        if header.count(column) > 1:
            raise DataError(f"{path} line 1: column '{column}' occurs twice; rename one")
    for column in columns:
        if column not in header:
            raise DataError(f"{path}: {missing_column(column, header)}")


@contextmanager
def _opened(path: Path) -> Generator[IO[str]]:
    """The text of a plain or gzip file; line breaks are left as they are, for the csv module."""
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with (gzip.open if packed else open)(path, "rt", encoding="utf-8-sig", newline="") as text:
            yield cast("IO[str]", text)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}{_undecodable(path)}: not UTF-8; save the file as UTF-8") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


def _undecodable(path: Path) -> str:
    """' line N' of the first line that is not UTF-8; the decoder itself only knows its buffer."""
    with open(path, "rb") as file:
        for line, raw in enumerate(file, start=1):
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError:
                return f" line {line}"
    return ""
