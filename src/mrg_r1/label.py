"""Labels the reports of a file: its rows again, with a column for each of the 14 findings.

Rows stream through in chunks, so a file of any size takes the same memory.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from mrg_r1.data.rows import missing_column, read_csv, read_jsonl
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.findings import FINDINGS, Labels
from mrg_r1.labelers import Labeler
from mrg_r1.labelers.rules import Mention, RulesLabeler
from mrg_r1.records import replacing

CHUNK = 1000
"""Rows held in memory at a time."""

_COLUMNS = tuple(finding.value for finding in FINDINGS)
_NOTHING = Labels.of({}).to_csv()

Row = tuple[int, Mapping[str, Any]]
"""A row and the line of the file on which it starts."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """What `label_file` went through: rows, and those among them whose report is empty."""

    rows: int
    empty: int


def label_file(
    source: Path,
    out: Path,
    labeler: Labeler,
    *,
    column: str = "report",
    evidence: Path | None = None,
    overwrite: bool = False,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Labelled:
    """Writes the rows of `source` with the 14 labels of each report as a CSV file.

    Codes are CheXpert's: blank empty, positive 1, negative 0, uncertain -1. A row whose report is
    empty gets 14 blanks: it says nothing, and is not a normal study. Values of JSON lines that
    are not text are written as JSON.

    Args:
        source: a CSV or JSON lines file, plain or gzip, told apart by its name.
        out: the CSV file to write, whole or not at all.
        labeler: reads the reports.
        column: the column that holds the report.
        evidence: also write each mention as a line of JSON: the row's `line` in the source and
            its `id` if it has one, `finding`, `status`, `start` and `end` in characters of the
            report, the `text` between them, and the `cue` that decided, or null.
        overwrite: replace label columns that `source` already has.
        on_rows: told the number of rows of each chunk when it is written.

    Raises:
        ConfigError: `out` or `evidence` is the source or the other, or `out` is no CSV file, or
            the labeler gives no evidence.
        DataError: the source cannot be read, or lacks the column, or has label columns already.
    """
    _check_targets(source, out, evidence)
    if evidence and not isinstance(labeler, RulesLabeler):
        raise ConfigError("label: only rules tell what decided; leave out --evidence (or --cache)")
    columns = _columns(source, column, overwrite=overwrite)
    rows = empty = 0
    with ExitStack() as files:
        table = files.enter_context(replacing(out))
        mentions = files.enter_context(replacing(evidence)) if evidence else None
        writer = csv.DictWriter(table, dict.fromkeys((*columns, *_COLUMNS)), lineterminator="\n")
        writer.writeheader()
        remaining = _rows(source)
        while chunk := list(islice(remaining, CHUNK)):
            reports = [_report(source, row, column) for row in chunk]
            for (_, row), labels in zip(chunk, _codes(labeler, reports), strict=True):
                writer.writerow({name: _cell(row.get(name)) for name in columns} | labels)
            if mentions and isinstance(labeler, RulesLabeler):
                _write_mentions(mentions, labeler, chunk, reports)
            rows += len(chunk)
            empty += reports.count("")
            on_rows(len(chunk))
    return Labelled(rows, empty)


def _codes(labeler: Labeler, reports: Sequence[str]) -> Iterator[dict[str, str]]:
    labels = iter(labeler.label([report for report in reports if report]))
    return (next(labels).to_csv() if report else _NOTHING for report in reports)


def read_reports(source: Path, column: str = "report") -> Iterator[str]:
    """The reports of a CSV or JSON lines file, in order; '' where a row has none.

    Raises:
        DataError: the source cannot be read, or lacks the column.
    """
    _columns(source, column, overwrite=True)
    return (_report(source, row, column) for row in _rows(source))


def _write_mentions(
    file: IO[str], labeler: RulesLabeler, chunk: Sequence[Row], reports: Sequence[str]
) -> None:
    for (line, row), report in zip(chunk, reports, strict=True):
        place = {"line": line} | ({"id": row["id"]} if "id" in row else {})
        for mention in labeler.mentions(report):
            document = place | mention_document(mention, report)
            file.write(json.dumps(document, ensure_ascii=False) + "\n")


def mention_document(mention: Mention, report: str) -> dict[str, Any]:
    """A mention in this report as the evidence file writes it."""
    return {
        "finding": mention.finding.value,
        "status": mention.status.name.lower(),
        "start": mention.start,
        "end": mention.end,
        "text": report[mention.start : mention.end],
        "cue": mention.cue,
    }


def _check_targets(source: Path, out: Path, evidence: Path | None) -> None:
    if out.suffix.lower() != ".csv":
        raise ConfigError(f"{out}: labels are written as CSV; name the file {out.stem}.csv")
    paths = [path.resolve() for path in (source, out, evidence) if path]
    if len(set(paths)) < len(paths):
        raise ConfigError(f"{source}: give input, labels and evidence a file each")


def _columns(source: Path, column: str, *, overwrite: bool) -> list[str]:
    """The columns of a file, checked. Each row of JSON lines can bring its own."""
    rows = _rows(source) if _is_jsonl(source) else islice(_rows(source), 1)
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    if not columns:
        raise DataError(f"{source}: no rows to label")
    if column not in columns:
        raise DataError(f"{source}: {missing_column(column, columns)}; name it with --column")
    present = [name for name in _COLUMNS if name in columns]
    if present and not overwrite:
        raise DataError(
            f"{source}: has labels already ({', '.join(present)}); add --overwrite-labels to "
            "replace them"
        )
    return columns


def _rows(source: Path) -> Iterator[Row]:
    return read_jsonl(source) if _is_jsonl(source) else read_csv(source)


def _is_jsonl(source: Path) -> bool:
    kind = source.name.lower().removesuffix(".gz").rpartition(".")[2]
    if kind not in ("csv", "jsonl"):
        raise DataError(f"{source}: neither CSV nor JSON lines; name it *.csv or *.jsonl")
    return kind == "jsonl"


def _report(source: Path, row: Row, column: str) -> str:
    """The report of a row; '' when it is missing, null or only white space."""
    line, cells = row
    report = cells.get(column)
    if report is not None and not isinstance(report, str):
        raise DataError(f"{source} line {line}: '{column}' is not text")
    return report if report and not report.isspace() else ""


def _cell(value: Any) -> str:
    """A JSON value as a CSV cell; text as it is, null as an empty cell."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)
