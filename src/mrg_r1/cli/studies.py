"""`mrg-r1 data`: what is in a data set, before any training."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Column, Table
from rich.text import Text

from mrg_r1.checked import build
from mrg_r1.cli.app import Json, app, note, print_json, reaching, screen
from mrg_r1.config import DataRecipe, Source
from mrg_r1.data.context import prior_text
from mrg_r1.data.study import Position, Studies, Study
from mrg_r1.data.table import Columns
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.records import replacing

if TYPE_CHECKING:
    from mrg_r1.data.completeness import Part

_COUNTS = {"train": 200, "val": 25, "test": 50}
"""Studies that `mrg-r1 data phantom` draws where nothing was drawn and no number is given."""

_SHOWN = 3
"""Ids shown beside each reason why studies were left out."""

_Drawn = typer.Option(min=0, help="Studies to draw (phantom).")


@app.command(epilog="Example: mrg-r1 data iu-xray --root data/iu_xray --split val -o val.jsonl")
def data(
    source: Annotated[
        Source, typer.Argument(metavar="SOURCE", help="What kind of data set it is.")
    ],
    root: Annotated[Path, typer.Option(help="The folder (or table) that holds it.")],
    split: Annotated[
        Literal["train", "val", "test"] | None, typer.Option(help="Only this split.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the studies as JSON lines (a table)."),
    ] = None,
    train: Annotated[int | None, _Drawn] = None,
    val: Annotated[int | None, _Drawn] = None,
    test: Annotated[int | None, _Drawn] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the drawing (phantom); else 0.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=NAME", help="A column's name, as report=text (table); repeatable."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Tell which files are missing (iu-xray, mimic-cxr).")
    ] = False,
    checksums: Annotated[
        bool,
        typer.Option("--checksums", help="And which differ from SHA256SUMS.txt (mimic-cxr)."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Tells what is in a data set.

    Counts studies, images and views per split, and what was left out, by reason. phantom draws
    chest X-rays into the folder, unless it holds a drawing and no number is given. --check looks
    for the files that a data set's own tables list; its exit code is 1 where some are missing.
    """
    if check or checksums:
        _check(source, root, checksums=checksums, as_json=as_json)
        return
    counts = {"train": train, "val": val, "test": test}
    given = {name: count for name, count in counts.items() if count is not None}
    if column and source != "table":
        raise ConfigError(f"data: {source} has its own columns; leave out --column")
    if source == "phantom":
        found = _drawn(root, given, seed)
    else:
        found = _read(source, root, given, seed, {"columns": _columns(column)} if column else {})
    studies = found.of_split(split) if split else found.studies
    if split and not studies:
        there = ", ".join(dict.fromkeys(study.split for study in found.studies)) or "none"
        raise DataError(f"{root}: no studies in split '{split}'; there are: {there}")
    if out:
        with replacing(out) as file:
            file.writelines(_to_line(study, out.parent) for study in studies)
        note(f"{out}: {len(studies):,} studies")
    summary = _summary(source, studies, found)
    if as_json:
        print_json(summary)
    else:
        _show(summary)


def _drawn(root: Path, given: dict[str, int], seed: int | None) -> Studies:
    from mrg_r1.data import phantom

    if not given and seed is None and (root / "settings.json").exists():
        return phantom.read(root)
    counts = {**dict.fromkeys(_COUNTS, 0), **given} if given else _COUNTS
    with reaching("drawing studies") as on_progress:
        return phantom.draw(
            root, **counts, seed=seed or 0, size=DataRecipe().size, on_progress=on_progress
        )


def _columns(named: Sequence[str]) -> Columns:
    """Names of columns from 'report=text' and the like.

    Raises:
        ConfigError: no such column.
    """
    problems: list[str] = []
    table: dict[str, Any] = {}
    for text in named:
        key, _, name = text.partition("=")
        table[key.strip()] = name.strip()
    columns: Columns | None = build(Columns, table, {}, problems)
    if columns is None:
        raise ConfigError("--column: " + "; ".join(problems))
    return columns


