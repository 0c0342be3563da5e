"""Two label files of the same reports, row beside row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mrg_r1.data.rows import missing_column, read_csv
from mrg_r1.errors import DataError
from mrg_r1.findings import FINDINGS, Labels

PUBLISHED_COLUMNS = ("Report Impression", "Reports")
"""What the published labelers, CheXbert and CheXpert's, call the report."""

_NAMES = tuple(finding.value for finding in FINDINGS)
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Pair:
    """One report and what two files say of it; `lines` are where it starts in each."""

    id: str | None
    lines: tuple[int, int]
    report: str
    ours: Labels
    theirs: Labels


@dataclass(frozen=True, slots=True)
class Pairs:
    """All rows of two label files.

    Attributes:
        rows: in the order of the first file; at least one.
        joined_by: the id column, or None where rows are paired by their order.
        with_reports: whether either file has a column with the reports.
        checked: whether both have.
        other_texts: rows of equal id whose reports differ by more than white space.
    """

    rows: tuple[Pair, ...]
    joined_by: str | None
    with_reports: bool
    checked: bool
    other_texts: int


@dataclass(frozen=True, slots=True)
class _File:
    """The rows of one file; `ids` and `reports` are empty without such a column."""

    path: Path
    lines: list[int]
    labels: list[Labels]
    ids: list[str]
    reports: list[str]
    id_column: str | None


def read_pairs(a: Path, b: Path, *, id_column: str | None = None, column: str = "report") -> Pairs:
    """The rows of two label files that speak of the same report.

    They are joined by an id column where both files have one, else paired by their order; their
    reports must then be equal up to white space, if both files have them.

    Args:
        a: a CSV file, plain or gzip, with a column for each finding and any others.
        b: the other one.
        id_column: what names a report, once; else 'id', in upper or lower case.
        column: what holds the report; else what the published labelers call it.

    Raises:
        DataError: a file cannot be read, has no rows, lacks a finding or the named id column, or
            holds another code than empty, 1, 0 or -1; an id is empty or occurs twice; the files
            do not have the same ids, or without ids the same reports in the same order.
    """
    ours, theirs = (_read(path, id_column, column) for path in (a, b))
    joined_by = ours.id_column if theirs.id_column else None
    order = _joined(ours, theirs) if joined_by else _in_order(ours, theirs)
    checked = bool(ours.reports and theirs.reports)
    rows = tuple(
        Pair(
            id=ours.ids[i] if joined_by else None,
            lines=(ours.lines[i], theirs.lines[j]),
            report=ours.reports[i] if ours.reports else theirs.reports[j] if theirs.reports else "",
            ours=ours.labels[i],
            theirs=theirs.labels[j],
        )
        for i, j in enumerate(order)
    )
    return Pairs(
        rows=rows,
        joined_by=joined_by,
        with_reports=bool(ours.reports or theirs.reports),
        checked=checked,
        other_texts=len(_other_texts(ours, theirs, order)),
    )


def _read(path: Path, id_column: str | None, column: str) -> _File:
    first = next(read_csv(path, _NAMES), None)
    if first is None:
        raise DataError(f"{path}: no rows to compare")
    present = list(first[1])
    if id_column is not None and id_column not in present:
        raise DataError(f"{path}: {missing_column(id_column, present)}; name it with --id-column")
    named = id_column or next((name for name in present if name.lower() == "id"), None)
    text = next((name for name in (column, *PUBLISHED_COLUMNS) if name in present), None)
    found = _File(path, [], [], [], [], named)
    for line, row in read_csv(path, _NAMES):
        found.lines.append(line)
        found.labels.append(_labels(path, line, row))
        if named:
            found.ids.append(row[named].strip())
        if text:
            found.reports.append(row[text])
    return found


def _labels(path: Path, line: int, row: Mapping[str, str]) -> Labels:
    try:
        return Labels.from_csv(row)
    except DataError as error:
        raise DataError(f"{path} line {line}: {error}") from None


def _joined(ours: _File, theirs: _File) -> list[int]:
    """The index in `theirs` of each row of `ours`."""
    for file in (ours, theirs):
        _check_ids(file)
    places = {id_: index for index, id_ in enumerate(theirs.ids)}
    missing = [id_ for id_ in ours.ids if id_ not in places]
    extra = list(places.keys() - set(ours.ids))
    if missing or extra:
        raise DataError(
            f"{len(missing)} ids only in {ours.path}{_some(missing)}, {len(extra)} only in "
            f"{theirs.path}{_some(sorted(extra))}; compare label files of the same reports"
        )
    return [places[id_] for id_ in ours.ids]


def _check_ids(file: _File) -> None:
    empty = [str(line) for line, id_ in zip(file.lines, file.ids, strict=True) if not id_]
    if empty:
        raise DataError(
            f"{file.path}: {len(empty)} rows without '{file.id_column}' (lines "
            f"{', '.join(empty[:_SHOWN])}); give each report its own"
        )
    twice = [id_ for id_, count in Counter(file.ids).items() if count > 1]
    if twice:
        raise DataError(
            f"{file.path}: {len(twice)} ids occur more than once under '{file.id_column}'"
            f"{_some(twice)}; keep a row each, or name another column with --id-column"
        )


def _some(ids: Sequence[str]) -> str:
    """' (the first few ids)'."""
    shown = [f"'{id_}'" for id_ in ids[:_SHOWN]] + ["..."] * (len(ids) > _SHOWN)
    return f" ({', '.join(shown)})" if ids else ""


def _in_order(ours: _File, theirs: _File) -> list[int]:
    """Row beside row, if nothing speaks against it."""
    advice = "there is no column 'id' in both to join by; name one with --id-column"
    n, m = len(ours.lines), len(theirs.lines)
    if n != m:
        raise DataError(f"{n} rows in {ours.path} but {m} in {theirs.path}; {advice}")
    other = _other_texts(ours, theirs, range(n))
    if other:
        raise DataError(
            f"{len(other)} rows hold another report in {ours.path} than in {theirs.path}, the "
            f"first at lines {ours.lines[other[0]]} and {theirs.lines[other[0]]}; {advice}"
        )
    return list(range(n))


def _other_texts(ours: _File, theirs: _File, order: Sequence[int]) -> list[int]:
    """The rows of `ours` whose report is not that of their partner."""
    if not ours.reports or not theirs.reports:
        return []
    return [i for i, j in enumerate(order) if ours.reports[i].split() != theirs.reports[j].split()]
