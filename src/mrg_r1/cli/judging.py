"""`mrg-r1 evaluate` and `mrg-r1 audit`: what judges predictions and runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mrg_r1.cli.app import Json, app, busy, note, print_json, screen
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


@app.command(epilog="Example: mrg-r1 evaluate ours.jsonl theirs.csv -o evaluation.json")
def evaluate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Predictions (CSV, JSON or JSON lines), or runs."),
    ],
    name: Annotated[
        list[str] | None,
        typer.Option(help="A system's name; repeat it, one per file, in their order."),
    ] = None,
    prediction_column: Annotated[
        str | None, typer.Option(help="Else report, prediction or completion.")
    ] = None,
    reference_column: Annotated[str | None, typer.Option(help="Else reference.")] = None,
    id_column: Annotated[str, typer.Option(help="The column that names a sample.")] = "id",
    references: Annotated[
        Path | None, typer.Option(help="The file of references, if they are elsewhere.")
    ] = None,
    labeler: LabelerName = "rules",
    preset: Preset = "chexbert",
    weights: Weights = None,
    vocabulary: Vocabulary = None,
    device: OnDevice = "auto",
    cache: Cache = None,
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write all scores, as JSON.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Scores systems side by side.

    Beside them stand constant reports, which never look at the image. The table shows
    headlines; --json and -o hold every variant, each with its signature.
    """
    from mrg_r1 import evaluate as verb

    reads = reader(labeler, preset, weights, vocabulary, device, cache)
    paths = [path / "predictions.jsonl" if path.is_dir() else path for path in files]
    systems = {
        system: verb.read_predictions(
            path,
            prediction_column=prediction_column,
            reference_column=reference_column,
            id_column=id_column,
            references=references,
        )
        for system, path in zip(_names(files, name or ()), paths, strict=True)
    }
    with busy("labelling and scoring"):
        evaluation = verb.evaluate(systems, reads, resamples=resamples, seed=seed)
    if out:
        evaluation.write(out)
        note(f"{out}: {len(evaluation.systems)} systems, constant reports included")
    if as_json:
        print_json(dataclasses.asdict(evaluation))
    else:
        screen.print(verb.table(evaluation))


def _names(files: Sequence[Path], given: Sequence[str]) -> Sequence[str]:
    """The given names; else those of files and runs, or of their folders where these are alike."""
    if given and len(given) != len(files):
        raise ConfigError(f"evaluate: {len(given)} names for {len(files)} files; name each once")
    own = [path.resolve().name if path.is_dir() else path.stem for path in files]
    folders = [path.resolve().parent.name for path in files]
    for names in (given,) if given else (own, folders):
        if len(set(names)) == len(names):
            return names
    raise ConfigError("evaluate: systems need different names; give one --name per file")


@app.command(epilog="Example: mrg-r1 audit runs/quickstart -o audit.html")
def audit(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder, finished or not.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; else audit.html in the run.")
    ] = None,
    studies: Annotated[int, typer.Option(min=0, help="Studies shown side by side.")] = 60,
) -> None:
    """Draws a run as one HTML page.

    Curves, scores, images, reports and labels, in a file that needs nothing else.
    """
    from mrg_r1.audit import write_audit

    with busy("drawing the page"):
        page = write_audit(run, out, studies=studies)
    typer.echo(f"audit page: {page}")
