"""`mrg-r1 label`: labels of reports, and how far two files of labels agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrg_r1.cli.app import Json, app, busy, counting, note, print_json, screen
from mrg_r1.cli.readers import (
    Cache,
    LabelerName,
    OnDevice,
    Preset,
    Vocabulary,
    Weights,
    reader,
)
from mrg_r1.errors import ConfigError
from mrg_r1.findings import Finding

if TYPE_CHECKING:
    from mrg_r1.labelers import Labeler

_EXAMPLES = 10
"""Differences shown on the screen where no number is given."""


@app.command(epilog="Example: mrg-r1 label reports.csv --evidence mentions.jsonl -o labels.csv")
def label(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="CSV or JSON lines, plain or .gz.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The CSV file to write; with --compare a .jsonl file."),
    ] = None,
    column: Annotated[str, typer.Option(help="The column that holds the report.")] = "report",
    labeler: LabelerName = "rules",
    preset: Preset = "chexbert",
    weights: Weights = None,
    vocabulary: Vocabulary = None,
    device: OnDevice = "auto",
    cache: Cache = None,
    evidence: Annotated[
        Path | None, typer.Option(help="Also write each mention as a line of JSON.")
    ] = None,
    overwrite_labels: Annotated[
        bool, typer.Option("--overwrite-labels", help="Replace label columns that are there.")
    ] = False,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A B", help="Compare two label files instead."),
    ] = None,
    finding: Annotated[
        Finding | None, typer.Option(case_sensitive=False, help="Compare: differences in this one.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help="Compare: differences to show (10) or write (all).")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="Compare: the column to join by; else id, else row order.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Labels reports, or compares labels.

    Writes the rows of a file again with 14 columns named as the findings; codes are empty
    (blank), 1, 0 and -1 (uncertain). A row without a report gets no labels, and is counted.

    --compare A B prints agreement, kappa and F1 per finding, and the reports on which two label
    files differ, with what the rules find in them; -o writes them.
    """
    if compare:
        if file or evidence or overwrite_labels:
            raise ConfigError(
                "label: --compare A B takes no FILE, --evidence or --overwrite-labels"
            )
        _compare(*compare, column, preset, finding, limit, id_column, out, as_json=as_json)
        return
    if finding or limit is not None or id_column or as_json:
        raise ConfigError("label: --finding, --limit, --id-column and --json need --compare A B")
    if file is None or out is None:
        missing = "argument 'FILE'" if file is None else "option '--out' / '-o'"
        raise ConfigError(f"Missing {missing}; type 'mrg-r1 label --help'")
    reads = reader(labeler, preset, weights, vocabulary, device, cache)
    _label(file, out, reads, column, evidence, overwrite_labels=overwrite_labels)


def _label(
    file: Path,
    out: Path,
    labeler: Labeler,
    column: str,
    evidence: Path | None,
    *,
    overwrite_labels: bool,
) -> None:
    from mrg_r1.label import label_file

    with counting("labelling reports") as advance:
        done = label_file(
            file,
            out,
            labeler,
            column=column,
            evidence=evidence,
            overwrite=overwrite_labels,
            on_rows=advance,
        )
    empty = f", {done.empty:,} of them without a report and so without labels" if done.empty else ""
    note(f"{out}: {done.rows:,} rows{empty}")


def _compare(
    a: Path,
    b: Path,
    column: str,
    preset: str,
    finding: Finding | None,
    limit: int | None,
    id_column: str | None,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    from mrg_r1 import compare as verb
    from mrg_r1.labelers.rules import RulesLabeler

    with busy("reading labels"):
        compared = verb.compare(a, b, id_column=id_column, column=column)
    rules = RulesLabeler(preset)
    for remark in verb.remarks(compared.pairs, column):
        note(remark)
    found = verb.differences(compared.pairs.rows, finding)
    if out:
        verb.write(out, found[:limit], rules)
        note(f"{out}: {len(found[:limit]):,} of {len(found):,} differences")
    if as_json:
        print_json(verb.summary(compared, found))
        return
    screen.print(verb.table(compared))
    screen.print(verb.kinds_table(found))
    for difference in () if out else found[: _EXAMPLES if limit is None else limit]:
        screen.print(*verb.lines(difference, rules), sep="\n", end="\n\n")
