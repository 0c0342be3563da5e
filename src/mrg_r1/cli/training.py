"""`mrg-r1 train`, `ablate` and `generate`: what needs a policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from mrg_r1.cli.app import app, counting, loading, note, screen
from mrg_r1.config import Recipe, load_recipe
from mrg_r1.data.study import Sample
from mrg_r1.errors import ConfigError
from mrg_r1.policy.settings import Decoding
from mrg_r1.records import Prediction

_Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; repeatable."),
]


@app.command(epilog="Example: mrg-r1 train quickstart --set seed=1 --out runs/seed-1")
def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a file.")
    ],
    changes: _Set = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run folder; else runs/NAME.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that is there.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and tell; train nothing.")
    ] = False,
) -> None:
    """Trains a policy by a recipe.

    Judges it before and after, and leaves a run folder with an audit page. A run that was
    stopped goes on with --resume, and ends as if it had not been stopped.
    """
    checked = load_recipe(recipe, changes or ())
    run = out or Path("runs") / checked.name
    with loading("train"):
        from mrg_r1 import train as verb
    if dry_run:
        for line in verb.describe(checked):
            typer.echo(line)
        return
    try:
        page = verb.train(checked, run, resume=resume)
    except KeyboardInterrupt:
        if (run / "recipe.json").exists():
            note(
                f"interrupted; to go on, type: mrg-r1 train {run}/recipe.json --out {run} --resume"
            )
        raise
    typer.echo(f"audit page: {page}")


@app.command(epilog="Example: mrg-r1 ablate quickstart --rows sft,ce-f1,mccs --seeds 3")
def ablate(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a file.")
    ] = "quickstart",
    rows: Annotated[
        str | None,
        typer.Option(metavar="ROW,...", help="Rows of Table II; else all that the recipe allows."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many, from the recipe's seed on.")] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Its folder; else runs/NAME-ablation.")
    ] = None,
    changes: _Set = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what is there, or add rows and seeds.")
    ] = False,
) -> None:
    """Compares rewards: the rows of Table II.

    The paper's: base, sft, nlg, ce-f1, format, ce-f1+format, mccs and mccs+format, all from one
    supervised start per seed. Leaves ablation.json, and a run folder with an audit page per row.
    """
    from mrg_r1.ablate.rows import check_rows, chosen

    checked = load_recipe(recipe, changes or ())
    asked = chosen(checked, rows)
    check_rows(checked, asked, seeds)
    folder = out or Path("runs") / f"{checked.name}-ablation"
    with loading("train"):
        from mrg_r1.ablate import grid, tables
    if rows is None and "sft" not in asked:
        note(f"row sft is left out: {checked.name} has no [sft] table")
    try:
        ablation = grid.ablate(checked, folder, rows=asked, seeds=seeds, resume=resume)
    except KeyboardInterrupt:
        if (folder / "recipe.json").exists():
            note(f"interrupted; to go on, type the same with --out {folder} --resume")
        raise
    if ablation is None:  # Another process tells.
        return
    screen.print(tables.score_table(ablation))
    for line in (*tables.remarks(ablation), *tables.lines(ablation)):
        screen.print(Text(line), soft_wrap=True)
    screen.print(tables.rank_table(ablation))
    typer.echo(f"all figures: {folder / 'ablation.json'}")


@app.command(epilog="Example: mrg-r1 generate runs/quickstart chest.png -o reports.jsonl")
def generate(
    policy: Annotated[
        Path, typer.Argument(metavar="POLICY", help="A run, a saved policy, or a model folder.")
    ],
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGE", help="Chest X-rays: PNG, JPEG or DICOM."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="RECIPE", help="Whose studies to report; else the run's own."),
    ] = None,
    split: Annotated[
        Literal["train", "val", "test"] | None,
        typer.Option(help="Which of its splits; else the one it is evaluated on."),
    ] = None,
    changes: _Set = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The predictions, as JSON lines.")
    ] = Path("predictions.jsonl"),
) -> None:
    """Writes reports of images.

    Of images that are named, or of a split of a recipe's studies. Decoding is the recipe's:
    that of --data, else that of the run, else greedy.
    """
    if images and (data or split):
        raise ConfigError("generate: give images, or --data and --split, not both")
    recipe = _recipe(policy, data, changes or ())
    with loading("train"):
        from mrg_r1 import generate as verb
    samples = verb.image_samples(images) if images else _samples(policy, recipe, split)
    decoding = recipe.evaluation.decoding if recipe else Decoding()

    with counting("writing reports", len(samples)) as advance:

        def on_prediction(prediction: Prediction) -> None:
            advance(1)
            if images:
                screen.print(Text(f"{prediction.id}: {prediction.report or '(no report)'}"))

        n = verb.generate(policy, samples, out, decoding, on_prediction=on_prediction)
    note(f"{out}: {n:,} predictions")


def _recipe(policy: Path, data: str | None, changes: Sequence[str]) -> Recipe | None:
    """The recipe named by --data, else that of a run, else none."""
    of_run = policy / "recipe.json"
    if data or of_run.is_file():
        return load_recipe(data or str(of_run), changes)
    if changes:
        raise ConfigError(f"generate: {policy} is no run, so --set needs --data RECIPE")
    return None


def _samples(policy: Path, recipe: Recipe | None, split: str | None) -> list[Sample]:
    """The samples of a split; studies that were drawn for a run are in its folder."""
    from mrg_r1.data.samples import samples
    from mrg_r1.data.sources import load

    if recipe is None:
        raise ConfigError(f"generate: {policy} is no run; give images, or --data RECIPE")
    data = recipe.data
    studies = load(data.source, Path(data.root) if data.root else policy / "studies")
    found, left_out = samples(
        studies.of_split(split or data.eval_split), section=data.section, views=data.views
    )
    for left in left_out:
        note(f"left out: {len(left.ids):,} {left.reason}")
    return found
