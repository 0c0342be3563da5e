"""`mrg-r1 train`, `ablate` and `export`: what makes policies, and hands them on."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from mrg_r1.cli.app import app, busy, loading, note, screen
from mrg_r1.config import load_recipe

Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; repeatable."),
]


@app.command(epilog="Example: mrg-r1 train quickstart --set seed=1 --out runs/seed-1")
def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a file.")
    ],
    changes: Changes = None,
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
    stopped goes on with --resume, and ends as if it had not been stopped. SIGTERM saves a
    checkpoint at the end of the step and ends with exit code 0.
    """
    checked = load_recipe(recipe, changes or ())
    run = out or Path("runs") / checked.name
    with loading("train"):
        from mrg_r1 import train as verb
    if dry_run:
        for line in verb.describe(checked):
            typer.echo(line)
        return
    again = f"type: mrg-r1 train {run}/recipe.json --out {run} --resume"
    with _stoppable(run, again):
        page = verb.train(checked, run, resume=resume)
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
    changes: Changes = None,
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
    with _stoppable(folder, f"type the same with --out {folder} --resume"):
        ablation = grid.ablate(checked, folder, rows=asked, seeds=seeds, resume=resume)
    if ablation is None:  # Another process tells.
        return
    screen.print(tables.score_table(ablation))
    for line in (*tables.remarks(ablation), *tables.lines(ablation)):
        screen.print(Text(line), soft_wrap=True)
    screen.print(tables.rank_table(ablation))
    typer.echo(f"all figures: {folder / 'ablation.json'}")


@app.command(epilog="Example: mrg-r1 export runs/quickstart -o models/quickstart")
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The new model folder.")],
) -> None:
    """Makes a plain model folder of a run's policy.

    Merges its adapter, if it has one, into weights that transformers and vLLM load, beside
    processor, chat template, and a model card with recipe, scores and limits.
    """
    with loading("train"):
        from mrg_r1.policy_export import export_policy
    with busy("exporting"):
        export_policy(run, out)
    note(f"{out}: weights, processor and model card; research software, not for clinical use")


@contextmanager
def _stoppable(folder: Path, again: str) -> Generator[None]:
    """Says how to go on where the block is interrupted, or told to stop (SIGTERM)."""
    from mrg_r1.trainers.preemption import Preempted, preemptible
    from mrg_r1.trainers.progress import say

    try:
        with preemptible():
            yield
    except KeyboardInterrupt:
        if (folder / "recipe.json").exists():
            note(f"interrupted; to go on, {again}")
        raise
    except Preempted:
        say(f"stopped by SIGTERM; to go on, {again}")
        raise typer.Exit from None