def _read(
    source: Source, root: Path, given: dict[str, int], seed: int | None, options: dict[str, Any]
) -> Studies:
    if given or seed is not None:
        raise ConfigError(f"data: {source} is read, not drawn; leave out numbers and seed")
    from mrg_r1.data.sources import load

    with reaching("reading studies") as on_progress:
        return load(source, root, on_progress=on_progress, **options)


def _to_line(study: Study, folder: Path) -> str:
    """A study as the source `table` reads it from a file in this folder."""
    document = {
        "id": study.id,
        "split": study.split,
        "patient": study.patient,
        "image": [os.path.relpath(view.path, folder) for view in study.views],
        "view": [view.position.value for view in study.views],
        "report": study.findings,
        "impression": study.impression,
        "indication": study.indication,
    }
    if study.prior:
        prior = study.prior
        document["prior_report"] = prior_text(prior)
        document["prior_image"] = [os.path.relpath(view.path, folder) for view in prior.views]
    return json.dumps(document, ensure_ascii=False) + "\n"


def _check(source: Source, root: Path, *, checksums: bool, as_json: bool) -> None:
    """Tells what of a data set is in a folder; leaves with 1 where something is missing."""
    from mrg_r1.data.completeness import check, check_sums

    if checksums and source != "mimic-cxr":
        raise ConfigError(f"data: {source} comes without checksums; leave out --checksums")
    with reaching("looking for files") as on_progress:
        parts = check(source, root, on_progress)
    if checksums:
        with reaching("computing checksums") as on_progress:
            parts.append(check_sums(root, on_progress))
    if as_json:
        print_json({"source": source, "parts": [asdict(part) for part in parts]})
    else:
        _show_parts(parts)
    if any(part.missing and part.needed for part in parts):
        raise typer.Exit(1)


def _show_parts(parts: Sequence[Part]) -> None:
    numbers = (Column("here", justify="right"), Column("of", justify="right"))
    lacking = Column("missing", justify="right")
    table = Table("what", *numbers, lacking, Column("such as", overflow="fold"))
    for part in parts:
        counts = (part.found, part.expected, len(part.missing))
        first = ", ".join(part.missing[:_SHOWN])
        table.add_row(Text(part.name), *(f"{count:,}" for count in counts), Text(first))
    screen.print(table)
    for part in parts:
        if part.missing:
            note(f"{part.name}: {part.remedy}")
    if not any(part.missing for part in parts):
        screen.print("complete")


def _summary(source: str, studies: Sequence[Study], found: Studies) -> dict[str, Any]:
    names = dict.fromkeys(study.split for study in studies)
    return {
        "source": source,
        "splits": {name: _counts([s for s in studies if s.split == name]) for name in names},
        "left_out": [{"reason": left.reason, "ids": list(left.ids)} for left in found.left_out],
    }


def _counts(studies: Sequence[Study]) -> dict[str, int]:
    views = Counter(view.position for study in studies for view in study.views)
    positions = {position.value: views[position] for position in Position}
    return {"studies": len(studies), "images": views.total(), **positions}


def _show(summary: dict[str, Any]) -> None:
    names = ("studies", "images", *(position.value for position in Position))
    numbers = Table("split", *(Column(name, justify="right") for name in names))
    for split, counts in summary["splits"].items():
        numbers.add_row(Text(split), *(f"{counts[name]:,}" for name in names))
    screen.print(numbers)
    if not summary["left_out"]:
        screen.print("nothing left out")
        return
    table = Table("left out", Column("n", justify="right"), Column("such as", overflow="fold"))
    for left in summary["left_out"]:
        first = ", ".join(left["ids"][:_SHOWN])
        table.add_row(Text(left["reason"]), f"{len(left['ids']):,}", Text(first))
    screen.print(table)
