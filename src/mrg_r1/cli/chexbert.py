"""`mrg-r1 chexbert`: the files of the paper's labeler."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from mrg_r1.cli.app import Json, app, busy, counting, loading, note, print_json, screen
from mrg_r1.cli.readers import OnDevice
from mrg_r1.errors import ConfigError, DataError

chexbert = typer.Typer(help="Checks, fetches, shrinks CheXbert's files.")
app.add_typer(
    chexbert,
    name="chexbert",
    epilog="Example: mrg-r1 chexbert check --weights chexbert.pth --vocabulary vocab.txt",
)

_Weights = Annotated[Path, typer.Option(help="The checkpoint chexbert.pth, or an int8 file.")]
_Vocabulary = Annotated[Path, typer.Option(help="The vocab.txt of bert-base-uncased.")]

_SAID = "No pneumothorax."
"""Read once by `check`, so that what it calls good has worked."""


@chexbert.command(
    epilog="Example: mrg-r1 chexbert check --weights chexbert.pth --vocabulary vocab.txt"
)
def check(
    weights: _Weights, vocabulary: _Vocabulary, device: OnDevice = "auto", as_json: Json = False
) -> None:
    """Tells whether files are CheXbert's.

    Loads them as labelling would, without running code that a checkpoint may hold, and shows
    their digests.
    """
    with loading("chexbert"):
        from mrg_r1.labelers.chexbert import ChexbertLabeler, load_network
        from mrg_r1.labelers.chexbert.checkpoint import sha256_of
    with busy("loading the labeler"):
        labeler = ChexbertLabeler(load_network(weights, device), vocabulary)
        labeler.label([_SAID])
        facts = {
            "labeler": labeler.identity,
            "weights": sha256_of(weights),
            "vocabulary": labeler.vocabulary.sha256,
        }
    if as_json:
        print_json(facts)
        return
    for name, fact in facts.items():
        typer.echo(f"{name}: {'' if name == 'labeler' else 'sha256 '}{fact}")


@chexbert.command(epilog="Example: mrg-r1 chexbert download https://your.host/vocab.txt vocab.txt")
def download(
    url: Annotated[str, typer.Argument(metavar="URL", help="An https address; yours to choose.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put it.")],
    sha256: Annotated[str, typer.Option(help="The digest it must have.")] = "",
) -> None:
    """Fetches a file, and shows its digest.

    Connects to the address you give, and to nothing else.
    """
    from mrg_r1.cli.download import fetch

    with counting("bytes") as advance:
        digest = fetch(url, file, sha256=sha256, on_bytes=advance)
    note(f"{file}: sha256 {digest}")


@chexbert.command(
    epilog="Example: mrg-r1 chexbert int8 reports.csv --weights chexbert.pth "
    "--vocabulary vocab.txt -o chexbert-int8.onnx"
)
def int8(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Reports to compare on: CSV or JSON lines.")
    ],
    weights: Annotated[Path, typer.Option(help="The checkpoint chexbert.pth.")],
    vocabulary: _Vocabulary,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx file to write.")],
    column: Annotated[str, typer.Option(help="The column that holds the report.")] = "report",
    limit: Annotated[int, typer.Option(min=1, help="Different reports to compare on.")] = 500,
    as_json: Json = False,
) -> None:
    """Makes CheXbert faster on a CPU, and tells what that changes.

    Writes a file of 8-bit weights that --weights takes in place of the checkpoint, and labels
    your reports with both: the share of equal statuses per finding and over all.
    """
    from mrg_r1.label import read_reports

    if out.suffix != ".onnx":
        raise ConfigError(f"{out}: the file is told by its name; call it {out.stem}.onnx")
    reports = list(islice(dict.fromkeys(filter(None, read_reports(file, column))), limit))
    if not reports:
        raise DataError(f"{file}: no reports to compare on under '{column}'")
    with loading("onnx"):
        from mrg_r1.labelers.chexbert import ChexbertLabeler, load_network
        from mrg_r1.labelers.chexbert.int8 import agreement, write_int8
    with busy("writing 8-bit weights"):
        write_int8(weights, out)
    with busy(f"labelling {len(reports):,} reports with both"):
        exact = ChexbertLabeler(load_network(weights, "cpu"), vocabulary).label(reports)
        small = ChexbertLabeler(load_network(out), vocabulary)
        shares = {f.value: share for f, share in agreement(exact, small.label(reports)).items()}
    note(f"{out}: {small.identity}")
    overall = sum(shares.values()) / len(shares)
    if as_json:
        print_json({"reports": len(reports), "equal": overall, "findings": shares})
        return
    table = Table(f"{len(reports):,} reports", Column("equal statuses", justify="right"))
    for name, share in ({"all 14": overall} | shares).items():
        table.add_row(Text(name), f"{share:.3f}")
    screen.print(table)
