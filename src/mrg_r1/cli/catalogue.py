"""`mrg-r1 recipes` and `mrg-r1 doctor`: what ships, and what is installed."""

from __future__ import annotations

import dataclasses
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mrg_r1.cli.app import Json, app, busy, note, print_json, screen
from mrg_r1.config import recipe_names, recipe_text
from mrg_r1.errors import ConfigError
from mrg_r1.records import replacing

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


@app.command(epilog="Example: mrg-r1 doctor --json")
def doctor(as_json: Json = False) -> None:
    """Tells what is installed, and what is not.

    For what is missing it says what to type.
    """
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
