"""`mrg-r1 recipes` and `mrg-r1 doctor`: what ships, and what is installed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from mrg_r1.cli.app import Json, app, busy, note, print_json, screen
from mrg_r1.config import Recipe, load_recipe, recipe_names, recipe_text
from mrg_r1.errors import ConfigError
from mrg_r1.records import replacing

if TYPE_CHECKING:
    from mrg_r1.cheats import Paid

recipes = typer.Typer()
app.add_typer(recipes, name="recipes", epilog="Example: mrg-r1 recipes copy quickstart mine.toml")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="A shipped recipe's name.")]


@recipes.callback(invoke_without_command=True)
def list_recipes(context: typer.Context, as_json: Json = False) -> None:
    """Lists the recipes; shows, copies one."""
    if context.invoked_subcommand is not None:
        return
    headers = {name: _header(recipe_text(name)) for name in recipe_names()}
    if as_json:
        print_json(headers)
        return
    table = Table("recipe", "what it does")
    for name, header in headers.items():
        table.add_row(Text(name), Text(header))
    screen.print(table)


def _header(text: str) -> str:
    """The first sentence of the comment at the top of a recipe."""
    lines = takewhile(lambda line: line.strip("# "), text.splitlines())
    sentence, *_ = " ".join(line.lstrip("# ") for line in lines).split(". ")
    return sentence.removesuffix(".")


@recipes.command(epilog="Example: mrg-r1 recipes show quickstart")
def show(name: _Name) -> None:
    """Prints a recipe."""
    typer.echo(recipe_text(name), nl=False)


@recipes.command(epilog="Example: mrg-r1 recipes copy quickstart mine.toml")
def copy(
    name: _Name, file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file.")]
) -> None:
    """Copies a recipe to a file, to be changed there."""
    text = recipe_text(name)
    if file.exists():
        raise ConfigError(f"{file}: exists already; name another file")
    with replacing(file) as copied:
        copied.write(text)
    note(f"{name} copied; to train by it, type: mrg-r1 train {file}")


doctor = typer.Typer()
app.add_typer(doctor, name="doctor", epilog="Example: mrg-r1 doctor --json")


@doctor.callback(invoke_without_command=True)
def look(context: typer.Context, as_json: Json = False) -> None:
    """Tells what is installed, and what is not.

    For what is missing it says what to type.
    """
    if context.invoked_subcommand is not None:
        return
    from mrg_r1.doctor import examine

    with busy("looking"):
        checks = examine(Path.cwd())
    if as_json:
        print_json([dataclasses.asdict(check) for check in checks])
        return
    table = Table("", "found", "to do")
    for check in checks:
        table.add_row(Text(check.name), Text(check.found), Text(check.fix))
    screen.print(table)


@doctor.command(epilog="Example: mrg-r1 doctor reward quickstart --set reward.uncertain=0.5")
def reward(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a file.")
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; repeatable."),
    ] = None,
    studies: Annotated[int, typer.Option(min=2, help="Training references to try it on.")] = 200,
    as_json: Json = False,
) -> None:
    """Tells what the reward pays for cheating.

    Hostile completions against honest ones, on the recipe's own references. Exit code 1 if a
    cheat earns as much as honesty, with the option that closes it.
    """
    from mrg_r1.cheats import cheats_paid
    from mrg_r1.recipe_rewards import make_rewards, the_labeler
    from mrg_r1.rewards.total import TotalReward

    checked = load_recipe(recipe, changes or ())
    with busy("trying"):
        references = _references(checked)
        labeler = the_labeler(checked.labeler)
        total = TotalReward(tuple(make_rewards(checked.reward, labeler, references)))
        found = cheats_paid(
            total,
            labeler,
            references,
            instruction=checked.policy.instruction,
            studies=studies,
            seed=checked.seed,
        )
    if as_json:
        print_json([dataclasses.asdict(row) | {"pays": row.pays} for row in found])
    else:
        _show_paid(found)
    for row in found:
        if row.pays:
            note(f"{row.name}: pays {row.reward:.3f}; to close it: --set {row.remedy}")
    raise typer.Exit(int(any(row.pays for row in found)))


def _references(recipe: Recipe) -> list[str]:
    """The recipe's training references, or drawn ones where its data are not here."""
    from mrg_r1.recipe_rewards import training_references

    if recipe.data.source != "phantom" and not Path(recipe.data.root).expanduser().exists():
        note(f"{recipe.data.root} is not here; trying on drawn studies instead")
        drawn = dataclasses.replace(recipe.data, source="phantom", root="", train=1000)
        recipe = dataclasses.replace(recipe, data=drawn)
    return training_references(recipe)


def _show_paid(found: Sequence[Paid]) -> None:
    names = list(found[0].components)
    table = Table("completion", *names, "honest", "")
    for row in found:
        table.add_row(
            Text(row.name),
            *(f"{row.components[name]:.3f}" for name in names),
            "" if row.limit is None else f"{row.limit:.3f}",
            Text("pays" if row.pays else ""),
        )
    screen.print(table)
